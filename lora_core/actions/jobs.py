"""What a person does with one job: submit, watch, cancel, pause, resume, rename, put away, delete. The queue is in `queue.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lora_core import lifecycle
from lora_core.actions.audit import require_something_to_learn
from lora_core.actions.queue import Clock, waiting_reason
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, NotAllowed
from lora_core.models.catalogue import find_model
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.base import Page, new_id, utc_now
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus
from lora_core.schema.job import (
    MAX_ESTIMATED_SECONDS,
    Attempt,
    Job,
    JobEvent,
    JobFilter,
    JobStatus,
    RequestedAction,
    Requirements,
)
from lora_core.schema.methods import why_untrainable
from lora_core.schema.metrics import LogLine, MetricKind, MetricPoint, Series
from lora_core.schema.runner import ONLINE_SECONDS, RunnerInfo

CHART_COLUMNS = ("loss", "epoch", "learning_rate", "grad_norm", "tokens_per_second", "elapsed_seconds")
MAX_NAME = 120


@dataclass(frozen=True)
class ChartView:
    """How the person looks at the charts."""

    x: str = "step"
    smoothing: float = 0.9
    points: int = 600


@dataclass(frozen=True)
class JobSnapshot:
    """All that the live part of the job page shows, read in one go."""

    job: Job
    raw: Series
    smooth: Series
    evaluations: Series
    newest: MetricPoint | None
    checkpoints: Sequence[Artifact]
    logs: Sequence[LogLine]
    connected: bool
    waiting_for: str


def submit_job(
    workspace: Workspace,
    *,
    name: str,
    dataset_id: str,
    config: TrainingConfig,
    requirements: Requirements | None = None,
    priority: int = 0,
    not_before: datetime | None = None,
    job_id: str | None = None,
    estimated_seconds: float | None = None,
) -> Job:
    """Queue a job. A runner claims it within about a second if one is free.

    Args:
        priority: From -100 to 100; higher goes first.
        not_before: No runner takes it earlier.
        job_id: Made by the caller so that a repeated click or call cannot make two jobs.
        estimated_seconds: How long it is expected to take (`actions.estimates`); the queue tells by it when others may start.

    Raises:
        NotFound: No such data set.
        NotAllowed: The data set has not been checked, or has rows nothing can be learned from.
        ConfigError: The config does not fit the data set, learns nothing from it, or names no known base model.
    """
    dataset = workspace.datasets.get(dataset_id)
    require_ready(dataset)
    if config.data.validation_dataset_id:
        require_ready(workspace.datasets.get(config.data.validation_dataset_id))
    check_fit(config, dataset)
    require_something_to_learn(config, dataset)
    find_model(config.model.base, local_roots=workspace.settings.model_roots)
    now = utc_now()
    job = Job(
        id=job_id or new_id(),
        user_id=workspace.user_id,
        name=" ".join(name.split())[:MAX_NAME] or dataset.name,
        dataset_id=dataset.id,
        dataset_name=dataset.name,
        config=config,
        requirements=requirements or Requirements(),
        priority=priority,
        not_before=not_before,
        estimated_seconds=None
        if estimated_seconds is None
        else min(estimated_seconds, MAX_ESTIMATED_SECONDS),
        created_at=now,
        updated_at=now,
    )
    return workspace.jobs.submit(job)


def require_ready(dataset: Dataset) -> None:
    """Refuse a data set that cannot be trained on yet, and say what to do.

    Raises:
        NotAllowed: It is unchecked, unreadable, unmapped, has bad rows, or is for a method that cannot be trained yet.
    """
    next_steps = {
        DatasetStatus.UPLOADED: "Wait until a runner has checked it.",
        DatasetStatus.CHECKING: "Wait until the check is done.",
        DatasetStatus.NEEDS_MAPPING: "Say on the data set's page which column plays which part.",
        DatasetStatus.HAS_ERRORS: "Drop the bad rows on the data set's page, or upload a corrected file.",
        DatasetStatus.UNREADABLE: "Upload a file that can be read.",
    }
    if dataset.status in next_steps:
        words = dataset.status.value.replace("_", " ")
        raise NotAllowed(f"Data set {dataset.name!r} cannot be used: {words}.", next_steps[dataset.status])
    if why := why_untrainable(dataset.format):
        raise NotAllowed(f"Data set {dataset.name!r} cannot be trained on. {why[0]}", why[1])


def check_fit(config: TrainingConfig, dataset: Dataset) -> None:
    """Refuse a config that makes no sense for the data set.

    Raises:
        ConfigError: Answers are to be learned from plain text, or no row is left for training.
    """
    if dataset.format is DatasetFormat.TEXT and config.data.loss_on != "all":
        raise ConfigError(
            "data.loss_on: plain text has no answers to learn from.", "Set 'Learn from' to every token (all)."
        )
    if (
        dataset.rows
        and config.data.validation_fraction
        and dataset.rows < 2
        and not config.data.validation_dataset_id
    ):
        raise ConfigError(
            "data.validation_fraction: one row cannot be split.", "Set the validation share to 0."
        )


def list_jobs(
    workspace: Workspace, job_filter: JobFilter | None = None, *, limit: int = 50, cursor: str | None = None
) -> Page[Job]:
    """Return jobs, newest first."""
    return workspace.jobs.list(job_filter or JobFilter(), limit=limit, cursor=cursor)


def get_job(workspace: Workspace, job_id: str) -> Job:
    """Return one job.

    Raises:
        NotFound: No such job of this person.
    """
    return workspace.jobs.get(job_id)


def cancel_job(workspace: Workspace, job_id: str, *, reason: str = "cancelled by its owner") -> Job:
    """Cancel a job: at once if no runner holds it, else by asking the runner. Points and checkpoints are kept.

    Raises:
        NotAllowed: The job has ended.
    """
    job = workspace.jobs.get(job_id)
    if job.status in lifecycle.OWNED:
        return workspace.jobs.request(job_id, RequestedAction.CANCEL, reason=reason)
    _check_in_time(job, JobStatus.CANCELLED, "cancel")
    return workspace.jobs.move(job_id, JobStatus.CANCELLED, reason=reason)


def pause_job(workspace: Workspace, job_id: str, *, reason: str = "paused by its owner") -> Job:
    """Pause a job after the step it is at; it keeps a checkpoint to go on from.

    Raises:
        NotAllowed: The job is neither queued nor running.
    """
    job = workspace.jobs.get(job_id)
    if job.status in lifecycle.OWNED:
        return workspace.jobs.request(job_id, RequestedAction.PAUSE, reason=reason)
    _check_in_time(job, JobStatus.PAUSED, "pause")
    return workspace.jobs.move(job_id, JobStatus.PAUSED, reason=reason)


def hold_job(workspace: Workspace, job_id: str) -> Job:
    """Keep a queued job from starting until it is resumed; one that a runner holds is left alone.

    Raises:
        NotAllowed: The job is not queued (any more).
    """
    job = workspace.jobs.get(job_id)
    if job.status is not JobStatus.QUEUED:
        raise NotAllowed(f"The job is {job.status.value}: only a queued job can be held.")
    return workspace.jobs.move(job_id, JobStatus.PAUSED, reason="held by its owner")


def retry_job(workspace: Workspace, job_id: str) -> Job:
    """Queue a failed or cancelled job again; it goes on from its newest checkpoint, if it has one.

    Raises:
        NotAllowed: The job has not ended, or is completed.
    """
    job = workspace.jobs.get(job_id)
    if job.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise NotAllowed(f"The job is {job.status.value}: only a failed or cancelled job can be tried again.")
    return workspace.jobs.move(job_id, JobStatus.QUEUED, reason="tried again by its owner")


def resume_job(
    workspace: Workspace,
    job_id: str,
    *,
    checkpoint_id: str | None = None,
    reason: str = "resumed by its owner",
) -> Job:
    """Queue a paused, failed or cancelled job again; it goes on from its newest checkpoint, if it has one.

    Args:
        checkpoint_id: Go on from this checkpoint of the job instead; what was learned after it is left behind.

    Raises:
        NotAllowed: The job is live or completed.
        NotFound: The job has no such checkpoint.
    """
    _check_in_time(workspace.jobs.get(job_id), JobStatus.QUEUED, "resume")
    return workspace.jobs.move(job_id, JobStatus.QUEUED, reason=reason, checkpoint_id=checkpoint_id)


def _check_in_time(job: Job, to: JobStatus, verb: str) -> None:
    """Say that an action came too late, in better words than the table's; the store checks again."""
    if job.status is to or (to is JobStatus.QUEUED and job.status in lifecycle.LIVE):
        raise NotAllowed(f"The job is {job.status.value} already.")
    if not lifecycle.can_move(job.status, to):
        raise NotAllowed(f"The job is {job.status.value}: it is too late to {verb} it.")


