"""Print every route of the server that is made as the tracking server makes it: run inside its container.

Prints JSON: a list of method and path, with `x` in place of what a path leaves open.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any

os.environ |= {
    "MLFLOW_AUTH_CONFIG_PATH": "/tmp/mlflow-auth.ini",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this listing alone",
    "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED": "true",
    "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    "_MLFLOW_SGI_NAME": "uvicorn",
}
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)


def _of_fastapi(routes: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if getattr(route, "methods", None):
            yield from ((method, prefix + route.path) for method in route.methods)
        elif included := getattr(route, "original_router", None):
            yield from _of_fastapi(included.routes, prefix + route.include_context.prefix)
        elif type(route).__name__ != "Mount":  # what is mounted is Flask, whose routes are listed below
            raise AssertionError(f"a route of a kind that is not known here: {route!r}")


def main() -> None:
    """Make the application and list its routes."""
    from mlflow.server import app as flask  # noqa: PLC0415 - reads the variables above
    from mlflow.server.auth import create_app  # noqa: PLC0415

    application: Any = create_app(flask)
    found = set(_of_fastapi(application.routes))
    found |= {(method, rule.rule) for rule in flask.url_map.iter_rules() for method in rule.methods or ()}
    paths = {(method, re.sub(r"<[^>]*>|\{[^}]*\}", "x", path)) for method, path in found}
    json.dump(sorted(paths), sys.stdout)


if __name__ == "__main__":
    main()
