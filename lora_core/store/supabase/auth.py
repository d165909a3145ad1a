"""Accounts of a Supabase project (GoTrue) over HTTP. Knows no cookie and keeps no session: what it gets, it hands back.

Not over supabase-py's auth client: that keeps one person's session inside, and here one object serves everybody.
Sources: https://supabase.com/docs/reference/self-hosting-auth (paths) and https://supabase.com/docs/guides/auth/debugging/error-codes.
"""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httpx

from lora_core.errors import Forbidden, NotAllowed, SignedOut, StudioError, TooOften, Unavailable
from lora_core.secrets import Secret
from lora_core.store.accounts import AuthSession
from lora_core.store.supabase.errors import AWAY, no_project, note, typed_errors
from lora_core.store.supabase.tls import tls

TIMEOUT = httpx.Timeout(15.0, connect=4.0)
"""The service answers to a sign-up or a reset only when its mail is on the way."""

REFRESH_TIMEOUT = httpx.Timeout(4.0, connect=2.0)
"""All tabs of a person wait for a refresh. If its answer is lost, the service gives the same one again."""

API_VERSION = "2024-01-01"
"""With this version an error's `code` is a word; without it, the HTTP status."""

ROLE_CLAIM = "operator"

_WORDS: dict[str, tuple[type[StudioError], str, str]] = {
    "invalid_credentials": (
        Forbidden,
        "E-mail and password do not belong together.",
        "Check both and try again.",
    ),
    "user_banned": (Forbidden, "This account is closed.", "Ask the operator of the team."),
    "email_not_confirmed": (
        NotAllowed,
        "This e-mail address is not confirmed yet.",
        "Open the link in the mail that was sent to you, then sign in.",
    ),
    "signup_disabled": (Forbidden, "This studio takes no new accounts.", "Ask the operator of the team."),
    "email_provider_disabled": (
        Forbidden,
        "This studio takes no new accounts.",
        "Ask the operator of the team.",
    ),
    "user_already_exists": (
        NotAllowed,
        "There is an account with this e-mail address already.",
        "Sign in, or ask for a new password.",
    ),
    "email_exists": (
        NotAllowed,
        "There is an account with this e-mail address already.",
        "Sign in, or ask for a new password.",
    ),
    "email_address_invalid": (NotAllowed, "This e-mail address cannot be used.", "Check how it is written."),
    "email_address_not_authorized": (
        NotAllowed,
        "The project may not send mail to this address.",
        "The operator has to set up an SMTP server for the project.",
    ),
    "same_password": (NotAllowed, "This is the password you have.", "Choose another one."),
    "otp_expired": (Forbidden, "This link was used before or is too old.", "Ask for a new one."),
    "over_request_rate_limit": (
        TooOften,
        "Too many attempts from here.",
        "Wait a few minutes, then try again.",
    ),
    "over_email_send_rate_limit": (
        TooOften,
        "The project has sent as many e-mails as it may for now.",
        "Wait an hour, or ask the operator of the team.",
    ),
    "captcha_failed": (
        Forbidden,
        "The project asks for a captcha, which this page does not have.",
        "Tell the operator.",
    ),
}
"""What people read instead of the service's own words, by its error code."""

_ENDED = {
    "refresh_token_not_found",
    "refresh_token_already_used",
    "session_not_found",
    "session_expired",
    "user_not_found",
    "bad_jwt",
    "invalid_jwt",
    "no_authorization",
}
_BY_INVITATION = (
    "This studio is by invitation.",
    "Use the e-mail address you were invited with, and the newest link: it is good once and for a few days.",
)
_SIGNED_OUT = ("You are signed out.", "Sign in again.")


