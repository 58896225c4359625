"""Recorded requests to the official plugins, and the answers the plugins here must give alike.

    python -m tests.toolchain.recording LOG... >fixtures/NAME.json

makes a recording from logs that the engine wrote with PULUMI_DEBUG_GRPC=LOG (see fixtures/README.md).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent / "fixtures"
#: Stands for the checkout, in a recording.
HERE = "@HERE@"

#: What is asked without a server; Create and Update only in a preview.
_REPLAYED = ("CheckConfig", "DiffConfig", "Configure", "Check", "Diff", "Create", "Update")
_NEEDS_PREVIEW = ("Create", "Update")
_NOT_OF_THE_REQUEST = ("resourceStatusAddress", "resourceStatusToken")
_SECRET_NAME = re.compile("password|secret", re.IGNORECASE)
#: A secret that may be in a recording begins like this.
DUMMY = "dummy-"


def _exchanges(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for line in lines:
        each = json.loads(line)
        service, _, method = each["method"].rpartition("/")
        request = each["request"]
        if (
            service != "/pulumirpc.ResourceProvider"
            or each["progress"] != "response_completed"
            or method not in _REPLAYED
            or (method in _NEEDS_PREVIEW and not request.get("preview"))
        ):
            continue
        for name in _NOT_OF_THE_REQUEST:
            request.pop(name, None)
        exchange = {
            "plugin": each["metadata"]["name"],
            "method": method,
            "request": request,
            "response": each.get("response", {}),
        }
        text = json.dumps(exchange, sort_keys=True)
        if text not in seen:
            seen.add(text)
            yield exchange


def _leaks(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            # A secret's value has no name of its own.
            yield from _leaks(item, name if key == "value" else key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaks(item, name)
    elif isinstance(value, str) and _SECRET_NAME.search(name) and value and not value.startswith(DUMMY):
        yield f"{name}: does not begin with {DUMMY!r}"


def recorded(logs: Iterable[Path], here: Path) -> list[dict[str, Any]]:
    """A recording from logs.

    Args:
        logs: In the order in which they were written.
        here: The checkout on the machine where they were written.
    """
    lines = [line.replace(str(here), HERE) for log in logs for line in log.read_text().splitlines()]
    return list(_exchanges(lines))


def recording(name: str, here: Path) -> list[dict[str, Any]]:
    """The exchanges of a fixture, with the paths of this machine."""
    return json.loads((FIXTURES / name).read_text().replace(HERE, str(here)))


def _main() -> int:
    here = Path(__file__).resolve().parents[2]
    exchanges = recorded((Path(each) for each in sys.argv[1:]), here)
    leaks = sorted({leak for each in exchanges for leak in _leaks(each)})
    if leaks:
        sys.stderr.write("\n".join(["no recording of real secrets:", *leaks, ""]))
        return 1
    lines = ",\n".join(json.dumps(each, sort_keys=True) for each in exchanges)
    sys.stdout.write(f"[\n{lines}\n]\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
