"""Jobs, their attempts and their history."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from lora_core.schema.base import Frozen
from lora_core.schema.config import TrainingConfig

MIN_PRIORITY, MAX_PRIORITY = -100, 100
"""Bounds of a priority; within one, jobs start in the order in which they were submitted."""

MAX_ESTIMATED_SECONDS = 1e9
"""No store keeps a larger estimate; nobody waits for 31 years."""


class JobStatus(StrEnum):
    """Where a job stands; `lora_core.lifecycle` has the transitions."""

    QUEUED = "queued"
    INITIALIZING = "initializing"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


class RequestedAction(StrEnum):
    """What a person has asked the runner of a live job to do."""

    PAUSE = "pause"
    CANCEL = "cancel"
    CHECKPOINT = "checkpoint"


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    PAUSED = "paused"
    RELEASED = "released"
    CANCELLED = "cancelled"
    FAILED = "failed"
    LOST = "lost"


class WaitReason(StrEnum):
    """Why a queued job has not started."""

    NOT_BEFORE = "not_before"
    RETRY = "retry"
    LIMIT = "limit"
    NO_RUNNER = "no_runner"
    TOO_SMALL = "too_small"
    BUSY = "busy"
    NEXT = "next"


class QueuePlace(Frozen):
    """Where a queued job stands."""

    position: int = Field(
        ge=0, description="Queued jobs that the runners which can take it will take before it."
    )
    reason: WaitReason
    until: datetime | None = Field(
        None, description="The time it waits for: its earliest start, or the next try."
    )
    expected_start: datetime | None = Field(
        None, description="When a runner is likely to take it; None where that cannot be told."
    )


class Requirements(Frozen):
    """What a machine must have to claim the job."""

    gpus: int = Field(0, ge=0, le=64, title="GPUs", description="GPUs needed; 0 runs anywhere.")
    gpu_memory_gb: float = Field(
        0.0, ge=0, title="GPU memory", description="Memory needed on each GPU, in GB."
    )


class Job(Frozen):
    """One fine-tuning of one base model on one data set, over all its attempts."""

    id: str
    user_id: str
    name: str = Field(min_length=1, max_length=120)
    dataset_id: str
    dataset_name: str = ""
    config: TrainingConfig
    target: str = "local"
    requirements: Requirements = Field(default_factory=Requirements)
    priority: int = 0
    not_before: datetime | None = Field(None, description="No runner takes it earlier.")
    retry_at: datetime | None = Field(
        None, description="After a failure that may pass by itself: no runner takes it earlier."
    )
    estimated_seconds: float | None = Field(
        None, ge=0, description="How long it was expected to take when it was submitted, in seconds."
    )
    resume_from: str | None = Field(
        None, description="Chosen checkpoint to go on from, until a newer one is stored."
    )
    parent_job_id: str | None = None
    parent_artifact_id: str | None = Field(
        None, description="Checkpoint of the parent job from which the first attempt starts."
    )
    status: JobStatus = JobStatus.QUEUED
    status_reason: str = ""
    requested_action: RequestedAction | None = None
    phase: str = ""
    progress: float = Field(0.0, ge=0.0, le=1.0)
    current_step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    train_loss: float | None = None
    eval_loss: float | None = None
    best_eval_loss: float | None = None
    best_step: int | None = None
    checkpoint_step: int | None = None
    tokens_per_second: float | None = None
    elapsed_seconds: float = 0.0
    remaining_seconds: float | None = None
    cost_usd: float = 0.0
    error: str = ""
    attempt: int = 0
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    updated_at: datetime
    heartbeat_at: datetime | None = None
    archived_at: datetime | None = None


class Attempt(Frozen):
    """One try of one runner at a job. Only the newest attempt may write."""

    job_id: str
    number: int
    runner_id: str
    runner_name: str = ""
    phase: str = ""
    start_step: int = 0
    lease_until: datetime | None = None
    started_at: datetime
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    reason: str = ""


class WorkInHand(Frozen):
    """A job that a runner holds now, and which runner that is."""

    job: Job
    runner_id: str
    runner_name: str
    attempt: int
    since: datetime


class JobEvent(Frozen):
    """One line of the audit trail; never changed, never removed."""

    seq: int
    job_id: str
    at: datetime
    actor: str
    action: str
    from_status: JobStatus | None = None
    to_status: JobStatus | None = None
    reason: str = ""


class JobFilter(Frozen):
    """Which jobs a list shows. Empty fields do not filter.

    `archived`: False leaves archived jobs out, True shows them alone, None shows all.
    """

    search: str = ""
    statuses: tuple[JobStatus, ...] = ()
    dataset_id: str | None = None
    archived: bool | None = False
    id_begins: str = Field("", description="The beginning of an id.")


class EndOfAttempt(Frozen):
    """What a runner reports when an attempt is over."""

    outcome: Outcome
    reason: str = ""
    error: str = ""
    transient: bool = Field(
        False, description="The cause may pass by itself, so the store queues the job again after a pause."
    )
    result: dict[str, Any] = Field(default_factory=dict)
