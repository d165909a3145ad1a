"""Keys and tokens of a project: who is calling. It knows no database and no service."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from starlette.requests import Request

ALGORITHM = "HS256"
JWT_LEEWAY_SECONDS = 30


class NotAdmitted(Exception):
    """The entrance refuses a request before any service sees it, always with 401."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Keys:
    """What a project's settings page shows: new keys, the legacy JWT keys, and the secret that signs tokens."""

    jwt_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    publishable: str = field(default_factory=lambda: "sb_publishable_" + secrets.token_urlsafe(16))
    secret: str = field(default_factory=lambda: "sb_secret_" + secrets.token_urlsafe(16))

    def sign(self, claims: dict[str, Any], seconds: float) -> str:
        """Return a token that ends in `seconds` (negative: one that has ended)."""
        now = int(time.time())
        return jwt.encode({**claims, "iat": now, "exp": now + int(seconds)}, self.jwt_secret, ALGORITHM)

    def read(self, token: str, leeway: float = 0) -> dict[str, Any]:
        """Return the claims of a token. Raises: jwt.PyJWTError."""
        claims: dict[str, Any] = jwt.decode(
            token, self.jwt_secret, algorithms=[ALGORITHM], options={"verify_aud": False}, leeway=leeway
        )
        return claims

    def legacy(self, role: str) -> str:
        """Return the old kind of key for `anon` or `service_role`: a JWT without a person."""
        return self.sign({"iss": "supabase", "role": role}, 10 * 365 * 86400)

    def role_of(self, key: str) -> str | None:
        """Return the role that a key stands for, None for no key of this project."""
        if key in (self.publishable, self.secret):
            return "anon" if key == self.publishable else "service_role"
        try:
            claims = self.read(key)
        except jwt.PyJWTError:
            return None
        role = claims.get("role")
        return role if role in ("anon", "service_role") and "sub" not in claims else None


def bearer_of(request: Request) -> str:
    """Return the token of the Authorization header, '' without one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def token_at_entrance(request: Request, keys: Keys, *, key_needed: bool = True) -> str:
    """Do what the hosted gateway does: check the API key, and swap keys for tokens. Return the JWT for the service.

    Raises: NotAdmitted.
    """
    key = request.headers.get("apikey") or request.query_params.get("apikey") or ""
    bearer = bearer_of(request)
    if not key and key_needed:
        raise NotAdmitted("No API key found in request", "No `apikey` request header or url param was found.")
    role = keys.role_of(key) if key else None
    if key and role is None:
        raise NotAdmitted("Invalid API key", "Double check your Supabase `anon` or `service_role` API key.")
    if "sb_secret_" in (key[:10], bearer[:10]) and "Mozilla" in request.headers.get("user-agent", ""):
        raise NotAdmitted(
            "Forbidden use of secret API key in browser",
            "Secret API keys can only be used in a protected environment.",
        )
    if bearer.startswith("sb_"):
        role = keys.role_of(bearer)
        if role is None or (key and bearer != key):
            raise NotAdmitted("Invalid API key", "A key as bearer must be the same as `apikey`.")
        bearer = ""
    if bearer:
        return bearer
    return keys.sign({"iss": "supabase", "role": role}, 3600) if role else ""
