"""A client of the Docker host that the environment names, which speaks the version of the API that the host does.

The library asks `/version` for that, and the daemon starts two programs for each answer (moby, `daemon/info_unix.go`).
It says the same in the head of its answer to a ping.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from docker import DockerClient

_HEAD: Final = "Api-Version"


def connect(timeout: float) -> DockerClient:
    """A client of a host that answers.

    Args:
        timeout: Seconds that the host may take for an answer.

    Raises:
        docker.errors.DockerException: It does not answer, or its socket may not be used.
    """
    import docker  # noqa: PLC0415 - slow to import; a unit test of the program does without
    import requests  # noqa: PLC0415 - as above
    from docker.constants import MINIMUM_DOCKER_API_VERSION  # noqa: PLC0415 - as above
    from docker.errors import DockerException  # noqa: PLC0415 - as above

    seconds: int = timeout  # pyright: ignore[reportAssignmentType] - may be a float, which its types don't say
    if os.environ.get("DOCKER_HOST", "").startswith("ssh://"):  # where each client is a connection of its own
        return docker.from_env(timeout=seconds)
    asking = docker.from_env(version=MINIMUM_DOCKER_API_VERSION, timeout=seconds)
    try:
        answer = asking.api.get(f"{asking.api.base_url}/_ping", timeout=seconds)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise DockerException(f"no answer from the Docker daemon: {error}") from error
    finally:
        asking.close()
    return docker.from_env(version=answer.headers.get(_HEAD, "auto"), timeout=seconds)
