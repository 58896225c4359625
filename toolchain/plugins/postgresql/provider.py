"""Settings and resources of the PostgreSQL provider, after the vendor's provider 3.18.2."""

from __future__ import annotations

from toolchain.plugins.postgresql.client import Client
from toolchain.plugins.postgresql.database import Database
from toolchain.plugins.postgresql.default_privileges import DefaultPrivileges
from toolchain.plugins.postgresql.grant import Grant
from toolchain.plugins.postgresql.grant_role import GrantRole
from toolchain.plugins.postgresql.role import Role
from toolchain.plugins.postgresql.schema import Schema
from toolchain.plugins.resource import Provider
from toolchain.plugins.schema import boolean, integer, string


def make() -> Provider:
    """Return the provider."""
    client = Client()
    return Provider(
        name="postgresql",
        version="3.18.2",
        settings={
            "host": string(),
            "port": integer(),
            "database": string(),
            "username": string(),
            "password": string(secret=True),
            "databaseUsername": string(),
            "superuser": boolean(),
            "sslmode": string(),
            "sslrootcert": string(),
            "connectTimeout": integer(),
            "maxConnections": integer(),
        },
        configure=client.configure,
        resources={
            "postgresql:index/role:Role": Role(client),
            "postgresql:index/database:Database": Database(client),
            "postgresql:index/schema:Schema": Schema(client),
            "postgresql:index/grant:Grant": Grant(client),
            "postgresql:index/grantRole:GrantRole": GrantRole(client),
            "postgresql:index/defaultPrivileges:DefaultPrivileges": DefaultPrivileges(client),
        },
    )
