"""Buckets of a Supabase project: files by key, streamed both ways. Knows no person, no job and no row.

Who is asking is in the headers, which are asked for at every call: a person's bearer token, or a runner's `x-job-token`.
Source: https://supabase.com/docs/guides/storage (standard uploads up to 6 MB, resumable ones above, direct storage host).
"""

import copy
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx

from lora_core.errors import Conflict, Forbidden, NotFound, TooLarge, Unavailable
from lora_core.store.keys import check_key
from lora_core.store.supabase.errors import error_of, no_project, typed_errors
from lora_core.store.supabase.resumable import ResumableUpload
from lora_core.store.supabase.retry import Patience, retried
from lora_core.store.supabase.tls import tls

Headers = Callable[[], Mapping[str, str]]

MAX_OBJECT_BYTES = 50 * 2**30
"""What this store tries at most. What a project takes is in its own settings, which no caller may read."""

STANDARD_BYTES = 6_000_000
"""Larger files are uploaded in pieces, so that a cut connection costs a piece and not the file."""

TIMEOUT = httpx.Timeout(60.0, connect=10.0)
"""Per read and write, in seconds; a whole file may take as long as it takes."""

FILES = Patience(tries=4, seconds=15.0, first_wait_seconds=0.3, longest_wait_seconds=4.0)
_REMOVE_AT_ONCE = 500
_LIST_AT_ONCE = 1000
_HOSTED = re.compile(r"https://([a-z0-9]+)\.supabase\.co")
_RAISE_LIMIT = "Raise the file size limit in the project's Storage settings (the free plan ends at 50 MB), then try again."


