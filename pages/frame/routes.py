"""Files in and out of the studio, streamed, and the health address. What a route does is an action; this is only HTTP."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from lora_core import __version__
from lora_core.actions import datasets, results, saved_configs
from lora_core.actions.workspace import Workspace
from lora_core.errors import NotFound, StudioError, TooLarge
from lora_core.schema.dataset import Dataset
from pages.frame.answers import error_response
from pages.frame.opened import open_studio, open_workspace

STATIC = Path(__file__).parents[2] / "static"
TRANSFERS_AT_ONCE = anyio.CapacityLimiter(16)
DISCONNECTED = 499

Download = Callable[[Workspace, str], tuple[str, Iterator[bytes]]]
DOWNLOADS: dict[str, Download] = {
    "dataset": datasets.download_dataset,
    "issues": datasets.download_issues,
    "artifact": results.download_artifact,
    "metrics": results.download_metrics,
    "logs": results.download_logs,
    "events": results.download_events,
    "config": saved_configs.download_config,
}


async def upload_dataset(request: Request) -> Response:
    """PUT /api/datasets?file=NAME: the body is the file; answers with the new data set's id and name."""
    try:
        workspace, limit = await run_in_threadpool(_receiver, request)
    except StudioError as error:
        return error_response(error)
    body = request.stream()
    declared = int(request.headers.get("content-length", 0))
    try:
        refuse_long(declared, limit)
        dataset = await _store(workspace, request.query_params.get("file", ""), body, limit)
    except ClientDisconnect:
        return Response(status_code=DISCONNECTED)
    except StudioError as error:
        if 0 < declared <= limit:
            await _drain(body)
        return error_response(error)
    return JSONResponse({"id": dataset.id, "name": dataset.name}, status_code=201)


def _receiver(request: Request) -> tuple[Workspace, int]:
    """Return who uploads, and the most bytes that are taken."""
    workspace = open_workspace(request.headers)
    return workspace, datasets.max_upload_bytes(workspace)


async def _store(workspace: Workspace, file_name: str, body: AsyncIterator[bytes], limit: int) -> Dataset:
    """Run the blocking action in a worker thread that pulls one chunk at a time, so memory stays at one chunk."""

    async def next_chunk() -> bytes | None:
        return await anext(body, None)

    def chunks() -> Iterator[bytes]:
        received = 0
        while (chunk := anyio.from_thread.run(next_chunk)) is not None:
            received += len(chunk)
            refuse_long(received, limit)
            if chunk:
                yield chunk

    def store() -> Dataset:
        return datasets.upload_dataset(workspace, file_name, chunks())

    return await anyio.to_thread.run_sync(store, limiter=TRANSFERS_AT_ONCE)


def refuse_long(size: int, limit: int) -> None:
    """Refuse a body above the limit.

    Raises:
        TooLarge: More than `limit` bytes.
    """
    if size > limit:
        raise TooLarge(
            f"The file is larger than the {_size(limit)} this studio takes.",
            "Split it, or compress it (.gz or .zst). Its owner may raise the limit.",
        )


def _size(count: int) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**30 else f"{count / 2**20:.3g} MiB"


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Read a refused body to its end: a browser shows our answer only after it has sent everything."""
    try:
        async for _ in body:
            pass
    except (ClientDisconnect, RuntimeError):
        return


async def download(request: Request) -> Response:
    """GET /api/download/KIND/ID: stream what the kind is a key of `DOWNLOADS` for; the id is that of its subject."""
    action = DOWNLOADS.get(request.path_params["kind"])
    if action is None:
        return error_response(NotFound("There is no such download."))
    try:
        file_name, chunks = await run_in_threadpool(
            lambda: action(open_workspace(request.headers), request.path_params["id"])
        )
    except StudioError as error:
        return error_response(error)
    return StreamingResponse(
        chunks,
        media_type="application/octet-stream",
        headers={
            "content-disposition": content_disposition(file_name),
            "content-encoding": "identity",
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
        },
    )


async def health(_request: Request) -> Response:
    """GET /api/health: 200 while the store answers, else 503. Open to monitors: it asks as nobody and tells nothing else."""
    try:
        await run_in_threadpool(lambda: open_studio().check())
    except Exception as error:  # whatever fails, the monitor wants an answer
        return JSONResponse({"status": "failing", "version": __version__, "store": type(error).__name__}, 503)
    return JSONResponse({"status": "ok", "version": __version__, "store": "ok"})


def content_disposition(file_name: str) -> str:
    """Name a download, with any characters (RFC 6266 with the RFC 5987 form beside an ASCII one).

    >>> print(content_disposition('ä "b".jsonl'))
    attachment; filename="_ _b_.jsonl"; filename*=UTF-8''%C3%A4%20%22b%22.jsonl
    """
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%/' else "_" for c in file_name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"


ROUTES: tuple[BaseRoute, ...] = (
    Route("/api/health", health, methods=["GET"]),
    Route("/api/datasets", upload_dataset, methods=["PUT"]),
    Route("/api/download/{kind}/{id}", download, methods=["GET"]),
    Mount("/app/static", StaticFiles(directory=STATIC)),
)
