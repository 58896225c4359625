"""The credentials that are in use are read from the containers when one of either may have changed, and only then."""

from __future__ import annotations

import time

from tests.stack.harness import Stack


def _reads(stack: Stack) -> int:
    """How often Docker is asked for files of the stack's containers while it is deployed."""
    begun = time.time()
    stack.up().ok()
    return len(
        list(
            stack.client.events(
                since=f"{begun:.6f}",  # pyright: ignore[reportArgumentType] - the daemon takes fractions of a second
                until=f"{time.time():.6f}",  # pyright: ignore[reportArgumentType]
                filters={"event": "archive-path", "label": f"mlflow-stack.stack={stack.name}"},
                decode=True,
            )
        )
    )


def test_they_are_not_read_again_where_neither_they_nor_the_containers_have_changed(stack: Stack) -> None:
    stack.up().ok()
    assert _reads(stack) == 0
    remembered = stack.checkout.root / ".local" / "in-use" / stack.name
    remembered.unlink()
    assert _reads(stack) >= 4, "or this test counts something else"
    assert remembered.exists()
    assert _reads(stack) == 0
