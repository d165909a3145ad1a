"""Sessions on disk, so that a restart of the app signs nobody out. Without the cookie a file cannot be read.

A file is named by the sha256 of the cookie's id and encrypted (AES-256-GCM) with a key derived from that id (HKDF), which
stands nowhere but in the browser. So a copy of the disk holds no usable session. Knows neither people nor HTTP.
"""

import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lora_core.secrets import Secret
from lora_core.store.accounts import AuthSession

logger = logging.getLogger(__name__)

_ID = re.compile(r"[A-Za-z0-9_-]{43}")
_NONCE_BYTES = 12
_PURPOSE = b"lora-studio session file 1"


def new_session_id() -> Secret:
    """Return 256 random bits in the form a cookie may hold."""
    return Secret(secrets.token_urlsafe(32))


def sealed_name(token: str) -> str:
    """Return the name under which something is kept for who has the token; the token cannot be found from it."""
    return sha256(token.encode()).hexdigest()


@dataclass(frozen=True)
class KeptSession:
    """What a file holds, and when it was last used."""

    auth: AuthSession
    began_at: float
    used_at: float


class SessionFiles:
    """The folder of session files. Safe to use from several threads; a write that fails costs only the restart."""

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._now = now

    def read(self, session_id: str) -> KeptSession | None:
        """Return the session of an id, or None if there is no readable one."""
        if not _ID.fullmatch(session_id):
            return None
        name = sealed_name(session_id)
        try:
            path = self._folder / name
            content, used_at = path.read_bytes(), path.stat().st_mtime
            plain = _cipher(session_id).decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], name.encode())
            kept = json.loads(plain)
            auth = AuthSession(
                user_id=kept["user_id"],
                email=kept["email"],
                operator=kept["operator"],
                access_token=Secret(kept["access_token"]),
                refresh_token=Secret(kept["refresh_token"]),
                expires_at=kept["expires_at"],
            )
            return KeptSession(auth, kept["began_at"], used_at)
        except FileNotFoundError:
            return None
        except (OSError, InvalidTag, ValueError, KeyError, TypeError):
            logger.warning("a session file cannot be read and is left out: %s", name)
            return None

    def write(self, session_id: str, auth: AuthSession, began_at: float) -> None:
        """Keep a session, whole or not at all."""
        name = sealed_name(session_id)
        plain = json.dumps(
            {
                "user_id": auth.user_id,
                "email": auth.email,
                "operator": auth.operator,
                "access_token": auth.access_token.reveal(),
                "refresh_token": auth.refresh_token.reveal(),
                "expires_at": auth.expires_at,
                "began_at": began_at,
            }
        ).encode()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        content = nonce + _cipher(session_id).encrypt(nonce, plain, name.encode())
        temporary = self._folder / f".{name}.{secrets.token_hex(4)}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            temporary.replace(self._folder / name)
        except OSError:
            logger.exception("a session could not be kept: it will end with this process of the app")
            temporary.unlink(missing_ok=True)

    def touch(self, name: str) -> None:
        """Note that a session was used now."""
        try:
            os.utime(self._folder / name, (self._now(), self._now()))
        except OSError:
            return

    def remove(self, name: str) -> None:
        """Remove a session's file; a missing one is no error."""
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError:
            logger.exception("a session file could not be removed: %s", name)

    def sweep(self, *, older_than_seconds: float) -> None:
        """Remove files that were not used for so long."""
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            try:
                if self._now() - path.stat().st_mtime > older_than_seconds:
                    path.unlink(missing_ok=True)
            except OSError:
                continue


def _cipher(session_id: str) -> AESGCM:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(session_id.encode())
    return AESGCM(key)
