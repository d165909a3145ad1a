"""Files of one person in the project's buckets. A file is first whole on this machine, then it goes to Storage."""

import errno
import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lora_core.errors import DiskFull, Forbidden, StoreError, TooLarge, Unavailable
from lora_core.schema.base import new_id
from lora_core.store.keys import check_key, check_own_key
from lora_core.store.supabase.files import StorageFiles

log = logging.getLogger(__name__)

RESERVE_BYTES = 64 * 2**20
"""Free space that is left to the system."""

UPLOADS = "lora-datasets"
"""Bucket of what people upload."""

ABANDONED_SECONDS = 24 * 3600.0
"""A file in the spool folder that nobody has written to for so long belongs to no upload any more."""

CHECK_EVERY_BYTES = 64 * 2**20


class SupabaseBlobStore:
    """BlobStore over Storage. Safe for several threads. A crash leaves at most a file in the spool folder; an upload clears it.

    Args:
        files: Storage as this person sees it.
        user_id: Every key begins with it.
        spool: Folder for files on their way: an upload has to know its size before it begins.
        limits: Asks the project how large a file each bucket takes; None where a bucket has no limit of its own.
    """

    def __init__(
        self,
        files: StorageFiles,
        user_id: str,
        spool: Path,
        limits: Callable[[], Mapping[str, int | None]] = dict,
    ) -> None:
        self._files = files
        self._user_id = user_id
        self._spool = spool
        self._ask_limits = limits
        self._limit: int | None = None

    @property
    def max_object_bytes(self) -> int:
        """Largest data set this store takes, in bytes. A limit on the whole project is told to nobody; it shows at the upload.

        The project is asked once; while it does not answer, the most that is tried holds.
        """
        if self._limit is None:
            try:
                own = self._ask_limits().get(UPLOADS)
            except StoreError:
                return self._files.max_object_bytes
            self._limit = min(own or self._files.max_object_bytes, self._files.max_object_bytes)
        return self._limit

    def put(self, bucket: str, key: str, content: Iterator[bytes]) -> tuple[int, str]:
        """Write a file from chunks, whole or not at all; see `BlobStore.put`."""
        self._check(bucket, key)
        with _typed_errors():
            self._spool.mkdir(parents=True, exist_ok=True)
            self._clear_spool()
        whole = self._spool / new_id()
        try:
            with _typed_errors():
                written = self._write(whole, content, key)
            self._files.put(bucket, key, whole, upsert=True, name="The file")
        except Forbidden as error:  # in a person's own folder there is one reason
            raise Forbidden(
                "The team's Storage takes no more files of yours: the space you may use is used up.",
                "Delete data sets or jobs you do not need, or ask the operator for more.",
            ) from error
        finally:
            whole.unlink(missing_ok=True)
        return written

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Open a file for reading; see `BlobStore.open`."""
        self._check(bucket, key)
        return self._files.open(bucket, key)

    def signed_url(self, bucket: str, key: str, *, seconds: int) -> str:
        """Return an address that opens one of this person's files without a session; see `StorageFiles.signed_url`."""
        self._check(bucket, key)
        return self._files.signed_url(bucket, key, seconds=seconds)

    def keys(self, bucket: str) -> Iterator[str]:
        """Yield the keys of this person's files in a bucket."""
        return self._files.keys(bucket, self._user_id)

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
                if size > self._files.max_object_bytes:
                    limit = f"{self._files.max_object_bytes / 2**30:.1f} GiB"
                    raise TooLarge(f"The file is larger than the {limit} this store takes.")
                if size // CHECK_EVERY_BYTES > checked:
                    checked = size // CHECK_EVERY_BYTES
                    self._check_space(len(chunk))
                digest.update(chunk)
                file.write(chunk)
        return size, digest.hexdigest()

    def _clear_spool(self) -> None:
        """Remove what uploads have left that a crash cut off."""
        for path in self._spool.iterdir():
            with suppress(FileNotFoundError):  # another upload has just ended
                if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                    path.unlink()

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
        log.warning("a file could not be received: %s", error)
        raise Unavailable(
            "The studio's machine could not keep the file.",
            "Try again. If it stays so, tell the operator of the team: the studio's log says more.",
        ) from error


def _disk_full(detail: str) -> DiskFull:
    return DiskFull(
        f"There is not enough disk space on the studio's machine to receive the file. {detail}".strip(),
        "Its operator frees some, or sets LORA_STUDIO_HOME to another disk.",
    )
