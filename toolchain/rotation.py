"""New credentials in place of those in use, in steps that can be taken up again wherever they were cut off.

1. The stack file gets the new value and, under the same name with `Old`, the one before. For a key that something is
   encrypted with, it gets the new value under the same name with `New` first.
2. What is encrypted with such a key is encrypted anew, in one transaction, with the server stopped; then the stack file
   gets the new value as in the first step.
3. The next `up` gives the new values to servers and containers, logs in by each, and by each old one in vain.
4. The old values go from the stack file.

The stack file is written in one piece each time, so what it holds tells how far a rotation came.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from toolchain import stack_file
from toolchain.commands import init
from toolchain.docker_objects import LABEL, REKEY, Objects
from toolchain.errors import FailedError, RefusedError
from toolchain.say import Step, say
from toolchain.session import PROJECT, Session

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Where the job looks for the new keys, and the names of their files (see `mlflow_stack_server.rekey`).
_NEW_KEYS: Final = "/home/mlflow"
_FILES: Final[Mapping[str, str]] = {"kekPassphrase": "kek-passphrase", "webhookKey": "webhook-key"}
_FILES_PATH: Final = "/run/mlflow-stack"

_LAST_LINES: Final = 5


def keys(name: str) -> Sequence[str]:
    """The credentials that a user means.

    Args:
        name: The config key of one; empty for all.

    Raises:
        RefusedError: There is none of that name.
    """
    from components.settings import FIXED_KEYS, SECRET_KEYS  # noqa: PLC0415 - slow to import

    known = [key for key in SECRET_KEYS if key not in FIXED_KEYS]
    if not name:
        return known
    if name not in known:
        wrong = f"is no credential that can be changed; they are {', '.join(known)}"
        raise RefusedError("NAME", name, wrong, "make rotate NAME=postgresRuntimePassword, or make rotate for all")
    return (name,)


def is_at_work(session: Session) -> bool:
    """Whether a rotation has begun and not ended."""
    return bool(_rotating(session))


def begin(session: Session, objects: Objects, wanted: Sequence[str]) -> None:
    """Write the new values into the stack file; nothing else is touched yet."""
    from components import in_use  # noqa: PLC0415 - slow to import
    from components.naming import Naming  # noqa: PLC0415
    from components.settings import ENCRYPTING_KEYS, NEW, OLD, SECRETS  # noqa: PLC0415

    now = stack_file.secrets(session.stack_file)
    generate = {secret.key: secret.generate for secret in SECRETS if secret.key in wanted}
    used = in_use.credentials(Naming(session.name), objects.client, frozenset({"server"}))
    given = _in_plain(session) if set(wanted) & set(ENCRYPTING_KEYS) else {}
    plain: dict[str, str] = {}
    changes: dict[str, str | None] = {}
    for key in wanted:
        name = f"{PROJECT}:{key}"
        if key not in ENCRYPTING_KEYS:
            plain[key] = generate[key]()
            changes[f"{name}{OLD}"] = now[name]
        elif key in used and given.get(key) != used[key]:
            # The user has set the new value already: it is the one to come, and what is in use is the one that is.
            plain[key] = used[key]
            changes[f"{name}{NEW}"] = now[name]
        else:
            plain[f"{key}{NEW}"] = generate[key]()
    changes |= init.encrypted(session, plain)
    stack_file.change_secrets(session.stack_file, changes)
    say(f"  new values for {', '.join(wanted)}: kept encrypted in {session.stack_file.name}")


def encrypt_anew(session: Session, objects: Objects) -> None:
    """Do the second step, if it is to be done.

    Raises:
        FailedError: What is encrypted could not be encrypted anew; nothing of it was changed.
    """
    from components.settings import ENCRYPTING_KEYS, NEW, OLD  # noqa: PLC0415 - slow to import

    coming = [key for key in ENCRYPTING_KEYS if f"{PROJECT}:{key}{NEW}" in _rotating(session)]
    if not coming:
        return
    plain = _in_plain(session)
    server = objects.container("server")
    if server is not None:
        step = Step("encrypting anew what MLflow keeps encrypted; the tracking server is stopped for it")
        server.stop(timeout=30)
        for line in _job(objects, server, {_FILES[key]: plain[f"{key}{NEW}"] for key in coming}):
            step.beat(line)
        step.done()
    now = stack_file.secrets(session.stack_file)
    changes: dict[str, str | None] = {}
    for name in (f"{PROJECT}:{key}" for key in coming):
        changes |= {name: now[f"{name}{NEW}"], f"{name}{OLD}": now[name], f"{name}{NEW}": None}
    stack_file.change_secrets(session.stack_file, changes)


def end(session: Session) -> list[str]:
    """Forget the old values, and name the credentials that have new ones."""
    from components.settings import OLD  # noqa: PLC0415 - slow to import

    rotating = _rotating(session)
    if rotating:
        stack_file.change_secrets(session.stack_file, dict.fromkeys(rotating))
    return [name.removeprefix(f"{PROJECT}:").removesuffix(OLD) for name in rotating]


def _rotating(session: Session) -> list[str]:
    from components.settings import ROTATING_KEYS  # noqa: PLC0415 - slow to import

    names = {f"{PROJECT}:{key}" for key in ROTATING_KEYS}
    return [name for name in stack_file.secrets(session.stack_file) if name in names]


def _in_plain(session: Session) -> dict[str, str]:
    return {key: str(entry.get("value", "")) for key, entry in session.config(secrets=True).items()}


def _job(objects: Objects, server: Container, new_keys: Mapping[str, str]) -> list[str]:
    """Run the job in a container like the server's, with the files of the server and the new keys.

    Raises:
        FailedError: It failed; the message has its own words.
    """
    objects.remove_jobs()
    config: dict[str, Any] = server.attrs["Config"]
    job = objects.client.containers.create(
        config["Image"],
        [REKEY],
        name=f"mlflow-{objects.stack}-{REKEY}",
        environment=config["Env"],
        user=config["User"],
        network=f"mlflow-{objects.stack}-backend",
        volumes={f"mlflow-{objects.stack}-server-files": {"bind": _FILES_PATH, "mode": "ro"}},
        labels={f"{LABEL}.project": LABEL, f"{LABEL}.stack": objects.stack, f"{LABEL}.role": REKEY},
        mem_limit="1g",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
    )
    try:
        job.put_archive(_NEW_KEYS, _archive(new_keys))
        job.start()
        code = int(job.wait(timeout=600)["StatusCode"])
        said = job.logs().decode(errors="replace").strip().splitlines()
    finally:
        job.remove(force=True)
    if code:
        tail = " | ".join(said[-_LAST_LINES:])
        raise FailedError("rotation", "kekPassphrase, webhookKey", f"nothing was changed: {tail}", "make rotate")
    return said


def _archive(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o444, len(content.encode())
            tar.addfile(member, io.BytesIO(content.encode()))
    return buffer.getvalue()
