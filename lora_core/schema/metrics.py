"""Metric points, series and log lines of a job."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from lora_core.schema.base import Frozen


class MetricKind(StrEnum):
    """Which of a job's series a point belongs to. System points are keyed by time, the others by step."""

    TRAIN = "train"
    EVAL = "eval"
    SYSTEM = "system"


METRIC_COLUMNS: tuple[str, ...] = (
    "epoch",
    "tokens_seen",
    "loss",
    "eval_loss",
    "learning_rate",
    "grad_norm",
    "tokens_per_second",
    "samples_per_second",
    "data_wait_fraction",
    "elapsed_seconds",
    "remaining_seconds",
    "gpu_memory_allocated_gb",
    "gpu_memory_reserved_gb",
    "gpu_utilization",
    "gpu_temperature_c",
    "gpu_power_w",
)
"""Columns of a point that may be charted, in table order."""


class MetricPoint(Frozen):
    """One measurement. A value that was not finite is None here and named in `nonfinite`."""

    kind: MetricKind
    step: int = Field(ge=0, description="Update number; for system points seconds since the epoch.")
    attempt: int = 0
    recorded_at: datetime
    epoch: float | None = None
    tokens_seen: int | None = None
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None
    samples_per_second: float | None = None
    data_wait_fraction: float | None = Field(
        None, description="Share of the step spent waiting for data, 0 to 1."
    )
    elapsed_seconds: float | None = None
    remaining_seconds: float | None = Field(None, description="From recent steps only; None where unknown.")
    gpu_memory_allocated_gb: float | None = None
    gpu_memory_reserved_gb: float | None = None
    gpu_utilization: float | None = Field(None, description="0 to 1.")
    gpu_temperature_c: float | None = None
    gpu_power_w: float | None = None
    extra: dict[str, float] = Field(default_factory=dict)
    nonfinite: dict[str, Literal["nan", "inf", "-inf"]] = Field(default_factory=dict)


class Series(Frozen):
    """Some columns of one job's points, smoothed and then down-sampled: lists of equal length, in order of `x`."""

    x: tuple[float, ...] = ()
    steps: tuple[int, ...] = Field((), description="The step of each value of `x`.")
    columns: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    total: int = Field(0, description="Points before down-sampling.")
    last_step: int = Field(-1, description="Newest step in the store; -1 for none.")


class LogLine(Frozen):
    """One line a runner or trainer wrote."""

    seq: int = 0
    attempt: int = 0
    at: datetime
    level: Literal["debug", "info", "warning", "error"] = "info"
    source: str = "trainer"
    text: str
