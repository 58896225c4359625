"""The backend store inside a PostgreSQL server: the database, its two roles and what each may do."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_postgresql as postgresql

from components.naming import POSTGRES_ADMIN, POSTGRES_OWNER, POSTGRES_RUNTIME


@dataclass(frozen=True, slots=True)
class BackendStoreArgs:
    """What the backend store needs.

    Attributes:
        host: Address at which the provider reaches the server.
        port: Port there.
        database_name: Database of the backend store.
        admin_password: Password of the server's superuser, for the provider.
        owner_password: Password of the role that owns the database and migrates it.
        runtime_password: Password of the role that the tracking server uses.
        server: The running server.
        data: The volume that everything here lives in: deleted with it, so that a `destroy` needs no server.
        protect: Refuse to delete what holds data.
    """

    host: str
    port: int
    database_name: str
    admin_password: pulumi.Output[str]
    owner_password: pulumi.Output[str]
    runtime_password: pulumi.Output[str]
    server: pulumi.Resource
    data: pulumi.Resource
    protect: bool = False


class BackendStore(pulumi.ComponentResource):
    """A database, an owner that migrates it, and a run-time role that reads and writes rows only.

    Privileges are listed one by one: `ALL` never compares equal with what the server reports. Grants are chained,
    because PostgreSQL refuses concurrent ones ("tuple concurrently updated").

    Deliberately not here: tables. MLflow's own migration makes them, as owner; default privileges let the
    run-time role use what later versions add.
    """

    def __init__(self, name: str, args: BackendStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:BackendStore", name, None, opts)
        self._provider = postgresql.Provider(
            "postgresql",
            host=args.host,
            port=args.port,
            username=POSTGRES_ADMIN,
            password=args.admin_password,
            database="postgres",
            sslmode="disable",  # the connection stays on the loopback address
            connect_timeout=15,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._server, self._data = args.server, args.data
        owner = postgresql.Role(
            "owner",
            name=POSTGRES_OWNER,
            login=True,
            password=args.owner_password,
            opts=self._inside(args.server),
        )
        runtime = postgresql.Role(
            "runtime",
            name=POSTGRES_RUNTIME,
            login=True,
            password=args.runtime_password,
            opts=self._inside(args.server),
        )
        database = postgresql.Database(
            "database",
            name=args.database_name,
            owner=owner.name,
            encoding="UTF8",
            lc_collate="C",
            lc_ctype="C",
            template="template0",
            opts=self._inside(owner, protect=args.protect),
        )
        nobody_else = postgresql.Grant(
            "public-nothing",
            database=database.name,
            role="public",
            object_type="database",
            privileges=[],
            opts=self._inside(database),
        )
        connect = postgresql.Grant(
            "runtime-connect",
            database=database.name,
            role=runtime.name,
            object_type="database",
            privileges=["CONNECT"],
            opts=self._inside(nobody_else),
        )
        usage = postgresql.Grant(
            "runtime-schema",
            database=database.name,
            schema="public",
            role=runtime.name,
            object_type="schema",
            privileges=["USAGE"],
            opts=self._inside(connect),
        )
        rows = postgresql.DefaultPrivileges(
            "runtime-tables",
            database=database.name,
            schema="public",
            owner=owner.name,
            role=runtime.name,
            object_type="table",
            privileges=["DELETE", "INSERT", "SELECT", "UPDATE"],
            opts=self._inside(usage),
        )
        self._last = postgresql.DefaultPrivileges(
            "runtime-sequences",
            database=database.name,
            schema="public",
            owner=owner.name,
            role=runtime.name,
            object_type="sequence",
            privileges=["SELECT", "USAGE"],
            opts=self._inside(rows),
        )
        self._database = database
        self.register_outputs({"databaseName": database.name})

    def _inside(self, after: pulumi.Resource, *, protect: bool | None = None) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            parent=self,
            provider=self._provider,
            depends_on=[self._server, after],
            deleted_with=self._data,
            protect=protect,
        )

    @property
    def database_name(self) -> pulumi.Output[str]:
        """Name of the database."""
        return self._database.name

    @property
    def ready(self) -> list[pulumi.Resource]:
        """What must be there before MLflow's tables are made."""
        return [self._last]
