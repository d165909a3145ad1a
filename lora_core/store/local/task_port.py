"""The runner's side of tasks: claim, report, close, and the data set a task is about."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from lora_core.errors import Conflict, Forbidden, NotFound
from lora_core.schema.dataset import Dataset
from lora_core.schema.runner import RunnerInfo, Task, TaskStatus
from lora_core.store.local.clock import Clock
from lora_core.store.local.database import Database
from lora_core.store.local.datasets import get_dataset, insert_dataset, save_dataset
from lora_core.store.local.files import CHUNK_BYTES, FileTree
from lora_core.store.local.rows import stamp
from lora_core.store.local.tasks import get_task

MAX_TRIES = 3
"""A task whose runner was lost this often is given up: it may be what kills the runner."""


class LocalTaskPort:
    """TaskPort over SQLite and a folder. Of the tasks it claimed it remembers the runner, and lets no later one be disturbed."""

    def __init__(self, database: Database, files: FileTree, clock: Clock) -> None:
        self._database = database
        self._files = files
        self._clock = clock
        self._claimed_by: dict[str, str] = {}

    def claim_task(self, runner: RunnerInfo, *, lease_seconds: float) -> Task | None:
        """Take the oldest waiting task, or one whose lease ran out; see `TaskPort.claim_task`."""
        now = self._clock()
        open_task = (
            "SELECT id FROM tasks WHERE status = 'waiting' OR (status = 'running' AND lease_until < ?)"
        )
        with self._database.read() as connection:
            if connection.execute(f"{open_task} LIMIT 1", (stamp(now),)).fetchone() is None:
                return None
        with self._database.write() as connection:
            connection.execute(
                "UPDATE tasks SET status = 'failed', updated_at = ?, lease_until = NULL,"
                " error = 'The runner was lost three times while it did this.'"
                " WHERE status = 'running' AND lease_until < ? AND tries >= ?",
                (stamp(now), stamp(now), MAX_TRIES),
            )
            row = connection.execute(f"{open_task} ORDER BY created_at, id LIMIT 1", (stamp(now),)).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE tasks SET status = 'running', runner_id = ?, lease_until = ?, tries = tries + 1, progress = 0,"
                " message = '', updated_at = ? WHERE id = ?",
                (runner.id, stamp(now + timedelta(seconds=lease_seconds)), stamp(now), row["id"]),
            )
            task = get_task(connection, row["id"])
        self._claimed_by[task.id] = runner.id
        return task

    def progress_task(self, task_id: str, *, progress: float, message: str, lease_seconds: float) -> None:
        """Report progress and keep the task; see `TaskPort.progress_task`.

        Raises:
            Conflict: The task has ended, or another runner has it.
        """
        now = self._clock()
        with self._database.write() as connection:
            self._check(connection, task_id)
            connection.execute(
                "UPDATE tasks SET progress = ?, message = ?, lease_until = ?, updated_at = ? WHERE id = ?",
                (
                    min(1.0, max(0.0, progress)),
                    message,
                    stamp(now + timedelta(seconds=lease_seconds)),
                    stamp(now),
                    task_id,
                ),
            )

    def end_task(self, task_id: str, *, error: str = "") -> None:
        """Close the task; see `TaskPort.end_task`. Closing it again in the same way changes nothing."""
        status = TaskStatus.FAILED if error else TaskStatus.DONE
        with self._database.write() as connection:
            task = get_task(connection, task_id)
            if task.status is status and task.error == error:
                return
            self._check(connection, task_id)
            connection.execute(
                "UPDATE tasks SET status = ?, error = ?, progress = CASE WHEN ? THEN progress ELSE 1 END, lease_until = NULL,"
                " updated_at = ? WHERE id = ?",
                (status.value, error, bool(error), stamp(self._clock()), task_id),
            )
        self._claimed_by.pop(task_id, None)

    def task_dataset(self, task_id: str) -> Dataset:
        """Return the data set a task is about; see `TaskPort.task_dataset`."""
        with self._database.read() as connection:
            task = get_task(connection, task_id)
            return get_dataset(connection, task.user_id, task.subject_id)

    def open_task_dataset(self, task_id: str) -> BinaryIO:
        """Open the file of the data set a task is about; see `TaskPort.open_task_dataset`."""
        dataset = self.task_dataset(task_id)
        return self._files.open(dataset.storage_bucket, dataset.storage_path)

    def task_peer(self, task_id: str) -> Dataset | None:
        """Return the data set to compare with; see `TaskPort.task_peer`."""
        with self._database.read() as connection:
            task = get_task(connection, task_id)
            peer = task.arguments.get("compare_with")
            return get_dataset(connection, task.user_id, str(peer)) if peer else None

    def open_task_peer(self, task_id: str) -> BinaryIO:
        """Open the file of the data set to compare with; see `TaskPort.open_task_peer`."""
        peer = self.task_peer(task_id)
        if peer is None:
            raise NotFound("The task compares with no data set.")
        return self._files.open(peer.storage_bucket, peer.storage_path)

    def save_task_issues(self, task_id: str, issues: Path) -> None:
        """Store the list of issues beside the data set; see `TaskPort.save_task_issues`.

        Raises:
            Conflict: The task has ended, or another runner has it.
        """
        with self._database.read() as connection:
            task = self._check(connection, task_id)
            dataset = get_dataset(connection, task.user_id, task.subject_id)
        folder = dataset.storage_path.rsplit("/", 1)[0]
        self._files.put(dataset.storage_bucket, f"{folder}/issues.jsonl", _chunks(issues))

    def save_task_dataset(self, task_id: str, dataset: Dataset, content: Path | None = None) -> Dataset:
        """Write back what the task found, or store a new version; see `TaskPort.save_task_dataset`.

        Raises:
            Conflict: The task has ended, or another runner has it.
            Forbidden: The data set is not the one the task is about, nor a new version of it, or has content already.
        """
        with self._database.read() as connection:
            task = self._check(connection, task_id)
        if content is None:
            if dataset.id != task.subject_id:
                raise Forbidden("A task writes back the data set it is about.")
            with self._database.write() as connection:
                self._check(connection, task_id)
                return save_dataset(connection, task.user_id, dataset)
        if dataset.id == task.subject_id:
            return self._fill(task_id, task, dataset, content)
        if dataset.parent_id != task.subject_id:
            raise Forbidden("The content of a data set never changes: store it as a new version of this one.")
        if dataset.user_id != task.user_id or not dataset.storage_path.startswith(
            f"{task.user_id}/datasets/{dataset.id}/"
        ):
            raise Forbidden("A new version lies in its own folder, under the person it belongs to.")
        size, sha256 = self._files.put(dataset.storage_bucket, dataset.storage_path, _chunks(content))
        stored = dataset.model_copy(update={"bytes": size, "sha256": sha256})
        try:
            with self._database.write() as connection:
                self._check(connection, task_id)
                insert_dataset(connection, stored)
        except Conflict:
            with suppress(NotFound), self._database.read() as connection:
                get_dataset(connection, task.user_id, dataset.id)
                raise
            self._files.delete(dataset.storage_bucket, dataset.storage_path)
            raise
        return stored

    def _fill(self, task_id: str, task: Task, dataset: Dataset, content: Path) -> Dataset:
        """Store the content of a data set that has none yet."""
        with self._database.read() as connection:
            known = get_dataset(connection, task.user_id, task.subject_id)
        with content.open("rb") as stream:
            size, sha256 = content.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()
        if known.bytes and (known.bytes, known.sha256) != (size, sha256):
            raise Forbidden("The content of a data set never changes: store it as a new version of this one.")
        self._files.put(known.storage_bucket, known.storage_path, _chunks(content))
        with self._database.write() as connection:
            self._check(connection, task_id)
            connection.execute("UPDATE datasets SET bytes = ? WHERE id = ?", (size, known.id))
            return save_dataset(connection, task.user_id, dataset.model_copy(update={"sha256": sha256}))

    def _check(self, connection: Any, task_id: str) -> Task:
        task = get_task(connection, task_id)
        if (
            task.status is not TaskStatus.RUNNING
            or self._claimed_by.get(task_id, task.runner_id) != task.runner_id
        ):
            raise Conflict("The task has ended, or another runner has it.")
        return task


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk
