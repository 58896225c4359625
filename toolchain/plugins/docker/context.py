"""Build contexts: what is in them, their digest, and the archive the daemon gets.

The digest is the vendor's (pulumi-docker, provider/provider.go, hashContext), so that a stack keeps its image when it
changes from one plugin to the other.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of an ignore file."""

    expression: re.Pattern[str]
    keeps: bool


def ignore_rules(context: str, dockerfile: str) -> list[Rule]:
    """Read `<Dockerfile>.dockerignore`, else the context's `.dockerignore`."""
    for path in (Path(f"{dockerfile}.dockerignore"), Path(context) / ".dockerignore"):
        if path.is_file():
            return [_rule(line) for line in _lines(path.read_text(encoding="utf-8-sig"))]
    return []


def _lines(text: str) -> Iterator[str]:
    for raw in text.splitlines():
        line = raw.strip()
        if not line or raw.startswith("#"):
            continue
        keeps = line.startswith("!")
        pattern = line[1:].strip() if keeps else line
        if not pattern:
            continue
        cleaned = os.path.normpath(pattern)
        if len(cleaned) > 1:
            cleaned = cleaned.lstrip("/")
        yield f"!{cleaned}" if keeps else cleaned


def _rule(line: str) -> Rule:
    keeps = line.startswith("!")
    return Rule(re.compile(_expression(line[1:] if keeps else line)), keeps)


def _expression(pattern: str) -> str:
    """Translate a pattern as moby/patternmatcher does: `**` crosses folders, `*` and `?` do not."""
    out = "^"
    index = 0
    while index < len(pattern):
        char = pattern[index]
        if pattern.startswith("**", index):
            index += 2
            if pattern.startswith("/", index):
                index += 1
            out += ".*" if index >= len(pattern) else "(.*/)?"
            continue
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "\\" and index + 1 < len(pattern):
            index += 1
            out += re.escape(pattern[index])
        elif char in "[]":
            out += char
        else:
            out += re.escape(char)
        index += 1
    return out + "$"


def ignored(path: str, rules: list[Rule]) -> bool:
    """Say whether a path (relative to the context) is left out; what is in an ignored folder is, too."""
    parents = [str(each) for each in PurePosixPath(path).parents if str(each) != "."]
    out = False
    for rule in rules:
        if rule.keeps == out and any(rule.expression.match(each) for each in (path, *parents)):
            out = not rule.keeps
    return out


def files(context: str, rules: list[Rule]) -> list[tuple[str, os.stat_result]]:
    """Return the files of a context, folders left out, in the vendor's order."""
    found: list[tuple[str, os.stat_result]] = []
    keeps = any(rule.keeps for rule in rules)

    def walk(folder: str, prefix: str) -> None:
        for entry in sorted(os.scandir(folder), key=lambda each: each.name):
            path = f"{prefix}{entry.name}"
            out = ignored(path, rules)
            if entry.is_dir(follow_symlinks=False):
                if not out or keeps:
                    walk(entry.path, f"{path}/")
            elif not out:
                found.append((path, entry.stat(follow_symlinks=False)))

    walk(context or ".", "")
    return found


def _go_mode(mode: int) -> str:
    """Write a file mode as Go prints it."""
    kinds = {stat.S_IFLNK: "L", stat.S_IFSOCK: "S", stat.S_IFIFO: "p", stat.S_IFBLK: "D", stat.S_IFCHR: "Dc"}
    special = "".join(
        mark for bit, mark in ((stat.S_ISUID, "u"), (stat.S_ISGID, "g"), (stat.S_ISVTX, "t")) if mode & bit
    )
    prefix = kinds.get(stat.S_IFMT(mode), "")
    # Go's order of marks is "dalTLDpSugct?": type marks first, then set-id ones; '-' when there is none.
    prefix = f"{prefix}{special}" or "-"
    return prefix + "".join(char if mode & (1 << (8 - place)) else "-" for place, char in enumerate("rwxrwxrwx"))


def digest(context: str, dockerfile: str) -> str:
    """Return the digest over names, modes and contents.

    Raises:
        OSError: a file cannot be read.
    """
    total = hashlib.sha256()

    def add(path: Path, name: str, mode: int, *, link: bool) -> None:
        inner = hashlib.sha256()
        if link:
            inner.update(os.path.realpath(path, strict=True).encode() if path.is_absolute() else _relative_target(path))
        elif stat.S_ISREG(mode) or mode == 0:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    inner.update(block)
        total.update(os.path.normpath(name).encode() + _go_mode(mode).encode() + inner.digest() + b"\0")

    add(Path(dockerfile), "Dockerfile", 0, link=False)
    for name, status in files(context, ignore_rules(context, dockerfile)):
        add(Path(context) / name, name, status.st_mode, link=stat.S_ISLNK(status.st_mode))
    return total.hexdigest()


def _relative_target(path: Path) -> bytes:
    """Return what Go's EvalSymlinks makes of a relative path: relative, unless a link is absolute."""
    current = path
    for _ in range(255):
        if not current.is_symlink():
            return os.path.normpath(current).encode()
        target = current.readlink()
        current = target if target.is_absolute() else Path(os.path.normpath(current.parent / target))
    msg = f"too many links: {path}"
    raise OSError(msg)


def relative_dockerfile(context: str, dockerfile: str) -> str:
    """Return the Dockerfile's path in the context; it begins with `../` when it lies outside."""
    return os.path.relpath(Path(dockerfile).resolve(), Path(context).resolve())


def archive(context: str, dockerfile: str) -> tuple[bytes, str]:
    """Return the context as a tar archive owned by root, and the Dockerfile's name in it."""
    rules = ignore_rules(context, dockerfile)
    inside = relative_dockerfile(context, dockerfile)
    buffer = io.BytesIO()

    def root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for folder in _folders(context, rules):
            tar.add(Path(context) / folder, folder, recursive=False, filter=root)
        names = [name for name, _ in files(context, rules)]
        for name in names:
            tar.add(Path(context) / name, name, recursive=False, filter=root)
        if inside.startswith("../"):
            inside = f".dockerfile.{hashlib.sha256(dockerfile.encode()).hexdigest()[:20]}"
            tar.add(dockerfile, inside, recursive=False, filter=root)
        elif inside not in names:
            tar.add(dockerfile, inside, recursive=False, filter=root)
    return buffer.getvalue(), inside


def _folders(context: str, rules: list[Rule]) -> list[str]:
    found: list[str] = []
    for folder, names, _ in os.walk(context or "."):
        names.sort()
        path = os.path.relpath(folder, context or ".")
        if path != "." and not ignored(path, rules):
            found.append(path)
    return found