class StorageFiles:
    """Files by bucket and key. Safe for several threads.

    Args:
        url: Address of the project.
        headers: Returns the headers of whoever asks now: `apikey`, `authorization`, and `x-job-token` for runners.
        max_object_bytes: Largest file that is tried.
        transport: For tests: what answers instead of the network.
    """

    def __init__(
        self,
        url: str,
        headers: Headers,
        *,
        max_object_bytes: int = MAX_OBJECT_BYTES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.max_object_bytes = max_object_bytes
        self._root = storage_root(url)
        self._headers = headers
        self._client = httpx.Client(timeout=TIMEOUT, transport=transport, verify=tls())
        self._places: dict[str, str] = {}

    def for_holder(self, headers: Headers) -> "StorageFiles":
        """Return the same files as somebody else sees them, over the same connections."""
        other = copy.copy(self)
        other._headers = headers
        return other

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Open a file for reading by stream; the caller closes it. A cut connection raises Unavailable while reading.

        Raises:
            NotFound: No such file, or none that the asker may see.
            Forbidden: It is no key.
        """
        check_key(bucket, key)
        response = retried(lambda: self._open(f"/object/{bucket}/{quote(key)}"), patience=FILES)
        return io.BufferedReader(_Download(response), 2**20)

    def put(self, bucket: str, key: str, path: Path, *, upsert: bool = False, name: str = "") -> None:
        """Store a file, whole or not at all.

        Args:
            name: What an error calls the file, if not by the last part of its path.
            upsert: Replace what lies under the key. Otherwise a file of the same size under the key counts as this one:
                an earlier try may have arrived, and only its answer been lost.

        Raises:
            TooLarge: The file is above what the project takes.
            Conflict: Another file lies under the key.
        """
        check_key(bucket, key)
        size = path.stat().st_size
        if size > self.max_object_bytes:
            raise self._too_large(name or path.name, size)
        try:
            if size <= STANDARD_BYTES:
                self._put_whole(bucket, key, path.read_bytes(), upsert=upsert)
            else:
                self._put_in_pieces(bucket, key, path, size, upsert=upsert)
        except TooLarge as error:
            raise self._too_large(name or path.name, size) from error
        except Conflict:
            if upsert or self._size_if_seen(bucket, key) != size:
                raise

    def size(self, bucket: str, key: str) -> int:
        """Return a file's size in bytes.

        Raises:
            NotFound: No such file, or none that the asker may see.
        """
        check_key(bucket, key)
        answer = _json(self._call("GET", f"/object/info/{bucket}/{quote(key)}"))
        return int(answer["size"])

    def signed_url(self, bucket: str, key: str, *, seconds: int) -> str:
        """Return an address that opens a file without a session for so many seconds. Whoever has it can read the file.

        Raises:
            NotFound: No such file, or none that the asker may see.
        """
        check_key(bucket, key)
        answer = _json(self._call("POST", f"/object/sign/{bucket}/{quote(key)}", json={"expiresIn": seconds}))
        return f"{self._root}/{str(answer['signedURL']).lstrip('/')}"

    def remove(self, bucket: str, keys: Sequence[str]) -> None:
        """Remove files; missing ones, and those the asker may not remove, are no error."""
        for key in keys:
            check_key(bucket, key)
        for start in range(0, len(keys), _REMOVE_AT_ONCE):
            self._call(
                "DELETE", f"/object/{bucket}", json={"prefixes": keys[start : start + _REMOVE_AT_ONCE]}
            )

    def remove_folder(self, bucket: str, folder: str) -> None:
        """Remove all files under a folder, nested ones too; a missing folder is no error."""
        self.remove(bucket, [*self.keys(bucket, folder)])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def keys(self, bucket: str, folder: str) -> Iterator[str]:
        """Yield the keys of all files under a folder; Storage lists one level, a page at a time."""
        check_key(bucket, folder)
        folders = [folder]
        while folders:
            parent, offset = folders.pop(), 0
            while True:
                order = {"column": "name", "order": "asc"}
                body = {"prefix": parent, "limit": _LIST_AT_ONCE, "offset": offset, "sortBy": order}
                entries = _json(self._call("POST", f"/object/list/{bucket}", json=body))
                for entry in entries:
                    path = f"{parent}/{entry['name']}"
                    if entry.get("id") is None:  # a folder
                        folders.append(path)
                    else:
                        yield path
                if len(entries) < _LIST_AT_ONCE:
                    break
                offset += len(entries)

    def _put_whole(self, bucket: str, key: str, content: bytes, *, upsert: bool) -> None:
        headers = {
            "content-type": "application/octet-stream",
            "cache-control": "no-cache",
            "x-upsert": "true" if upsert else "false",
        }
        self._call("POST", f"/object/{bucket}/{quote(key)}", content=content, headers=headers)

    def _put_in_pieces(self, bucket: str, key: str, path: Path, size: int, *, upsert: bool) -> None:
        """Upload by pieces; where an upload was given up, the next call for the same file goes on from there."""
        identity = f"{bucket}/{key}/{size}/{path.stat().st_mtime_ns}"
        upload = ResumableUpload(
            self._client,
            f"{self._root}/upload/resumable",
            self._headers,
            bucket=bucket,
            key=key,
            size=size,
            upsert=upsert,
            place=self._places.pop(identity, None),
            stored_size=lambda: self._size_if_seen(bucket, key),
        )
        try:
            with path.open("rb") as content:
                upload.run(content)
        except Unavailable:
            if upload.place is not None:
                self._places[identity] = upload.place
            raise

    def _size_if_seen(self, bucket: str, key: str) -> int | None:
        try:
            return self.size(bucket, key)
        except (NotFound, Forbidden):
            return None

    def _call(self, method: str, path: str, **content: Any) -> httpx.Response:
        return retried(lambda: self._call_once(method, path, **content), patience=FILES)

    def _call_once(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **content: Any
    ) -> httpx.Response:
        with typed_errors():
            response = self._client.request(
                method, self._root + path, headers={**self._headers(), **(headers or {})}, **content
            )
        if not response.is_success:
            raise error_of(response.status_code, response.content)
        return response

    def _open(self, path: str) -> httpx.Response:
        headers = {**self._headers(), "accept-encoding": "identity"}
        with typed_errors():
            response = self._client.send(
                self._client.build_request("GET", self._root + path, headers=headers), stream=True
            )
            if response.is_success:
                return response
            try:
                raise error_of(response.status_code, response.read())
            finally:
                response.close()

    def _too_large(self, name: str, size: int) -> TooLarge:
        return TooLarge(
            f"{name} ({size / 1e6:,.1f} MB) is larger than this Supabase project takes.", _RAISE_LIMIT
        )


class _Download(io.RawIOBase):
    """The body of an answer as a file."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.iter_raw()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            try:
                with typed_errors():
                    self._rest = memoryview(next(self._chunks))
            except StopIteration:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._response.close()
        super().close()


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise no_project() from error


def storage_root(url: str) -> str:
    """Return where a project's Storage is: for hosted projects the host that is meant for large files.

    >>> storage_root("https://abcdefghij.supabase.co/")
    'https://abcdefghij.storage.supabase.co/storage/v1'
    >>> storage_root("http://127.0.0.1:54321")
    'http://127.0.0.1:54321/storage/v1'
    """
    address = url.rstrip("/")
    hosted = _HOSTED.fullmatch(address)
    return f"https://{hosted[1]}.storage.supabase.co/storage/v1" if hosted else f"{address}/storage/v1"
