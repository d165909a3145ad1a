"""The cookie behind which a person of a team is signed in: its name, its marks, and whose it is. Knows no route and no page.

It is HttpOnly: no script reads it. It is SameSite=Strict: no other site's page can make a browser send it. Strict rather than
Lax costs nothing here, although a link in a mail then opens the app without the cookie: that first answer is the same empty
document for everybody, and the connection over which the page is drawn is opened by that document, so it carries the cookie
again. Over https its name begins with __Host-, so that no neighbour under the same domain can plant one.
"""

from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response

from lora_core.actions.sessions import LIFE_SECONDS, Sessions, SignedIn
from lora_core.settings import Settings


def served_over_https(settings: Settings) -> bool:
    """Say whether people reach the app over https. Its owner says so; a header that anybody could send does not."""
    return settings.public_url.startswith("https://") or bool(st.get_option("server.sslCertFile"))


def port_of(headers: Headers) -> int:
    """Return the port of a request's Host header; browsers share cookies between ports, so cookies are named by it."""
    try:
        port = urlsplit(f"//{headers.get('host', '')}").port
    except ValueError:
        port = None
    return port or 80


def session_cookie(headers: Headers, settings: Settings) -> str:
    """Return the name of the session cookie."""
    prefix = "__Host-" if served_over_https(settings) else ""
    return f"{prefix}lora_studio_session_{port_of(headers)}"


def session_id_in(headers: Headers, settings: Settings) -> str:
    """Return the session id that a request carries, or nothing."""
    return cookie_parser(headers.get("cookie", "")).get(session_cookie(headers, settings), "")


def session_in(headers: Headers, sessions: Sessions, settings: Settings) -> SignedIn | None:
    """Return who sent a request, or None if nobody is signed in there."""
    session_id = session_id_in(headers, settings)
    return sessions.find(session_id) if session_id else None


def hand_out(response: Response, headers: Headers, settings: Settings, session_id: str) -> None:
    """Put the cookie of a new session on an answer."""
    _set(response, headers, settings, session_id, int(LIFE_SECONDS))


def take_back(response: Response, headers: Headers, settings: Settings) -> None:
    """Have the browser forget the cookie."""
    _set(response, headers, settings, "", 0)


def _set(response: Response, headers: Headers, settings: Settings, value: str, seconds: int) -> None:
    response.set_cookie(
        session_cookie(headers, settings),
        value,
        max_age=seconds,
        path="/",
        secure=served_over_https(settings),
        httponly=True,
        samesite="strict",
    )
    response.headers["cache-control"] = "no-store"
