"""Secrets at rest: AES-256-GCM with keys that the machine's owner holds. Knows no table; what a secret is for is in its seal.

A sealed value opens only with its key, for the same purpose, row and owner: copied to another row, or to another person,
it is as good as damaged. Keys have ids made from themselves; the first key seals, the others only open what is older.
"""

import base64
import binascii
import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lora_core.errors import ConfigError, StudioError
from lora_core.secrets import Secret
from lora_core.settings import Settings

KEY_BYTES = 32
KEY_FILE = "secret.key"
"""In the home of the embedded studio, one key a line, the newest first; only its owner may read it."""

_NONCE_BYTES = 12
_FORMAT = "lora-studio vault 1"
_MAKE_ONE = 'Make one with: python -c "import base64, secrets; print(base64.b64encode(secrets.token_bytes(32)).decode())"'


class Unreadable(StudioError):
    """A sealed value that this machine's keys do not open, or not for this row and owner."""


@dataclass(frozen=True)
class Seal:
    """What a secret belongs to. None of it is secret; all of it must be the same when the value is opened.

    Attributes:
        purpose: What the value is, such as `notification route`.
        owner: Id of the person.
        row: Id of the row that holds the ciphertext.
    """

    purpose: str
    owner: str
    row: str

    @property
    def data(self) -> bytes:
        """The associated data: a list, so that no two seals read alike."""
        return json.dumps([_FORMAT, self.purpose, self.owner, self.row]).encode()


@dataclass(frozen=True)
class Sealed:
    """A ciphertext (base64 of nonce and text) and the id of the key that opens it."""

    ciphertext: str = field(repr=False)
    key_id: str


class Vault:
    """Keys of one machine. Safe to share between threads.

    Args:
        keys: 32 bytes each, the newest first.

    >>> seal = Seal("example", owner="ada", row="1")
    >>> vault = Vault([bytes(32)])
    >>> vault.open(vault.seal(Secret("hush"), seal), seal).reveal()
    'hush'
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ConfigError(f"A secret key has {KEY_BYTES} bytes.", _MAKE_ONE)
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of the keys, the newest first."""
        return tuple(self._ciphers)

    def seal(self, secret: Secret, seal: Seal) -> Sealed:
        """Encrypt a value with the newest key."""
        newest = self.key_ids[0]
        nonce = secrets.token_bytes(_NONCE_BYTES)
        content = nonce + self._ciphers[newest].encrypt(nonce, secret.reveal().encode(), seal.data)
        return Sealed(base64.b64encode(content).decode(), newest)

    def open(self, sealed: Sealed, seal: Seal) -> Secret:
        """Decrypt a value.

        Raises:
            Unreadable: There is no such key here, or the value was changed, or it is another row's or person's.
        """
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise Unreadable(
                "This was encrypted with a key that is not here.",
                "Give this machine the same LORA_STUDIO_ENCRYPTION_KEY as the app, or enter the secret again.",
            )
        try:
            content = base64.b64decode(sealed.ciphertext, validate=True)
            return Secret(cipher.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], seal.data).decode())
        except (InvalidTag, ValueError) as error:
            raise Unreadable("This secret is damaged, or belongs elsewhere.", "Enter it again.") from error


def key_id(key: bytes) -> str:
    """Return the id of a key: a part of its sha256. 256 random bits cannot be found from it."""
    return hashlib.sha256(b"lora-studio key id" + key).hexdigest()[:16]


def open_vault(settings: Settings) -> Vault:
    """Return the vault of this machine. The embedded studio makes itself a key at first use; a team's must be given one.

    Raises:
        ConfigError: LORA_STUDIO_ENCRYPTION_KEY is missing (team mode), or what is there is no key.
    """
    given = settings.encryption_key.get_secret_value()
    if given.strip():
        return Vault(read_keys(given, "LORA_STUDIO_ENCRYPTION_KEY"))
    if settings.team:
        raise ConfigError(
            "LORA_STUDIO_ENCRYPTION_KEY is not set, so secrets cannot be kept here.",
            f"Set it to the same value for the app and for the runners that send. {_MAKE_ONE}",
        )
    file = settings.root / KEY_FILE
    try:
        if not file.exists():
            _make_key_file(file)
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)
        return Vault(read_keys(file.read_text(encoding="ascii"), str(file)))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The key in {file} cannot be used: {error}.") from error


def has_key(settings: Settings) -> bool:
    """Say whether this machine can keep secrets; makes nothing."""
    return not settings.team or bool(settings.encryption_key.get_secret_value().strip())


def read_keys(text: str, where: str) -> list[bytes]:
    """Read keys (base64, separated by commas or white space), the newest first.

    Raises:
        ConfigError: One of them is no key; it is not repeated in the message.
    """
    keys = []
    for part in text.replace(",", " ").split():
        try:
            key = base64.b64decode(part, validate=True)
        except (ValueError, binascii.Error):
            key = b""
        if len(key) != KEY_BYTES:
            raise ConfigError(f"{where} holds something that is not a key (base64 of 32 bytes).", _MAKE_ONE)
        keys.append(key)
    if not keys:
        raise ConfigError(f"{where} holds no key.", _MAKE_ONE)
    return keys


def _make_key_file(file: Path) -> None:
    """Write a new key, whole or not at all; of two processes at the same moment one wins, and both use its key."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    line = base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n"
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
            written.write(line)
        try:
            os.link(temporary, file)
        except FileExistsError:
            return
    finally:
        temporary.unlink(missing_ok=True)
