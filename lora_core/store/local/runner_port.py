"""What a runner does with a job: claim, renew, ship, fetch and store files, end."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from lora_core.backoff import LONGEST_SECONDS
from lora_core.errors import Conflict, Forbidden, NotFound, TooLarge
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.dataset import Dataset
from lora_core.schema.job import EndOfAttempt, JobStatus, RequestedAction
from lora_core.schema.metrics import METRIC_COLUMNS, MetricKind
from lora_core.schema.notification import NotificationKind
from lora_core.schema.run import EventKind, RunEvent
from lora_core.schema.runner import Claim, Directive, RunnerInfo
from lora_core.store.batch import MAX_BATCH, Batch, alert_text
from lora_core.store.keys import ARTIFACT_BUCKET
from lora_core.store.local.artifacts import (
    checkpoint_to_start,
    has_its_start,
    insert_artifact,
    open_file,
    parent_checkpoint,
    read_artifact,
)
from lora_core.store.local.blocks import RECORDED_AT, hide_beyond, roll
from lora_core.store.local.clock import Clock
from lora_core.store.local.database import Database
from lora_core.store.local.datasets import get_dataset
from lora_core.store.local.deletion import sweep_deleted
from lora_core.store.local.fencing import check_holder, get_holder
from lora_core.store.local.files import FileTree
from lora_core.store.local.ingest import BatchRows
from lora_core.store.local.job_rows import get_row, read_job, record, set_columns, set_status
from lora_core.store.local.leases import end_attempt, end_expired
from lora_core.store.local.notifications import notify
from lora_core.store.local.progress import Progress, follow
from lora_core.store.local.queue import ANY_MACHINE
from lora_core.store.local.rows import Row, stamp
from lora_core.store.local.runners import save_runner

_QUEUE = """
    SELECT id FROM training_jobs
    WHERE status = 'queued' AND target IN (?1, ?2) AND (gpus = 0 OR (gpus <= ?3 AND gpu_memory_gb <= ?4))
        AND coalesce(not_before <= ?5, 1) AND coalesce(retry_at <= ?5 OR retry_at > ?6, 1)
    ORDER BY priority DESC, created_at, id LIMIT 1
