"""Who may call this server: a check of host, origin and session in front of every HTTP request.

The embedded mode has no sign-in. What keeps other web pages and other programs' pages away from the routes is a random
token, made at each start of the app and handed out as a cookie with the app's own page; and it answers on this machine only.
In a team, the session of the person stands in place of that token. Knows nothing of jobs or files.
"""

import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lora_core.settings import is_loopback
from pages.frame.cookies import port_of

API = "/api/"
HEALTH = "/api/health"
SESSION = "/api/session"
READS = ("GET", "HEAD")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
REATTACH = ("/_stcore/host-config", "/_stcore/health")
"""What an open browser tab asks for when the app comes back: it gets the new token with the answer."""

TOKEN = secrets.token_urlsafe(32)
POLICY_VIOLATION = 1008

SignedInCheck = Callable[[Headers], bool]


class RequestGuard:
    """ASGI middleware: refuses what it does not know with JSON, hands out the cookie of the embedded mode.

    Args:
        team: Returns how to tell whether somebody is signed in where a request comes from; None in the embedded mode.
    """

    def __init__(self, app: ASGIApp, team: Callable[[], SignedInCheck | None] = lambda: None) -> None:
        self._app = app
        self._team = team

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check an HTTP request; websockets check host and origin themselves."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        signed_in = self._team()
        if signed_in is None and not listens_here_only(scope):
            await _turn_away(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif signed_in is None:
            await self._embedded(scope, receive, send)
        else:
            await self._in_team(scope, receive, send, signed_in)

    async def _embedded(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = refuse(scope["method"], scope["path"], Headers(scope=scope))
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        hands_out = scope["method"] in READS and _is_page(scope["path"], Headers(scope=scope))
        cookie = _cookie(HTTPConnection(scope).headers) if hands_out else None
        await self._app(scope, receive, _sealed(send, cookie) if hands_out else send)

    async def _in_team(self, scope: Scope, receive: Receive, send: Send, signed_in: SignedInCheck) -> None:
        refusal = refuse_in_team(scope["method"], scope["path"], Headers(scope=scope), signed_in)
        answer = refusal or self._app
        await answer(scope, receive, _sealed(send))


def refuse(method: str, path: str, headers: Headers) -> JSONResponse | None:
    """Return the answer to a request that may not be served in the embedded mode, or None."""
    if stranger := _refuse_stranger(method, path, headers):
        return stranger
    if not path.startswith(API) or path == HEALTH:
        return None
    if not secrets.compare_digest(_token_of(headers), TOKEN):
        return refusal("This page is from before the app was restarted.", "Reload the page and try again.")
    return None


def refuse_in_team(method: str, path: str, headers: Headers, signed_in: SignedInCheck) -> JSONResponse | None:
    """Return the answer to a request that may not be served in a team's studio, or None."""
    if stranger := _refuse_stranger(method, path, headers):
        return stranger
    is_open = path in (HEALTH, SESSION) or path.startswith(f"{SESSION}/")
    if not path.startswith(API) or is_open or signed_in(headers):
        return None
    return refusal("You are signed out.", "Reload the page and sign in.", status=401)


def _refuse_stranger(method: str, path: str, headers: Headers) -> JSONResponse | None:
    if not host_allowed(headers.get("host", "")):
        return refusal(
            "The app is not known under this address.",
            "Open it as localhost, or add the name to allowedHosts.",
        )
    if path.startswith(API) and path != HEALTH and method not in READS and not same_origin(headers):
        return refusal("This request came from another web page.", "Use the studio's own pages.")
    return None


def refusal(message: str, next_step: str, *, status: int = 403) -> JSONResponse:
    """Build a refusal in the form that the pages' own scripts show."""
    return JSONResponse({"message": message, "next_step": next_step}, status_code=status)


def host_allowed(host: str) -> bool:
    """Say whether a Host header names this app; others point at DNS rebinding.

    >>> host_allowed("127.0.0.1:8501"), host_allowed("[::1]:8501"), host_allowed("evil.example:8501")
    (True, True, False)
    """
    allowed = {*LOOPBACK, *(name.lower() for name in st.get_option("server.allowedHosts"))}
    return "@" not in host and _host_name(f"//{host}") in allowed


def same_origin(headers: Headers) -> bool:
    """Say whether a write comes from the app's own page, by the headers only a browser itself can set."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is not None:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    return site == "same-origin"


def listens_here_only(scope: Scope) -> bool:
    """Say whether a connection came in at a loopback address (or a local socket) of this machine.

    >>> listens_here_only({"server": ("127.0.0.1", 8501)}), listens_here_only({"server": ("10.0.0.7", 8501)})
    (True, False)
    """
    host, port = scope.get("server") or ("", None)
    return port is None or is_loopback(host)


def cookie_name(headers: Headers) -> str:
    """Name of the embedded mode's cookie."""
    return f"lora_studio_{port_of(headers)}"


async def _turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    answer = refusal(
        "Without sign-in the studio answers on its own machine only.",
        "Open it there, forward the port (ssh -L), or set it up for a team (docs/supabase.md).",
    )
    await answer(scope, receive, send)


def _sealed(send: Send, cookie: str | None = None) -> Send:
    """Send on, with a cookie, and with the word that no other site may show the page in a frame."""

    async def send_sealed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if cookie is not None:
                headers.append("set-cookie", cookie)
            headers["content-security-policy"] = "frame-ancestors 'self'"
        await send(message)

    return send_sealed


def _cookie(headers: Headers) -> str:
    return f"{cookie_name(headers)}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"


def _token_of(headers: Headers) -> str:
    token = cookie_parser(headers.get("cookie", "")).get(cookie_name(headers), "")
    return token if token.isascii() else ""


def _is_page(path: str, headers: Headers) -> bool:
    return "text/html" in headers.get("accept", "") or path.endswith(REATTACH)


def _host_name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
