"""What the machine's owner sets by environment variables (LORA_STUDIO_*, SUPABASE_*). Knows nothing of jobs or pages.

The address and publishable key of a Supabase project may also stand in `.streamlit/secrets.toml`; the environment wins.
"""

import base64
import ipaddress
import json
import re
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from lora_core.errors import ConfigError

LOCAL_USER = "00000000-0000-4000-8000-000000000001"
"""The one person of the embedded mode."""

SECRETS_FILE = Path(".streamlit/secrets.toml")
_FROM_SECRETS_FILE = {"SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY"}


class KeyKind(StrEnum):
    """What a key of a Supabase project lets its holder do."""

    PUBLISHABLE = "publishable"
    LEGACY_ANON = "legacy anon"
    SECRET = "secret"  # noqa: S105 - a kind, not a secret; the legacy service_role key is one too
    UNKNOWN = "unknown"


def key_kind(key: str) -> KeyKind:
    """Say what a key is for, by its beginning, or, for the older keys, by the role written in it. Nothing is verified.

    >>> key_kind("sb_secret_abc").value, key_kind("sb_publishable_abc").value, key_kind("abc").value
    ('secret', 'publishable', 'unknown')
    """
    for beginning, kind in (("sb_publishable_", KeyKind.PUBLISHABLE), ("sb_secret_", KeyKind.SECRET)):
        if key.startswith(beginning):
            return kind
    parts = key.split(".")
    if len(parts) != 3:
        return KeyKind.UNKNOWN
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return KeyKind.UNKNOWN
    role = claims.get("role") if isinstance(claims, dict) else None
    return {"anon": KeyKind.LEGACY_ANON, "service_role": KeyKind.SECRET}.get(str(role), KeyKind.UNKNOWN)


class Settings(BaseSettings):
    """Settings of app and runner, read once at start-up.

    >>> Settings(home="/tmp/x").database.name
    'studio.sqlite3'
    """

    model_config = SettingsConfigDict(
        env_prefix="LORA_STUDIO_", frozen=True, extra="ignore", populate_by_name=True
    )

    home: Path = Field(
        Path("~/.lora-studio"), description="Folder of the embedded studio: database, files, models, runs."
    )
    host: str = Field(
        "127.0.0.1",
        description="Address the app listens on. The embedded mode has no sign-in: keep it local.",
    )
    port: int = Field(8501, ge=1, le=65535, description="Port of the app.")
    public_url: str = Field(
        "",
        pattern=r"^$|^https?://[A-Za-z0-9.\-\[\]:]+/?$",
        description="Address under which people reach a team's app, such as https://studio.example.org: links in e-mails "
        "lead there, its name is allowed, and with https the sign-in cookie is marked Secure.",
    )
    refresh_seconds: float = Field(2.0, gt=0, description="How often live pages refresh, in seconds.")
    max_upload_bytes: int = Field(
        20 * 2**30, gt=0, description="Largest data set file the upload route accepts, in bytes."
    )
    lease_seconds: float = Field(
        30.0, gt=0, description="How long a runner owns a job without renewing, in seconds."
    )
    poll_seconds: float = Field(
        0.3, gt=0, description="How often a runner looks for work and new events, in seconds."
    )
    release_grace_seconds: float = Field(
        120.0, gt=0, description="How long a stopping runner waits for the trainer to save, in seconds."
    )
    stall_seconds: float = Field(
        600.0,
        gt=0,
        description="How long a live trainer may make no progress before it is ended, in seconds.",
    )
    trainer: Literal["real", "scripted"] = Field(
        "real", description="scripted computes nothing: for tests only."
    )
    script: str = Field("", description="Instructions of the scripted trainer (JSON): for tests only.")

    supabase_url: str = Field(
        "",
        validation_alias=AliasChoices("SUPABASE_URL", "supabase_url"),
        description="Address of the team's Supabase project; empty for the embedded mode.",
    )
    supabase_key: str = Field(
        "",
        validation_alias=AliasChoices("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY", "supabase_key"),
        description="Publishable key of that project (never a secret or service-role key).",
    )
    model_roots: tuple[Path, ...] = Field(
        default_factory=lambda data: () if data.get("supabase_url") else (Path("~"),),
        description="Folders under which local base models may be used; default: your home in the embedded mode, none in a team.",
    )
    runner_token: SecretStr = Field(
        SecretStr(""),
        description="Token of this machine's runner in a team, shown once when it was registered.",
    )
    encryption_key: SecretStr = Field(
        SecretStr(""),
        description="Key (base64 of 32 bytes; older ones behind it, with commas) that encrypts notification routes and "
        "other people's secrets. A team's app and its runners need the same; the embedded mode makes itself one.",
    )
    job_token: SecretStr = Field(
        SecretStr(""), description="Token of one attempt of one job: all that `python -m runner --job` gets."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments first, then the environment, then the two names in Streamlit's secrets file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read_secrets_file())

    @model_validator(mode="after")
    def _check_project(self) -> "Settings":
        if bool(self.supabase_url) != bool(self.supabase_key):
            missing = "SUPABASE_PUBLISHABLE_KEY" if self.supabase_url else "SUPABASE_URL"
            raise ConfigError(
                f"The team mode needs {missing} too.", "Set both, or neither for the embedded mode."
            )
        if key_kind(self.supabase_key) is KeyKind.SECRET:
            raise ConfigError(
                "SUPABASE_PUBLISHABLE_KEY holds a secret key, which passes every policy.",
                "Use the key that begins with sb_publishable_ (or the legacy anon key).",
            )
        return self

    @property
    def team(self) -> bool:
        """Whether this studio is served over a Supabase project."""
        return bool(self.supabase_url)

    @property
    def root(self) -> Path:
        """The home folder as an absolute path; made if missing is the store's business."""
        return self.home.expanduser().resolve()

    @property
    def database(self) -> Path:
        """File of the embedded database."""
        return self.root / "studio.sqlite3"

    @property
    def files(self) -> Path:
        """Root of the embedded buckets."""
        return self.root / "files"

    @property
    def models(self) -> Path:
        """Root of fetched base models."""
        return self.root / "models"

    @property
    def runs(self) -> Path:
        """Root of run folders, one per attempt, private to the runner of this machine; each team's project has its own."""
        name = re.sub(r"[^a-z0-9.-]", "_", urlsplit(self.supabase_url).netloc.lower())
        return self.root / (f"runs-{name}" if name else "runs")


def is_loopback(host: str) -> bool:
    """Say whether an address is reached from this machine only.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "studio.example")]
    [True, True, True, False, False]
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _read_secrets_file() -> dict[str, Any]:
    try:
        content = tomllib.loads(SECRETS_FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{SECRETS_FILE} cannot be read: {error}", "It is a TOML file.") from error
    return {name: value for name, value in content.items() if name in _FROM_SECRETS_FILE}