def save_checkpoint(workspace: Workspace, job_id: str) -> Job:
    """Ask for a checkpoint at the end of the current step.

    Raises:
        NotAllowed: The job is not running.
    """
    return workspace.jobs.request(job_id, RequestedAction.CHECKPOINT, reason="asked by its owner")


def rename_job(workspace: Workspace, job_id: str, name: str) -> Job:
    """Give a job another name.

    Raises:
        ConfigError: The name is empty.
    """
    clean = " ".join(name.split())[:MAX_NAME]
    if not clean:
        raise ConfigError("A job needs a name.")
    return workspace.jobs.rename(job_id, clean)


def archive_job(workspace: Workspace, job_id: str, *, archived: bool = True) -> Job:
    """Put an ended job away, so that lists leave it out, or take it back.

    Raises:
        NotAllowed: The job is live or paused.
    """
    return workspace.jobs.archive(job_id, archived=archived)


def delete_job(workspace: Workspace, job_id: str) -> None:
    """Remove an ended job with its points, logs and files.

    Raises:
        NotAllowed: The job is live or paused; cancel it first.
    """
    job = workspace.jobs.get(job_id)
    if job.status in lifecycle.LIVE or job.status is JobStatus.PAUSED:
        raise NotAllowed(f"Job {job.name!r} is {job.status.value}.", "Cancel it first.")
    files = [
        (artifact.bucket, f"{artifact.path}/{file.name}")
        for artifact in workspace.artifacts.list(job_id)
        for file in artifact.files
    ]
    workspace.jobs.delete(job_id)
    for bucket, key in files:
        workspace.blobs.delete(bucket, key)


