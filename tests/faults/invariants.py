"""What must be true when a job has come through a fault, whatever the fault was and whichever store and trainer it had."""

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from lora_core.lifecycle import can_move
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.job import Job, JobEvent, JobStatus
from lora_core.schema.metrics import LogLine, MetricKind
from lora_core.schema.run import EventKind
from runner.run_folder import EventTail
from tests.faults.stage import FaultStage, left_behind
from tests.runner.agent.bench import wait_until

Curve = Mapping[MetricKind, Mapping[int, float]]
"""Loss by step of training and of evaluation, of a run that nothing went wrong with."""


def read_curve(events: Path) -> Curve:
    """Return the losses in a trainer's `events.jsonl`."""
    points = [event.data for event in EventTail(events).read(100_000) if event.kind is EventKind.METRICS]
    return {
        MetricKind.TRAIN: {each["step"]: each["loss"] for each in points if each["kind"] == "train"},
        MetricKind.EVAL: {each["step"]: each["eval_loss"] for each in points if each["kind"] == "eval"},
    }


def check_all(stage: FaultStage, job: Job, curve: Curve) -> None:
    """Check a job that has ended, with no runner alive.

    Args:
        curve: What the whole run gives; a job that has not completed has its beginning.
    """
    now = stage.job(job)
    for check in CHECKS:
        check(stage, now, curve)


def check_points(stage: FaultStage, job: Job, curve: Curve) -> None:
    """Every step up to the job's is in the store, once, with the value it has in a run that nothing went wrong with."""
    for kind, losses in curve.items():
        points = stage.points(job, kind)
        found = {point.step: point.loss if kind is MetricKind.TRAIN else point.eval_loss for point in points}
        assert found == {step: loss for step, loss in losses.items() if step <= job.current_step}, kind
        assert len(points) == len(found)
        attempts = [point.attempt for point in points]
        assert attempts == sorted(attempts), (
            "points of an older attempt stand beyond the start of a newer one"
        )


def check_logs(stage: FaultStage, job: Job, _: Curve) -> None:
    """No line stands twice: neither by its number nor, of those a trainer prints once, by its text."""
    lines = _log_lines(stage, job)
    numbers = [(line.attempt, line.seq) for line in lines]
    assert len(numbers) == len(set(numbers))
    printed = Counter((line.attempt, line.text) for line in lines if line.source == "stdout")
    assert not {line: count for line, count in printed.items() if count > 1}


def check_one_owner(stage: FaultStage, job: Job, _: Curve) -> None:
    """Attempts are numbered without a gap, none is open, and each began after the one before had ended."""
    attempts = stage.user.jobs.attempts(job.id)
    assert [attempt.number for attempt in attempts] == list(range(1, job.attempt + 1))
    for attempt in attempts:
        assert attempt.outcome is not None
        assert attempt.ended_at is not None
        assert attempt.lease_until is None
        assert attempt.started_at <= attempt.ended_at
    for before, after in pairwise(attempts):
        assert before.ended_at <= after.started_at  # type: ignore[operator]


def check_status(stage: FaultStage, job: Job, curve: Curve) -> None:
    """The job's row says what its attempts, points and files say."""
    (*_, last) = stage.user.jobs.attempts(job.id)
    assert last.outcome == job.status.value
    assert job.requested_action is None
    if job.status is JobStatus.COMPLETED:
        train, evaluated = curve[MetricKind.TRAIN], curve[MetricKind.EVAL]
        assert (job.current_step, job.total_steps, job.progress) == (max(train), max(train), 1.0)
        assert (job.train_loss, job.error) == (train[max(train)], "")
        if evaluated:
            assert job.best_eval_loss == min(evaluated.values())
    elif job.status is JobStatus.FAILED:
        assert job.error
    else:
        assert job.status_reason


