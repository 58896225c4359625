"""`python -m toolchain COMMAND`: what `./mlflow-stack` and make call."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from toolchain import engine
from toolchain.errors import FAILED, ToolchainError
from toolchain.say import say

if TYPE_CHECKING:
    from toolchain.backup.restoring import Wanted

#: What each command does, for `--help`.
COMMANDS: Mapping[str, str] = {
    "up": "set up what this machine lacks and bring the stack up",
    "preview": "show what `up` would change",
    "destroy": "say what will be lost, ask, and take the stack away",
    "init": "generate the credentials that are not set, the passphrase and the state folder",
    "status": "health, versions, sizes and URLs",
    "logs": "the log of a container",
    "doctor": "what is wrong with this machine or stack, and the line that mends it",
    "import": "bring what another MLflow keeps into an empty stack; the other one is only read",
    "gc": "remove for good what was deleted long ago: runs, models, experiments, and their objects",
    "rotate": "new values for one credential, or for all",
    "upgrade": "go to the version of MLflow that is set, else to the one of this checkout",
    "user": "make a user of MLflow's, or give one a new password, and show the password once",
    "backup": "make a consistent set of everything, while the stack serves",
    "restore": "bring a backup into a stack, never over data without being told",
    "verify-backup": "restore a backup into a stack of its own, compare, and take that away again",
    "ca": "the root certificate of the stack's own authority, for clients to trust",
    "update": "base images with the newest packages, for the next `up`",
    "sbom": "write what is in each image that the stack runs, as CycloneDX",
    "scan": "look for known flaws in each image that the stack runs",
    "env": "shell exports with which a plain `pulumi` finds the same CLI, state and passphrase",
    "prepare": "get the Docker engine, the Pulumi CLI, the plugins and the base images",
    "engine-stop": "stop a Docker daemon that was started from here",
}


#: Options of `import`, each an environment variable, too.
IMPORT_OPTIONS: Mapping[str, str] = {
    "from": "sqlite:///PATH, postgresql://USER@HOST:PORT/DATABASE, or a folder with runs in files",
    "artifacts": "folder or s3://BUCKET in which its artifacts are",
    "password-file": "file with the password of the database, and nothing else",
    "s3-endpoint": "URL of its S3 (default: Amazon's)",
    "s3-credentials": "file like ~/.aws/credentials with a key of its S3",
    "network": "Docker network in which its host names are known",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command and give its exit code: 0 well, 2 refused before anything was touched, 1 otherwise."""
    given = _parser().parse_args(arguments)
    address = engine.endpoint()
    if address != f"unix://{engine.DEFAULT_SOCKET}":
        os.environ["DOCKER_HOST"] = address  # every client below looks there, none reads the docker CLI's context
    try:
        return _commands(given)[given.command]()
    except ToolchainError as error:
        say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted: the same command goes on from here")
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` has seen enough
        return FAILED


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    stack = os.environ.get("STACK") or "dev"
    shared.add_argument("--stack", default=stack, help="the stack (default: %(default)s)")
    parser = argparse.ArgumentParser(
        prog="mlflow-stack",
        allow_abbrev=False,
        epilog="Exit codes: 0 well, 2 refused before anything was touched, 1 otherwise.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what, parents=[shared], allow_abbrev=False)
        if name == "destroy":
            command.add_argument("--yes", action="store_true", help="do not ask (also: YES=1 in the environment)")
        if name == "rotate":
            which = "config key of the credential (default: all)"
            command.add_argument("name", nargs="?", default=os.environ.get("NAME", ""), help=which)
        if name == "user":
            command.add_argument("name", nargs="?", default=os.environ.get("NAME", ""), help="the user's")
            reset = os.environ.get("RESET") == "1"
            command.add_argument(
                "--reset", action="store_true", default=reset, help="a new password for a user who is there"
            )
        _name_backup(name, command)
        if name == "import":
            for option, meaning in IMPORT_OPTIONS.items():
                given = os.environ.get(option.upper().replace("-", "_"), "")
                command.add_argument(f"--{option}", default=given, help=meaning)
        if name == "gc":
            older_than = os.environ.get("OLDER_THAN") or "30d"
            how_long = "how long ago something must have been deleted (default: %(default)s)"
            command.add_argument("--older-than", default=older_than, metavar="TIME", help=how_long)
            dry = os.environ.get("DRY") == "1"
            command.add_argument("--dry", action="store_true", default=dry, help="only say what would go (DRY=1)")
        if name == "update":
            back = os.environ.get("BACK", "") == "1"
            command.add_argument(
                "--back", action="store_true", default=back, help="take the images from before the last update (BACK=1)"
            )
        if name == "logs":
            command.add_argument("--role", default=os.environ.get("ROLE", ""), help="whose log (default: server)")
            command.add_argument("--tail", type=int, default=200, metavar="N", help="the last N lines")
            command.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    return parser


def _name_backup(name: str, command: argparse.ArgumentParser) -> None:
    """How a backup is named, for the commands about one."""
    if name == "backup":
        command.add_argument(
            "to",
            nargs="?",
            default=os.environ.get("TO", ""),
            help="folder of the backups, or s3://BUCKET/PREFIX (TO=)",
        )
    if name in {"backup", "restore", "verify-backup"}:
        profile = "for s3://BUCKET/PREFIX: file with an AWS profile (S3_FILE=)"
        command.add_argument("--s3-file", default=os.environ.get("S3_FILE", ""), help=profile)
    if name in {"restore", "verify-backup"}:
        where = os.environ.get("FROM", "")
        command.add_argument(
            "source", nargs="?", default=where, help="folder of the backups, or s3://BUCKET/PREFIX (FROM=)"
        )
        which = "the set (default: the newest; SET=)"
        command.add_argument("--set", default=os.environ.get("SET", ""), help=which)
        key = "file with the backup key of the set, where the stack has another (KEY_FILE=)"
        command.add_argument("--key-file", default=os.environ.get("KEY_FILE", ""), help=key)
    if name == "restore":
        over = os.environ.get("OVERWRITE") == "1"
        command.add_argument(
            "--overwrite", action="store_true", default=over, help="what the stack holds may be lost (OVERWRITE=1)"
        )


def _wanted(given: argparse.Namespace) -> Wanted:
    from toolchain.backup.restoring import Wanted  # noqa: PLC0415 - imports what two commands need

    return Wanted(given.source, given.set, given.key_file, given.s3_file)


def _commands(given: argparse.Namespace) -> Mapping[str, Callable[[], int]]:
    """The commands; what one of them does not need is not imported for it."""
    from toolchain import takeover  # noqa: PLC0415
    from toolchain.commands import (  # noqa: PLC0415 - after the usage
        backup,
        ca,
        destroy,
        doctor,
        engine_stop,
        env,
        gc,
        import_,
        init,
        logs,
        prepare,
        preview,
        restore,
        rotate,
        sbom,
        scan,
        status,
        up,
        update,
        upgrade,
        user,
        verify_backup,
    )
    from toolchain.session import open_session  # noqa: PLC0415

    stack: str = given.stack
    return {
        "up": lambda: up.run(stack),
        "preview": lambda: preview.run(stack),
        "destroy": lambda: destroy.run(open_session(stack), yes=given.yes),
        "init": lambda: init.run(open_session(stack)),
        "status": lambda: status.run(open_session(stack)),
        "logs": lambda: logs.run(open_session(stack), given.role, given.tail, follow=given.follow),
        "doctor": lambda: doctor.run(stack),
        "rotate": lambda: rotate.run(stack, given.name),
        "upgrade": lambda: upgrade.run(stack),
        "import": lambda: import_.run(open_session(stack), takeover.Asked(**_import_options(given))),
        "gc": lambda: gc.run(open_session(stack), given.older_than, dry=given.dry),
        "user": lambda: user.run(open_session(stack), given.name, reset=given.reset),
        "backup": lambda: backup.run(open_session(stack), given.to, given.s3_file),
        "restore": lambda: restore.run(stack, _wanted(given), overwrite=given.overwrite),
        "verify-backup": lambda: verify_backup.run(stack, _wanted(given)),
        "ca": lambda: ca.run(open_session(stack)),
        "update": lambda: update.run(stack, back=given.back),
        "sbom": lambda: sbom.run(stack),
        "scan": lambda: scan.run(stack),
        "env": lambda: env.run(open_session(stack)),
        "prepare": lambda: prepare.run(stack),
        "engine-stop": engine_stop.run,
    }


def _import_options(given: argparse.Namespace) -> dict[str, str]:
    fields = {option: option.replace("-", "_") for option in IMPORT_OPTIONS}
    return {"source" if field == "from" else field: str(getattr(given, field)) for field in fields.values()}


if __name__ == "__main__":
    sys.exit(main())
