"""Files of one person in the project's buckets. A file is first whole on this machine, then it goes to Storage."""

import errno
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lora_core.errors import DiskFull, TooLarge, Unavailable
from lora_core.schema.base import new_id
from lora_core.store.keys import check_key, check_own_key
from lora_core.store.supabase.files import StorageFiles

RESERVE_BYTES = 64 * 2**20
"""Free space that is left to the system."""

CHECK_EVERY_BYTES = 64 * 2**20


class SupabaseBlobStore:
    """BlobStore over Storage. Safe for several threads. A crash leaves at most a file in the spool folder.

    Args:
        files: Storage as this person sees it.
        user_id: Every key begins with it.
        spool: Folder for files on their way: an upload has to know its size before it begins.
    """

    def __init__(self, files: StorageFiles, user_id: str, spool: Path) -> None:
        self._files = files
        self._user_id = user_id
        self._spool = spool

    @property
    def max_object_bytes(self) -> int:
        """Largest file this store takes, in bytes; the project's own limit may be lower and shows at the upload."""
        return self._files.max_object_bytes

    def put(self, bucket: str, key: str, content: Iterator[bytes]) -> tuple[int, str]:
        """Write a file from chunks, whole or not at all; see `BlobStore.put`."""
        self._check(bucket, key)
        self._spool.mkdir(parents=True, exist_ok=True)
        whole = self._spool / new_id()
        try:
            with _typed_errors():
                written = self._write(whole, content, key)
            self._files.put(bucket, key, whole, upsert=True)
        finally:
            whole.unlink(missing_ok=True)
        return written

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Open a file for reading; see `BlobStore.open`."""
        self._check(bucket, key)
        return self._files.open(bucket, key)

    def delete(self, bucket: str, key: str) -> None:
        """Remove a file; a missing one is no error."""
        self._check(bucket, key)
        self._files.remove(bucket, [key])

    def _check(self, bucket: str, key: str) -> None:
        check_own_key(self._user_id, key)
        check_key(bucket, key)

    def _write(self, path: Path, content: Iterator[bytes], key: str) -> tuple[int, str]:
        digest, size, checked = hashlib.sha256(), 0, -1
        with path.open("xb") as file:
            for chunk in content:
                size += len(chunk)
                if size > self.max_object_bytes:
                    limit = f"{self.max_object_bytes / 2**30:.1f} GiB"
                    raise TooLarge(f"{key.rsplit('/', 1)[-1]} is larger than the {limit} this store takes.")
                if size // CHECK_EVERY_BYTES > checked:
                    checked = size // CHECK_EVERY_BYTES
                    self._check_space(len(chunk))
                digest.update(chunk)
                file.write(chunk)
        return size, digest.hexdigest()

    def _check_space(self, needed_bytes: int) -> None:
        free = shutil.disk_usage(self._spool).free
        if free < needed_bytes + RESERVE_BYTES:
            raise _disk_full(f"{free / 2**20:.0f} MiB are free.")


@contextmanager
def _typed_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise _disk_full("") from error
        raise Unavailable(f"The file could not be received: {error}.") from error


def _disk_full(detail: str) -> DiskFull:
    return DiskFull(
        f"There is not enough disk space on the studio's machine to receive the file. {detail}".strip(),
        "Its operator frees some, or sets LORA_STUDIO_HOME to another disk.",
    )
