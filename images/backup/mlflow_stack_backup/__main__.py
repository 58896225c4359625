"""`python3 -m mlflow_stack_backup MODE`, with a request on standard input (see `request`).

The outcome is a line of JSON on standard output; what happens meanwhile is told on standard error.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from typing import Any

from mlflow_stack_backup import backup, rclone, request, restore, serve, sets
from mlflow_stack_backup.errors import Problem
from mlflow_stack_backup.schedule import Schedule

USAGE = """\
usage: mlflow_stack_backup MODE

  backup    make a set
  check     read a set whole, compare it with its manifest, and give its keys
  look      what the stack holds that a restore would take the place of
  restore   put a set into the stack
  serve     make sets by a schedule; the request is in /run/mlflow-stack/request.json
  now       have the one that serves make a set, and give its outcome
  status    ask the one that serves how it is
"""

MODES = ("backup", "check", "look", "restore", "serve", "now", "status")


def main() -> int:
    """Run the mode that the first argument names; return the exit code."""
    mode = sys.argv[1] if len(sys.argv) == 2 else ""  # noqa: PLR2004 - the program and the mode
    if mode not in MODES:
        sys.stdout.write(USAGE)
        return 0 if mode in ("-h", "--help") else 2
    os.umask(0o077)
    if mode in ("now", "status"):
        return serve.ask(f"/{mode}")
    if mode == "serve":
        asked = request.parse((serve.FILES / "request.json").read_text(encoding="utf-8"))
        _configure(asked)
        hold = functools.partial(sets.locked, asked.remotes["target"]["remote"], shared=False)
        serve.run(serve.Keeper(asked, Schedule.parse(asked.schedule), asked.keep, hold))
    try:
        outcome = _run(mode, request.read())
    except Problem as problem:
        print(json.dumps({"problem": problem.parts}), flush=True)
        return problem.exit_code
    print(json.dumps(outcome), flush=True)
    return 0


def _configure(asked: request.Request) -> None:
    """Let rclone know every place that the request names."""
    remotes = dict(asked.remotes)
    if asked.bucket is not None:
        remotes["bucket-server"] = {
            "type": "s3",
            "provider": "Minio",
            "endpoint": asked.bucket.endpoint,
            "access_key_id": asked.bucket.user,
            "secret_access_key": asked.bucket.secret,
            "no_check_bucket": "true",
        }
        remotes["bucket"] = {"type": "alias", "remote": f"bucket-server:{asked.bucket.name}"}
    rclone.configure(remotes, asked.key)


def _run(mode: str, asked: request.Request) -> dict[str, Any]:
    _configure(asked)
    with sets.locked(asked.remotes["target"]["remote"], shared=mode != "backup"):
        if mode == "backup":
            return backup.run(asked)
        if mode == "look":
            return restore.look(asked)
        if mode == "restore":
            return restore.run(asked)
        found = sets.find(asked.set)
        sets.refuse_newer(found)
        keys = sets.keys(found, asked.key) if asked.key else None
        sets.check(found)
        return {"set": found.id, "manifest": found.manifest, "keys": keys}


if __name__ == "__main__":
    sys.exit(main())
