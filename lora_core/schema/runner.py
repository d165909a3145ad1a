"""Runners, what they claim, and the small jobs (tasks) they do beside training."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from lora_core.schema.artifact import Artifact
from lora_core.schema.base import Frozen
from lora_core.schema.dataset import Dataset
from lora_core.schema.job import Job, RequestedAction

ONLINE_SECONDS = 30
"""A runner or trainer not heard of for this long counts as offline or disconnected."""


class RunnerInfo(Frozen):
    """A background process that claims jobs, as it describes itself."""

    id: str
    name: str
    version: str
    roles: tuple[str, ...] = ("train",)
    cpus: int = 1
    memory_gb: float = 0.0
    gpus: tuple[str, ...] = ()
    gpu_memory_gb: float = 0.0
    state: str = "idle"
    slots: int = Field(1, ge=1, le=1000, description="Jobs that it trains at the same time.")
    started_at: datetime
    seen_at: datetime


class RunnerScope(StrEnum):
    """Whose jobs a runner may claim."""

    MINE = "mine"
    TEAM = "team"


class RunnerRegistration(Frozen):
    """What a runner token stands for (team mode)."""

    id: str
    name: str = Field(min_length=1, max_length=80)
    scope: RunnerScope
    created_at: datetime
    revoked_at: datetime | None = None
    machines: tuple[RunnerInfo, ...] = Field(
        (), description="Processes that run with the token, as they describe themselves."
    )


class Claim(Frozen):
    """All that a runner needs to know to start an attempt."""

    job: Job
    attempt: int
    job_token: str = Field("", repr=False, description="Credential for this attempt alone (team mode).")
    dataset: Dataset
    validation: Dataset | None = None
    checkpoint: Artifact | None = Field(None, description="Newest loadable checkpoint of an earlier attempt.")


class Directive(Frozen):
    """The store's answer to a renewed lease: what the person wants of this job now."""

    requested_action: RequestedAction | None = None
    request_id: str = ""


class TaskKind(StrEnum):
    """Heavy work that never runs in the app's process."""

    CHECK_DATASET = "check_dataset"
    MEASURE_DATASET = "measure_dataset"
    DROP_BAD_ROWS = "drop_bad_rows"
    CONVERT_DATASET = "convert_dataset"
    IMPORT_DATASET = "import_dataset"
    FETCH_MODEL = "fetch_model"


class TaskStatus(StrEnum):
    """Where a task stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Task(Frozen):
    """One piece of heavy work, its progress (0 to 1) and its result."""

    id: str
    user_id: str
    kind: TaskKind
    subject_id: str = Field(description="Id of the data set or model the work is about.")
    arguments: dict[str, Any] = Field(default_factory=dict)
    status: TaskStatus = TaskStatus.WAITING
    progress: float = 0.0
    message: str = ""
    error: str = ""
    runner_id: str | None = None
    lease_until: datetime | None = None
    created_at: datetime
    updated_at: datetime
