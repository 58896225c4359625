"""The modes that put a set into a stack: a look at what is there, and the restore itself."""

from __future__ import annotations

import sys
from typing import Any

from mlflow_stack_backup import database, objects, sets
from mlflow_stack_backup.errors import Problem
from mlflow_stack_backup.request import Request


def look(request: Request) -> dict[str, Any]:
    """What the stack holds now: rows by table, and the objects that are not the set's.

    It waits for other jobs as the restore itself does, when nothing is touched yet.

    Raises:
        Refusal: Another job is at work on the stack.
        Problem: A store does not answer.
    """
    assert request.database is not None
    database.configure(request.database)
    with database.alone("restore"), database.moment() as moment:
        rows = moment.rows()
    found = objects.read(sets.path(request.set, sets.LIST)) if request.set else {}
    others = {path: one.size for path, one in objects.stored().items() if path not in found}
    return {"tables": rows, "objects": len(others), "bytes": sum(others.values())}


def run(request: Request) -> dict[str, Any]:
    """Make the bucket and the database those of the set, and compare: every object by hash, every table by rows.

    Interrupted anywhere, it is finished by running it again.

    Raises:
        Refusal: Another job is at work on the stack.
        Problem: A part of it could not be brought there; it says which.
    """
    assert request.database is not None
    database.configure(request.database)
    with database.alone("restore"):
        found = sets.find(request.set)
        others = [path for path in objects.stored() if path not in found.objects]
        print(f"the objects: {len(found.objects)}", file=sys.stderr, flush=True)
        wrong = objects.put(sets.TARGET, found.id, found.objects)
        if wrong:
            raise Problem(
                "object",
                wrong[0],
                f"is not in the bucket as it is in the set ({len(wrong)} are not)",
                "make restore, again",
            )
        print("the database", file=sys.stderr, flush=True)
        database.restore(sets.path(found.id, sets.DUMP), request.mark)
        with database.moment() as moment:
            unlike = database.differences(found.manifest["database"]["tables"], moment.rows())
        if unlike:
            raise Problem("database", "rows", "; ".join(unlike), "make restore, again")
        if others:
            objects.remove(others)
        return {"objects": len(found.objects), "counts": found.manifest["counts"]}
