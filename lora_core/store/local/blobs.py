"""Files of one person: the file tree, seen through that person's folder."""

from collections.abc import Iterator
from typing import BinaryIO

from lora_core.store.keys import check_own_key, files_of
from lora_core.store.local.files import FileTree


class LocalBlobStore:
    """BlobStore over a folder. A key must begin with the person's id."""

    def __init__(self, files: FileTree, user_id: str) -> None:
        self._files = files
        self._user_id = user_id

    @property
    def max_object_bytes(self) -> int:
        """Largest file this store takes, in bytes."""
        return self._files.max_object_bytes

    def put(self, bucket: str, key: str, content: Iterator[bytes]) -> tuple[int, str]:
        """Write a file from chunks, whole or not at all; see `BlobStore.put`."""
        return self._files.put(bucket, self._own(key), content)

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Open a file for reading; see `BlobStore.open`."""
        return self._files.open(bucket, self._own(key))

    def keys(self, bucket: str) -> Iterator[str]:
        """Yield the keys of this person's files in a bucket, in order."""
        folder = self._files.path(bucket, self._user_id)
        return (f"{self._user_id}/{path.relative_to(folder).as_posix()}" for path in files_of(folder))

    def delete(self, bucket: str, key: str) -> None:
        """Remove a file; a missing one is no error."""
        self._files.delete(bucket, self._own(key))

    def _own(self, key: str) -> str:
        check_own_key(self._user_id, key)
        return key
