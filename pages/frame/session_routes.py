"""Signing in and out over HTTP: the only way a session cookie comes and goes. What is checked is an action; this is only HTTP.

The guard has checked host and origin before. Answers are JSON; an error holds a message and a next step, as everywhere.
"""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from lora_core.actions.attempts import AttemptLimit
from lora_core.errors import ConfigError, DataError, Forbidden, NotFound, StudioError, TooLarge
from lora_core.studio import TeamStudio
from pages.frame import opened
from pages.frame.answers import error_response
from pages.frame.cookies import hand_out, session_id_in, take_back

MAX_BODY_BYTES = 16_384
MAX_EMAIL = 254
MAX_PASSWORD = 72
"""The accounts hash passwords with bcrypt, which reads no more bytes than this."""

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_TOKEN_HASH = re.compile(r"[A-Za-z0-9_-]{1,200}")
_ACCESS_TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,8000}")

Handler = Callable[[Request], Awaitable[Response]]


class Limits:
    """How often people may try. The project has limits of its own, but to it everybody here is one address."""

    def __init__(self) -> None:
        self.wrong_passwords = AttemptLimit(most=10, seconds=15 * 60)
        """For one address and e-mail together: who mistypes locks out nobody else."""
        self.wrong_from_address = AttemptLimit(most=60, seconds=15 * 60)
        self.mails = AttemptLimit(most=10, seconds=3600)
        """Sign-ups, resets and new passwords from one address."""


def session_routes(limits: Limits | None = None) -> tuple[BaseRoute, ...]:
    """Return the routes, with counters of their own."""
    desk = _Desk(limits or Limits())
    return (
        Route("/api/session", _answering(desk.sign_in), methods=["POST"]),
        Route("/api/session", _answering(desk.sign_out), methods=["DELETE"]),
        Route("/api/session/account", _answering(desk.sign_up), methods=["POST"]),
        Route("/api/session/reset", _answering(desk.request_reset), methods=["POST"]),
        Route("/api/session/password", _answering(desk.set_password), methods=["POST"]),
    )


class _Desk:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def sign_in(self, request: Request) -> Response:
        """POST {email, password}: a new session, whatever the browser had before."""
        studio, body = _team(), await _body(request)
        email, password = _email(body), _text(body, "password")
        address = _address(request)
        spent = (
            (self._limits.wrong_from_address, address),
            (self._limits.wrong_passwords, f"{address} {email.lower()}"),
        )
        for limit, key in spent:
            limit.spend(key)
        session_id, person = await run_in_threadpool(studio.sessions.sign_in, email, password)
        for limit, key in spent:
            limit.give_back(key)
        return await _welcome(request, studio, session_id.reveal(), person.email)

    async def sign_out(self, request: Request) -> Response:
        """DELETE: the session ends here and at the project, in all tabs of this browser."""
        studio = _team()
        if session_id := session_id_in(request.headers, studio.settings):
            await run_in_threadpool(studio.sessions.end, session_id)
        answer = Response(status_code=204)
        take_back(answer, request.headers, studio.settings)
        return answer

    async def sign_up(self, request: Request) -> Response:
        """POST {email, password, invitation}: an account, and a session unless the address is to be confirmed first."""
        studio, body = _team(), await _body(request)
        email, password = _email(body), _new_password(body)
        invitation = _text(body, "invitation", at_least=0)[:200]
        self._limits.mails.spend(_address(request))
        made = await run_in_threadpool(studio.sessions.sign_up, email, password, invitation)
        if made is None:
            words = f"A mail is on its way to {email}. Open the link in it, then sign in."
            return JSONResponse({"signed_in": False, "message": words}, 202)
        session_id, person = made
        return await _welcome(request, studio, session_id.reveal(), person.email)

    async def request_reset(self, request: Request) -> Response:
        """POST {email}: the answer is the same whether there is such an account or not."""
        studio, email = _team(), _email(await _body(request))
        self._limits.mails.spend(_address(request))
        await run_in_threadpool(studio.sessions.accounts.request_reset, email)
        words = f"If there is an account for {email}, a mail with a link is on its way."
        return JSONResponse({"signed_in": False, "message": words}, 202)

    async def set_password(self, request: Request) -> Response:
        """POST {password, token_hash or access_token}: what a mailed link holds lets a person set a password, and in."""
        studio, body = _team(), await _body(request)
        password = _new_password(body)
        token_hash, access_token = str(body.get("token_hash") or ""), str(body.get("access_token") or "")
        good = _TOKEN_HASH.fullmatch(token_hash) if token_hash else _ACCESS_TOKEN.fullmatch(access_token)
        if not good:
            raise Forbidden(
                "This link is not complete.", "Open it again from the mail, or ask for a new one."
            )
        self._limits.mails.spend(_address(request))
        session_id, person = await run_in_threadpool(
            lambda: studio.sessions.set_password(
                password, token_hash=token_hash, access_token="" if token_hash else access_token
            )
        )
        return await _welcome(request, studio, session_id.reveal(), person.email)


async def _welcome(request: Request, studio: TeamStudio, session_id: str, email: str) -> Response:
    """End the session the browser had, if any, and hand out the new one's cookie."""
    if before := session_id_in(request.headers, studio.settings):
        await run_in_threadpool(studio.sessions.end, before)
    answer = JSONResponse({"signed_in": True, "email": email})
    hand_out(answer, request.headers, studio.settings, session_id)
    return answer


def _answering(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except StudioError as error:
            return error_response(error)

    return answer


def _team() -> TeamStudio:
    studio = opened.team()
    if studio is None:
        raise NotFound("This studio has no sign-in: it is for one person on one machine.")
    return studio


async def _body(request: Request) -> dict[str, Any]:
    """Read a small JSON object. Only a script of our own page sends this type: a form of another page cannot."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise DataError("The request is not JSON.")
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise TooLarge("The request is too long.")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise DataError("The request is not a JSON object.")
    return body


def _text(body: dict[str, Any], name: str, *, at_least: int = 1) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or len(value) < at_least or "\x00" in value:
        raise ConfigError(f"The {name} is missing.")
    return value


def _email(body: dict[str, Any]) -> str:
    email = _text(body, "email").strip()
    if len(email) > MAX_EMAIL or not _EMAIL.fullmatch(email):
        raise ConfigError("This is not an e-mail address.", "Write it as name@example.org.")
    return email


def _new_password(body: dict[str, Any]) -> str:
    password = _text(body, "password")
    if len(password.encode()) > MAX_PASSWORD:
        raise ConfigError(f"A password may have {MAX_PASSWORD} characters.", "Choose a shorter one.")
    return password


def _address(request: Request) -> str:
    """Where a request comes from. Behind a proxy that the owner has named (FORWARDED_ALLOW_IPS), the server has put it right."""
    return request.client.host if request.client else "local"
