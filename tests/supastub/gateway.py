"""The address of a project: one ASGI app with the three services, served from a thread of this process.

It can be stopped and started again on the same port, as a network that goes and comes back.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.supastub.auth import Auth
from tests.supastub.backend import Address, Backend
from tests.supastub.faults import Faults, FaultyConnection
from tests.supastub.keys import Keys, NotAdmitted
from tests.supastub.missing import NotInRig
from tests.supastub.rest import Rest
from tests.supastub.storage import Storage
from tests.supastub.tus import Tus

METHODS = ["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"]
START_SECONDS = 20.0
Service = Callable[[Request], Awaitable[Response]]
Result = TypeVar("Result")


def guarded(service: Service) -> Service:
    """Return the service with what all of them refuse in the same way."""

    async def answer(request: Request) -> Response:
        try:
            return await service(request)
        except NotAdmitted as error:
            return JSONResponse({"message": error.message, "hint": error.hint}, 401)
        except NotInRig as error:
            return error.response()
        except ClientDisconnect:
            return Response(None, 499)

    return answer


async def elsewhere(request: Request) -> Response:
    """Answer what is none of the three services."""
    raise NotInRig(f"{request.method} {request.url.path}")


class Gateway:
    """One project's server. `faults` and `settings` may be changed from any thread."""

    def __init__(self, keys: Keys, folder: Path) -> None:
        self.keys = keys
        self.faults = Faults()
        self._backend = Backend(keys, folder)
        self.settings = self._backend.settings
        self._storage = Storage(self._backend)
        self._tus = Tus(self._backend, self._storage)
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}
        self._app = FaultyConnection(self._routes(), self.faults, self._cut)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rig-gateway", daemon=True)
        self._thread.start()
        self._serving: tuple[uvicorn.Server, Any] | None = None
        self._port = 0

    def _routes(self) -> Starlette:
        services: list[tuple[str, Service]] = [
            ("/rest/v1/{path:path}", Rest(self._backend)),
            ("/auth/v1/{path:path}", Auth(self._backend)),
            ("/storage/v1/upload/resumable", self._tus),
            ("/storage/v1/upload/resumable/{path:path}", self._tus),
            ("/storage/v1/{path:path}", self._storage),
            ("/{path:path}", elsewhere),
        ]
        return Starlette(
            routes=[Route(path, guarded(service), methods=METHODS) for path, service in services]
        )

    @property
    def url(self) -> str:
        """What SUPABASE_URL is."""
        return f"http://127.0.0.1:{self._port}"

    def connect(self, address: Address) -> None:
        """Turn to a database, a fresh one as a rule."""
        self._call(self._backend.open(address))

    def disconnect(self) -> None:
        """Leave the database."""
        self._call(self._backend.close())

    def begin_anew(self) -> None:
        """Forget files, uploads, faults and changed settings."""
        self._call(self._forget())

    def reload(self) -> None:
        """Read the schema and the roles again after a test changed them."""
        self._call(self._backend.refresh())

    def pass_time(self, seconds: float) -> None:
        """Let what the services remember themselves grow old."""
        self._tus.pass_time(seconds)

    def start(self, port: int = 0) -> None:
        """Listen, on the port of the last time if there was one."""
        if self._serving is None:
            self._call(self._serve(port or self._port))

    def stop(self) -> None:
        """Close the port and cut every connection. Data stays."""
        if self._serving is not None:
            self._call(self._leave())

    def close(self) -> None:
        """End the server, its connections to the database and its thread."""
        self.stop()
        self._call(self._backend.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(START_SECONDS)

    async def _forget(self) -> None:
        self._tus.forget()
        self._storage.shelf.empty()
        self.faults.clear()
        for name, value in vars(type(self.settings)()).items():
            setattr(self.settings, name, value)

    async def _serve(self, port: int) -> None:
        listening = socket.socket(
            socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
        )  # else asyncio sets no TCP_NODELAY
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        self._port = listening.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            http=self._protocol(),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=60,
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listening])
        self._serving = (server, self._loop.create_task(server.main_loop()))

    async def _leave(self) -> None:
        assert self._serving is not None
        server, ticking = self._serving
        self._serving = None
        for transport in list(self._transports.values()):
            transport.abort()
        server.should_exit = server.force_exit = True
        ticking.cancel()
        await server.shutdown()

    def _protocol(self) -> type[H11Protocol]:
        """Return uvicorn's protocol that also tells us its connections, so that a fault can cut one."""
        transports = self._transports

        class Known(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                transports[transport.get_extra_info("peername")[:2]] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                transports.pop(self.client, None)  # type: ignore[arg-type]
                super().connection_lost(exc)

        return Known

    def _cut(self, scope: Scope) -> None:
        transport = self._transports.get(tuple(scope["client"]))
        if transport is not None:
            transport.abort()
