"""Jobs of one person: submit, find, ask, move, and the audit trail. What runners do is in `runner_port.py`."""

# ruff: noqa: S608 - what is put into statements are names of columns from this code; values are always bound.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from lora_core.errors import Conflict, Forbidden, NotAllowed, NotFound
from lora_core.lifecycle import OWNED, REQUESTS, check_move
from lora_core.schema.base import Page, new_id
from lora_core.schema.job import (
    MAX_PRIORITY,
    MIN_PRIORITY,
    Attempt,
    Job,
    JobEvent,
    JobFilter,
    JobStatus,
    QueuePlace,
    RequestedAction,
    WorkInHand,
)
from lora_core.store.cursors import Cursor, clamp, page
from lora_core.store.ids import id_range
from lora_core.store.local.clock import Clock
from lora_core.store.local.database import Database, contains, placeholders
from lora_core.store.local.datasets import get_dataset
from lora_core.store.local.deletion import delete_job
from lora_core.store.local.files import FileTree
from lora_core.store.local.job_rows import ENDED, get_row, read_job, record, set_columns, set_status
from lora_core.store.local.leases import end_unattended
from lora_core.store.local.queue import place_of
from lora_core.store.local.rows import Row, stamp

MOST_AT_WORK = 200
_LIST = Cursor("jobs", str, str)
_EVENTS = Cursor("job_events", int)
_PERSONS_MOVES = frozenset({JobStatus.QUEUED, JobStatus.PAUSED, JobStatus.CANCELLED})
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
_STRENGTH = {None: 0, RequestedAction.CHECKPOINT: 1, RequestedAction.PAUSE: 2, RequestedAction.CANCEL: 3}
"""A request may replace a weaker one only: a cancel is not turned into a pause, nor a pause into a checkpoint."""


