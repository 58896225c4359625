"""`python -m toolchain COMMAND`: what `./mlflow-stack` and make call."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping

from toolchain import engine
from toolchain.errors import FAILED, ToolchainError
from toolchain.say import say

#: What each command does, for `--help`.
COMMANDS: Mapping[str, str] = {
    "up": "set up what this machine lacks and bring the stack up",
    "preview": "show what `up` would change",
    "destroy": "say what will be lost, ask, and take the stack away",
    "init": "generate the credentials that are not set, the passphrase and the state folder",
    "status": "health, versions, sizes and URLs",
    "logs": "the log of a container",
    "doctor": "what is wrong with this machine or stack, and the line that mends it",
    "gc": "remove for good what was deleted long ago: runs, models, experiments, and their objects",
    "rotate": "new values for one credential, or for all",
    "user": "make a user of MLflow's, or give one a new password, and show the password once",
    "ca": "the root certificate of the stack's own authority, for clients to trust",
    "update": "base images with the newest packages, for the next `up`",
    "sbom": "write what is in each image that the stack runs, as CycloneDX",
    "scan": "look for known flaws in each image that the stack runs",
    "env": "shell exports with which a plain `pulumi` finds the same CLI, state and passphrase",
    "prepare": "get the Docker engine, the Pulumi CLI, the plugins and the base images",
    "engine-stop": "stop a Docker daemon that was started from here",
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


def _commands(given: argparse.Namespace) -> Mapping[str, Callable[[], int]]:
    """The commands; what one of them does not need is not imported for it."""
    from toolchain.commands import (  # noqa: PLC0415 - after the usage
        ca,
        destroy,
        doctor,
        engine_stop,
        env,
        gc,
        init,
        logs,
        prepare,
        preview,
        rotate,
        sbom,
        scan,
        status,
        up,
        update,
        user,
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
        "gc": lambda: gc.run(open_session(stack), given.older_than, dry=given.dry),
        "user": lambda: user.run(open_session(stack), given.name, reset=given.reset),
        "ca": lambda: ca.run(open_session(stack)),
        "update": lambda: update.run(stack, back=given.back),
        "sbom": lambda: sbom.run(stack),
        "scan": lambda: scan.run(stack),
        "env": lambda: env.run(open_session(stack)),
        "prepare": lambda: prepare.run(stack),
        "engine-stop": engine_stop.run,
    }


if __name__ == "__main__":
    sys.exit(main())
