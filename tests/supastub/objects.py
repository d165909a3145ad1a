"""What the storage service speaks about: keys, callers, errors and the shapes of its answers. It stores nothing."""

import base64
import binascii
import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse

Row = dict[str, Any]
KEY = re.compile(r"[\w/!.*'() &$@=;:+,?-]*", re.ASCII)


class StorageError(Exception):
    """An error of the service: always HTTP 400 (or 500), with the true status inside the body."""

    def __init__(self, status: int, error: str, message: str, code: str) -> None:
        super().__init__(message)
        self.status, self.error, self.code = status, error, code

    def response(self) -> JSONResponse:
        """Return it in the service's shape."""
        body = {"statusCode": str(self.status), "error": self.error, "message": str(self), "code": self.code}
        return JSONResponse(body, {500: 500, 544: 544}.get(self.status, 400))


def no_object() -> StorageError:
    """Return the error for what is not there, or not the caller's to see."""
    return StorageError(404, "not_found", "Object not found", "NoSuchKey")


def too_large() -> StorageError:
    """Return the error for a file over the limit."""
    return StorageError(
        413, "Payload too large", "The object exceeded the maximum allowed size", "EntityTooLarge"
    )


def of_database(error: psycopg.Error) -> StorageError:
    """Return what the service says about an error of the database."""
    state, message = error.sqlstate or "", error.diag.message_primary or str(error)
    if state == "42501":
        text = "new row violates row-level security policy" if "row-level security" in message else message
        return StorageError(403, "Unauthorized", text, "AccessDenied")
    if state == "23505":
        return StorageError(409, "Duplicate", "The resource already exists", "KeyAlreadyExists")
    if state == "23503":
        return StorageError(404, "InvalidRequest", "The related resource does not exist", "InvalidRequest")
    if state == "55P03":
        return StorageError(423, "ResourceLocked", "The resource is locked", "ResourceLocked")
    if state == "57014":
        return StorageError(
            544, "DatabaseTimeout", "The connection to the database timed out", "DatabaseTimeout"
        )
    return StorageError(500, "DatabaseError", f"database error, code: {state}", "DatabaseError")


@dataclass(frozen=True)
class Place:
    """A bucket and a key in it."""

    bucket: str
    name: str

    @classmethod
    def of(cls, parts: list[str]) -> "Place":
        """Read it from a path. Raises: StorageError for a key that is not allowed."""
        return cls(parts[0], checked("/".join(parts[1:])))

    @property
    def path(self) -> str:
        """Both, as clients write it."""
        return f"{self.bucket}/{self.name}"


def checked(name: str) -> str:
    """Return a key that may be one. Raises: StorageError."""
    if not name or not KEY.fullmatch(name):
        raise StorageError(400, "InvalidKey", f"Invalid key: {name}", "InvalidKey")
    return name


@dataclass(frozen=True)
class Caller:
    """Who asks: claims of the token, and the request that policies may look at."""

    claims: Row
    request: Request

    @property
    def owner(self) -> str | None:
        """The person, None for a key without one."""
        return self.claims.get("sub")


def check_kind(kind: str, bucket: Row) -> None:
    """Raise StorageError where a bucket does not take a media type."""
    allowed, plain_kind = bucket["allowed_mime_types"], kind.split(";")[0]
    if allowed and plain_kind not in allowed and plain_kind.split("/")[0] + "/*" not in allowed:
        raise StorageError(415, "invalid_mime_type", f"mime type {kind} is not supported", "InvalidMimeType")


def about(row: Row) -> Row:
    """Return an object's row as /object/info has it."""
    metadata = row["metadata"]
    return {
        "id": str(row["id"]),
        "name": row["name"],
        "version": row["version"],
        "bucket_id": row["bucket_id"],
        "size": metadata["size"],
        "content_type": metadata["mimetype"],
        "cache_control": metadata["cacheControl"],
        "etag": metadata["eTag"],
        "metadata": row["user_metadata"] or {},
        "last_modified": plain(row["updated_at"]),
        "created_at": plain(row["created_at"]),
    }


async def pieces(file: UploadFile) -> AsyncIterator[bytes]:
    """Return the bytes of an uploaded form field in parts."""
    while piece := await file.read(1 << 16):
        yield piece


def decoded(header: str | None) -> Any:
    """Return the metadata of a header, None where it cannot be read."""
    try:
        return json.loads(base64.b64decode(header)) if header else None
    except (ValueError, binascii.Error):
        return None


def now() -> str:
    """Return the time as the service writes it."""
    return str(plain(datetime.now(UTC)))


def plain(value: Any) -> Any:
    """Return a row ready for JSON: times and ids as text."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value) if isinstance(value, uuid.UUID) else value
