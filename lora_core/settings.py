"""What the machine's owner sets by environment variables (LORA_STUDIO_*). Knows nothing of jobs or pages."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

LOCAL_USER = "00000000-0000-4000-8000-000000000001"
"""The one person of the embedded mode."""


class Settings(BaseSettings):
    """Settings of app and runner, read once at start-up.

    >>> Settings(home="/tmp/x").database.name
    'studio.sqlite3'
    """

    model_config = SettingsConfigDict(env_prefix="LORA_STUDIO_", frozen=True, extra="ignore")

    home: Path = Field(
        Path("~/.lora-studio"), description="Folder of the embedded studio: database, files, models, runs."
    )
    host: str = Field(
        "127.0.0.1",
        description="Address the app listens on. The embedded mode has no sign-in: keep it local.",
    )
    port: int = Field(8501, ge=1, le=65535, description="Port of the app.")
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
    model_roots: tuple[Path, ...] = Field(
        (Path("~"),), description="Folders under which local base models may be used (embedded mode)."
    )

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
        """Root of run folders, one per attempt, private to the runner of this machine."""
        return self.root / "runs"
