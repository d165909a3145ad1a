"""Hashes of passwords and of one-time codes. The hosted service uses bcrypt; nobody outside it sees the difference."""

import hashlib
import hmac
import secrets

COST = 2**10
"""Low: a test signs in often, and nothing here is worth guarding."""


def hash_of(password: str) -> str:
    """Return salt and hash, as kept in auth.users.encrypted_password."""
    salt = secrets.token_bytes(12)
    return f"scrypt${salt.hex()}${hashlib.scrypt(password.encode(), salt=salt, n=COST, r=8, p=1, dklen=32).hex()}"


def fits(password: str, kept: str | None) -> bool:
    """Whether it is the password of which the hash was kept."""
    kind, _, rest = (kept or "").partition("$")
    if kind != "scrypt":
        return False
    salt, _, digest = rest.partition("$")
    again = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=COST, r=8, p=1, dklen=32)
    return hmac.compare_digest(again.hex(), digest)


def token_hash(email: str, code: str) -> str:
    """Return what is kept of a mailed code, and what {{ .TokenHash }} puts into the mail."""
    return hashlib.sha224((email + code).encode()).hexdigest()
