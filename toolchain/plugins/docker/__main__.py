"""Run the Docker plugin."""

from __future__ import annotations

from toolchain.plugins.docker.provider import make
from toolchain.plugins.server import serve

serve(make())
