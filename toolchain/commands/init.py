"""`init`: the state folder, the passphrase, the stack, and the credentials that are not set."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from toolchain import deployment, environment, paths, stack_file, store
from toolchain.errors import FailedError, RefusedError
from toolchain.passphrase import Passphrase
from toolchain.say import say
from toolchain.session import PROJECT, Session

#: Each encryption derives the key anew from the passphrase, a third of a second of one core.
_AT_ONCE: Final = 4


def initialise(session: Session) -> None:
    """Make what a stack needs before its first deployment; changes nothing that is there.

    Raises:
        RefusedError: The stack's secrets are encrypted with a passphrase that is not here, or its credentials are gone.
        FailedError: Pulumi can't make the stack.
    """
    paths.ensure_local_dir()
    if environment.keeps_state_here():
        paths.state_dir().mkdir(mode=0o700, exist_ok=True)
    _passphrase(session)
    _stack(session)
    _credentials(session)


def _passphrase(session: Session) -> None:
    content = stack_file.read(session.stack_file)
    if environment.brings_passphrase() or environment.in_pulumi_cloud() or paths.passphrase_file().exists():
        return
    if not str(content.get("secretsprovider", "passphrase")).startswith("passphrase"):
        return
    if "encryptionsalt" in content:
        name = session.stack_file.name
        raise RefusedError(
            "passphrase",
            str(paths.passphrase_file()),
            f"is missing, and the secrets in {name} are encrypted with it",
            "put the file back, or export PULUMI_CONFIG_PASSPHRASE; "
            f"or, for a new stack with new credentials: git checkout {name} && make up STACK={session.stack}",
        )
    store.write(paths.passphrase_file(), secrets.token_urlsafe(32) + "\n")
    session.__dict__.pop("environment", None)  # it names the file from now on
    say(f"  passphrase: generated, kept in {paths.passphrase_file().relative_to(paths.PROJECT_DIR)}: keep a copy of it")


def _stack(session: Session) -> None:
    if exists(session):
        return
    session.ask("stack", "init", session.stack)
    where = session.environment.whole().get("PULUMI_BACKEND_URL", "the backend of your login")
    say(f"  stack {session.stack}: made, its state in {where}")


def exists(session: Session) -> bool:
    """Whether the backend knows the stack."""
    folder = environment.state_folder()
    if folder is not None:
        stacks = folder / ".pulumi" / "stacks" / PROJECT
        return any((stacks / f"{session.name}{ending}").exists() for ending in (".json", ".json.gz", ".json.zst"))
    return session.try_("stack", "select", session.stack).returncode == 0


def _credentials(session: Session) -> None:
    from components.settings import SECRETS  # noqa: PLC0415 - slow to import

    present = stack_file.config_keys(session.stack_file)
    wanted = {secret.key: secret.generate for secret in SECRETS if f"{PROJECT}:{secret.key}" not in present}
    if not wanted:
        return
    if len(wanted) == len(SECRETS) and deployment.load(session).resources:
        raise RefusedError(
            "credentials",
            session.stack_file.name,
            "holds none, but the stack is deployed with some; new ones would lock its data away",
            "put the stack's own file back; pulumi stack output credentials --show-secrets has their values",
        )
    stack_file.add_secrets(session.stack_file, encrypted(session, {key: make() for key, make in wanted.items()}))
    say(f"  credentials: {len(wanted)} generated, kept encrypted in {session.stack_file.name}")


def encrypted(session: Session, wanted: Mapping[str, str]) -> dict[str, str]:
    """Each value, by its key with the namespace, encrypted as Pulumi does it.

    What is not encrypted by a passphrase goes to Pulumi, through a pipe, never through arguments or the environment.
    `pulumi config set` takes one value at a time, so several run at once, each on a copy of the stack file.
    """
    with tempfile.TemporaryDirectory(dir=paths.local_dir(), prefix="init-") as folder:

        def encrypt(key: str) -> tuple[str, str]:
            copy = Path(folder) / f"{key}.yaml"
            if session.stack_file.exists():
                shutil.copy2(session.stack_file, copy)
            arguments = ("config", "set", "--secret", key, "--stack", session.stack, "--config-file", copy)
            session.ask(*arguments, stdin=wanted[key])
            value = stack_file.read(copy)["config"][f"{PROJECT}:{key}"]
            if not isinstance(value, dict) or "secure" not in value:
                raise FailedError("config", key, "Pulumi did not encrypt it", f"pulumi config set --secret {key}")
            return f"{PROJECT}:{key}", str(value["secure"])

        keys = list(wanted)
        found: dict[str, str] = {}
        if keys and "encryptionsalt" not in stack_file.read(session.stack_file):
            # A stack that is known, and whose file is new: the first value makes the salt that all of them share.
            first = keys.pop(0)
            found = dict([encrypt(first)])
            salt = stack_file.read(Path(folder) / f"{first}.yaml").get("encryptionsalt")
            if salt:
                stack_file.add_salt(session.stack_file, str(salt))
        if keys and (passphrase := Passphrase.of(stack_file.read(session.stack_file), session.environment.whole())):
            return found | {f"{PROJECT}:{key}": passphrase.encrypt(wanted[key]) for key in keys}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return found | dict(pool.map(encrypt, keys))


def run(session: Session) -> int:
    """Run the command."""
    initialise(session)
    say(f"stack {session.stack} is ready: make up STACK={session.stack}")
    return 0
