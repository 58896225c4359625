"""`sbom`: what is in each image that the stack runs, as CycloneDX JSON."""

from __future__ import annotations

import json

from toolchain import engine, paths
from toolchain.docker_objects import Objects
from toolchain.errors import DONE
from toolchain.session import check_name
from toolchain.supply import images, syft


def run(stack: str) -> int:
    """Run the command.

    Raises:
        RefusedError: The stack runs nothing.
        FailedError: syft can't be had, or can't read an image.
    """
    check_name(stack)
    engine.require()
    name = stack.rpartition("/")[2]
    found = images.of(Objects(name))
    program = syft.program()
    folder = paths.ensure_local_dir() / "sbom" / name
    folder.mkdir(parents=True, exist_ok=True)
    for image in found:
        target = folder / f"{image.roles[0]}.cdx.json"
        syft.write(program, image.id, image.reference, target)
        count = len(json.loads(target.read_text(encoding="utf-8")).get("components") or ())
        print(f"{image.title}\n  {target.relative_to(paths.PROJECT_DIR)}: {count} components", flush=True)
    return DONE
