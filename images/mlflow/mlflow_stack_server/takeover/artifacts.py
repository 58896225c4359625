"""The artifacts of the source: found in a folder or in S3, and copied into the bucket.

What is there already, with the same size, is not copied again: so an import that was cut off goes on where it was.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mlflow_stack_server.errors import LauncherError, RefusedError
from mlflow_stack_server.takeover import order as orders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow_stack_server.takeover.locations import Thing
    from mlflow_stack_server.takeover.order import Order

_AT_ONCE: Final = 8
_PROXIED: Final = "mlflow-artifacts:"


@dataclass(frozen=True)
class Piece:
    """One file of a thing.

    Attributes:
        path: Below the thing, with slashes.
        size: In bytes.
        where: A path of this container, or bucket and key.
    """

    path: str
    size: int
    where: Path | tuple[str, str]


class Reader:
    """Finds the files of a thing; it only reads."""

    def __init__(self, order: Order) -> None:
        """Prepare without asking anything."""
        self._order = order
        self._s3: Any = None

    def pieces(self, thing: Thing) -> Iterator[Piece]:
        """Give the files of a thing; none where it has none.

        Raises:
            RefusedError: They are at a place that can't be read, or S3 refuses.
        """
        uri = thing.old
        if uri.startswith(_PROXIED):
            uri = self._behind_the_server(uri)
        parts = urlsplit(uri)
        if parts.scheme == "s3":
            yield from self._in_s3(parts.netloc, parts.path.strip("/"))
        elif parts.scheme in ("", "file"):
            yield from self._in_folder(self._folder(parts.path, thing))
        else:
            message = (
                f"ARTIFACTS: {thing.old}: only folders and S3 can be read. "
                "mend: copy them to one of those, and name it by ARTIFACTS="
            )
            raise RefusedError(message)

    def upload(self, piece: Piece, target: Any, bucket: str, key: str) -> None:  # noqa: ANN401 - a client of boto3
        """Copy a file into the bucket."""
        if isinstance(piece.where, Path):
            target.upload_file(str(piece.where), bucket, key)
            return
        source_bucket, source_key = piece.where
        body = self._client().get_object(Bucket=source_bucket, Key=source_key)["Body"]
        target.upload_fileobj(body, bucket, key)

    def _behind_the_server(self, uri: str) -> str:
        """Give the URI of what a server that passes artifacts on calls by its own address."""
        if not self._order.artifacts:
            message = (
                f"ARTIFACTS: (not set): {uri} says only what the server calls it. "
                "mend: make import FROM=… ARTIFACTS=./mlartifacts (or s3://bucket: its --artifacts-destination)"
            )
            raise RefusedError(message)
        return f"{self._order.artifacts.rstrip('/')}/{urlsplit(uri).path.strip('/')}"

    def _folder(self, path: str, thing: Thing) -> Path:
        """Give the folder in this container of one that the source knows under a path of its own machine."""
        given = self._order.artifacts.rstrip("/")
        if given and (path == given or path.startswith(f"{given}/")):
            return orders.FILES / path[len(given) :].strip("/")
        # It was moved since: below the folder of the experiment all is as it was.
        home = thing.home.rsplit("/", 1)[0]
        if home and path.startswith(f"{home}/"):
            return orders.FILES / path[len(home) :].strip("/")
        message = (
            f"ARTIFACTS: {path}: is not below {given or 'a folder that was given'}. "
            "mend: make import FROM=… ARTIFACTS=the folder that has the folders of the experiments"
        )
        raise RefusedError(message)

    def _in_folder(self, folder: Path) -> Iterator[Piece]:
        for parent, _, names in os.walk(folder):
            for name in names:
                path = Path(parent) / name
                yield Piece(path.relative_to(folder).as_posix(), path.stat().st_size, path)

    def _in_s3(self, bucket: str, prefix: str) -> Iterator[Piece]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            for page in self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
                for entry in page.get("Contents", []):
                    key = str(entry["Key"])
                    yield Piece(key[len(prefix) + 1 :], int(entry["Size"]), (bucket, key))
        except (BotoCoreError, ClientError) as error:
            message = (
                f"ARTIFACTS: s3://{bucket}/{prefix}: {error}. "
                "mend: make import FROM=… S3_ENDPOINT=http://host:9000 S3_CREDENTIALS=a file like ~/.aws/credentials"
            )
            raise RefusedError(message) from None

    def _client(self) -> Any:  # noqa: ANN401
        if self._s3 is None:
            import boto3  # noqa: PLC0415
            import botocore.session  # noqa: PLC0415
            from botocore.config import Config  # noqa: PLC0415

            session = botocore.session.Session()
            session.set_config_variable("credentials_file", str(self._order.s3_credentials))
            self._s3 = boto3.Session(botocore_session=session).client(
                "s3",
                endpoint_url=self._order.s3_endpoint or None,
                config=Config(
                    signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=_AT_ONCE + 2
                ),
            )
        return self._s3


def copy(
    reader: Reader,
    things: list[Thing],
    target: Any,  # noqa: ANN401 - a client of boto3
    bucket: str,
    say: Callable[[str], None],
) -> dict[str, int]:
    """Copy the files of all things.

    Args:
        reader: Of the source.
        things: What has files.
        target: Client of the bucket.
        bucket: Its name.
        say: Takes a line now and then.

    Returns:
        Each object that the source's files became, with its size in bytes.

    Raises:
        LauncherError: A file could not be copied.
    """
    wanted: dict[str, tuple[Piece, int]] = {}
    for thing in things:
        for piece in reader.pieces(thing):
            wanted[f"{thing.key}/{piece.path}"] = (piece, piece.size)
    present = sizes(target, bucket)
    missing = {key: piece for key, (piece, size) in wanted.items() if present.get(key) != size}
    total = sum(size for _, size in wanted.values())
    say(f"{len(wanted)} files, {total} bytes; {len(wanted) - len(missing)} of them are there already")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        copies = {key: pool.submit(reader.upload, piece, target, bucket, key) for key, piece in missing.items()}
        for done, (key, each) in enumerate(copies.items(), 1):
            try:
                each.result()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next import goes on
                pool.shutdown(cancel_futures=True)
                message = f"import: {key}: could not be copied: {error}. mend: make import, which goes on from here"
                raise LauncherError(message) from None
            if done % 1000 == 0:
                say(f"{done} of {len(missing)} files copied")
    return {key: size for key, (_, size) in wanted.items()}


def sizes(client: Any, bucket: str) -> dict[str, int]:  # noqa: ANN401
    """Give the size of each object in a bucket."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {str(entry["Key"]): int(entry["Size"]) for page in pages for entry in page.get("Contents", [])}
