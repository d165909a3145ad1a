"""All of one person's rows in the embedded store as documents, read in one snapshot. What cannot be seen through the ports
(hidden points, samples, numbers of events) is in it too.
"""

# ruff: noqa: S608 - what is put into statements are names of tables and columns from this code; values are always bound.

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lora_core.errors import Forbidden
from lora_core.schema.artifact import Artifact
from lora_core.schema.dataset import Dataset
from lora_core.schema.job import JobStatus
from lora_core.schema.metrics import METRIC_COLUMNS
from lora_core.store.local.artifacts import read_artifact
from lora_core.store.local.database import connect, typed_errors
from lora_core.store.local.datasets import read_dataset
from lora_core.store.local.files import FileTree
from lora_core.store.local.notifications import COLUMNS as NOTIFICATION_COLUMNS
from lora_core.store.local.rows import from_json
from lora_core.store.transfer import JobPart, PastJob, Row

READ_AT_ONCE = 500

_JOB_COLUMNS = (
    "id",
    "name",
    "dataset_id",
    "dataset_name",
    "validation_dataset_id",
    "config",
    "target",
    "gpus",
    "gpu_memory_gb",
    "priority",
    "status",
    "status_reason",
    "progress",
    "current_step",
    "total_steps",
    "epoch",
    "train_loss",
    "eval_loss",
    "best_eval_loss",
    "best_step",
    "checkpoint_step",
    "tokens_per_second",
    "elapsed_seconds",
    "error",
    "lost_attempts",
    "created_at",
    "started_at",
    "ended_at",
    "updated_at",
    "heartbeat_at",
    "archived_at",
    "not_before",
    "estimated_seconds",
    "resume_from",
    "parent_job_id",
    "parent_artifact_id",
)
_ATTEMPT_COLUMNS = (
    "number",
    "runner_id",
    "runner_name",
    "phase",
    "start_step",
    "last_seq",
    "elapsed_before",
    "started_at",
    "ended_at",
    "outcome",
    "reason",
    "result",
)
_PARTS: dict[JobPart, tuple[str, str, str]] = {
    JobPart.ATTEMPTS: ("job_attempts", ", ".join(_ATTEMPT_COLUMNS), "number"),
    JobPart.EVENTS: ("job_events", "at, actor, action, from_status, to_status, reason", "seq"),
    JobPart.POINTS: (
        "metrics_points",
        f"kind, step, attempt, seq, hidden, recorded_at, {', '.join(METRIC_COLUMNS)}, extra, nonfinite",
        "kind, step",
    ),
    JobPart.LOGS: ("log_lines", "attempt, seq, at, level, source, text", "attempt, seq"),
    JobPart.SAMPLES: ("samples", "attempt, seq, at, step, data", "attempt, seq"),
}
"""Table, columns and order of each part."""

_DOCUMENTS = ("config", "result", "extra", "nonfinite", "data")
_TRUTHS = ("hidden", "draft")


class LocalHistory:
    """HistorySource over SQLite and a folder. It keeps one reading transaction open: writers go on beside it."""

    def __init__(self, database: Path, files: FileTree, user_id: str) -> None:
        self._files = files
        self._user_id = user_id
        with typed_errors():
            self._connection = connect(database)
            self._connection.execute("BEGIN")
            self._connection.execute(
                "SELECT count(*) FROM sqlite_schema"
            ).fetchone()  # the snapshot begins with a read

    @property
    def user_id(self) -> str:
        """Whose it is."""
        return self._user_id

    def datasets(self) -> Iterator[Dataset]:
        """Yield data sets, oldest first."""
        query = "SELECT * FROM datasets WHERE user_id = ? ORDER BY created_at, id"
        for row in self._read(query, self._user_id):
            yield read_dataset(row)

    def configs(self) -> Iterator[Row]:
        """Yield saved training configs and drafts."""
        columns = "id, name, draft, config, created_at, updated_at"
        query = f"SELECT {columns} FROM training_configs WHERE user_id = ? ORDER BY created_at, id"
        yield from map(_document, self._read(query, self._user_id))

    def jobs(self) -> Iterator[PastJob]:
        """Yield jobs, oldest first."""
        query = (
            f"SELECT {', '.join(_JOB_COLUMNS)} FROM training_jobs WHERE user_id = ? ORDER BY created_at, id"
        )
        for row in self._read(query, self._user_id):
            counts = {part: self._count(row["id"], part) for part in JobPart}
            yield PastJob(row["id"], row["name"], JobStatus(row["status"]), _document(row), counts)

    def rows(self, job_id: str, part: JobPart) -> Iterator[Row]:
        """Yield the rows of a part of a job, always in the same order."""
        table, columns, order = _PARTS[part]
        query = f"SELECT {columns} FROM {table} WHERE job_id = ? ORDER BY {order}"
        yield from map(_document, self._read(query, job_id))

    def artifacts(self, job_id: str) -> Sequence[Artifact]:
        """Return what a job has left, oldest first."""
        query = "SELECT * FROM model_artifacts WHERE job_id = ? ORDER BY attempt, step, created_at, id"
        return [read_artifact(row) for row in self._read(query, job_id)]

    def notifications(self) -> Iterator[Row]:
        """Yield what the bell shows, oldest first."""
        columns = ", ".join(name for name in NOTIFICATION_COLUMNS if name != "user_id")
        query = f"SELECT {columns} FROM notifications WHERE user_id = ? ORDER BY created_at, id"
        yield from map(_document, self._read(query, self._user_id))

    def file(self, bucket: str, key: str) -> Path | None:
        """Return where a file lies on this machine, or None if it is lost."""
        with suppress(Forbidden):
            path = self._files.path(bucket, key)
            if path.is_file():
                return path
        return None

    def close(self) -> None:
        """Let go of the snapshot."""
        self._connection.close()

    def _count(self, job_id: str, part: JobPart) -> int:
        (row,) = self._read(f"SELECT count(*) AS found FROM {_PARTS[part][0]} WHERE job_id = ?", job_id)
        count: int = row["found"]
        return count

    def _read(self, query: str, *values: Any) -> Iterator[sqlite3.Row]:
        with typed_errors():
            cursor = self._connection.execute(query, values)
            while rows := cursor.fetchmany(READ_AT_ONCE):
                yield from rows


def _document(row: sqlite3.Row) -> dict[str, Any]:
    values = dict(zip(row.keys(), row, strict=True))
    for name in _DOCUMENTS:
        if isinstance(values.get(name), str):
            values[name] = from_json(values[name])
    for name in _TRUTHS:
        if name in values:
            values[name] = bool(values[name])
    return values