def read_job_page(
    workspace: Workspace, job_id: str, view: ChartView, *, log_lines: int = 100, at: Clock | None = None
) -> JobSnapshot:
    """Read everything the live part of the job page shows.

    Args:
        at: How moments are written in words; in UTC if left out.

    Raises:
        NotFound: No such job of this person.
    """
    job = workspace.jobs.get(job_id)
    series = workspace.metrics.series
    raw = series(job_id, MetricKind.TRAIN, CHART_COLUMNS, points=view.points, x=view.x)
    smooth = series(
        job_id, MetricKind.TRAIN, ("loss",), points=view.points, smoothing=view.smoothing, x=view.x
    )
    return JobSnapshot(
        job=job,
        raw=raw,
        smooth=smooth,
        evaluations=series(job_id, MetricKind.EVAL, ("eval_loss",), points=view.points, x=view.x),
        newest=workspace.metrics.latest(job_id, MetricKind.TRAIN),
        checkpoints=workspace.artifacts.list(job_id, ArtifactKind.CHECKPOINT),
        logs=workspace.metrics.logs(job_id, limit=log_lines).items,
        connected=is_connected(job),
        waiting_for=waiting_reason(workspace, job, at=at),
    )


def is_live(job: Job) -> bool:
    """Say whether the job waits, starts or runs: only then does it change by itself."""
    return job.status in lifecycle.LIVE


def is_held(job: Job) -> bool:
    """Say whether a runner holds the job: it starts or runs."""
    return job.status in lifecycle.OWNED


def is_over(job: Job) -> bool:
    """Say whether the job has ended; a paused one has not."""
    return not is_live(job) and job.status is not JobStatus.PAUSED


def is_connected(job: Job, now: datetime | None = None) -> bool:
    """Say whether the runner of a live job was heard of lately; always true for jobs no runner holds."""
    if job.status not in lifecycle.OWNED or job.heartbeat_at is None:
        return True
    return (now or utc_now()) - job.heartbeat_at < timedelta(seconds=ONLINE_SECONDS)


def online_runners(workspace: Workspace) -> list[RunnerInfo]:
    """Return the runners heard of in the last half minute."""
    limit = utc_now() - timedelta(seconds=ONLINE_SECONDS)
    return [runner for runner in workspace.runners.list() if runner.seen_at > limit]


def list_events(workspace: Workspace, job_id: str, *, cursor: str | None = None) -> Page[JobEvent]:
    """Return the audit trail of a job, newest first."""
    return workspace.jobs.events(job_id, limit=100, cursor=cursor)


def list_attempts(workspace: Workspace, job_id: str) -> Sequence[Attempt]:
    """Return the attempts of a job, oldest first."""
    return workspace.jobs.attempts(job_id)


def search_logs(
    workspace: Workspace, job_id: str, *, search: str = "", level: str = "", cursor: str | None = None
) -> Page[LogLine]:
    """Return log lines, newest first, that contain `search` and are at least of `level`."""
    return workspace.metrics.logs(job_id, limit=200, cursor=cursor, search=search, level=level)
