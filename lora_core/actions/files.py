"""Files on their way out of the studio: local copies for reading, zips and CSVs made while they are sent."""

import csv
import errno
import io
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable
from uuid import UUID

from lora_core.actions.workspace import Workspace
from lora_core.errors import DiskFull, Unavailable
from lora_core.schema.artifact import Artifact
from lora_core.schema.base import new_id
from lora_core.schema.dataset import Dataset

CHUNK_BYTES = 1 << 20
CACHE_BYTES = 20 * 2**30
"""Most bytes of copies that are kept on this machine, of all people together."""


@runtime_checkable
class HasLocalPath(Protocol):
    """Extra power of a blob store whose files lie on this machine."""

    def path(self, bucket: str, key: str) -> Path:
        """Return where the file is."""


@runtime_checkable
class HasSignedUrls(Protocol):
    """Extra power of a blob store that can open a file to somebody without a session, for a while."""

    def signed_url(self, bucket: str, key: str, *, seconds: int) -> str:
        """Return the address; whoever has it can read the file until then."""


@runtime_checkable
class HasListing(Protocol):
    """Extra power of a blob store that can say which files a person has."""

    def keys(self, bucket: str) -> Iterator[str]:
        """Yield the keys of a person's files in a bucket."""


def local_copy(workspace: Workspace, dataset: Dataset) -> Path:
    """Return a path on this machine that holds the data set's file, fetching it once if the store is elsewhere.

    Copies lie in a folder of the person, so that nothing fetched for one can be handed to another.

    Raises:
        NotFound: The file is gone.
        DiskFull: No space left for the copy.
        Unavailable: The store does not answer, or something else has answered for it.
    """
    blobs = workspace.blobs
    if isinstance(blobs, HasLocalPath):
        return blobs.path(dataset.storage_bucket, dataset.storage_path)
    copy = _copies(workspace) / str(UUID(dataset.id))
    if copy.exists():
        os.utime(copy)
        return copy
    with blobs.open(dataset.storage_bucket, dataset.storage_path) as source:
        (workspace.settings.root / "cache").mkdir(mode=0o700, parents=True, exist_ok=True)
        copy.parent.mkdir(parents=True, exist_ok=True)
        _make_room(workspace, dataset.bytes)
        temporary = copy.with_name(f".{copy.name}.{new_id()}")
        try:
            with temporary.open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
            if (
                temporary.stat().st_size != dataset.bytes
            ):  # it would be kept, and read as the data set from now on
                raise Unavailable("The file of the data set did not arrive whole.", "Try again in a moment.")
            temporary.replace(copy)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise DiskFull("The disk of the studio's machine is full.", "Free some space there.") from error
        finally:
            temporary.unlink(missing_ok=True)
    return copy


def drop_local_copy(workspace: Workspace, dataset_id: str) -> None:
    """Remove what was fetched of a data set; nothing fetched is no error."""
    (_copies(workspace) / str(UUID(dataset_id))).unlink(missing_ok=True)


def _copies(workspace: Workspace) -> Path:
    return workspace.settings.root / "cache" / str(UUID(workspace.user_id)) / "datasets"


def _make_room(workspace: Workspace, wanted_bytes: int) -> None:
    """Remove the copies of this machine that were not used for longest, until all of them stay within `CACHE_BYTES`."""
    found = []
    for path in (workspace.settings.root / "cache").glob("*/datasets/*"):
        try:
            facts = path.stat()
        except FileNotFoundError:  # another thread was faster
            continue
        found.append((facts.st_mtime, facts.st_size, path))
    held = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if held + wanted_bytes <= CACHE_BYTES:
            return
        path.unlink(missing_ok=True)
        held -= size


def chunks_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yield a stream in chunks of at most 1 MiB and close it."""
    with stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def zip_of(workspace: Workspace, artifacts: Iterable[Artifact], *, folders: bool = False) -> Iterator[bytes]:
    """Yield a zip of the artifacts' files, made while it is read: memory stays at one chunk whatever the size.

    Args:
        folders: Put each artifact's files under a folder named after it; else all at the top.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for artifact in artifacts:
            for file in artifact.files:
                name = f"{artifact.name}/{file.name}" if folders else file.name
                entry = zipfile.ZipInfo(name, artifact.created_at.timetuple()[:6])
                entry.file_size = file.bytes
                entry.external_attr = 0o644 << 16
                with (
                    workspace.artifacts.open(artifact.id, file.name) as source,
                    archive.open(entry, "w") as target,
                ):
                    for chunk in chunks_of(source):
                        target.write(chunk)
                        yield from sink.drain()
    yield from sink.drain()


def csv_of(header: list[str], rows: Iterable[list[object]]) -> Iterator[bytes]:
    """Yield CSV text in UTF-8, a block of rows at a time."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    for count, row in enumerate(rows, 1):
        writer.writerow(row)
        if count % 500 == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


class _Sink(io.RawIOBase):
    """A write-only stream that hands out what was written; zipfile sees that it cannot seek and adapts."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        self._parts.append(bytes(data))
        return len(data)

    def drain(self) -> Iterator[bytes]:
        parts, self._parts = self._parts, []
        yield from parts