class SupabaseAuth:
    """The `Accounts` of a project. Safe to share between threads and people.

    Args:
        url: Address of the project.
        key: Its publishable key.
        links_to: Address of the app, for the links in e-mails; empty for the project's own setting (Site URL).
    """

    def __init__(
        self, url: str, key: str, *, links_to: str = "", now: Callable[[], float] = time.time
    ) -> None:
        self._links_to = {"redirect_to": links_to} if links_to else {}
        self._key = key
        self._now = now
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"apikey": key},
            verify=tls(),
            http2=False,
        )

    def sign_in(self, email: str, password: str) -> AuthSession:
        """Begin a session with a password."""
        body = {"email": email, "password": password}
        return self._session(self._call("POST", "token", body, {"grant_type": "password"}))

    def sign_up(self, email: str, password: str, *, invitation: str = "") -> AuthSession | None:
        """Make an account. The invitation's code goes into the metadata, where the database's trigger reads it."""
        data = {"invitation": invitation} if invitation else {}
        body = {"email": email, "password": password, "data": data}
        try:
            # Without the version header: only so the service passes on what the database's trigger says (PT403).
            answer = self._call("POST", "signup", body, self._links_to, versioned=False)
        except (SignedOut, Unavailable) as error:
            said = error.__cause__.text if isinstance(error.__cause__, _Refused) else ""
            if "PT403" in said or "saving new user" in said:
                raise Forbidden(*_BY_INVITATION) from error
            raise
        return self._session(answer) if answer.get("access_token") else None

    def refresh(self, session: AuthSession) -> AuthSession:
        """Exchange the refresh token for new tokens."""
        body = {"refresh_token": session.refresh_token.reveal()}
        try:
            query = {"grant_type": "refresh_token"}
            return self._session(self._call("POST", "token", body, query, timeout=REFRESH_TIMEOUT))
        except (Forbidden, NotAllowed) as error:
            raise SignedOut(error.message, error.next_step) from error

    def sign_out(self, session: AuthSession, *, everywhere: bool = False) -> None:
        """End the session at the service; its access token stays good until it expires by itself."""
        try:
            self._call("POST", "logout", None, {"scope": "global" if everywhere else "local"}, bearer=session)
        except (SignedOut, Forbidden):
            return

    def request_reset(self, email: str) -> None:
        """Have a link mailed, if there is such an account."""
        self._call("POST", "recover", {"email": email}, self._links_to)

    def take_link(self, token_hash: str) -> AuthSession:
        """Exchange the `token_hash` of a recovery link for a session."""
        return self._session(self._call("POST", "verify", {"type": "recovery", "token_hash": token_hash}))

    def take_access(self, access_token: str) -> AuthSession:
        """Ask whose access token this is: the project's standard mail template leads back with one."""
        token = Secret(access_token)
        try:
            user = self._call("GET", "user", bearer=token)
        except SignedOut as error:
            raise _known("otp_expired") from error
        return AuthSession(*_person(user), token, Secret(""), self._now() + 60.0)

    def set_password(self, session: AuthSession, password: str) -> None:
        """Set a new password for the session's person."""
        self._call("PUT", "user", {"password": password}, bearer=session)

    def sign_up_is_open(self) -> bool:
        """Ask the database through its REST interface."""
        headers = {"authorization": f"Bearer {self._key}"}
        return (
            self._send("POST", "/rest/v1/rpc/sign_up_is_open", {}, {}, headers, REFRESH_TIMEOUT).text.strip()
            == "true"
        )

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
        *,
        bearer: AuthSession | Secret | None = None,
        versioned: bool = True,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> dict[str, Any]:
        token = bearer.access_token if isinstance(bearer, AuthSession) else bearer
        headers = {"authorization": f"Bearer {token.reveal() if token else self._key}"}
        if versioned:
            headers["x-supabase-api-version"] = API_VERSION
        answer = self._send(method, f"/auth/v1/{path}", body, query or {}, headers, timeout)
        try:
            content = answer.json() if answer.content else {}
        except ValueError as error:
            raise no_project() from error
        return content if isinstance(content, dict) else {}

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        query: dict[str, str],
        headers: dict[str, str],
        timeout: httpx.Timeout,
    ) -> httpx.Response:
        with typed_errors():
            answer = self._http.request(
                method, path, json=body, params=query, headers=headers, timeout=timeout
            )
        if answer.is_success:
            return answer
        raise _error_of(answer) from _Refused(answer)

    def _session(self, answer: dict[str, Any]) -> AuthSession:
        try:
            return AuthSession(
                *_person(answer["user"]),
                Secret(str(answer["access_token"])),
                Secret(str(answer["refresh_token"])),
                self._now() + float(answer["expires_in"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable("The Supabase project gave an answer that is no session.") from error


class _Refused(Exception):
    """What the service itself said, for the log and for telling cases apart; never shown."""

    def __init__(self, answer: httpx.Response) -> None:
        self.text = answer.text[:500]
        super().__init__(f"HTTP {answer.status_code}: {self.text}")


def _person(user: dict[str, Any]) -> tuple[str, str, bool]:
    """Return id, e-mail and whether the account says operator; people cannot write app_metadata themselves."""
    role = (user.get("app_metadata") or {}).get("role")
    return str(user["id"]), str(user.get("email") or ""), role == ROLE_CLAIM


def _known(code: str) -> StudioError:
    kind, message, next_step = _WORDS[code]
    return kind(message, next_step)


def _error_of(answer: httpx.Response) -> StudioError:
    """Choose words for a refusal: by its code where there is one, else by its status."""
    status, (code, message) = answer.status_code, _said(answer)
    if code in _WORDS:
        return _known(code)
    if code == "weak_password":
        return NotAllowed("The password is too weak.", message or "Choose a longer one.")
    if status == HTTPStatus.UNAUTHORIZED and "api key" in message.lower():
        return Unavailable(
            "The Supabase project does not accept this app's key.", "Tell the operator: the key was changed."
        )
    if code in _ENDED or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return SignedOut(*_SIGNED_OUT)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _known("over_request_rate_limit")
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return NotAllowed("The Supabase project refused this.", f"It said: {message}" if message else "")
    note(f"the accounts of the Supabase project answer with an error: HTTP {status} {code}".rstrip())
    return Unavailable("The Supabase project does not answer as it should.", AWAY)


def _said(answer: httpx.Response) -> tuple[str, str]:
    """Return code and message of an error; without the version header, or from a proxy, they stand elsewhere or nowhere."""
    try:
        body = answer.json()
    except ValueError:
        return "", ""
    if not isinstance(body, dict):
        return "", ""
    code = body.get("error_code") or body.get("code")
    message = body.get("message") or body.get("msg") or body.get("error_description") or ""
    return str(code or ""), str(message)[:200]
