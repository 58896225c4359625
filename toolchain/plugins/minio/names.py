"""Made-up names and checks of given ones."""

from __future__ import annotations

import itertools
import re
import threading
from datetime import UTC, datetime
from typing import Final

from toolchain.plugins.wire import Value

_counter = itertools.count(1)
_lock = threading.Lock()
_USER: Final = re.compile(r"^[0-9A-Za-z=,.@\-_+]+$")
_DISTINGUISHED: Final = re.compile(r"^(?:(CN=([^,]*)),)+(?:((?:(?:CN|OU)=[^,]+,?)+),)+((?:DC=[^,]+,?)+)$")
_POLICY: Final = re.compile(r"^[\w+=,.@:-]*$", re.ASCII)


def unique(prefix: str = "terraform-") -> str:
    """Return a name that sorts by time, as the plugin SDK makes them (26 characters after the prefix)."""
    stamp = datetime.now(UTC).strftime("%Y%m%d%H%M%S%f")[:18]
    with _lock:
        return f"{prefix}{stamp}{next(_counter):08x}"


def user(value: Value) -> str | None:
    """Say what is wrong with a user's name."""
    if _USER.match(value) or _DISTINGUISHED.match(value):
        return None
    return (
        "only alphanumeric characters, hyphens, underscores, commas, periods, @ symbols, plus and equals signs "
        f'allowed or a valid LDAP Distinguished Name (DN) in "name": "{value}"'
    )


def policy(value: Value) -> str | None:
    """Say what is wrong with a policy's name."""
    limit = 96
    if len(value) > limit:
        return '"name" cannot be longer than 96 characters, name is limited to 128'
    return None if _POLICY.match(value) else r'"name" must match [\w+=,.@:-]'
