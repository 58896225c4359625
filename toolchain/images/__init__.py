"""Base images: from the vendors where a registry can be reached, else built from packages."""

from __future__ import annotations

from toolchain.images.resolver import ImageSources, Mode, recorded, resolve

__all__ = ["ImageSources", "Mode", "recorded", "resolve"]
