"""The run folder's two documents: the spec a runner writes once, and the events a trainer appends."""

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Literal

from pydantic import Field

from lora_core.schema.base import Frozen
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import ColumnMapping, DatasetFormat

SPEC_VERSION: Literal[1] = 1


class EventKind(StrEnum):
    """What a line of events.jsonl says."""

    PHASE = "phase"
    METRICS = "metrics"
    LOG = "log"
    CHECKPOINT = "checkpoint"
    SAMPLE = "sample"
    ALERT = "alert"
    RESULT = "result"


class ExitCode(IntEnum):
    """How a trainer process ends; any other code is a crash."""

    DONE = 0
    PAUSED = 10
    RELEASED = 11
    CONFIG_OR_DATA = 20
    OUT_OF_MEMORY = 30


class RunEvent(Frozen):
    """One line of events.jsonl.

    `data` by kind: phase {name, start_step?, total_steps?, message?, progress?}; metrics: fields of MetricPoint
    without attempt and recorded_at; log {level, source, text}; checkpoint {step, path, eval_loss?, best, dropped?};
    result {adapter, step, best_step?, best_eval_loss?, ...}. Request echoes: phase name "request" {id, action}.
    """

    seq: int = Field(ge=1)
    at: datetime
    kind: EventKind
    data: dict[str, Any] = Field(default_factory=dict)


class DataFile(Frozen):
    """A data set file on this machine and how to read it."""

    path: str
    name: str = ""
    format: DatasetFormat
    mapping: ColumnMapping = Field(default_factory=ColumnMapping)
    sha256: str = ""


class RunSpec(Frozen):
    """All a trainer needs; holds paths of this machine and no secret."""

    spec_version: Literal[1] = SPEC_VERSION
    job_id: str
    job_name: str
    attempt: int
    config: TrainingConfig
    model_path: str
    model_reference: str = ""
    train: DataFile
    validation: DataFile | None = None
    resume_from: str | None = Field(None, description="Folder of a checkpoint to go on from.")
    threads: int | None = Field(None, description="Threads torch may use; None for all CPUs of the process.")
    script: dict[str, Any] | None = Field(
        None, description="Instructions of the scripted trainer, in tests only."
    )


class Request(Frozen):
    """request.json: what the runner wants of the trainer. The trainer echoes the id."""

    id: str
    action: Literal["pause", "cancel", "checkpoint", "release"]
