"""New credentials in place of those in use, in steps that can be taken up again wherever they were cut off.

1. The stack file gets the new value and, under the same name with `Old`, the one before. For a key that something is
   encrypted with, it gets the new value under the same name with `New` first.
2. What is encrypted with such a key is encrypted anew, in one transaction, with the server stopped; then the stack file
   gets the new value as in the first step. Where that can't be done, the stack file gets all values back: so far none
   of them went further.
3. The next `up` gives the new values to servers and containers, logs in by each, and by each old one in vain.
4. The old values go from the stack file.

The stack file is written in one piece each time, so what it holds tells how far a rotation came.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from toolchain import jobs, stack_file
from toolchain.commands import init
from toolchain.docker_objects import REKEY, Objects
from toolchain.errors import FAILED, MEND, FailedError, RefusedError
from toolchain.say import Step, say
from toolchain.session import PROJECT, Session

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Where the job looks for the new keys, the names of their files, and the tables in which they encrypt something (see
#: `mlflow_stack_server.rekey`).
_NEW_KEYS: Final = "/home/mlflow"
_FILES: Final[Mapping[str, str]] = {"kekPassphrase": "kek-passphrase", "webhookKey": "webhook-key"}
_TABLES: Final[Mapping[str, str]] = {"kekPassphrase": "secrets", "webhookKey": "webhooks"}
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
        new_keys = {_FILES[key]: plain[f"{key}{NEW}"] for key in coming}
        _require_readable(session, objects, server, new_keys)
        step = Step("encrypting anew what MLflow keeps encrypted; the tracking server is stopped for it")
        server.stop(timeout=30)
        code, said = _job(objects, server, [REKEY], new_keys)
        if code:
            raise _failed(said, _undone(session, objects, server, new_keys))
        for line in said:
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


@dataclass(frozen=True, slots=True)
class _Look:
    """What can be read of what is encrypted.

    Attributes:
        anew: Rows that the new keys read already.
        unreadable: Rows that neither the old keys nor the new ones read: table, column of the identity, identity.
    """

    anew: int
    unreadable: Sequence[tuple[str, str, str]]


def _look(objects: Objects, server: Container, new_keys: Mapping[str, str]) -> _Look | None:
    """Look at what is encrypted; None where the server's image is of a time when it could not.

    Raises:
        FailedError: The database could not be asked.
    """
    code, said = _job(objects, server, [REKEY, "--check"], new_keys)
    if code == FAILED:
        raise _failed(said, "")
    if code:
        return None
    found = json.loads(said[-1])
    return _Look(
        int(found["anew"]), [(str(table), str(column), str(row)) for table, column, row in found["unreadable"]]
    )


def _require_readable(session: Session, objects: Objects, server: Container, new_keys: Mapping[str, str]) -> None:
    """See that all can be encrypted anew, before the server is stopped for it.

    Raises:
        FailedError: It can't. The rotation is undone, unless something is encrypted with the new keys already.
    """
    found = _look(objects, server, new_keys)
    if found is None or not found.unreadable:
        return
    table, column, row = found.unreadable[0]
    more = f", nor can {len(found.unreadable) - 1} others" if len(found.unreadable) > 1 else ""
    wrong = f"can be read with neither the key in use nor the new one{more}"
    if found.anew:
        wrong += ", while other rows have the new one already; nothing was changed"
    else:
        _undo(session, server)
        wrong += "; nothing was changed, and all credentials are those of before"
    database = session.config(secrets=False).get("databaseName", {}).get("value") or "mlflow"
    statement = f"DELETE FROM {table} WHERE {column} = '{row}'"  # noqa: S608 - for a person to read
    key = next(key for key, name in _TABLES.items() if name == table)
    mend = (
        f"pulumi config set --secret {key}, the one that it was encrypted with; or, if nobody needs it: docker exec "
        f'-u postgres mlflow-{objects.stack}-postgres psql -d {database} -c "{statement}"; then make rotate'
    )
    raise FailedError(table, row, wrong, mend)


def _undone(session: Session, objects: Objects, server: Container, new_keys: Mapping[str, str]) -> str:
    """Undo a rotation whose job failed, if nothing is encrypted with the new keys; say so, else nothing."""
    try:
        found = _look(objects, server, new_keys)
    except FailedError:
        return ""
    if found is None or found.anew:
        return ""
    _undo(session, server)
    return "; all credentials are those of before, and the tracking server runs again"


def _failed(said: Sequence[str], more: str) -> FailedError:
    words = " | ".join(line.partition(MEND)[0] for line in said[-_LAST_LINES:]) or "for want of memory?"
    wrong = f"what they encrypt could not be encrypted anew: {words}{more}"
    return FailedError("rotation", "kekPassphrase, webhookKey", wrong, "make rotate")


def _undo(session: Session, server: Container) -> None:
    """Bring all values back that a rotation has changed, as long as nothing is encrypted with a new one.

    No deployment has had any of them: the program refuses to run before what is encrypted is encrypted anew.
    """
    from components.settings import OLD  # noqa: PLC0415 - slow to import

    now = stack_file.secrets(session.stack_file)
    rotating = _rotating(session)
    changes: dict[str, str | None] = dict.fromkeys(rotating)
    changes |= {name.removesuffix(OLD): now[name] for name in rotating if name.endswith(OLD)}
    stack_file.change_secrets(session.stack_file, changes)
    server.reload()
    if server.status != "running":
        jobs.start(server)


def _job(
    objects: Objects, server: Container, command: Sequence[str], new_keys: Mapping[str, str]
) -> tuple[int, list[str]]:
    """Run the job in a container like the server's, with the files of the server and the new keys.

    Returns:
        Its exit code, and what it said.
    """
    from docker.types import Mount  # noqa: PLC0415 - see docker_objects.connect()

    objects.remove_jobs()
    config: dict[str, Any] = server.attrs["Config"]
    job = objects.client.containers.create(
        config["Image"],
        list(command),
        environment=config["Env"],
        user=config["User"],
        network=f"mlflow-{objects.stack}-backend",
        volumes={f"mlflow-{objects.stack}-server-files": {"bind": _FILES_PATH, "mode": "ro"}},
        tmpfs=jobs.TMP,
        # A volume of its own, which goes with it: files can be put into nothing else before it runs.
        mounts=[Mount(target=_NEW_KEYS, source=None, type="volume")],
        **jobs.of_a_job(objects, REKEY, looks_up_names=False),
    )
    try:
        job.put_archive(_NEW_KEYS, _archive(new_keys, int(str(config["User"]).partition(":")[0])))
        job.start()
        code = int(job.wait(timeout=600)["StatusCode"])
        said = job.logs(stderr=code != 0).decode(errors="replace").strip().splitlines()
    finally:
        job.remove(force=True, v=True)
    return code, said


def _archive(files: Mapping[str, str], uid: int) -> bytes:
    """As a tar archive of files that only a user can read."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode, member.uid, member.gid, member.size = 0o400, uid, uid, len(content.encode())
            tar.addfile(member, io.BytesIO(content.encode()))
    return buffer.getvalue()
