"""What a Supabase project answers instead of a result, as the studio's errors. Knows no call and imports no client.

Sentences for people come from the database's own functions (codes PT4xx); everything else is translated here. What only an
operator understands (a code, the system's word for a cut cable) goes into the log and not to the person.
"""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import httpx
import msgspec

from lora_core.errors import (
    Conflict,
    Forbidden,
    NotAllowed,
    NotFound,
    SignedOut,
    StoreError,
    StudioError,
    TooLarge,
    Unavailable,
)

log = logging.getLogger(__name__)

AWAY = "Try again in a moment. If it stays so, tell the operator of the team: the studio's log says more."
SIGN_IN = "Sign in again."
_UPGRADE = "Its operator brings it up to date with the files in supabase/migrations."

_BY_STATUS: dict[int, type[StudioError]] = {
    401: SignedOut,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: NotAllowed,
}
"""What the database's functions raise as PTxxx, with a sentence of their own."""

_BY_CODE: dict[str, type[StudioError]] = {
    # PostgreSQL
    "23505": Conflict,
    "23503": Conflict,
    "23514": NotAllowed,
    "22P02": NotFound,
    "42501": Forbidden,
    "40001": Unavailable,
    "40P01": Unavailable,
    "55P03": Unavailable,
    "57014": Unavailable,
    # PostgREST
    "PGRST116": NotFound,
    "PGRST301": SignedOut,
    "PGRST302": SignedOut,
    "PGRST303": SignedOut,
    # Storage
    "InvalidJWT": SignedOut,
    "ExpiredToken": SignedOut,
    "AccessDenied": Forbidden,
    "NoSuchKey": NotFound,
    "NoSuchBucket": NotFound,
    "NoSuchUpload": NotFound,
    "KeyAlreadyExists": Conflict,
    "ResourceAlreadyExists": Conflict,
    "EntityTooLarge": TooLarge,
}

OTHER_SCHEMA = frozenset(
    {"PGRST106", "PGRST200", "PGRST202", "PGRST203", "PGRST204", "PGRST205", "42883", "42P01", "42703"}
)
"""The project's database lacks a function, table or column: it is older or newer than this studio."""

_WORDS: dict[type[StudioError], tuple[str, str]] = {
    SignedOut: ("The session has ended.", SIGN_IN),
    Forbidden: ("This account may not do that.", ""),
    NotFound: ("There is no such row or file (any more).", ""),
    Conflict: ("Somebody else was first: the row exists or has changed.", "Load the page again."),
    TooLarge: (
        "This is larger than the Supabase project takes.",
        "Its file size limit is set in the project's Storage.",
    ),
    Unavailable: ("The Supabase project does not answer.", AWAY),
}
_PLAIN = (SignedOut, Forbidden, Conflict, TooLarge)
"""What a status alone may mean. A 404 without a code is not the project's: something else answers at its address."""

_LONGEST_NOTE = 300
_PERSONS_CODE = re.compile(r"PT(4\d\d)")


def error_of(status: int, body: bytes | str) -> StudioError:
    """Return the error that an answer stands for.

    Args:
        status: HTTP status of the answer.
        body: Its body; of the database, of Storage, or of a proxy on the way (then it may be anything).

    >>> error_of(409, '{"code": "PT409", "message": "Attempt 2 owns the job now.", "hint": ""}')
    Conflict('Attempt 2 owns the job now.')
    """
    answer = _read(body)
    if not answer:  # answers to HEAD and to uploads in pieces, and those of proxies
        plain = _BY_STATUS.get(status)
        return plain(*_words(plain)) if plain in _PLAIN else _unavailable(status, "")
    code = str(answer.get("code") or "")
    message = _text(answer, "message", "error")
    hint = _text(answer, "hint")
    if (found := _PERSONS_CODE.fullmatch(code)) is not None:
        kind = _BY_STATUS.get(int(found[1]), StoreError)
        return kind(message or _words(kind)[0], hint)
    status = _true_status(status, answer)
    if status == 429 or status >= 500 or code.startswith(("08", "53", "PGRST00")):
        return _unavailable(status, code)
    if status == 401 and "api key" in message.lower():
        return StoreError(
            "The Supabase project refuses this studio's key.", "Check SUPABASE_PUBLISHABLE_KEY."
        )
    if status == 401 or _is_about_token(code, message):
        return SignedOut(*_words(SignedOut))
    if code in OTHER_SCHEMA:
        return StoreError(
            f"The team's database does not fit this version of the studio ({message}).", _UPGRADE
        )
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, StoreError)
    if kind in _WORDS:
        return kind(*_words(kind))
    return kind(f"The Supabase project refused this: {message or status}.", hint)


def error_from(error: httpx.HTTPError | httpx.InvalidURL) -> StudioError:
    """Return the studio's error for what httpx has raised."""
    if isinstance(error, httpx.TimeoutException):
        note(f"the Supabase project does not answer in time: {type(error).__name__}")
        return Unavailable("The Supabase project does not answer in time.", AWAY)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return StoreError(
            f"The address of the Supabase project cannot be used: {error}.", "Check SUPABASE_URL."
        )
    note(f"the Supabase project cannot be reached: {type(error).__name__}: {error}")
    return Unavailable("The Supabase project cannot be reached.", AWAY)


def no_project() -> Unavailable:
    """Return the error of an answer that went well and is none of a Supabase project's: something else has answered."""
    note("what answers at SUPABASE_URL is no Supabase project")
    return Unavailable("The Supabase project does not answer as it should.", AWAY)


def note(text: str) -> None:
    """Write what only an operator understands into the log: the same text once a minute, however many calls fail."""
    _note_once(text[:_LONGEST_NOTE], int(time.monotonic() // 60))


@lru_cache(maxsize=64)
def _note_once(text: str, _minute: int) -> None:
    log.warning("%s", text)


@contextmanager
def typed_errors() -> Iterator[None]:
    """Turn what a block meets on the network into the studio's errors; other exceptions pass as they are."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise error_from(error) from error


def _read(body: bytes | str) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _text(answer: dict[str, Any], *names: str) -> str:
    return next((value for name in names if isinstance(value := answer.get(name), str) and value), "")


def _true_status(status: int, answer: dict[str, Any]) -> int:
    """Storage answers 400 and puts the true status inside."""
    inside = str(answer.get("statusCode") or "")
    return int(inside) if len(inside) == 3 and inside.isdigit() else status


def _is_about_token(code: str, message: str) -> bool:
    """Say whether an answer means that the token is not good (any more); Storage says so with 400 or 403."""
    if _BY_CODE.get(code) is SignedOut:
        return True
    lowered = message.lower()
    return "jwt" in lowered or '"exp" claim' in lowered


def _unavailable(status: int, code: str) -> Unavailable:
    if status == 429:
        return Unavailable("The Supabase project has had too many calls.", "Wait a minute and try again.")
    if code == "57014":
        return Unavailable("The Supabase project took too long over this.", "Try again in a moment.")
    note(f"the Supabase project answers with an error: HTTP {status} {code}".rstrip())
    return Unavailable("The Supabase project does not answer as it should.", AWAY)


def _words(kind: type[StudioError]) -> tuple[str, str]:
    return _WORDS.get(kind, ("The Supabase project refused the call.", ""))
