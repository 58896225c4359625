"""Known flaws of Go programs: the Go project's own `govulncheck`, over the Go project's own list of them.

The list is published as a web site and, with the same content, as a Go module. The module is what a machine behind a
package mirror reaches, so it is what is asked, everywhere: its newest version, each time.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from toolchain import go_modules, paths, store
from toolchain.errors import ToolchainError
from toolchain.supply.finding import Finding, NotCheckedError

_LIST: Final = "golang.org/x/vulndb"
_SECONDS: Final = 180

_PROGRAM: Final = go_modules.Program(
    what="govulncheck",
    package="golang.org/x/vuln/cmd/govulncheck",
    sources=Path(__file__).parent,
    ldflags="",
    mend="check that Go modules can be had (go env GOPROXY), then run it again",
)


class Checker:
    """Looks Go programs up in the list of known flaws."""

    def __init__(self) -> None:
        """Get the program and the newest list.

        Raises:
            NotCheckedError: One of them can't be had.
        """
        try:
            self._program = _program()
            self._list, version = _newest_list()
        except ToolchainError as error:
            raise NotCheckedError(str(error)) from error
        day = re.search(r"-(\d{4})(\d\d)(\d\d)\d{6}-", version)
        self.as_of = "-".join(day.groups()) if day else version

    def check(self, binary: Path) -> list[Finding]:
        """The known flaws of the modules that are in a program, and of Go's own library.

        Whether the program ever reaches the flawed code can't be told: its symbols are stripped.

        Raises:
            NotCheckedError: The program can't be read.
        """
        answer = subprocess.run(
            [self._program, "-mode=binary", "-scan=module", f"-db=file://{self._list}", "-format=json", binary],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        if answer.returncode:
            raise NotCheckedError(f"govulncheck: {answer.stderr.strip().splitlines()[-1:]}")
        messages = list(_messages(answer.stdout))
        aliases = {entry["id"]: entry.get("aliases") or [] for entry in _all(messages, "osv")}
        return sorted({_finding(entry, aliases) for entry in _all(messages, "finding")})


def _finding(entry: dict[str, Any], aliases: dict[str, list[str]]) -> Finding:
    place, flaw = entry["trace"][0], str(entry["osv"])
    others = sorted({name for name in aliases.get(flaw, []) if name.startswith("CVE-")})
    shown = f"{flaw} ({', '.join(others)})" if others else flaw
    return Finding("go", str(place["module"]), str(place["version"]), str(entry.get("fixed_version") or ""), shown)


def _messages(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that stand one after the other in a text."""
    decoder, position = json.JSONDecoder(), 0
    while found := re.compile(r"\S").search(text, position):
        message, position = decoder.raw_decode(text, found.start())
        yield message


def _all(messages: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [message[kind] for message in messages if kind in message]


def _program() -> Path:
    """govulncheck, built once and kept in the cache."""
    directory = paths.cache_root() / f"govulncheck-{store.key(sys.platform, *_PROGRAM.inputs())}"
    return store.entry(directory, lambda folder: _PROGRAM.build(folder / "govulncheck")) / "govulncheck"


def _newest_list() -> tuple[Path, str]:
    """The folder of the list, as govulncheck reads it, and its version."""
    with go_modules.toolchain() as (go, environment):
        version = str(_ask([go, "list", "-m", "-json", f"{_LIST}@latest"], environment)["Version"])
        directory = paths.cache_root() / f"vulndb-{version}"

        def fill(folder: Path) -> None:
            module = _ask([go, "mod", "download", "-json", f"{_LIST}@{version}"], environment)
            _convert(Path(module["Dir"]) / "data" / "osv", folder)

        store.entry(directory, fill)
    for older in paths.cache_root().glob("vulndb-*"):
        if older != directory:
            shutil.rmtree(older, ignore_errors=True)
    return directory, version


def _ask(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """What a command of Go answers, in JSON.

    Raises:
        NotCheckedError: It does not.
    """
    try:
        answer = subprocess.run(
            command, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise NotCheckedError(f"the module proxy did not give {_LIST} within {_SECONDS} s") from None
    if answer.returncode:
        said = (answer.stderr.strip() or answer.stdout.strip()).splitlines()
        raise NotCheckedError(f"the module proxy does not give {_LIST}: {said[-1] if said else 'no reason given'}")
    return json.loads(answer.stdout)


def _convert(entries: Path, folder: Path) -> None:
    """Lay the entries of the list out as the web site does: one file each, and two indexes."""
    (folder / "ID").mkdir()
    (folder / "index").mkdir()
    modules: dict[str, dict[str, dict[str, str]]] = {}
    for path in sorted(entries.glob("*.json")):
        text = path.read_text(encoding="utf-8")
        entry: dict[str, Any] = json.loads(text)
        (folder / "ID" / path.name).write_text(text, encoding="utf-8")
        for affected in entry["affected"]:
            flaws = modules.setdefault(affected["package"]["name"], {})
            flaws[entry["id"]] = {"id": entry["id"], "modified": entry["modified"]}
    if not modules:
        raise NotCheckedError(f"{_LIST} holds no entries any more where this program looks for them")
    index = [{"path": name, "vulns": list(flaws.values())} for name, flaws in sorted(modules.items())]
    (folder / "index" / "modules.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "index" / "db.json").write_text('{"modified": "0001-01-01T00:00:00Z"}', encoding="utf-8")
