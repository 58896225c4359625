"""Run the MinIO plugin."""

from __future__ import annotations

from toolchain.plugins.minio.provider import make
from toolchain.plugins.server import serve

serve(make())
