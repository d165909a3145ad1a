"""Faults on request: what a network and a busy server do to clients. Tests ask for them in the process, never by HTTP."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Kind = Literal["delay", "answer", "cut_upload", "cut_download", "lose_reply"]
EDGE_PAGE = "<html><head><title>503 Service Temporarily Unavailable</title></head></html>"


@dataclass
class Fault:
    """One fault and how often it still strikes."""

    kind: Kind
    prefix: str
    method: str | None
    times: int
    amount: float = 0
    body: str = ""

    def fits(self, scope: Scope) -> bool:
        """Whether it strikes a request."""
        return scope["path"].startswith(self.prefix) and self.method in (None, scope["method"])


@dataclass(frozen=True)
class Call:
    """One request that came, and the status it was answered with (0: cut before an answer)."""

    method: str
    path: str
    status: int


@dataclass
class Faults:
    """The faults that wait, and the requests that came. Safe to use from any thread."""

    calls: deque[Call] = field(default_factory=lambda: deque(maxlen=10_000))
    _waiting: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def delay(self, prefix: str, seconds: float, *, times: int = 1, method: str | None = None) -> None:
        """Answer the next requests late."""
        self._add(Fault("delay", prefix, method, times, seconds))

    def answer(
        self,
        prefix: str,
        status: int = 503,
        *,
        times: int = 1,
        method: str | None = None,
        body: str = EDGE_PAGE,
    ) -> None:
        """Answer the next requests without doing them. The body is no JSON, as that of a hosted project's edge."""
        self._add(Fault("answer", prefix, method, times, status, body))

    def cut_upload(self, prefix: str, after_bytes: int, *, times: int = 1, method: str | None = None) -> None:
        """Cut the connection when so many bytes of a body have come."""
        self._add(Fault("cut_upload", prefix, method, times, after_bytes))

    def cut_download(
        self, prefix: str, after_bytes: int, *, times: int = 1, method: str | None = None
    ) -> None:
        """Cut the connection when so many bytes of an answer have gone."""
        self._add(Fault("cut_download", prefix, method, times, after_bytes))

    def lose_reply(self, prefix: str, *, times: int = 1, method: str | None = None) -> None:
        """Do the next requests, and cut the connection instead of answering."""
        self._add(Fault("lose_reply", prefix, method, times))

    def clear(self) -> None:
        """Forget faults and calls."""
        with self._lock:
            self._waiting.clear()
            self.calls.clear()

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append(fault)

    def take(self, scope: Scope) -> Fault | None:
        """Return the first fault that strikes this request, and count it."""
        with self._lock:
            fault = next((fault for fault in self._waiting if fault.fits(scope)), None)
            if fault:
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
            return fault

    def note(self, call: Call) -> None:
        """Write down a request."""
        with self._lock:
            self.calls.append(call)

    def count(self, prefix: str, method: str | None = None) -> int:
        """Return how many requests came for a path prefix."""
        with self._lock:
            return sum(call.path.startswith(prefix) and method in (None, call.method) for call in self.calls)


class Cut(Exception):
    """The connection has been cut by a fault; there is nobody to answer."""


class FaultyConnection:
    """ASGI around the app: lets faults strike and writes down every request."""

    def __init__(self, app: ASGIApp, faults: Faults, cut: Callable[[Scope], None]) -> None:
        self._app, self._faults, self._cut = app, faults, cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or break it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        noted = False

        async def noting(message: Message) -> None:
            nonlocal noted
            if (
                message["type"] == "http.response.start"
            ):  # before the client knows, so that tests can count at once
                noted = True
                self._faults.note(Call(scope["method"], scope["path"], message["status"]))
            await send(message)

        try:
            await self._strike(self._faults.take(scope), scope, receive, noting)
        except Cut:
            pass  # there is nobody to answer
        finally:
            if not noted:
                self._faults.note(Call(scope["method"], scope["path"], 0))

    async def _strike(self, fault: Fault | None, scope: Scope, receive: Receive, send: Send) -> None:
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind == "delay":
            await asyncio.sleep(fault.amount)
            await self._app(scope, receive, send)
        elif fault.kind == "answer":
            start = {
                "type": "http.response.start",
                "status": int(fault.amount),
                "headers": [(b"content-type", b"text/html")],
            }
            await send(start)
            await send({"type": "http.response.body", "body": fault.body.encode()})
        elif fault.kind == "cut_upload":
            await self._app(scope, self._cutting_receive(fault, scope, receive), self._silent(scope))
            self._cut(scope)
            raise Cut
        elif fault.kind == "cut_download":
            await self._app(scope, receive, self._cutting_send(fault, scope, send))
        else:
            await self._app(scope, receive, self._silent(scope))
            self._cut(scope)
            raise Cut

    def _cutting_receive(self, fault: Fault, scope: Scope, receive: Receive) -> Receive:
        left = int(fault.amount)

        async def cutting() -> Message:
            nonlocal left
            if left <= 0:
                self._cut(scope)
                return {"type": "http.disconnect"}
            message: MutableMapping[str, Any] = await receive()
            if message["type"] == "http.request":
                body = message.get("body", b"")[:left]
                left -= len(body)
                return {
                    "type": "http.request",
                    "body": body,
                    "more_body": left <= 0 or message.get("more_body", False),
                }
            return message

        return cutting

    def _cutting_send(self, fault: Fault, scope: Scope, send: Send) -> Send:
        left = int(fault.amount)

        async def cutting(message: Message) -> None:
            nonlocal left
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or len(body) < left:
                left -= len(body)
                await send(message)
                return
            await send({"type": "http.response.body", "body": body[:left], "more_body": True})
            await asyncio.sleep(0.01)  # so that what was sent is on its way
            self._cut(scope)
            raise Cut

        return cutting

    def _silent(self, scope: Scope) -> Send:
        async def silent(message: Message) -> None:
            """Say nothing."""

        return silent
