"""/auth/v1: the part of GoTrue that the product uses, over auth.* as supabase_auth_admin.

Errors, their order and what they hide are GoTrue's: an error of a database trigger comes back as "Database error saving
new user" to clients of the API version 2024-01-01 (supabase-py), and with its own words only to older ones.
"""

import json
import re
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import jwt
import psycopg
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.supastub import passwords
from tests.supastub.backend import AUTH, Backend
from tests.supastub.keys import token_at_entrance
from tests.supastub.missing import NotInRig
from tests.supastub.people import People, Row, shown

VERSION_HEADER, VERSION = "x-supabase-api-version", "2024-01-01"
LONGEST_PASSWORD = 72
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
SHOWN_TO_OLD_CLIENTS = ("P0001", "23000", "23001", "23502", "23503", "23505", "23514", "23P01")


class AuthError(Exception):
    """An error in GoTrue's words. `keep` commits what the transaction did."""

    def __init__(self, status: int, code: str, message: str, *, keep: bool = False, **more: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.keep, self.more = status, code, keep, more
        self.cause: psycopg.Error | None = None


def database_error(message: str, cause: psycopg.Error) -> AuthError:
    """Return the error that hides what the database said."""
    error = AuthError(500, "unexpected_failure", message)
    error.cause = cause
    return error


class Auth:
    """The service."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._routes: dict[tuple[str, str], Callable[[Request, Row, People], Awaitable[Any]]] = {
            ("POST", "signup"): self._sign_up,
            ("POST", "token"): self._token,
            ("GET", "user"): self._user,
            ("PUT", "user"): self._change_user,
            ("POST", "logout"): self._log_out,
            ("POST", "recover"): self._recover,
            ("POST", "resend"): self._resend,
            ("POST", "otp"): self._nothing,
            ("POST", "verify"): self._verify,
        }

    async def __call__(self, request: Request) -> Response:
        """Answer a request. Raises: NotAdmitted, NotInRig."""
        path = request.path_params["path"].strip("/")
        if request.method == "GET" and (fixed := self._fixed(path)) is not None:
            return JSONResponse(fixed)
        token = token_at_entrance(request, self._backend.keys)
        try:
            body = await self._body(request)
            answer, error = await self._in_transaction(request, path, token, body)
            if error:
                raise error
        except AuthError as error:
            return self._failure(request, error)
        except psycopg.Error as error:
            return self._failure(request, database_error("Database error", error))
        return answer if isinstance(answer, Response) else JSONResponse(answer)

    def _fixed(self, path: str) -> Row | None:
        settings = self._backend.settings
        fixed: dict[str, Row] = {
            "health": {
                "version": "rig",
                "name": "GoTrue",
                "description": "GoTrue is a user registration and authentication API",
            },
            ".well-known/jwks.json": {"keys": []},
            "settings": {
                "external": {"email": True, "phone": False, "anonymous_users": False},
                "disable_signup": not settings.allow_sign_up,
                "mailer_autoconfirm": not settings.confirm_email,
                "phone_autoconfirm": False,
                "saml_enabled": False,
            },
        }
        return fixed.get(path)

    async def _body(self, request: Request) -> Row:
        raw = await request.body()
        try:
            body = json.loads(raw) if raw else {}
        except ValueError as error:
            raise AuthError(400, "bad_json", f"Could not parse request body as JSON: {error}") from error
        return body if isinstance(body, dict) else {}

    async def _in_transaction(
        self, request: Request, path: str, token: str, body: Row
    ) -> tuple[Any, AuthError | None]:
        async with self._backend.transaction(AUTH) as connection:
            people = People(connection)
            try:
                if path == "admin/users" or path.startswith("admin/users/"):
                    return await self._admin(
                        request, path.removeprefix("admin/users").strip("/"), token, body, people
                    ), None
                if (request.method, path) not in self._routes:
                    raise NotInRig(f"{request.method} /auth/v1/{path}")
                request.state.token = token
                return await self._routes[request.method, path](request, body, people), None
            except AuthError as error:
                if not error.keep:
                    raise
                return None, error

    def _failure(self, request: Request, error: AuthError) -> Response:
        """Return the error as the API version of the client wants it."""
        headers = {"x-sb-error-code": error.code}
        if request.headers.get(VERSION_HEADER, "") >= VERSION:
            headers[VERSION_HEADER] = VERSION
            return JSONResponse(
                {"code": error.code, "message": str(error), **error.more}, error.status, headers
            )
        cause = error.cause
        if cause is not None and cause.sqlstate:
            state = cause.sqlstate
            own = int(state[2:]) if re.fullmatch(r"PT\d{3}", state) else 0
            if status := 500 if state in SHOWN_TO_OLD_CLIENTS else own:
                content: Row = {
                    "code": state,
                    "message": cause.diag.message_primary,
                    "hint": cause.diag.message_hint or "",
                }
                return JSONResponse(content, status, headers)
        content = {"code": error.status, "error_code": error.code, "msg": str(error), **error.more}
        return JSONResponse(content, error.status, headers)

    # Who is calling

    def _claims(self, token: str) -> Row:
        if not token:
            raise AuthError(401, "no_authorization", "This endpoint requires a Bearer token")
        try:
            return self._backend.keys.read(token)
        except jwt.ExpiredSignatureError as error:
            why = "token has invalid claims: token is expired"
            raise AuthError(
                403, "bad_jwt", f"invalid JWT: unable to parse or verify signature, {why}"
            ) from error
        except jwt.PyJWTError as error:
            raise AuthError(
                403, "bad_jwt", f"invalid JWT: unable to parse or verify signature, {error}"
            ) from error

    async def _caller(self, token: str, people: People) -> tuple[Row, str | None]:
        """Return the person of a token and the session it belongs to."""
        claims = self._claims(token)
        if not claims.get("sub"):
            raise AuthError(403, "bad_jwt", "invalid claim: missing sub claim")
        user = await people.by_id(claims["sub"])
        if user is None:
            raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
        session = claims.get("session_id")
        if session and await people.one("select 1 from auth.sessions where id = %s", session) is None:
            raise AuthError(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        return user, session

    # What is checked

    def _email(self, value: Any) -> str:
        email = str(value or "").strip().lower()
        if not EMAIL.fullmatch(email):
            raise AuthError(400, "validation_failed", "Unable to validate email address: invalid format")
        return email

    def _check_password(self, password: str) -> None:
        shortest = self._backend.settings.password_length
        if len(password.encode()) > LONGEST_PASSWORD:
            raise AuthError(
                400, "validation_failed", f"Password cannot be longer than {LONGEST_PASSWORD} characters"
            )
        if len(password) < shortest:
            message = f"Password should be at least {shortest} characters."
            raise AuthError(422, "weak_password", message, weak_password={"reasons": ["length"]})

    # Signing up, in and out

    async def _sign_up(self, request: Request, body: Row, people: People) -> Row:
        settings = self._backend.settings
        if not settings.allow_sign_up:
            raise AuthError(422, "signup_disabled", "Signups not allowed for this instance")
        if not body.get("email"):
            raise NotInRig("signing up without an e-mail address")
        if not body.get("password"):
            raise AuthError(400, "validation_failed", "Signup requires a valid password")
        self._check_password(body["password"])
        email, data = self._email(body["email"]), body.get("data") or {}
        user = await people.by_email(email)
        if user and user["email_confirmed_at"]:
            if not settings.confirm_email:
                raise AuthError(422, "user_already_exists", "User already registered")
            return self._stranger(user, data)  # nobody shall learn who is registered
        if user is None:
            user_id = str(uuid.uuid4())
            await self._insert(
                people, user_id, email, body["password"], data, "Database error saving new user"
            )
            user = await people.by_id(user_id)  # triggers may have changed it
            assert user is not None
            await people.add_identity(user_id, email, data)
        if settings.confirm_email:
            await people.mail(user, "confirmation")
            return await self._shown(people, str(user["id"]))
        await people.confirm(str(user["id"]))
        return await self._grant(people, str(user["id"]))

    async def _insert(
        self, people: People, user_id: str, email: str, password: str, metadata: Row, message: str
    ) -> None:
        try:
            await people.insert(user_id, email, password, metadata)
        except psycopg.Error as error:
            raise database_error(message, error) from error

    def _stranger(self, user: Row, data: Row) -> Row:
        """Return what looks like a new person who has to confirm the address."""
        fake = {**user, "id": uuid.uuid4(), "role": "", "raw_user_meta_data": data}
        fake |= dict.fromkeys(("email_confirmed_at", "confirmed_at", "last_sign_in_at", "recovery_sent_at"))
        fake["raw_app_meta_data"] = {"provider": "email", "providers": ["email"]}
        return shown(fake, [])

    async def _shown(self, people: People, user_id: str) -> Row:
        user = await people.by_id(user_id)
        assert user is not None
        return shown(user, await people.identities(user_id))

    async def _grant(
        self, people: People, user_id: str, session: str | None = None, refresh_token: str | None = None
    ) -> Row:
        """Return a session in the words of the service: a new one, or the next tokens of one."""
        if session is None:
            session = await people.new_session(user_id)
        if refresh_token is None:
            refresh_token = await people.new_refresh_token(user_id, session)
        user = await self._shown(people, user_id)
        seconds = self._backend.settings.token_seconds
        access = access_token(self._backend, user, session, seconds)
        expires = self._backend.keys.read(access, leeway=10**9)["exp"]
        return {
            "access_token": access,
            "token_type": "bearer",
            "expires_in": seconds,
            "expires_at": expires,
            "refresh_token": refresh_token,
            "user": user,
        }

    async def _token(self, request: Request, body: Row, people: People) -> Row:
        kind = request.query_params.get("grant_type")
        if kind == "password":
            return await self._sign_in(body, people)
        if kind == "refresh_token":
            return await self._refresh(body, people)
        raise NotInRig(f"the grant type {kind}")

    async def _sign_in(self, body: Row, people: People) -> Row:
        user = await people.by_email(str(body.get("email") or ""))
        kept = user["encrypted_password"] if user else None
        if user is None or not await run_in_threadpool(passwords.fits, str(body.get("password") or ""), kept):
            raise AuthError(400, "invalid_credentials", "Invalid login credentials")
        banned = await people.one(
            "select 1 from auth.users where id = %s and banned_until > now()", user["id"]
        )
        if banned:
            raise AuthError(400, "user_banned", "User is banned")
        if user["email_confirmed_at"] is None:
            raise AuthError(400, "email_not_confirmed", "Email not confirmed")
        return await self._grant(people, str(user["id"]))

    async def _refresh(self, body: Row, people: People) -> Row:
        given = body.get("refresh_token")
        if not given:
            raise AuthError(400, "validation_failed", "refresh_token required")
        token = await people.one("select * from auth.refresh_tokens where token = %s for update", given)
        if token is None:
            raise AuthError(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        session, user_id = str(token["session_id"]), token["user_id"]
        await people.one("select 1 from auth.sessions where id = %s for update", session)
        following: str | None = None
        if token["revoked"]:
            active = await people.one(
                "select * from auth.refresh_tokens where session_id = %s and not revoked order by id desc limit 1",
                session,
            )
            if active and active["parent"] == token["token"]:
                following = active["token"]  # the answer to the last refresh was lost
            elif await self._is_used_up(token, people):
                await people.run(
                    "update auth.refresh_tokens set revoked = true, updated_at = now() where session_id = %s",
                    session,
                )
                raise AuthError(
                    400, "refresh_token_already_used", "Invalid Refresh Token: Already Used", keep=True
                )
        if following is None:
            await people.run(
                "update auth.refresh_tokens set revoked = true, updated_at = now() where id = %s", token["id"]
            )
            following = await people.new_refresh_token(user_id, session, token["token"])
        await people.run(
            "update auth.sessions set refreshed_at = now(), updated_at = now() where id = %s", session
        )
        return await self._grant(people, user_id, session, following)

    async def _is_used_up(self, token: Row, people: People) -> bool:
        now = await people.one("select now() as now")
        assert now is not None
        return bool(
            now["now"] > token["updated_at"] + timedelta(seconds=self._backend.settings.reuse_seconds)
        )

    async def _log_out(self, request: Request, body: Row, people: People) -> Response:
        scope = request.query_params.get("scope") or "global"
        if scope not in ("global", "local", "others"):
            raise AuthError(400, "validation_failed", f'Unsupported logout scope "{scope}"')
        user, session = await self._caller(request.state.token, people)
        if session and scope == "local":
            await people.run("delete from auth.sessions where id = %s", session)
        else:
            await people.end_sessions(str(user["id"]), session if scope == "others" else None)
        return Response(None, 204)

    # The person

    async def _user(self, request: Request, body: Row, people: People) -> Row:
        user, _ = await self._caller(request.state.token, people)
        return shown(user, await people.identities(str(user["id"])))

    async def _change_user(self, request: Request, body: Row, people: People) -> Row:
        user, session = await self._caller(request.state.token, people)
        user_id, password = str(user["id"]), body.get("password")
        if body.get("email") and self._email(body["email"]) != user["email"]:
            raise NotInRig("changing the e-mail address")
        if body.get("app_metadata") is not None:
            raise AuthError(403, "not_admin", "Updating app_metadata requires admin privileges")
        if password is not None:
            self._check_password(password)
            if passwords.fits(password, user["encrypted_password"]):
                raise AuthError(
                    422, "same_password", "New password should be different from the old password."
                )
            await people.set_password(user_id, password, session)
        if body.get("data") is not None:
            await people.merge(user_id, "raw_user_meta_data", body["data"])
        return await self._shown(people, user_id)

    # Mails

    async def _recover(self, request: Request, body: Row, people: People) -> Row:
        user = await people.by_email(self._email(body.get("email")))
        if user:
            await people.mail(user, "recovery")
        return {}

    async def _resend(self, request: Request, body: Row, people: People) -> Row:
        user = await people.by_email(self._email(body.get("email")))
        if user and body.get("type") == "signup" and user["email_confirmed_at"] is None:
            await people.mail(user, "confirmation")
        return {}

    async def _nothing(self, request: Request, body: Row, people: People) -> Row:
        return {}

    async def _verify(self, request: Request, body: Row, people: People) -> Row:
        kind = {"recovery": "recovery", "signup": "confirmation", "email": "confirmation"}.get(
            str(body.get("type"))
        )
        if kind is None:
            raise NotInRig(f"verifying a token of the type {body.get('type')}")
        digest = body.get("token_hash") or passwords.token_hash(
            str(body.get("email") or "").strip().lower(), str(body.get("token") or "")
        )
        user = await people.use_token(kind, digest, self._backend.settings.one_time_token_seconds)
        if user is None and body.get("type") == "email":
            user = await people.use_token("recovery", digest, self._backend.settings.one_time_token_seconds)
        if user is None:
            message = (
                "Email link is invalid or has expired"
                if body.get("token_hash")
                else "Token has expired or is invalid"
            )
            raise AuthError(403, "otp_expired", message, keep=True)
        await people.confirm(str(user["id"]))
        return await self._grant(people, str(user["id"]))

    # The set-up script, with a secret key

    async def _admin(self, request: Request, user_id: str, token: str, body: Row, people: People) -> Row:
        if self._claims(token).get("role") not in ("service_role", "supabase_admin"):
            raise AuthError(403, "not_admin", "User not allowed")
        if not user_id:
            if request.method == "POST":
                return await self._admin_create(body, people)
            if request.method == "GET":
                page = (
                    int(request.query_params.get("page") or 1),
                    int(request.query_params.get("per_page") or 50),
                )
                users = [
                    shown(user, await people.identities(str(user["id"]))) for user in await people.page(*page)
                ]
                return {"users": users, "aud": "authenticated"}
            raise NotInRig(f"{request.method} /auth/v1/admin/users")
        try:
            user = await people.by_id(str(uuid.UUID(user_id)))
        except ValueError as error:
            raise AuthError(404, "validation_failed", "user_id must be an UUID") from error
        if user is None:
            raise AuthError(404, "user_not_found", "User not found")
        if request.method == "GET":
            return shown(user, await people.identities(user_id))
        if request.method == "PUT":
            return await self._admin_update(user, body, people)
        if request.method == "DELETE" and not body.get("should_soft_delete"):
            await people.run("delete from auth.users where id = %s", user_id)
            return {}
        raise NotInRig(f"{request.method} /auth/v1/admin/users/<id> {body}")

    async def _admin_create(self, body: Row, people: People) -> Row:
        if not body.get("email"):
            raise AuthError(400, "validation_failed", "Cannot create a user without either an email or phone")
        email = self._email(body["email"])
        if await people.by_email(email):
            raise AuthError(422, "email_exists", "A user with this email address has already been registered")
        user_id, given = str(body.get("id") or uuid.uuid4()), body.get("user_metadata") or {}
        password = body.get("password") or uuid.uuid4().hex
        await self._insert(people, user_id, email, password, given, "Database error creating new user")
        await people.add_identity(user_id, email, {})
        if body.get("app_metadata"):
            await people.merge(user_id, "raw_app_meta_data", body["app_metadata"])
        if body.get("email_confirm"):
            await people.confirm(user_id)
        return {
            **await self._shown(people, user_id),
            "user_metadata": given,
        }  # not read again, so a trigger's change is not seen

    async def _admin_update(self, user: Row, body: Row, people: People) -> Row:
        user_id = str(user["id"])
        known = {"password", "email_confirm", "app_metadata", "user_metadata", "ban_duration"}
        if other := {name for name, value in body.items() if value is not None} - known:
            raise NotInRig(f"an admin's change of {', '.join(sorted(other))}")
        if body.get("password") is not None:
            self._check_password(body["password"])
            await people.set_password(user_id, body["password"], None)
        if body.get("email_confirm"):
            await people.confirm(user_id)
        for name, column in (("app_metadata", "raw_app_meta_data"), ("user_metadata", "raw_user_meta_data")):
            if body.get(name) is not None:
                await people.merge(user_id, column, body[name])
        if body.get("ban_duration"):
            await self._ban(user_id, str(body["ban_duration"]), people)
        return await self._shown(people, user_id)

    async def _ban(self, user_id: str, duration: str, people: People) -> None:
        hours = re.fullmatch(r"(\d+)h", duration)
        if duration != "none" and not hours:
            raise NotInRig(f"the ban duration {duration}")
        await people.run(
            "update auth.users set banned_until = now() + make_interval(hours => %s) where id = %s",
            int(hours[1]) if hours else None,
            user_id,
        )


def access_token(backend: Backend, user: Row, session: str, seconds: float) -> str:
    """Return the token with which a person calls every service."""
    claims = {
        "iss": "rig/auth/v1",
        "sub": user["id"],
        "aud": "authenticated",
        "email": user["email"],
        "phone": "",
        "app_metadata": user["app_metadata"],
        "user_metadata": user["user_metadata"],
        "role": user["role"],
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": 0}],
        "session_id": session,
        "is_anonymous": user["is_anonymous"],
    }
    return backend.keys.sign(claims, seconds)
