"""What a job leaves behind: checkpoints, the adapter, exports. An artifact is a folder of files with their hashes."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from lora_core.schema.base import Frozen


class ArtifactKind(StrEnum):
    """What an artifact is for."""

    ADAPTER = "adapter"
    CHECKPOINT = "checkpoint"
    METRICS = "metrics"
    LOGS = "logs"


class ArtifactFile(Frozen):
    """One file of an artifact; `name` is relative to the artifact, with forward slashes."""

    name: str = Field(min_length=1, max_length=300)
    bytes: int = Field(ge=0)
    sha256: str


class Artifact(Frozen):
    """A stored folder of files that belongs to one attempt of one job."""

    id: str
    user_id: str
    job_id: str
    attempt: int
    kind: ArtifactKind
    name: str
    version: int = 1
    step: int | None = None
    bucket: str = "model-artifacts"
    path: str = Field(description="Key prefix in the bucket.")
    files: tuple[ArtifactFile, ...] = ()
    bytes: int = 0
    best: bool = False
    eval_loss: float | None = None
    pinned: bool = False
    created_at: datetime
