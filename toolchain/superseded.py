"""What a deployment leaves behind on the Docker host: images that the stack ran before, and layers of old builds.

Nothing is pruned that is not ours: an image goes by its name, which the state before the deployment knew, and a layer
by the label that our Dockerfiles put on it.
"""

from __future__ import annotations

from typing import Final

from toolchain import deployment
from toolchain.deployment import Deployment
from toolchain.docker_objects import LABEL, Objects
from toolchain.say import say

#: Hours that a layer without a name is kept: a build that changes little takes it over, which saves minutes.
KEPT_HOURS: Final = 14 * 24


def clear(objects: Objects, before: Deployment, after: Deployment) -> None:
    """Remove images that the stack ran before and that no container uses, and layers that no build took over for long.

    Images from a registry and base images stay: `make update BACK=1` goes back to those before.

    Args:
        objects: Those of the stack.
        before: Its state before the deployment.
        after: Its state now.
    """
    now = set(after.images(deployment.IMAGE))
    gone = objects.remove_images(name for name in before.images(deployment.IMAGE) if name not in now)
    if gone:
        say(f"  images that the stack ran before, removed: {', '.join(gone)}")
    objects.remove_layers({"dangling": True, "label": [f"{LABEL}.project={LABEL}"], "until": f"{KEPT_HOURS}h"})
