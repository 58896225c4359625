"""How a failure reaches the engine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage

from toolchain.plugins.protocol import provider_pb2
from toolchain.plugins.wire import encode

if TYPE_CHECKING:
    from collections.abc import Generator

    from google.protobuf.message import Message

    from toolchain.plugins.resource import Partial
    from toolchain.plugins.wire import Properties

_UNKNOWN = 2  # grpc.StatusCode.UNKNOWN, what the vendors' plugins answer with


class Failed(Exception):  # noqa: N818 (carries an answer, is no error of its own)
    """A failure with a status to answer with."""

    def __init__(self, status: grpc.Status) -> None:
        super().__init__(status.details)
        self.status = status


class _Status(grpc.Status):
    def __init__(self, details: str, trailing: tuple[tuple[str, bytes], ...] = ()) -> None:
        self.code = grpc.StatusCode.UNKNOWN
        self.details = details
        self.trailing_metadata = trailing


@contextmanager
def reported(context: grpc.ServicerContext, verb: str = "", urn: str = "") -> Generator[None]:
    """End the call with what went wrong inside, if anything did."""
    try:
        yield
    except Failed as failed:
        context.abort_with_status(failed.status)
    except Exception as error:  # noqa: BLE001 (whatever it is, the engine is to hear of it)
        context.abort_with_status(_Status(f"{verb} {urn}: {error}" if verb else str(error)))


def half_made(half: Partial, properties: Properties, verb: str, urn: str) -> Failed:
    """Return a failure that keeps what exists in the state."""
    reason = f"{verb} {urn}: {half.reason}"
    detail = provider_pb2.ErrorResourceInitFailed(id=half.resource_id, properties=encode(properties), reasons=[reason])
    return Failed(_Status(reason, (("grpc-status-details-bin", _rich_status(reason, detail)),)))


def _rich_status(reason: str, detail: Message) -> bytes:
    """Write a `google.rpc.Status` (code 1, message 2, details 3) by hand: its package is not among those we have."""
    packed = AnyMessage()
    packed.Pack(detail)
    text, body = reason.encode(), packed.SerializeToString()
    return bytes((0x08, _UNKNOWN, 0x12)) + _varint(len(text)) + text + b"\x1a" + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >> 7:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
