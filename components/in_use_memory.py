"""Remembers that the containers of a stack have the credentials of the config: to read it takes Docker a while.

What a container was given never changes: with another credential comes another container. So a digest over all
credentials and the ids of all containers says that both are what they were when they were compared. It gives away
nothing, since nobody can guess all of them at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from components.builds import PROJECT_DIR
from components.naming import Naming
from components.settings import PROJECT

if TYPE_CHECKING:
    from docker import DockerClient

#: The toolchain's, for this user's eyes only; where it is not, nothing is remembered.
LOCAL: Final = PROJECT_DIR / ".local"

_FOLDER: Final = "in-use"


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of one stack.

    Attributes:
        naming: The stack's names.
        plain: Every credential of the config, by key.
        digest: Over those and the ids of all its containers.
        local: Folder below which it is kept.
    """

    naming: Naming
    plain: Mapping[str, str] = field(repr=False)
    digest: str
    local: Path = LOCAL

    @classmethod
    def of(cls, naming: Naming, client: DockerClient, plain: Mapping[str, str]) -> Memory:
        """Look which containers there are."""
        labels = [f"{PROJECT}.project={PROJECT}", f"{PROJECT}.stack={naming.stack}"]
        found: list[dict[str, Any]] = client.api.containers(all=True, filters={"label": labels})
        ids = sorted((str(container["Names"]), str(container["Id"])) for container in found)
        told = json.dumps([sorted(plain.items()), ids])
        return cls(naming, plain, hashlib.sha256(told.encode()).hexdigest())

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return self.local / _FOLDER / self.naming.stack

    def recall(self) -> dict[str, str] | None:
        """The credentials that the containers have, which are those of the config; None where that is not known."""
        try:
            digest, *keys = self.file.read_text(encoding="utf-8").split()
            return {key: self.plain[key] for key in keys} if digest == self.digest else None
        except (OSError, ValueError, KeyError):
            return None

    def keep(self, used: Mapping[str, str]) -> None:
        """Remember what was read of all containers, if it is what the config has."""
        if not self.local.is_dir() or any(self.plain.get(key) != value for key, value in used.items()):
            return
        with suppress(OSError):
            self.file.parent.mkdir(mode=0o700, exist_ok=True)
            coming = self.file.with_name(f".{self.naming.stack}-{os.getpid()}")
            coming.touch(mode=0o600)
            coming.write_text(" ".join([self.digest, *used]), encoding="utf-8")
            coming.replace(self.file)


def forget(stack: str, local: Path = LOCAL) -> None:
    """Remember nothing more of a stack that is gone."""
    (local / _FOLDER / stack).unlink(missing_ok=True)
