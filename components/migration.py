"""The schema migration: a container that runs `mlflow db upgrade` once, as the owner of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.errors import Failure
from components.mlflow_container import HOME_IN_MEMORY, MLFLOW_UID, database_environment, service_file
from components.naming import POSTGRES_OWNER, Naming
from components.service import ServiceArgs, memory_folder, service_container

_MEMORY_MB = 1024
_LAST_LINES = 20


@dataclass(frozen=True, slots=True)
class MigrationArgs:
    """What the migration needs.

    Attributes:
        image: Reference of the MLflow image.
        network: Name of PostgreSQL's network.
        database_name: Database of the backend store.
        owner_password: Password of the role that owns it.
        auth: Whose users are kept in the database beside the runs: MLflow's own (`basic`) or nobody's (`none`).
        attempt: Names the attempt; another value makes the job run again (see `preflight.migration_attempt`).
        after: What must be there before.
    """

    naming: Naming
    image: pulumi.Input[str]
    network: pulumi.Input[str]
    database_name: pulumi.Input[str]
    owner_password: pulumi.Output[str]
    auth: str
    attempt: str
    after: Sequence[pulumi.Resource]


class Migration(pulumi.ComponentResource):
    """A schema at the revision of the MLflow image, or an error that says why not.

    The Docker provider takes a job that failed for a resource that was made. So `done` looks at the exit code,
    and fails; and since the tracking server takes `done` as an input, it is stopped before the job runs and
    never starts on a schema that is not its own.
    """

    def __init__(self, name: str, args: MigrationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:Migration", name, None, opts)
        job = service_container(
            ServiceArgs(
                naming=args.naming,
                role="migration",
                image=args.image,
                uid=MLFLOW_UID,
                networks=[(args.network, [])],
                memory_mb=_MEMORY_MB,
                probe=None,
                command=["migrate"],
                environment={
                    **database_environment(POSTGRES_OWNER, args.database_name),
                    "MLFLOW_STACK_AUTH": args.auth,
                },
                files={"pg-service.conf": service_file(args.owner_password)},
                tmpfs={**HOME_IN_MEMORY, "/tmp": memory_folder(64)},  # noqa: S108 - in the container's own memory
                labels={"attempt": args.attempt},
            ),
            pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        self._done = pulumi.Output.all(
            job.id, pulumi.Output.unsecret(job.exit_code), pulumi.Output.unsecret(job.container_logs)
        ).apply(lambda values: _checked(*values))
        self.register_outputs({})

    @property
    def done(self) -> pulumi.Output[str]:
        """The id of the job that migrated; an input of whatever must not run before it or beside it."""
        return self._done


def _checked(job_id: str, exit_code: int | None, log: str | None) -> str:
    if exit_code:
        tail = "\n".join((log or "").strip().splitlines()[-_LAST_LINES:])
        raise Failure(
            f"migration: exit code {exit_code}: the schema was not migrated, so the tracking server is not "
            f"started. mend: what its last lines say, then make up, which tries again\n{tail}"
        )
    return job_id