def check_artifacts(stage: FaultStage, job: Job, _: Curve) -> None:
    """What the store lists is there, whole; a checkpoint loads; the job's row names the newest that can be gone on from."""
    artifacts = stage.user.artifacts.list(job.id)
    names = Counter((each.kind, each.attempt, each.name) for each in artifacts)
    assert not {name: count for name, count in names.items() if count > 1}
    contents = {artifact.id: read_artifact(stage, artifact) for artifact in artifacts}
    checkpoints = [each for each in artifacts if each.kind is ArtifactKind.CHECKPOINT]
    for checkpoint in checkpoints:
        check_checkpoint(checkpoint, contents[checkpoint.id])
    newest = max((each.step or 0 for each in checkpoints), default=None)
    assert job.checkpoint_step == newest
    adapters = [each for each in artifacts if each.kind is ArtifactKind.ADAPTER]
    assert len(adapters) == (job.status is JobStatus.COMPLETED)


def read_artifact(stage: FaultStage, artifact: Artifact) -> dict[str, bytes]:
    """Return an artifact's files by name; each is as long as its row says and has its sha256."""
    contents = {}
    assert artifact.files
    for file in artifact.files:
        with stage.user.artifacts.open(artifact.id, file.name) as stream:
            contents[file.name] = stream.read()
        assert len(contents[file.name]) == file.bytes
        assert hashlib.sha256(contents[file.name]).hexdigest() == file.sha256
    return contents


def check_checkpoint(checkpoint: Artifact, contents: Mapping[str, bytes]) -> None:
    """The state is of the step that the row says, and the weights are a whole safetensors file."""
    state = json.loads(contents["trainer_state.json"])
    assert state.get("global_step", state.get("step")) == checkpoint.step
    weights = contents["adapter_model.safetensors"]
    (length,) = struct.unpack("<Q", weights[:8])
    tensors = [
        tensor for name, tensor in json.loads(weights[8 : 8 + length]).items() if name != "__metadata__"
    ]
    assert max(tensor["data_offsets"][1] for tensor in tensors) == len(weights) - 8 - length


def check_audit_trail(stage: FaultStage, job: Job, _: Curve) -> None:
    """It begins with the submission, every move is one of the table and starts where the last one ended, and it ends here."""
    events = _audit_trail(stage, job)
    assert (events[0].action, events[0].to_status) == ("submitted", JobStatus.QUEUED)
    moves = [
        event for event in events if event.to_status is not None and event.to_status != event.from_status
    ]
    status = JobStatus.QUEUED
    for move in moves[1:]:
        assert move.from_status is status, [(each.action, each.from_status, each.to_status) for each in moves]
        assert move.to_status is not None
        assert can_move(status, move.to_status)
        status = move.to_status
    assert status is job.status
    claims = [event for event in events if event.action == "claimed"]
    assert len(claims) == job.attempt


def check_nothing_is_left(stage: FaultStage, job: Job, _: Curve) -> None:
    """No process works for the job, and of its folders stay those of attempts that failed, were lost, or say what they keep."""
    wait_until(lambda: not left_behind(stage), f"an end of {left_behind(stage)}", seconds=10)
    folders = [file.parent for file in stage.settings.runs.glob("*/*/claim.json")]
    outcomes = {attempt.number: str(attempt.outcome) for attempt in stage.user.jobs.attempts(job.id)}
    keeping = {line.attempt for line in _log_lines(stage, job) if "could not be stored" in line.text}
    for folder in folders:
        attempt = int(folder.name)
        assert (folder / "ended").exists()
        assert outcomes[attempt] in ("failed", "lost") or attempt in keeping


def _log_lines(stage: FaultStage, job: Job) -> list[LogLine]:
    return list(stage.user.metrics.logs(job.id, limit=500).items)


def _audit_trail(stage: FaultStage, job: Job) -> list[JobEvent]:
    return list(reversed(stage.user.jobs.events(job.id, limit=500).items))


CHECKS = (
    check_points,
    check_logs,
    check_one_owner,
    check_status,
    check_artifacts,
    check_audit_trail,
    check_nothing_is_left,
)
