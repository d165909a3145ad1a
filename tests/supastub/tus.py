"""/storage/v1/upload/resumable: TUS 1.0 (creation, expiration, termination) as storage-api serves it.

Two traits of the real one that clients trip over: whether a caller may write is asked again at every POST, PATCH and
DELETE, and `x-upsert` is read from each of these requests, so the PATCH must send it too.
"""

import base64
import binascii
import json
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import psycopg
from starlette.requests import Request
from starlette.responses import Response

from tests.supastub.backend import MEBIBYTE, SERVICE, Backend
from tests.supastub.missing import NotInRig
from tests.supastub.objects import Caller, Place, StorageError, check_kind, checked, of_database
from tests.supastub.storage import Storage

CHUNK_BYTES = 6 * MEBIBYTE
VERSION = "1.0.0"


class TusError(Exception):
    """An error of the protocol, in plain text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class Upload:
    """One upload on its way. It stays known after its end, so that a client whose answer was lost finds it complete."""

    place: Place
    size: int
    metadata: dict[str, str]
    path: Path
    expires_at: float
    complete: bool = False

    @property
    def offset(self) -> int:
        """How many bytes are here."""
        return self.size if self.complete else self.path.stat().st_size


class Tus:
    """The service. Uploads live in memory: a new project has none."""

    def __init__(self, backend: Backend, storage: Storage) -> None:
        self._backend = backend
        self._storage = storage
        self._uploads: dict[str, Upload] = {}

    def forget(self) -> None:
        """Drop every upload."""
        self._uploads.clear()

    def pass_time(self, seconds: float) -> None:
        """Let uploads grow old."""
        for upload in self._uploads.values():
            upload.expires_at -= seconds

    async def __call__(self, request: Request) -> Response:
        """Answer a request. Raises: NotAdmitted, NotInRig, ClientDisconnect."""
        name = request.path_params.get("path", "").strip("/")
        signed = name == "sign" or name.startswith("sign/")
        name = name.removeprefix("sign").strip("/") if signed else name
        try:
            if request.method == "OPTIONS":
                return self._options()
            if request.headers.get("tus-resumable") != VERSION:
                raise TusError(412, "Tus-Resumable Required\n")
            if request.method == "POST" and not name:
                return await self._create(request, signed)
            return await self._continue(request, signed, name)
        except TusError as error:
            return Response(str(error), error.status, headers(), "text/plain")
        except StorageError as error:
            return Response(str(error), error.status, headers(), "text/plain")
        except psycopg.Error as error:
            hidden = of_database(error)
            return Response(str(hidden), hidden.status, headers(), "text/plain")

    def _options(self) -> Response:
        told = {
            "Tus-Version": VERSION,
            "Tus-Extension": "creation,creation-with-upload,expiration,termination",
            "Tus-Max-Size": str(self._backend.settings.object_bytes),
        }
        return Response(None, 204, headers(None, **told))

    async def _create(self, request: Request, signed: bool) -> Response:
        if "upload-length" not in request.headers:
            raise TusError(400, "Upload-Length or Upload-Defer-Length header required\n")
        if int(request.headers.get("content-length") or 0):
            raise NotInRig("a TUS upload with bytes in the POST")
        size, metadata = (
            int(request.headers["upload-length"]),
            metadata_of(request.headers.get("upload-metadata", "")),
        )
        place = Place(metadata.get("bucketName", ""), checked(metadata.get("objectName", "")))
        caller, upsert = self._admitted(request, signed, place)
        await self._storage.may_write(caller, place, upsert=upsert, operation="storage.tus.upload.create")
        bucket = await self._storage.bucket(request, place.bucket)
        if size > self._storage.limit(bucket):
            raise TusError(413, "Maximum size exceeded\n")
        if metadata.get("contentType"):
            check_kind(metadata["contentType"], bucket)
        name = base64.urlsafe_b64encode(f"{place.path}/{uuid.uuid4()}".encode()).decode().rstrip("=")
        path = self._storage.shelf.arriving()
        path.touch()
        upload = Upload(place, size, metadata, path, time.time() + self._backend.settings.upload_seconds)
        self._uploads[name] = upload
        more = {}
        if size == 0:
            await self._finish(request, upload, signed, caller.owner)
            more = {"Tus-Complete": "1"}
        location = str(request.url.replace(path=f"{request.url.path.rstrip('/')}/{name}", query=""))
        return Response(None, 201, headers(upload, Location=location, **{"Upload-Offset": "0"}, **more))

    async def _continue(self, request: Request, signed: bool, name: str) -> Response:
        upload = self._uploads.get(name)
        if upload is None:
            raise TusError(404, "The file for this url was not found\n")
        caller, upsert = self._admitted(request, signed, upload.place)
        if request.method == "HEAD":
            self._check_fresh(upload)
            offset = {
                "Upload-Offset": str(upload.offset),
                "Upload-Length": str(upload.size),
                "Cache-Control": "no-store",
            }
            return Response(None, 200, headers(upload, **offset))
        if request.method not in ("PATCH", "DELETE"):
            raise NotInRig(f"{request.method} of a TUS upload")
        operation = {"PATCH": "storage.tus.upload.part", "DELETE": "storage.tus.upload.delete"}[
            request.method
        ]
        await self._storage.may_write(caller, upload.place, upsert=upsert, operation=operation)
        self._check_fresh(upload)
        if request.method == "DELETE":
            if upload.complete:
                raise TusError(400, "Cannot terminate an already completed upload")
            del self._uploads[name]
            upload.path.unlink()
            return Response(None, 204, headers())
        return await self._patch(request, upload, signed, caller.owner)

    def _admitted(self, request: Request, signed: bool, place: Place) -> tuple[Caller, bool]:
        """Return in whose name a request writes, and whether it may replace a file."""
        if not signed:
            return self._storage.caller(request), request.headers.get("x-upsert") == "true"
        signature = request.headers.get("x-signature")
        if not signature:
            raise StorageError(400, "InvalidSignature", "Missing x-signature header", "InvalidSignature")
        claims = self._storage.signed(signature, "upload", place)
        service = {**SERVICE, "sub": claims["owner"]} if claims.get("owner") else SERVICE
        return Caller(service, request), bool(claims["upsert"])

    def _check_fresh(self, upload: Upload) -> None:
        if time.time() > upload.expires_at:
            raise TusError(410, "The file for this url no longer exists\n")

    async def _patch(self, request: Request, upload: Upload, signed: bool, owner: str | None) -> Response:
        if "upload-offset" not in request.headers:
            raise TusError(403, "Upload-Offset header required\n")
        if request.headers.get("content-type") != "application/offset+octet-stream":
            raise TusError(403, "Content-Type header required\n")
        start = upload.offset
        if int(request.headers["upload-offset"]) != start:
            raise TusError(409, "Upload-Offset conflict\n")
        length = int(request.headers.get("content-length") or -1)
        if start + length > upload.size:
            raise TusError(413, "upload's size exceeded\n")
        if length != CHUNK_BYTES and not (start + length == upload.size and length < CHUNK_BYTES):
            raise NotInRig(
                f"a TUS chunk of {length} bytes: chunks are {CHUNK_BYTES} bytes, the last one what is left"
            )
        await self._append(request, upload)
        more = {}
        if upload.offset == upload.size and not upload.complete:
            await self._finish(request, upload, signed, owner)
            more = {"Tus-Complete": "1"}
        return Response(None, 204, headers(upload, **{"Upload-Offset": str(upload.offset)}, **more))

    async def _append(self, request: Request, upload: Upload) -> None:
        """Add a body. What came before a broken connection stays."""
        with upload.path.open("ab", buffering=0) as file:
            async for chunk in request.stream():
                file.write(chunk)

    async def _finish(self, request: Request, upload: Upload, signed: bool, owner: str | None) -> None:
        metadata = upload.metadata
        seconds = metadata.get("cacheControl", "")
        given: Any = None
        try:
            given = json.loads(metadata["metadata"]) if metadata.get("metadata") else None
        except ValueError:
            given = None
        await self._storage.keep(
            request,
            upload.place,
            self._storage.shelf.measure(upload.path),
            owner,
            metadata.get("contentType") or "application/octet-stream",
            f"max-age={seconds}" if seconds.isdigit() else "no-cache",
            given,
        )
        upload.complete = True


def headers(upload: Upload | None = None, **more: str) -> dict[str, str]:
    """Return the headers of every answer."""
    expires = {}
    if upload is not None and not upload.complete:
        moment = datetime.fromtimestamp(upload.expires_at, UTC)
        expires = {"Upload-Expires": format_datetime(moment, usegmt=True)}
    return {"Tus-Resumable": VERSION, **expires, **more}


def metadata_of(header: str) -> dict[str, str]:
    """Read `name base64,name base64`. Raises: TusError."""
    try:
        pairs = (part.strip().partition(" ") for part in header.split(",") if part.strip())
        return {name: base64.b64decode(value, validate=True).decode() for name, _, value in pairs}
    except (binascii.Error, UnicodeDecodeError) as error:
        raise TusError(400, "Upload-Metadata is invalid\n") from error
