"""The job's row follows from its events: phase, progress, losses, times. Pure reading of events; writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lora_core.schema.run import EventKind, RunEvent
from lora_core.store.batch import Point, read_count
from lora_core.store.local.rows import Row

TRAINING = "training"
REQUEST_ECHO = "request"


@dataclass
class Progress:
    """What a batch says about its job.

    Attributes:
        job: Columns of the job's row to write.
        phase: Newest phase, or None.
        start_step: From which step this attempt started, if the batch says so.
        training: Training has begun.
        echoes: (id, action) of requests that the trainer has acknowledged.
        best: (eval_loss, step) of the best evaluation in the batch.
        last_seq: Highest event number of the attempt so far.
    """

    job: dict[str, Any] = field(default_factory=dict)
    phase: str | None = None
    start_step: int | None = None
    training: bool = False
    echoes: list[tuple[str, str]] = field(default_factory=list)
    best: tuple[float, int] | None = None
    last_seq: int = 0


def follow(events: Sequence[RunEvent], points: Sequence[tuple[int, Point]], holder: Row) -> Progress:
    """Read what a batch says about its job. Events older than what the row has seen change no newest value.

    Args:
        events: The batch.
        points: Its metric points with their event numbers.
        holder: Job and attempt as one row (`fencing.check_holder`).
    """
    seen: int = holder["last_seq"]
    progress = Progress(last_seq=max((seen, *(event.seq for event in events))))
    for event in events:
        if event.kind is EventKind.PHASE:
            _follow_phase(
                progress, event.data, fresh=event.seq > seen, starting=holder["status"] == "initializing"
            )
        elif event.kind is EventKind.CHECKPOINT and event.seq > seen and not event.data.get("dropped"):
            _follow_checkpoint(progress, event.data)
    _follow_points(progress, points, seen, holder["elapsed_before"])
    total = progress.job.get("total_steps", holder["total_steps"])
    running = progress.training or holder["status"] != "initializing"
    if total and running and "current_step" in progress.job:
        progress.job["progress"] = min(1.0, progress.job["current_step"] / total)
    return progress


def _follow_points(
    progress: Progress, points: Sequence[tuple[int, Point]], seen: int, elapsed_before: float
) -> None:
    losses = [(p.eval_loss, p.step) for _, p in points if p.kind == "eval" and p.eval_loss is not None]
    progress.best = min(losses, default=None)
    newest = {point.kind: point for seq, point in points if seq > seen}
    if (evaluated := newest.get("eval")) is not None:
        progress.job["eval_loss"] = evaluated.eval_loss
    if (trained := newest.get("train")) is not None:
        progress.job |= {"current_step": trained.step, "train_loss": trained.loss}
        for name in ("epoch", "tokens_per_second", "remaining_seconds"):
            if (value := getattr(trained, name)) is not None:
                progress.job[name] = value
    elapsed = [
        p.elapsed_seconds for p in (evaluated, trained) if p is not None and p.elapsed_seconds is not None
    ]
    if elapsed:
        progress.job["elapsed_seconds"] = elapsed_before + max(elapsed)


def _follow_phase(progress: Progress, data: dict[str, Any], *, fresh: bool, starting: bool) -> None:
    name = str(data.get("name", ""))
    if name == REQUEST_ECHO:
        if fresh:
            progress.echoes.append((str(data.get("id", "")), str(data.get("action", ""))))
        return
    progress.training = progress.training or name == TRAINING
    if (start := read_count(data.get("start_step"))) is not None:
        progress.start_step = start
        if fresh and starting:  # later phases repeat where the attempt started
            progress.job["current_step"] = start
    if (total := read_count(data.get("total_steps"))) is not None:
        progress.job["total_steps"] = total
    if fresh:
        progress.phase = name
        share = data.get("progress")
        if starting and name == TRAINING:
            progress.job["progress"] = 0.0
        elif starting and not progress.training and isinstance(share, int | float):
            progress.job["progress"] = min(1.0, max(0.0, float(share)))


def _follow_checkpoint(progress: Progress, data: dict[str, Any]) -> None:
    if (step := read_count(data.get("step"))) is not None:
        progress.job["checkpoint_step"] = step
