"""Buckets as folders: files by key, written whole or not at all. Knows no person and no row."""

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lora_core.errors import DiskFull, NotFound, TooLarge, Unavailable
from lora_core.schema.artifact import ArtifactFile
from lora_core.schema.base import new_id
from lora_core.store.keys import check_key, files_of

CHUNK_BYTES = 2**20
RESERVE_BYTES = 64 * 2**20
"""Free space that is left to the database and the system."""

SWEEP_AFTER_SECONDS = 24 * 3600
CHECK_EVERY_BYTES = 64 * 2**20


class FileTree:
    """Files under `<root>/<bucket>/<key>`. Safe for several threads and processes.

    A crash leaves at most a file in `<root>/.incoming`, which a start on a later day removes.
    """

    def __init__(self, root: Path, max_object_bytes: int) -> None:
        self.root = root
        self.max_object_bytes = max_object_bytes
        self._incoming = root / ".incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def put(self, bucket: str, key: str, content: Iterable[bytes]) -> tuple[int, str]:
        """Write a file from chunks.

        Returns:
            (bytes, sha256 in hex).

        Raises:
            TooLarge: More than `max_object_bytes`.
            DiskFull: No space left.
        """
        target = self.path(bucket, key)
        temporary = self._incoming / new_id()
        with typed_file_errors():
            try:
                written = self._write(temporary, content, key)
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(target)
                sync_folder(target.parent)
            finally:
                temporary.unlink(missing_ok=True)
        return written

    def put_folder(self, bucket: str, key: str, folder: Path) -> tuple[ArtifactFile, ...]:
        """Copy the files of a folder (nested ones too, links never) under the key, as a whole or not at all.

        Raises:
            NotFound: There is no file in it.
            TooLarge: A file is above `max_object_bytes`.
            DiskFull: No space left.
        """
        sources = list(files_of(folder))
        if not sources:
            raise NotFound(f"There is no file in {folder}.")
        sizes = [source.stat().st_size for source in sources]
        self._check_space(sum(sizes))
        target = self.path(bucket, key)
        temporary = self._incoming / new_id()
        with typed_file_errors():
            try:
                files = tuple(self._copy(source, folder, temporary) for source in sources)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():  # left by a crash between this rename and the row
                    self._discard(target)
                temporary.replace(target)
                sync_folder(target.parent)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return files

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Open a file for reading.

        Raises:
            NotFound: No such file.
        """
        try:
            return self.path(bucket, key).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise NotFound("The file is no longer there.") from error

    def delete(self, bucket: str, key: str) -> None:
        """Remove a file or a folder of files; a missing one is no error."""
        path = self.path(bucket, key)
        if path.is_dir():
            self._discard(path)
        else:
            path.unlink(missing_ok=True)

    def path(self, bucket: str, key: str) -> Path:
        """Return where a key lies.

        Raises:
            Forbidden: The bucket or key could lead out of its folder, or has characters a key never has.
        """
        check_key(bucket, key)
        return self.root / bucket / key

    def sweep(self) -> None:
        """Remove what a crash left half-written more than a day ago."""
        for path in self._incoming.iterdir():
            if time.time() - path.lstat().st_mtime > SWEEP_AFTER_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _copy(self, source: Path, folder: Path, temporary: Path) -> ArtifactFile:
        name = source.relative_to(folder).as_posix()
        self.path("checked", name)
        copy = temporary / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as stream:
            size, sha256 = self._write(copy, iter(lambda: stream.read(CHUNK_BYTES), b""), name)
        return ArtifactFile(name=name, bytes=size, sha256=sha256)

    def _write(self, path: Path, content: Iterable[bytes], name: str) -> tuple[int, str]:
        digest, size, checked = hashlib.sha256(), 0, -1
        with path.open("xb") as file:
            for chunk in content:
                size += len(chunk)
                if size > self.max_object_bytes:
                    limit = f"{self.max_object_bytes / 2**30:.1f} GiB"
                    raise TooLarge(f"{name.rsplit('/', 1)[-1]} is larger than the {limit} this store takes.")
                if size // CHECK_EVERY_BYTES > checked:
                    checked = size // CHECK_EVERY_BYTES
                    self._check_space(len(chunk))
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        return size, digest.hexdigest()

    def _check_space(self, needed_bytes: int) -> None:
        free = shutil.disk_usage(self.root).free
        if free < needed_bytes + RESERVE_BYTES:
            raise _disk_full(
                f"{needed_bytes / 2**20:.0f} MiB are needed and {free / 2**20:.0f} MiB are free."
            )

    def _discard(self, folder: Path) -> None:
        doomed = self._incoming / new_id()
        try:
            folder.replace(doomed)
        except FileNotFoundError:
            return
        shutil.rmtree(doomed, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make renames within a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def typed_file_errors() -> Iterator[None]:
    """Turn the system's errors about files into the store's."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise _disk_full("") from error
        raise Unavailable(f"The file could not be stored: {error}.") from error


def _disk_full(detail: str) -> DiskFull:
    return DiskFull(
        f"There is not enough disk space. {detail}".strip(),
        "Free some, or set LORA_STUDIO_HOME to another disk.",
    )
