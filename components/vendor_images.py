"""The vendors' images, in one place: what runs where a registry can be reached.

Every reference bears an exact version tag for people and the digest of its multi-architecture index for Docker.
No digest here comes from a single source: each one stands in the files of several unrelated public projects, next
to the same tag. A stack's own settings, and images built from packages, take precedence (see `components.image`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: Role → reference, under the keys of `.local/images.json`.
VENDOR_IMAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "postgresImage": "postgres:18.4@sha256:3a82e1f56c8f0f5616a11103ac3d47e632c3938698946a7ad26da0df1334744a",
        "gatewayImage": "caddy:2.10.2@sha256:c3d7ee5d2b11f9dc54f947f68a734c84e9c9666c92c88a7f30b9cba5da182adb",
        # Python 3.11.16. The tag moves with patch releases; the digest does not.
        "pythonImage": (
            "python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b"
        ),
        "goImage": "golang:1.27.1-bookworm@sha256:648f440f42a0958804efb24df176f806f9d353b41f1c0627f666428e40310f6b",
        "debianImage": "debian:bookworm-slim@sha256:63a496b5d3b99214b39f5ed70eb71a61e590a77979c79cbee4faf991f8c0783e",
    }
)