class LocalJobStore:
    """JobStore over SQLite."""

    def __init__(self, database: Database, files: FileTree, user_id: str, clock: Clock) -> None:
        self._database = database
        self._files = files
        self._user_id = user_id
        self._clock = clock

    def submit(self, job: Job) -> Job:
        """Insert a queued job; see `JobStore.submit`."""
        if job.user_id != self._user_id:
            raise Forbidden("A job is submitted by the person it belongs to.")
        if job.status is not JobStatus.QUEUED:
            raise NotAllowed("A new job starts as queued.")
        _check_moment(job.not_before)
        with self._database.write() as connection:
            known = connection.execute("SELECT * FROM training_jobs WHERE id = ?", (job.id,)).fetchone()
            if known is not None:
                if known["user_id"] != self._user_id:
                    raise Conflict("There is another job with this id.")
                return read_job(known)
            dataset = get_dataset(connection, self._user_id, job.dataset_id)
            validation_id = job.config.data.validation_dataset_id
            if validation_id is not None:
                get_dataset(connection, self._user_id, validation_id)
            parent = self._parent(connection, job.parent_artifact_id)
            columns = {
                "id": job.id,
                "user_id": job.user_id,
                "name": job.name,
                "dataset_id": job.dataset_id,
                "dataset_name": job.dataset_name or dataset.name,
                "validation_dataset_id": validation_id,
                "config": job.config.model_dump_json(),
                "target": job.target,
                "gpus": job.requirements.gpus,
                "gpu_memory_gb": job.requirements.gpu_memory_gb,
                "priority": max(MIN_PRIORITY, min(MAX_PRIORITY, job.priority)),
                "not_before": stamp(job.not_before) if job.not_before is not None else None,
                "estimated_seconds": job.estimated_seconds,
                "parent_job_id": parent["job_id"] if parent is not None else None,
                "parent_artifact_id": job.parent_artifact_id,
                "total_steps": job.total_steps,
                "created_at": stamp(job.created_at),
                "updated_at": stamp(self._clock()),
            }
            connection.execute(
                f"INSERT INTO training_jobs ({', '.join(columns)}) VALUES ({placeholders(list(columns))})",
                list(columns.values()),
            )
            row = get_row(connection, self._user_id, job.id)
            origin = (
                f"forked from step {parent['step']} of “{parent['job_name']}”" if parent is not None else ""
            )
            record(
                connection, row, self._clock(), self._user_id, "submitted", to=JobStatus.QUEUED, reason=origin
            )
            return read_job(row)

    def get(self, job_id: str) -> Job:
        """Return one job; see `JobStore.get`."""
        with self._reading() as connection:
            return read_job(get_row(connection, self._user_id, job_id))

    def list(self, job_filter: JobFilter, *, limit: int = 50, cursor: str | None = None) -> Page[Job]:
        """Return jobs, newest first; see `JobStore.list`."""
        limit = clamp(limit)
        where, values = ["user_id = ?"], [self._user_id]
        if job_filter.archived is not None:
            where.append(f"archived_at IS {'NOT ' if job_filter.archived else ''}NULL")
        if job_filter.search:
            where.append(r"casefold(name) LIKE ? ESCAPE '\'")
            values.append(contains(job_filter.search))
        if job_filter.statuses:
            where.append(f"status IN ({placeholders(job_filter.statuses)})")
            values += [status.value for status in job_filter.statuses]
        if job_filter.dataset_id is not None:
            where.append("dataset_id = ?")
            values.append(job_filter.dataset_id)
        if job_filter.id_begins:
            if (bounds := id_range(job_filter.id_begins)) is None:
                return Page(items=[])
            where.append("id BETWEEN ? AND ?")
            values += bounds
        if cursor is not None:
            where.append("(created_at, id) < (?, ?)")
            values += _LIST.read(cursor)
        query = f"SELECT * FROM training_jobs WHERE {' AND '.join(where)} ORDER BY created_at DESC, id DESC LIMIT {limit + 1}"
        with self._reading() as connection:
            rows = connection.execute(query, values).fetchall()
        return page(rows, limit, read_job, lambda row: _LIST.write(row["created_at"], row["id"]))

    def counts(self) -> dict[JobStatus, int]:
        """Return how many jobs are in each state; see `JobStore.counts`."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT status, count(*) AS jobs FROM training_jobs WHERE user_id = ? AND archived_at IS NULL"
                " GROUP BY status",
                (self._user_id,),
            ).fetchall()
        return {JobStatus(row["status"]): row["jobs"] for row in rows}

    def request(self, job_id: str, action: RequestedAction, *, reason: str = "") -> Job:
        """Ask the runner that holds the job; see `JobStore.request`. To cancel a queued job is a move at once."""
        with self._database.write() as connection:
            row = get_row(connection, self._user_id, job_id)
            status, asked = JobStatus(row["status"]), row["requested_action"]
            if status is JobStatus.QUEUED and action is RequestedAction.CANCEL:
                return self._move(connection, row, JobStatus.CANCELLED, reason, None)
            if status not in REQUESTS[action]:
                raise NotAllowed(f"The job is {status.value}: there is nothing to {action.value}.")
            if asked == action:
                return read_job(row)
            if asked is not None and _STRENGTH[RequestedAction(asked)] > _STRENGTH[action]:
                raise NotAllowed(f"The job has already been asked to {asked}.")
            asked_now = {
                "requested_action": action.value,
                "request_id": new_id(),
                "updated_at": stamp(self._clock()),
            }
            set_columns(connection, job_id, asked_now)
            record(connection, row, self._clock(), self._user_id, f"requested {action.value}", reason=reason)
            return read_job(get_row(connection, self._user_id, job_id))

    def move(self, job_id: str, to: JobStatus, *, reason: str = "", checkpoint_id: str | None = None) -> Job:
        """Make a transition that needs no runner; see `JobStore.move`."""
        with self._database.write() as connection:
            row = get_row(connection, self._user_id, job_id)
            return self._move(connection, row, to, reason, checkpoint_id)

    def rename(self, job_id: str, name: str) -> Job:
        """Give the job another name; see `JobStore.rename`."""
        with self._database.write() as connection:
            row = get_row(connection, self._user_id, job_id)
            job = Job.model_validate({**read_job(row).model_dump(), "name": name})
            set_columns(connection, job_id, {"name": job.name, "updated_at": stamp(self._clock())})
            record(connection, row, self._clock(), self._user_id, "renamed", reason=f"was “{row['name']}”")
            return read_job(get_row(connection, self._user_id, job_id))

    def prioritise(self, job_id: str, priority: int) -> Job:
        """Change the priority of a job that waits; see `JobStore.prioritise`."""
        if not MIN_PRIORITY <= priority <= MAX_PRIORITY:
            raise NotAllowed(f"A priority is between {MIN_PRIORITY} and {MAX_PRIORITY}.")
        with self._database.write() as connection:
            row = self._waiting(connection, job_id)
            if row["priority"] != priority:
                words = f"{row['priority']} to {priority}"
                self._change(connection, row, {"priority": priority}, "priority changed", words)
            return read_job(get_row(connection, self._user_id, job_id))

    def start_after(self, job_id: str, moment: datetime | None) -> Job:
        """Set the earliest start of a job that waits; see `JobStore.start_after`."""
        _check_moment(moment)
        with self._database.write() as connection:
            row = self._waiting(connection, job_id)
            until = stamp(moment) if moment is not None else None
            if row["not_before"] != until or (until is None and row["retry_at"] is not None):
                words = f"not before {until}" if until is not None else "at once"
                columns = {"not_before": until} | ({"retry_at": None} if until is None else {})
                self._change(connection, row, columns, "start changed", words)
            return read_job(get_row(connection, self._user_id, job_id))

    def archive(self, job_id: str, *, archived: bool) -> Job:
        """Put an ended job away, or take it back; see `JobStore.archive`."""
        with self._database.write() as connection:
            row = get_row(connection, self._user_id, job_id)
            status = JobStatus(row["status"])
            if archived and status not in ENDED:
                raise NotAllowed(f"The job is {status.value}: only an ended job can be archived.")
            if archived != (row["archived_at"] is not None):
                columns = {"archived_at": stamp(self._clock()) if archived else None}
                self._change(connection, row, columns, "archived" if archived else "unarchived", "")
            return read_job(get_row(connection, self._user_id, job_id))

    def queue_place(self, job_id: str) -> QueuePlace | None:
        """Return where a queued job stands; see `JobStore.queue_place`."""
        with self._database.read() as connection:
            return place_of(connection, get_row(connection, self._user_id, job_id), self._clock())

    def at_work(self) -> Sequence[WorkInHand]:
        """Return the jobs that runners hold now; see `JobStore.at_work`."""
        query = (
            "SELECT j.*, a.runner_id, a.runner_name, a.started_at AS since FROM training_jobs j"
            " JOIN job_attempts a ON a.job_id = j.id AND a.number = j.attempt"
            " WHERE j.user_id = ? AND j.status IN ('initializing', 'running')"
            f" ORDER BY a.started_at DESC, j.id LIMIT {MOST_AT_WORK}"
        )
        with self._reading() as connection:
            rows = connection.execute(query, (self._user_id,)).fetchall()
        names = ("runner_id", "runner_name", "attempt", "since")
        return [
            WorkInHand.model_validate({"job": read_job(row)} | {name: row[name] for name in names})
            for row in rows
        ]

    def delete(self, job_id: str) -> None:
        """Remove an ended job; see `JobStore.delete`. Files of its artifacts that are still there go too."""
        with self._database.write() as connection:
            row = get_row(connection, self._user_id, job_id)
            status = JobStatus(row["status"])
            if status not in ENDED:
                raise NotAllowed(f"The job is {status.value}.", "Cancel it first.")
            buckets = [
                found["bucket"]
                for found in connection.execute(
                    "SELECT DISTINCT bucket FROM model_artifacts WHERE job_id = ?", (job_id,)
                )
            ]
            record(connection, row, self._clock(), self._user_id, "deleted", reason=row["name"])
            delete_job(connection, job_id)
        for bucket in buckets:
            self._files.delete(bucket, f"{self._user_id}/jobs/{job_id}")

    def events(self, job_id: str, *, limit: int = 100, cursor: str | None = None) -> Page[JobEvent]:
        """Return the audit trail, newest first; see `JobStore.events`."""
        limit = clamp(limit)
        before = _EVENTS.read(cursor)[0] if cursor is not None else 2**63 - 1
        with self._database.read() as connection:
            get_row(connection, self._user_id, job_id)
            rows = connection.execute(
                "SELECT seq, job_id, at, actor, action, from_status, to_status, reason FROM job_events"
                " WHERE job_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
                (job_id, before, limit + 1),
            ).fetchall()
        return page(
            rows, limit, lambda row: JobEvent.model_validate(dict(row)), lambda row: _EVENTS.write(row["seq"])
        )

    def attempts(self, job_id: str) -> Sequence[Attempt]:
        """Return all attempts, oldest first; see `JobStore.attempts`."""
        names = ", ".join(Attempt.model_fields)
        with self._database.read() as connection:
            get_row(connection, self._user_id, job_id)
            rows = connection.execute(
                f"SELECT {names} FROM job_attempts WHERE job_id = ? ORDER BY number", (job_id,)
            )
            return [Attempt.model_validate(dict(row)) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        """Read jobs as they are: one whose runner is gone for good is not shown as running."""
        end_unattended(self._database, self._user_id, self._clock())
        with self._database.read() as connection:
            yield connection

    def _parent(self, connection: Any, artifact_id: str | None) -> Row | None:
        """Return the checkpoint that a new job is to start from, pinned from now on."""
        if artifact_id is None:
            return None
        row = connection.execute(
            "SELECT a.job_id, a.kind, a.step, j.name AS job_name FROM model_artifacts a"
            " JOIN training_jobs j ON j.id = a.job_id WHERE a.id = ? AND a.user_id = ?",
            (artifact_id, self._user_id),
        ).fetchone()
        if row is None:
            raise NotFound("There is no such artifact (any more).")
        if row["kind"] != "checkpoint":
            raise NotAllowed("A job starts from a checkpoint.")
        connection.execute("UPDATE model_artifacts SET pinned = 1 WHERE id = ?", (artifact_id,))
        return row

    def _waiting(self, connection: Any, job_id: str) -> Row:
        """Return the row of a job that has not been taken by a runner."""
        row = get_row(connection, self._user_id, job_id)
        if row["status"] not in (JobStatus.QUEUED, JobStatus.PAUSED):
            raise NotAllowed(f"The job is {row['status']}: it does not wait in the queue any more.")
        return row

    def _change(self, connection: Any, row: Row, columns: dict[str, Any], action: str, reason: str) -> None:
        now = self._clock()
        set_columns(connection, row["id"], columns | {"updated_at": stamp(now)})
        record(connection, row, now, self._user_id, action, reason=reason)

    def _move(self, connection: Any, row: Row, to: JobStatus, reason: str, checkpoint_id: str | None) -> Job:
        status = JobStatus(row["status"])
        if status in OWNED:
            raise NotAllowed(f"The job is {status.value}: a runner holds it and has to be asked.")
        if to not in _PERSONS_MOVES:
            raise NotAllowed(f"Only a runner can make a job {to.value}.")
        check_move(status, to)
        if to is JobStatus.QUEUED:
            if checkpoint_id is not None:
                reason = f"{reason} (from step {_checkpoint_step(connection, row, checkpoint_id)})".strip()
            fresh = {"error": "", "lost_attempts": 0, "archived_at": None, "resume_from": checkpoint_id}
            set_columns(connection, row["id"], fresh)
        set_status(connection, row, to, self._clock(), actor=self._user_id, action=_MOVES[to], reason=reason)
        return read_job(get_row(connection, self._user_id, row["id"]))


_MOVES = {JobStatus.QUEUED: "queued", JobStatus.PAUSED: "held", JobStatus.CANCELLED: "cancelled"}


def _check_moment(moment: datetime | None) -> None:
    """Refuse a time that cannot be written in every zone."""
    if moment is not None and not _EARLIEST <= moment <= _LATEST:
        raise NotAllowed(f"A job starts in the years {_EARLIEST.year} to {_LATEST.year}.")


def _checkpoint_step(connection: Any, row: Row, checkpoint_id: str) -> int:
    found = connection.execute(
        "SELECT step FROM model_artifacts WHERE id = ? AND job_id = ? AND kind = 'checkpoint'",
        (checkpoint_id, row["id"]),
    ).fetchone()
    if found is None:
        raise NotFound("The job has no such checkpoint (any more).")
    return int(found["step"] or 0)
