"""Who may call this server: a check of host, origin and session in front of every HTTP request.

The embedded mode has no sign-in. What keeps other web pages and other programs' pages away from the routes is a random
token, made at each start of the app and handed out as a cookie with the app's own page. Knows nothing of jobs or files.
"""

import secrets
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

API = "/api/"
HEALTH = "/api/health"
READS = ("GET", "HEAD")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
REATTACH = ("/_stcore/host-config", "/_stcore/health")
"""What an open browser tab asks for when the app comes back: it gets the new token with the answer."""

TOKEN = secrets.token_urlsafe(32)


class RequestGuard:
    """ASGI middleware: refuses what it does not know with 403 and JSON, hands out the session cookie."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check an HTTP request; let everything else (websockets check themselves) pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = refuse(scope["method"], scope["path"], Headers(scope=scope))
        if refusal is not None:
            await refusal(scope, receive, send)
            return

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.append("set-cookie", _cookie(HTTPConnection(scope).headers))
                headers["content-security-policy"] = "frame-ancestors 'self'"
            await send(message)

        hands_out = scope["method"] in READS and _is_page(scope["path"], Headers(scope=scope))
        await self._app(scope, receive, send_with_cookie if hands_out else send)


def refuse(method: str, path: str, headers: Headers) -> JSONResponse | None:
    """Return the answer to a request that may not be served, or None."""
    if not host_allowed(headers.get("host", "")):
        return refusal(
            "The app is not known under this address.",
            "Open it as localhost, or add the name to allowedHosts.",
        )
    if not path.startswith(API) or path == HEALTH:
        return None
    if method not in READS and not same_origin(headers):
        return refusal("This request came from another web page.", "Use the studio's own pages.")
    if not secrets.compare_digest(_token_of(headers), TOKEN):
        return refusal("This page is from before the app was restarted.", "Reload the page and try again.")
    return None


def refusal(message: str, next_step: str) -> JSONResponse:
    """Build a 403 in the form that the pages' own scripts show."""
    return JSONResponse({"message": message, "next_step": next_step}, status_code=403)


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


def cookie_name(headers: Headers) -> str:
    """Name of the session cookie; browsers share cookies between ports, so the port is part of it."""
    try:
        port = urlsplit(f"//{headers.get('host', '')}").port
    except ValueError:
        port = None
    return f"lora_studio_{port or 80}"


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
