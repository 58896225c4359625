"""Run the PostgreSQL plugin."""

from __future__ import annotations

from toolchain.plugins.postgresql.provider import make
from toolchain.plugins.server import serve

serve(make())
