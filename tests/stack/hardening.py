"""The list of docs/hardening.md, and whether a container keeps it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.stack.harness import REPOSITORY, Stack, execute

PAGE = REPOSITORY / "docs" / "hardening.md"
FILES_PATH = "/run/mlflow-stack"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table.

    Attributes:
        name: The rule.
        field: The field of `docker inspect`, with its section before the dot.
        value: What the field is: JSON in code marks, or a phrase.
        exception: The role that is an exception, a colon, and what the field is there.
    """

    name: str
    field: str
    value: str
    exception: str

    def assert_kept(self, stack: Stack, role: str) -> None:
        """Fail where a container's field is not what the table says."""
        inspected: dict[str, Any] = stack.container(role).attrs
        section, name = self.field.split(".")
        excepted, _, other = self.exception.partition(": ")
        value = other.partition(". ")[0] if excepted == role else self.value
        seen = inspected[section].get(name)
        assert _is(value, seen, inspected, stack), f"{role}: {self.name}: {self.field} is {seen!r}, not {value}"


def _rules() -> Iterator[Rule]:
    for line in PAGE.read_text(encoding="utf-8").partition("## Networks")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[1].startswith("`") and "." in cells[1]:
            yield Rule(cells[0], cells[1].strip("`"), cells[2], cells[3] if len(cells) > 3 else "")


RULES = list(_rules())


def _is(value: str, seen: Any, inspected: dict[str, Any], stack: Stack) -> bool:
    if value.startswith("`") and value.endswith("`"):
        return (seen or json.loads(value.strip("`")).__class__()) == json.loads(value.strip("`"))
    binds: list[str] = inspected["HostConfig"]["Binds"]
    volumes = [bind.split(":") for bind in binds]
    others = [source for source, *_ in volumes if not source.startswith(f"mlflow-{stack.name}-")]
    networks: set[str] = set(inspected["NetworkSettings"]["Networks"])
    phrases = {
        "a user id other than 0": lambda: re.fullmatch(r"[1-9]\d*:[1-9]\d*", str(seen)) is not None,
        "more than 0": lambda: int(seen) > 0,
        "equal to `HostConfig.Memory`": lambda: seen == inspected["HostConfig"]["Memory"],
        "networks of the stack": lambda: bool(seen) and all(name.startswith(f"mlflow-{stack.name}-") for name in seen),
        "volumes of the stack": lambda: others == [],
        "volumes of the stack, and the folder `backupTarget`": lambda: (
            others == [stack.pulumi("config", "get", "backupTarget").ok().stdout.strip()]
        ),
        '`["127.0.0.1"]` where no network has a way out': lambda: (
            (seen or [])
            == ([] if {f"mlflow-{stack.name}-{part}" for part in ("front", "app")} & networks else ["127.0.0.1"])
        ),
        "files read-only": lambda: [mode for _, path, mode in volumes if path == FILES_PATH] == ["ro"],
    }
    return phrases[value]()


def assert_no_process_is_roots(stack: Stack, role: str) -> None:
    """Fail where a process in a container runs as root on the host."""
    top: Any = stack.container(role).top(ps_args="-eo uid,pid,args")
    assert top["Processes"], "a running container has processes"
    assert not [process for process in top["Processes"] if process[0].strip() == "0"]


def assert_no_process_has_a_capability(stack: Stack, role: str) -> None:
    """Fail where a process in a container may do what is root's."""
    status = execute(stack.container(role), ["bash", "-c", "cat /proc/[0-9]*/status"])
    effective = {line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")}
    assert effective == {"0000000000000000"}


def assert_can_write_neither_its_programs_nor_its_credentials(stack: Stack, role: str) -> None:
    """Fail where a container can plant something."""
    for path in ("/usr/bin/planted", f"{FILES_PATH}/planted", "/planted"):
        answer: Any = stack.container(role).exec_run(["bash", "-c", f": >{path}"])
        assert answer.exit_code != 0, f"{path} could be written in {role}"


def assert_hardened(stack: Stack, role: str) -> None:
    """Hold a running container to all of it."""
    for rule in RULES:
        rule.assert_kept(stack, role)
    assert_no_process_is_roots(stack, role)
    assert_no_process_has_a_capability(stack, role)
    assert_can_write_neither_its_programs_nor_its_credentials(stack, role)
