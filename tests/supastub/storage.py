"""/storage/v1: the part of storage-api that the product uses. Rows in storage.objects, bytes in files named by version.

Whether a caller may write is asked of the policies by an insert that is rolled back; the row itself is written as the
service role when the bytes are there. So a write is decided before its bytes come, as on a hosted project.
"""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, unquote

import jwt
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from tests.supastub.backend import SERVICE, Backend
from tests.supastub.bytes_on_disk import Received, Shelf
from tests.supastub.keys import token_at_entrance
from tests.supastub.missing import NotInRig
from tests.supastub.objects import (
    Caller,
    Place,
    Row,
    StorageError,
    about,
    check_kind,
    decoded,
    no_object,
    now,
    of_database,
    pieces,
    plain,
    too_large,
)

MOST_PREFIXES = 1000
UPLOAD_TOKEN_SECONDS = 7200


class Storage:
    """The service without resumable uploads, which are in tus.py."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.shelf = Shelf(backend.folder)

    async def __call__(self, request: Request) -> Response:
        """Answer a request. Raises: NotAdmitted, NotInRig, ClientDisconnect."""
        parts = [
            unquote(part)
            for part in request.scope["raw_path"].decode().split("/storage/v1/", 1)[1].split("/")
        ]
        try:
            return await self._route(request, parts)
        except StorageError as error:
            return error.response()
        except psycopg.Error as error:
            return of_database(error).response()

    async def _route(self, request: Request, parts: list[str]) -> Response:
        match request.method, parts:
            case "PUT", ["object", "upload", "sign", *rest]:
                return await self._upload_signed(request, Place.of(rest))
            case "GET" | "HEAD", ["object", "sign", *rest]:
                return await self._download_signed(request, Place.of(rest))
        caller = self.caller(request)
        match request.method, parts:
            case "GET", ["bucket", bucket]:
                return JSONResponse(plain(await self._bucket_of_caller(caller, bucket)))
            case "POST", ["object", "upload", "sign", *rest]:
                return await self._sign_upload(caller, Place.of(rest))
            case "POST", ["object", "sign", bucket]:
                return await self._sign_many(caller, bucket)
            case "POST", ["object", "sign", *rest]:
                return await self._sign(caller, Place.of(rest))
            case "POST", ["object", "list", bucket]:
                return await self._list(caller, bucket)
            case "GET" | "HEAD", ["object", "info", "authenticated", *rest] | ["object", "info", *rest]:
                return JSONResponse(
                    about(await self.find(caller, Place.of(rest), "storage.object.get_authenticated_info"))
                )
            case "GET" | "HEAD", ["object", "authenticated", *rest]:
                return await self._download(caller, Place.of(rest))
            case _, ["object", "public" | "list-v2" | "move" | "copy" | "info" | "sign" | "upload", *_]:
                raise NotInRig(f"{request.method} /storage/v1/{'/'.join(parts)}")
            case "DELETE", ["object", bucket]:
                return await self._remove(caller, bucket)
            case "DELETE", ["object", *rest]:
                return await self._remove_one(caller, Place.of(rest))
            case "POST" | "PUT", ["object", *rest] if len(rest) > 1:
                return await self._upload(caller, Place.of(rest))
            case "GET" | "HEAD", ["object", *rest] if len(rest) > 1:
                return await self._download(caller, Place.of(rest))
        raise NotInRig(f"{request.method} /storage/v1/{'/'.join(parts)}")

    # Who is calling, and what the database says

    def caller(self, request: Request) -> Caller:
        """Return who asks. Raises: StorageError, NotAdmitted."""
        token = token_at_entrance(request, self._backend.keys, key_needed=False)
        if not token:
            raise StorageError(
                400, "Error", "headers must have required property 'authorization'", "InvalidRequest"
            )
        try:
            return Caller(self._backend.keys.read(token), request)
        except jwt.ExpiredSignatureError as error:
            raise StorageError(
                403, "Unauthorized", '"exp" claim timestamp check failed', "AccessDenied"
            ) from error
        except jwt.PyJWTError as error:
            raise StorageError(403, "Unauthorized", "Invalid Compact JWS", "AccessDenied") from error

    async def rows(self, connection: AsyncConnection[Any], statement: str, *parameters: Any) -> list[Row]:
        """Return the rows of a statement."""
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(statement, parameters)
        return await cursor.fetchall() if cursor.description else []

    async def bucket(self, request: Request, bucket: str) -> Row:
        """Return a bucket, whoever asks."""
        return await self._bucket_of_caller(Caller(SERVICE, request), bucket)

    async def _bucket_of_caller(self, caller: Caller, bucket: str) -> Row:
        async with self._backend.as_caller(caller.claims, caller.request, "storage.bucket.get") as connection:
            rows = await self.rows(connection, "select * from storage.buckets where id = %s", bucket)
        if not rows:
            raise StorageError(404, "Bucket not found", "Bucket not found", "NoSuchBucket")
        return rows[0]

    async def find(self, caller: Caller, place: Place, operation: str) -> Row:
        """Return an object's row if the caller may see it. Raises: StorageError."""
        await self.bucket(caller.request, place.bucket)
        async with self._backend.as_caller(caller.claims, caller.request, operation) as connection:
            statement = "select * from storage.objects where bucket_id = %s and name = %s"
            rows = await self.rows(connection, statement, place.bucket, place.name)
        if not rows:
            raise no_object()
        return rows[0]

    async def may_write(self, caller: Caller, place: Place, *, upsert: bool, operation: str) -> None:
        """Ask the policies by a write that is rolled back. Raises: psycopg.Error."""
        async with self._backend.as_caller(caller.claims, caller.request, operation) as connection:
            await connection.execute("savepoint asked")
            await self._write(connection, place, upsert=upsert, owner=caller.owner, version="1")
            await connection.execute("rollback to savepoint asked")

    async def _write(
        self,
        connection: AsyncConnection[Any],
        place: Place,
        *,
        upsert: bool,
        owner: str | None,
        version: str,
        metadata: Row | None = None,
        user_metadata: Any = None,
    ) -> list[Row]:
        """Insert a row. An upsert also reads it back, for which policies must let the caller see and change it."""
        values = {
            "bucket_id": place.bucket,
            "name": place.name,
            "owner": owner,
            "owner_id": owner,
            "version": version,
        }
        if metadata is not None:
            values["metadata"] = json.dumps(metadata)
        if user_metadata is not None:
            values["user_metadata"] = json.dumps(user_metadata)
        names = ", ".join(values)
        marks = ", ".join(["%s"] * len(values))
        changes = ", ".join(
            f"{name} = excluded.{name}" for name in values if name not in ("bucket_id", "name")
        )
        tail = f" on conflict (name, bucket_id) do update set {changes} returning *" if upsert else ""
        return await self.rows(
            connection, f"insert into storage.objects ({names}) values ({marks}){tail}", *values.values()
        )

    def limit(self, bucket: Row) -> int:
        """Return how large a file may be: the project's limit or the bucket's, whichever is smaller."""
        project = self._backend.settings.object_bytes
        return min(project, bucket["file_size_limit"] or project)

    async def keep(
        self,
        request: Request,
        place: Place,
        received: Received,
        owner: str | None,
        kind: str,
        cache: str,
        user_metadata: Any,
    ) -> Row:
        """Write the row of bytes that have come, as the service role: a file under the same key is replaced."""
        version = str(uuid.uuid4())
        metadata = {
            "eTag": f'"{received.md5}"',
            "size": received.size,
            "mimetype": kind,
            "cacheControl": cache,
            "lastModified": now(),
            "contentLength": received.size,
            "httpStatusCode": 200,
        }
        async with self._backend.as_caller(SERVICE, request, "storage.object.upload") as connection:
            await connection.execute("select pg_advisory_xact_lock(hashtext(%s))", (place.path,))
            old = await self.rows(
                connection,
                "select version from storage.objects where bucket_id = %s and name = %s for update",
                place.bucket,
                place.name,
            )
            row = await self._write(
                connection,
                place,
                upsert=True,
                owner=owner,
                version=version,
                metadata=metadata,
                user_metadata=user_metadata,
            )
            self.shelf.take(received, version)
        for previous in old:
            self.shelf.drop(previous["version"])
        return row[0]

    # Uploading

    async def _upload(self, caller: Caller, place: Place) -> Response:
        request = caller.request
        bucket = await self.bucket(request, place.bucket)
        upsert = request.method == "PUT" or request.headers.get("x-upsert") == "true"
        await self.may_write(caller, place, upsert=upsert, operation="storage.object.upload")
        row = await self._receive(request, place, bucket, caller.owner)
        return JSONResponse({"Key": place.path, "Id": str(row["id"])})

    async def _receive(self, request: Request, place: Place, bucket: Row, owner: str | None) -> Row:
        kind = request.headers.get("content-type", "application/octet-stream")
        if kind.startswith("multipart/form-data"):
            async with request.form() as form:  # on disk beyond a megabyte
                file = next((value for value in form.values() if isinstance(value, UploadFile)), None)
                if file is None:
                    raise StorageError(400, "InvalidRequest", "No content provided", "InvalidRequest")
                kind = file.content_type or "application/octet-stream"
                cache = f"max-age={form['cacheControl']}" if form.get("cacheControl") else "no-cache"
                given = form.get("metadata")
                user_metadata = json.loads(given) if isinstance(given, str) else None
                return await self._take(
                    request, place, bucket, owner, pieces(file), kind, cache, user_metadata
                )
        cache, user_metadata = (
            request.headers.get("cache-control", "no-cache"),
            decoded(request.headers.get("x-metadata")),
        )
        return await self._take(request, place, bucket, owner, request.stream(), kind, cache, user_metadata)

    async def _take(
        self,
        request: Request,
        place: Place,
        bucket: Row,
        owner: str | None,
        chunks: AsyncIterator[bytes],
        kind: str,
        cache: str,
        user_metadata: Any,
    ) -> Row:
        check_kind(kind, bucket)
        received = await self.shelf.receive(chunks, self.limit(bucket))
        if received is None:
            raise too_large()
        return await self.keep(request, place, received, owner, kind, cache, user_metadata)

    async def _sign_upload(self, caller: Caller, place: Place) -> Response:
        upsert = caller.request.headers.get("x-upsert") == "true"
        await self.may_write(caller, place, upsert=upsert, operation="storage.object.sign_upload_url")
        claims = {"owner": caller.owner, "url": place.path, "upsert": upsert, "scope": "upload"}
        token = self._backend.keys.sign(claims, UPLOAD_TOKEN_SECONDS)
        return JSONResponse({"url": f"/object/upload/sign/{quote(place.path)}?token={token}", "token": token})

    async def _upload_signed(self, request: Request, place: Place) -> Response:
        claims = self.signed(request.query_params.get("token"), "upload", place)
        bucket = await self.bucket(request, place.bucket)
        service = Caller(SERVICE, request)
        await self.may_write(
            service, place, upsert=claims["upsert"], operation="storage.object.upload_signed"
        )
        await self._receive(request, place, bucket, claims.get("owner"))
        return JSONResponse({"Key": place.path})

    def signed(self, token: str | None, scope: str, place: Place) -> Row:
        """Return the claims of a signed address. Raises: StorageError."""
        try:
            claims = self._backend.keys.read(token or "")
        except jwt.ExpiredSignatureError as error:
            raise StorageError(
                400, "InvalidJWT", '"exp" claim timestamp check failed', "InvalidJWT"
            ) from error
        except jwt.PyJWTError as error:
            raise StorageError(400, "InvalidJWT", "signature verification failed", "InvalidJWT") from error
        if claims.get("url") != place.path or claims.get("scope") != scope:
            raise StorageError(400, "InvalidSignature", "Invalid signature", "InvalidSignature")
        return claims

    # Reading

    async def _download(self, caller: Caller, place: Place) -> Response:
        return self._send(await self.find(caller, place, "storage.object.get_authenticated"), caller.request)

    async def _download_signed(self, request: Request, place: Place) -> Response:
        self.signed(request.query_params.get("token"), "download", place)
        return self._send(
            await self.find(Caller(SERVICE, request), place, "storage.object.get_signed"), request
        )

    def _send(self, row: Row, request: Request) -> Response:
        metadata = row["metadata"]
        headers = {
            "etag": metadata["eTag"],
            "cache-control": metadata["cacheControl"],
            "x-robots-tag": "none",
        }
        as_name = request.query_params.get("download")
        if as_name is not None:
            named = f"; filename={quote(as_name)}; filename*=UTF-8''{quote(as_name)};" if as_name else ""
            headers["content-disposition"] = f"attachment{named}"
        return FileResponse(self.shelf.path(row["version"]), headers=headers, media_type=metadata["mimetype"])

    async def _sign(self, caller: Caller, place: Place) -> Response:
        await self.find(caller, place, "storage.object.sign")
        seconds = int((await caller.request.json())["expiresIn"])
        return JSONResponse({"signedURL": self._signed_url(place, seconds)})

    async def _sign_many(self, caller: Caller, bucket: str) -> Response:
        body = await caller.request.json()
        answers = []
        for name in body["paths"]:
            place, url, error = Place(bucket, name), None, None
            try:
                await self.find(caller, place, "storage.object.sign_many")
                url = self._signed_url(place, int(body["expiresIn"]))
            except StorageError:
                error = "Either the object does not exist or you do not have access to it"
            answers.append({"error": error, "path": name, "signedURL": url})
        return JSONResponse(answers)

    def _signed_url(self, place: Place, seconds: int) -> str:
        token = self._backend.keys.sign({"url": place.path, "scope": "download"}, seconds)
        return f"/object/sign/{quote(place.path)}?token={token}"

    async def _list(self, caller: Caller, bucket: str) -> Response:
        body = await caller.request.json()
        prefix = body.get("prefix") or ""
        prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        async with self._backend.as_caller(
            caller.claims, caller.request, "storage.object.list"
        ) as connection:
            statement = (
                "select * from storage.objects where bucket_id = %s and starts_with(name, %s) order by name"
            )
            rows = await self.rows(connection, statement, bucket, prefix)
        folders: dict[str, Row] = {}
        files: list[Row] = []
        names = ("id", "updated_at", "created_at", "last_accessed_at", "metadata")
        for row in rows:
            first, slash, _ = row["name"][len(prefix) :].partition("/")
            if not first.lower().startswith((body.get("search") or "").lower()):
                continue
            if slash:
                folders.setdefault(first, {"name": first, **dict.fromkeys(names)})
            else:
                files.append({"name": first, **{name: row[name] for name in names}})
        sort = body.get("sortBy") or {}
        files.sort(key=lambda row: row[sort.get("column") or "name"], reverse=sort.get("order") == "desc")
        found, start = [*folders.values(), *files], body.get("offset") or 0
        return JSONResponse(plain(found[start : start + (body.get("limit") or 100)]))

    # Removing

    async def _remove(self, caller: Caller, bucket: str) -> Response:
        names = (await caller.request.json())["prefixes"]
        if not 1 <= len(names) <= MOST_PREFIXES:
            raise StorageError(
                400,
                "Error",
                "body/prefixes must NOT have more than 1000 or fewer than 1 items",
                "InvalidRequest",
            )
        return JSONResponse(plain(await self._delete(caller, bucket, names, "storage.object.delete_many")))

    async def _remove_one(self, caller: Caller, place: Place) -> Response:
        if not await self._delete(caller, place.bucket, [place.name], "storage.object.delete"):
            raise no_object()
        return JSONResponse({"message": "Successfully deleted"})

    async def _delete(self, caller: Caller, bucket: str, names: list[str], operation: str) -> list[Row]:
        async with self._backend.as_caller(caller.claims, caller.request, operation) as connection:
            statement = "delete from storage.objects where bucket_id = %s and name = any(%s) returning *"
            rows = await self.rows(connection, statement, bucket, names)
        for row in rows:
            self.shelf.drop(row["version"])
        return rows
