"""Looks for credentials where none may be: everything that a person or a process beside the stack can read.

Places, each with a collector: `docker inspect` of every container and image, `docker history` of every image,
arguments and environment of every process on this host (those in containers are among them), every container's
log and the files under its /tmp, the files that the commands keep in the project, the exported state and the
state's own files with their history, what Pulumi logs of its runs, and what the commands printed.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, quote_plus

import docker
import docker.errors
from docker.models.containers import Container

from tests.stack.harness import STACK_LABEL, Stack

#: Files of a container's /tmp beyond this size in bytes are data, not notes.
_LARGEST_FILE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Something that was read.

    Attributes:
        name: Where it was found, for a person.
        content: What stands there.
    """

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Leak:
    """A credential where none may be.

    Attributes:
        place: Where.
        credential: Its key in the stack's config; never its value.
        spelling: In which form.
    """

    place: str
    credential: str
    spelling: str


def spellings(value: str) -> dict[str, bytes]:
    """The forms in which a credential may stand somewhere: plain, URL-encoded, as JSON, base64 at each offset.

    Base64 packs three bytes into four characters, so inside a longer text one value has three forms; the
    characters at its ends that are mixed with its neighbours are left out.
    """
    forms = {
        "plain": value,
        "URL-encoded": quote(value, safe=""),
        "form-encoded": quote_plus(value),
        "JSON": json.dumps(value)[1:-1],
    }
    raw = value.encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        mixed_with_what_stands_before = (0, 2, 3)[offset]
        mixed_with_what_stands_after = 1 if (offset + len(raw)) % 3 else 0
        inner = encoded[mixed_with_what_stands_before : len(encoded) - mixed_with_what_stands_after]
        forms[f"base64, offset {offset}"] = inner
        forms[f"URL-safe base64, offset {offset}"] = inner.replace("+", "-").replace("/", "_")
    return {name: form.encode() for name, form in forms.items()}


def search(places: Iterator[Place], credentials: Mapping[str, str]) -> tuple[list[Leak], int]:
    """Look for every spelling of every credential in every place.

    Returns:
        What was found, and how many places were read.
    """
    forms = {key: spellings(value) for key, value in credentials.items()}
    leaks: list[Leak] = []
    read = 0
    for place in places:
        read += 1
        for key, spelled in forms.items():
            # One credential in one place is one finding, whatever the number of its spellings.
            found = next((name for name, form in spelled.items() if form in place.content), None)
            if found is not None:
                leaks.append(Leak(place.name, key, found))
    return leaks, read


def containers_and_images(client: docker.DockerClient) -> Iterator[Place]:
    """`docker inspect` of all containers and images, `docker history` of all images."""
    for container in client.containers.list(all=True, ignore_removed=True):
        yield Place(f"docker inspect {container.name}", json.dumps(container.attrs).encode())
    for listed in client.api.images(all=True):
        try:
            image = client.images.get(listed["Id"])
        except docker.errors.ImageNotFound:
            continue  # removed meanwhile by someone else
        name = next(iter(image.tags), str(image.id))
        yield Place(f"docker inspect {name}", json.dumps(image.attrs).encode())
        yield Place(f"docker history {name}", json.dumps(image.history()).encode())


def processes(proc: Path = Path("/proc")) -> Iterator[Place]:
    """Arguments and environment of every process of this host, those in containers among them."""
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        for what in ("cmdline", "environ"):
            try:
                content = (folder / what).read_bytes()
            except OSError:
                continue  # ended meanwhile, or a kernel thread
            if content:
                command = content.split(b"\0")[0].decode(errors="replace") if what == "cmdline" else ""
                yield Place(f"/proc/{folder.name}/{what} {command}".rstrip(), content)


def container_logs(client: docker.DockerClient, stack: str) -> Iterator[Place]:
    """Everything the stack's containers printed, and all files under their /tmp."""
    for container in client.containers.list(all=True, ignore_removed=True, filters={"label": f"{STACK_LABEL}={stack}"}):
        yield Place(f"docker logs {container.name}", bytes(container.logs()))
        yield from _files_in(container, "/tmp")
        yield from _files_in(container, "/var/log")


def _files_in(container: Container, path: str) -> Iterator[Place]:
    try:
        stream, _ = container.get_archive(path)
    except docker.errors.NotFound:
        return
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() and member.size < _LARGEST_FILE else None
            if file is not None:
                yield Place(f"{container.name}:/{member.name}", file.read())


def project_files(stack: Stack) -> Iterator[Place]:
    """The stack file, and every file under `.local` but the passphrase: state, its history and backups, logs."""
    yield Place(stack.file.name, stack.file.read_bytes())
    local = stack.checkout.root / ".local"
    for path in sorted(local.rglob("*")):
        if path.is_file() and not path.is_socket():
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
            yield Place(str(path.relative_to(stack.checkout.root)), content)


def exported_state(stack: Stack) -> Iterator[Place]:
    """The state as `pulumi stack export` gives it, and the history of its updates."""
    for arguments in (("stack", "export"), ("stack", "history", "--json"), ("stack", "output", "--json"), ("config",)):
        yield Place(f"pulumi {' '.join(arguments)}", stack.pulumi(*arguments, record=False).ok().stdout.encode())


def logs_of_pulumi(stack: Stack) -> Iterator[Place]:
    """What Pulumi logs of its runs by itself, in its home: compressed, or encrypted where it knows by what."""
    with TemporaryDirectory() as home:
        for arguments in (("preview",), ("stack", "export"), ("stack", "output", "--show-secrets"), ("config",)):
            stack.pulumi(*arguments, record=False, environment={"PULUMI_HOME": home}).ok()
        for path in sorted(Path(home, "logs").iterdir()):
            content = path.read_bytes()
            is_compressed = content.startswith(b"\x1f\x8b")
            yield Place(f"pulumi's log {path.name}", gzip.decompress(content) if is_compressed else content)


def printed(stack: Stack) -> Iterator[Place]:
    """What the project's commands printed so far."""
    yield Place("what the commands printed", stack.checkout.transcript.read_bytes())


#: What reads which kind of place.
COLLECTORS: dict[str, Callable[[Stack], Iterator[Place]]] = {
    "docker": lambda stack: containers_and_images(stack.client),
    "processes": lambda _: processes(),
    "containers": lambda stack: container_logs(stack.client, stack.name),
    "project": project_files,
    "state": exported_state,
    "logs of pulumi": logs_of_pulumi,
    "printed": printed,
}


def everywhere(stack: Stack) -> Iterator[Place]:
    """All places, one after the other."""
    for collect in COLLECTORS.values():
        yield from collect(stack)