"""
_LONGEST_PAUSE = timedelta(seconds=2 * LONGEST_SECONDS)
"""No pause is as long: a job whose next try lies beyond waits for a clock that was set back since."""


class LocalRunnerPort:
    """RunnerPort over SQLite and a folder. Safe for several threads and processes."""

    def __init__(self, database: Database, files: FileTree, clock: Clock) -> None:
        self._database = database
        self._files = files
        self._clock = clock

    def announce(self, runner: RunnerInfo) -> None:
        """Say that this runner is alive; see `RunnerPort.announce`."""
        with self._database.write() as connection:
            save_runner(connection, runner)
        sweep_deleted(self._database)

    def claim(self, runner: RunnerInfo, *, lease_seconds: float) -> Claim | None:
        """Take the first queued job this machine can run; see `RunnerPort.claim`."""
        if "train" not in runner.roles:
            return None
        now = self._clock()
        latest = stamp(now + _LONGEST_PAUSE)
        fits = (ANY_MACHINE, runner.id, len(runner.gpus), runner.gpu_memory_gb, stamp(now), latest)
        with self._database.read() as connection:  # most polls find nothing, and must not take the write lock
            expired = "SELECT 1 FROM job_attempts WHERE ended_at IS NULL AND lease_until < ? LIMIT 1"
            if (
                not connection.execute(expired, (stamp(now),)).fetchone()
                and not connection.execute(_QUEUE, fits).fetchone()
            ):
                return None
        with self._database.write() as connection:
            end_expired(connection, now)
            while (found := connection.execute(_QUEUE, fits).fetchone()) is not None:
                row = connection.execute(
                    "SELECT * FROM training_jobs WHERE id = ?", (found["id"],)
                ).fetchone()
                datasets, gone = _datasets(connection, row), "The data set of this job has been deleted."
                if datasets is not None and not has_its_start(connection, row):
                    datasets, gone = None, "The checkpoint that this job starts from has been deleted."
                if datasets is None:
                    set_status(
                        connection,
                        row,
                        JobStatus.FAILED,
                        now,
                        actor="system",
                        action="failed",
                        reason=gone,
                        error=gone,
                    )
                    continue
                return self._begin(connection, row, datasets, runner, now, lease_seconds)
        return None

    def take_up(self, claim: Claim) -> None:
        """Go on with an earlier claim; here (job, attempt) is all a call needs."""

    def renew(self, job_id: str, attempt: int, *, lease_seconds: float) -> Directive:
        """Keep the job and read what the person wants; see `RunnerPort.renew`."""
        now = self._clock()
        with self._database.write() as connection:
            holder = check_holder(connection, job_id, attempt, now)
            connection.execute(
                "UPDATE job_attempts SET lease_until = ?, lapsed_at = NULL WHERE job_id = ? AND number = ?",
                (stamp(now + timedelta(seconds=lease_seconds)), job_id, attempt),
            )
            set_columns(connection, job_id, {"heartbeat_at": stamp(now)})
        return Directive(requested_action=holder["requested_action"], request_id=holder["request_id"])

    def ship(self, job_id: str, attempt: int, events: Sequence[RunEvent]) -> None:
        """Store a batch of run-folder events; see `RunnerPort.ship`."""
        if len(events) > MAX_BATCH:
            raise TooLarge(f"A batch holds at most {MAX_BATCH} events; this one has {len(events)}.")
        batch = Batch(events)
        rows = BatchRows(job_id, attempt, batch)
        with self._database.write() as connection:
            now = self._clock()
            holder = check_holder(connection, job_id, attempt, now, tail=True)
            progress = follow(events, batch.points, holder)
            rows.write(connection, holder["elapsed_before"])
            if progress.start_step is not None:
                hide_beyond(connection, job_id, attempt, progress.start_step)
            for kind in MetricKind:
                if steps := batch.steps(kind):
                    roll(connection, job_id, kind, steps, (*METRIC_COLUMNS, RECORDED_AT))
            for event in events:
                if event.kind is EventKind.ALERT:
                    _tell_alert(connection, holder, event)
            _save_progress(connection, holder, progress, now)

    def open_dataset(self, job_id: str, attempt: int, dataset_id: str) -> BinaryIO:
        """Open a data set of the job; see `RunnerPort.open_dataset`."""
        with self._database.read() as connection:
            holder = check_holder(connection, job_id, attempt, self._clock())
            if dataset_id not in {holder["dataset_id"], holder["validation_dataset_id"]}:
                raise NotFound("The job does not use that data set.")
            dataset = get_dataset(connection, holder["user_id"], dataset_id)
        return self._files.open(dataset.storage_bucket, dataset.storage_path)

    def open_artifact(self, job_id: str, attempt: int, artifact_id: str, file_name: str) -> BinaryIO:
        """Open one file of one of the job's artifacts; see `RunnerPort.open_artifact`."""
        with self._database.read() as connection:
            check_holder(connection, job_id, attempt, self._clock())
            artifact = _artifact(connection, job_id, artifact_id) or parent_checkpoint(
                connection, job_id, artifact_id
            )
        if artifact is None:
            raise NotFound("The job has no such artifact (any more).")
        return open_file(self._files, artifact, file_name)

    def put_artifact(self, attempt: int, artifact: Artifact, folder: Path) -> Artifact:
        """Store the files of a folder; see `RunnerPort.put_artifact`. Bucket, path, files and bytes are set here."""
        job_id = artifact.job_id
        with self._database.read() as connection:
            holder = check_holder(connection, job_id, attempt, self._clock(), tail=True)
            known = _same_artifact(connection, artifact, attempt, holder)
        if known is not None:
            return known
        path = f"{holder['user_id']}/jobs/{job_id}/{attempt}/{artifact.id}"
        files = self._files.put_folder(ARTIFACT_BUCKET, path, folder)
        where = {"attempt": attempt, "bucket": ARTIFACT_BUCKET, "path": path}
        stored = artifact.model_copy(
            update={**where, "files": files, "bytes": sum(file.bytes for file in files)}
        )
        try:
            with self._database.write() as connection:
                now = self._clock()
                holder = check_holder(connection, job_id, attempt, now, tail=True)
                insert_artifact(connection, stored)
                if stored.kind is ArtifactKind.CHECKPOINT:
                    columns = {"lost_attempts": 0, "checkpoint_step": stored.step, "updated_at": stamp(now)}
                    set_columns(connection, job_id, columns)
        except BaseException:
            self._files.delete(ARTIFACT_BUCKET, path)
            raise
        return stored

    def drop_artifact(self, job_id: str, attempt: int, artifact_id: str) -> None:
        """Remove a rotated checkpoint; a pinned one stays, a missing one is no error; see `RunnerPort.drop_artifact`."""
        with self._database.write() as connection:
            check_holder(connection, job_id, attempt, self._clock(), tail=True)
            artifact = _artifact(connection, job_id, artifact_id)
            if artifact is None or artifact.pinned:
                return
            if artifact.kind is not ArtifactKind.CHECKPOINT:
                raise Forbidden("A runner removes checkpoints only.")
            connection.execute("DELETE FROM model_artifacts WHERE id = ?", (artifact_id,))
        self._files.delete(artifact.bucket, artifact.path)

    def end(self, job_id: str, attempt: int, end: EndOfAttempt) -> None:
        """Close the attempt and move the job; see `RunnerPort.end`. The same end again changes nothing."""
        with self._database.write() as connection:
            if get_holder(connection, job_id, attempt)["outcome"] == end.outcome:
                return
            now = self._clock()
            holder = check_holder(connection, job_id, attempt, now)
            end_attempt(connection, holder, end, now, actor=_actor(holder))

    def _begin(
        self,
        connection: Any,
        row: Row,
        datasets: tuple[Dataset, Dataset | None],
        runner: RunnerInfo,
        now: datetime,
        lease_seconds: float,
    ) -> Claim:
        attempt = row["attempt"] + 1
        connection.execute(
            "INSERT INTO job_attempts (job_id, number, runner_id, runner_name, elapsed_before, lease_until, started_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                row["id"],
                attempt,
                runner.id,
                runner.name,
                row["elapsed_seconds"],
                stamp(now + timedelta(seconds=lease_seconds)),
                stamp(now),
            ),
        )
        columns = {"attempt": attempt, "heartbeat_at": stamp(now), "error": "", "tokens_per_second": None}
        set_columns(connection, row["id"], columns | {"started_at": row["started_at"] or stamp(now)})
        set_status(
            connection, row, JobStatus.INITIALIZING, now, actor=f"runner {runner.name}", action="claimed"
        )
        return Claim(
            job=read_job(get_row(connection, row["user_id"], row["id"])),
            attempt=attempt,
            dataset=datasets[0],
            validation=datasets[1],
            checkpoint=checkpoint_to_start(connection, row["id"]),
        )


