"""One upload in pieces that survives cut connections (TUS 1.0.0). Knows no person, no job and no row.

The server says how much it has; whatever was lost on the way, the upload goes on from there. Source:
https://tus.io/protocols/resumable-upload and https://supabase.com/docs/guides/storage/uploads/resumable-uploads
"""

import base64
import random
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from io import SEEK_END
from typing import BinaryIO

import httpx

from lora_core.errors import Conflict, StoreError, TooLarge, Unavailable
from lora_core.store.supabase.errors import error_of, typed_errors

CHUNK_BYTES = 6 * 2**20
"""Supabase takes exactly this piece, but for the last one."""

BLOCK_BYTES = 2**18

MOST_FAILURES = 6
"""Failures in a row, with nothing stored between them, after which an upload is given up for now."""

MOST_BEGINNINGS = 3
PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
_VERSION = {"tus-resumable": "1.0.0"}
_LOST_PLACE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_OUT_OF_STEP = {HTTPStatus.CONFLICT, HTTPStatus.LOCKED, 460, *_LOST_PLACE}
"""Answers to a piece after which the server has to be asked how far it is."""


class ResumableUpload:
    """One file on its way. Not thread-safe.

    Args:
        client: Connections.
        endpoint: Where uploads are begun.
        headers: Returns the headers of whoever uploads.
        bucket: Bucket of the file.
        key: Its key.
        size: Its size in bytes.
        upsert: Whether it replaces what lies under the key.
        place: Address of an upload that was begun earlier.
        stored_size: Returns the size of what lies under the key, None if nothing is seen there.

    Attributes:
        place: Address of the upload, once it was begun.
    """

    def __init__(
        self,
        client: httpx.Client,
        endpoint: str,
        headers: Callable[[], Mapping[str, str]],
        *,
        bucket: str,
        key: str,
        size: int,
        upsert: bool,
        place: str | None = None,
        stored_size: Callable[[], int | None],
    ) -> None:
        self.place = place
        self._client = client
        self._endpoint = endpoint
        self._headers = headers
        self._bucket = bucket
        self._key = key
        self._size = size
        self._upsert = upsert
        self._stored_size = stored_size
        self._begun = 0

    def run(self, content: BinaryIO) -> None:
        """Upload the file.

        Raises:
            Unavailable: No answer for a while; `place` says where to go on.
            Conflict: A file lies under the key, and may not be replaced.
            TooLarge: Above what the project takes.
        """
        failures, offset = 0, None
        while True:
            try:
                reached = self._step(content, offset)
                failures = 0 if reached is not None and reached > (offset or 0) else failures + 1
                offset = reached
            except Unavailable:
                failures, offset = failures + 1, None
                if failures > MOST_FAILURES:
                    raise
            if offset == self._size:
                return
            if failures > MOST_FAILURES:
                raise Unavailable(f"The upload of {self._name} does not get on.", "It is tried again later.")
            if failures:
                _pause(failures)

    @property
    def _name(self) -> str:
        return self._key.rsplit("/", 1)[-1]

    def _step(self, content: BinaryIO, offset: int | None) -> int | None:
        """Begin, ask or send a piece.

        Args:
            offset: How many bytes the server has; None if that is not known.

        Returns:
            How many it has now; None if it has to be asked.
        """
        if self.place is None:
            self._begin()
            return self._send(content, 0)
        if offset is not None:
            return self._send(content, offset)
        offset = self._ask()
        if offset is None or offset == self._size:
            return self._look_whether_stored(complete=offset is not None)
        return self._send(content, offset)

    def _begin(self) -> None:
        self._begun += 1
        if self._begun > MOST_BEGINNINGS:
            raise StoreError(
                f"The project's Storage lost the upload of {self._name} {MOST_BEGINNINGS} times."
            )
        response = self._call(
            "POST",
            self._endpoint,
            {
                "upload-length": str(self._size),
                "upload-metadata": ",".join(
                    f"{name} {base64.b64encode(value.encode()).decode()}"
                    for name, value in {
                        "bucketName": self._bucket,
                        "objectName": self._key,
                        "contentType": "application/octet-stream",
                    }.items()
                ),
            },
        )
        if response.status_code != HTTPStatus.CREATED:
            raise _error_of(response)
        self.place = self._own_place(response.headers.get("location", ""))

    def _own_place(self, location: str) -> str:
        """Return the upload's address on the host that was asked: the token goes nowhere else."""
        _, found, name = location.partition("/upload/resumable/")
        if not found or not name:
            raise StoreError("The project's Storage did not say where the upload goes.")
        return f"{self._endpoint}/{name}"

    def _ask(self) -> int | None:
        assert self.place is not None
        response = self._call("HEAD", self.place, {})
        if response.status_code in _LOST_PLACE:
            return None
        if not response.is_success:
            raise _error_of(response)
        return _offset_of(response)

    def _send(self, content: BinaryIO, offset: int) -> int | None:
        assert self.place is not None
        count = min(CHUNK_BYTES, self._size - offset)
        if content.seek(0, SEEK_END) < offset + count:
            raise StoreError(f"{self._name} became shorter while it was uploaded.")
        content.seek(offset)
        headers = {
            "upload-offset": str(offset),
            "content-type": "application/offset+octet-stream",
            "content-length": str(count),
        }
        response = self._call("PATCH", self.place, headers, _blocks(content, count))
        if response.status_code in _OUT_OF_STEP:
            return None
        if not response.is_success:
            raise _error_of(response)
        return _offset_of(response)

    def _look_whether_stored(self, *, complete: bool) -> int | None:
        """The upload has ended unheard, or the server knows it no longer: the file is there, or is uploaded again.

        What is to be replaced may have the same size; then only an upload that is complete counts.
        """
        found = self._stored_size()
        if found == self._size and (complete or not self._upsert):
            return self._size
        if found is not None and not self._upsert:
            raise Conflict(f"There is another file named {self._name} in its place.")
        self.place = None
        return None

    def _call(
        self, method: str, url: str, headers: Mapping[str, str], content: Iterator[bytes] | None = None
    ) -> httpx.Response:
        upsert = {"x-upsert": "true" if self._upsert else "false"}  # asked again at every piece
        with typed_errors():
            return self._client.request(
                method, url, headers={**self._headers(), **_VERSION, **upsert, **headers}, content=content
            )


def _blocks(content: BinaryIO, count: int) -> Iterator[bytes]:
    """Yield so many bytes. A whole piece at once would be copied again and again while it is sent (measured: 80 MB more)."""
    while count and (block := content.read(min(BLOCK_BYTES, count))):
        count -= len(block)
        yield block


def _offset_of(response: httpx.Response) -> int:
    try:
        return int(response.headers["upload-offset"])
    except (KeyError, ValueError) as error:
        raise Unavailable("The project's Storage did not say how much has arrived.") from error


def _error_of(response: httpx.Response) -> Exception:
    if response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLarge("The file is larger than the Supabase project takes.")
    return error_of(response.status_code, response.content)


def _pause(failures: int) -> None:
    longest = min(PAUSE_SECONDS * 2 ** (failures - 1), LONGEST_PAUSE_SECONDS)
    time.sleep(longest * random.uniform(0.5, 1.0))
