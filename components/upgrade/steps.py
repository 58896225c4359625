"""An upgrade in the order of a deployment: what a server must wait for, and what its check ends with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.naming import Naming
from components.settings import Settings
from components.upgrade import cluster, names, psql, schema, writers
from components.upgrade.found import container, look
from components.upgrade.plan import Plan

if TYPE_CHECKING:
    from docker import DockerClient

#: Seconds that PostgreSQL may take to copy a database.
_PATIENCE = 24 * 3600


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a plan. A preview tells them, and does none."""

    plan: Plan
    settings: Settings
    naming: Naming

    def tell(self) -> None:
        """Say in a preview what a deployment would do."""
        if pulumi.runtime.is_dry_run():
            for line in self.plan.lines:
                pulumi.log.info(line)

    def postgres_image(self, reference: str, after: Sequence[pulumi.Output[str]]) -> pulumi.Input[str]:
        """The image that PostgreSQL runs on; it is known to Pulumi only when the data is ready for it.

        Args:
            reference: The image's.
            after: What must be there before.
        """
        move = self.plan.cluster
        if move is None:
            return reference
        return self._when_done(
            reference, after, lambda client, say: cluster.move(move, self.naming, client, reference, say)
        )

    def mlflow_image(self, reference: str, after: Sequence[pulumi.Output[str]]) -> pulumi.Input[str]:
        """The same for MLflow's."""
        move = self.plan.schema
        if move is None:
            return reference
        auth = self.settings.auth
        return self._when_done(
            reference, after, lambda client, say: schema.move(move, self.naming, client, reference, auth, say)
        )

    def before_check(self) -> None:
        """Start a server that was only stopped: with another PostgreSQL there is no new one."""
        if self._is_to_end:
            writers.go_on(self.naming, _connect())

    def after_check(self) -> None:
        """Remove the way back: the check has passed."""
        if not self._is_to_end:
            return
        client, database = _connect(), self.settings.database_name
        found = look(self.naming, client, database)
        postgres = container(self.naming, client, "postgres")
        if postgres is None or not found.answers:
            return
        with suppress(psql.SqlError):  # the next `up` does it
            schema.finish(postgres, database, names.version_before(database, found.databases))
            if found.clusters_before:
                cluster.finish(postgres, found.clusters_before)

    @property
    def _is_to_end(self) -> bool:
        plan = self.plan
        return not pulumi.runtime.is_dry_run() and (
            plan.leftovers or plan.schema is not None or plan.cluster is not None
        )

    def _when_done(
        self,
        reference: str,
        after: Sequence[pulumi.Output[str]],
        step: Callable[[DockerClient, Callable[[str], None]], None],
    ) -> pulumi.Input[str]:
        if pulumi.runtime.is_dry_run():
            return reference  # a preview shows it

        async def run() -> str:
            # In a thread: the program goes on answering Pulumi meanwhile.
            await asyncio.to_thread(lambda: step(_connect(), pulumi.log.info))
            return reference

        return pulumi.Output.all(*after).apply(lambda _: run())


def _connect() -> DockerClient:
    from components import preflight  # noqa: PLC0415 - which decides on the plan

    return preflight.connect(_PATIENCE)