def _datasets(connection: Any, row: Row) -> tuple[Dataset, Dataset | None] | None:
    try:
        dataset = get_dataset(connection, row["user_id"], row["dataset_id"])
        other = row["validation_dataset_id"]
        return dataset, get_dataset(connection, row["user_id"], other) if other is not None else None
    except NotFound:
        return None


def _save_progress(connection: Any, holder: Row, progress: Progress, now: datetime) -> None:
    open_attempt = holder["ended_at"] is None
    if progress.training and open_attempt and holder["status"] == JobStatus.INITIALIZING:
        set_status(connection, holder, JobStatus.RUNNING, now, actor=_actor(holder), action="started")
        _tell_start(connection, holder, now)
    columns = dict(progress.job) | {"updated_at": stamp(now)}
    if open_attempt:
        columns["heartbeat_at"] = stamp(now)
        if progress.phase is not None:
            columns["phase"] = progress.phase
    else:
        for name in ("remaining_seconds", "progress"):
            columns.pop(name, None)
    if progress.start_step is not None and (holder["best_step"] or 0) > progress.start_step:
        columns |= _best_of_points(connection, holder["id"])
    elif progress.best is not None and (
        holder["best_eval_loss"] is None or progress.best[0] < holder["best_eval_loss"]
    ):
        columns |= {"best_eval_loss": progress.best[0], "best_step": progress.best[1]}
    set_columns(connection, holder["id"], columns)
    connection.execute(
        "UPDATE job_attempts SET last_seq = ?, phase = coalesce(?, phase), start_step = coalesce(?, start_step)"
        " WHERE job_id = ? AND number = ?",
        (progress.last_seq, progress.phase, progress.start_step, holder["job_id"], holder["number"]),
    )
    for request_id, action in progress.echoes:
        record(connection, holder, now, _actor(holder), f"acknowledged {action}")
        if action == RequestedAction.CHECKPOINT and request_id == holder["request_id"]:
            set_columns(connection, holder["id"], {"requested_action": None, "request_id": ""})


def _best_of_points(connection: Any, job_id: str) -> dict[str, Any]:
    best = connection.execute(
        "SELECT eval_loss, step FROM metrics_points WHERE job_id = ? AND kind = 'eval' AND NOT hidden"
        " AND eval_loss IS NOT NULL ORDER BY eval_loss, step LIMIT 1",
        (job_id,),
    ).fetchone()
    return {
        "best_eval_loss": best["eval_loss"] if best else None,
        "best_step": best["step"] if best else None,
    }


def _tell_start(connection: Any, holder: Row, now: datetime) -> None:
    notify(
        connection,
        user_id=holder["user_id"],
        job_id=holder["id"],
        key="started",  # once in a job's life, whatever the attempt
        kind=NotificationKind.JOB_STARTED,
        title=f"“{holder['name']}” has started",
        body=f"{holder['runner_name']} trains it.",
        now=now,
    )


def _tell_alert(connection: Any, holder: Row, event: RunEvent) -> None:
    notify(
        connection,
        user_id=holder["user_id"],
        job_id=holder["id"],
        key=f"{holder['number']}/alert/{event.seq}",
        kind=NotificationKind.ALERT,
        title=f"“{holder['name']}” needs a look",
        body=alert_text(event),
        now=event.at,
    )


def _artifact(connection: Any, job_id: str, artifact_id: str) -> Artifact | None:
    row = connection.execute(
        "SELECT * FROM model_artifacts WHERE id = ? AND job_id = ?", (artifact_id, job_id)
    ).fetchone()
    return read_artifact(row) if row is not None else None


def _same_artifact(connection: Any, artifact: Artifact, attempt: int, holder: Row) -> Artifact | None:
    if artifact.user_id != holder["user_id"]:
        raise Forbidden("An artifact belongs to the person whose job made it.")
    row = connection.execute("SELECT * FROM model_artifacts WHERE id = ?", (artifact.id,)).fetchone()
    if row is None:
        return None
    if (row["job_id"], row["attempt"]) != (artifact.job_id, attempt):
        raise Conflict("There is another artifact with this id.")
    return read_artifact(row)


def _actor(holder: Row) -> str:
    return f"runner {holder['runner_name']}"
