"""Heavy work a person has asked for, as rows."""

# ruff: noqa: S608 - what is put into statements are names of columns from this code; values are always bound.

from collections.abc import Sequence
from typing import Any

from lora_core.errors import Conflict, Forbidden, NotFound
from lora_core.schema.runner import Task, TaskStatus
from lora_core.store.local.database import Database
from lora_core.store.local.rows import Row, from_json, stamp, to_json

COLUMNS = tuple(Task.model_fields)
LISTED = 50


class LocalTaskStore:
    """TaskStore over SQLite."""

    def __init__(self, database: Database, user_id: str) -> None:
        self._database = database
        self._user_id = user_id

    def add(self, task: Task) -> Task:
        """Insert a waiting task, or return the open one of its kind and subject; see `TaskStore.add`."""
        if task.user_id != self._user_id:
            raise Forbidden("A task is added by the person it belongs to.")
        with self._database.write() as connection:
            row = connection.execute("SELECT * FROM tasks WHERE id = ?", (task.id,)).fetchone()
            if row is not None and row["user_id"] != self._user_id:
                raise Conflict("There is another task with this id.")
            if row is None:
                row = connection.execute(
                    "SELECT * FROM tasks WHERE user_id = ? AND kind = ? AND subject_id = ? AND status IN ('waiting', 'running')",
                    (self._user_id, task.kind.value, task.subject_id),
                ).fetchone()
            if row is not None:
                return read_task(row)
            connection.execute(
                "INSERT INTO tasks (id, user_id, kind, subject_id, arguments, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    task.id,
                    task.user_id,
                    task.kind.value,
                    task.subject_id,
                    to_json(task.arguments),
                    stamp(task.created_at),
                    stamp(task.updated_at),
                ),
            )
        return task.model_copy(
            update={"status": TaskStatus.WAITING, "progress": 0.0, "message": "", "error": ""}
        )

    def get(self, task_id: str) -> Task:
        """Return one task; see `TaskStore.get`."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT * FROM tasks WHERE id = ? AND user_id = ?", (task_id, self._user_id)
            ).fetchone()
        if row is None:
            raise NotFound("There is no such task (any more).")
        return read_task(row)

    def of_subject(self, subject_id: str) -> Sequence[Task]:
        """Return the tasks about one data set or model, newest first; see `TaskStore.of_subject`."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT * FROM tasks WHERE user_id = ? AND subject_id = ? ORDER BY created_at DESC, id LIMIT {LISTED}",
                (self._user_id, subject_id),
            ).fetchall()
        return [read_task(row) for row in rows]


def get_task(connection: Any, task_id: str) -> Task:
    """Return one task of anybody, for a runner.

    Raises:
        NotFound: No such task.
    """
    row = connection.execute("SELECT * FROM tasks WHERE id = ?", (task_id,)).fetchone()
    if row is None:
        raise NotFound("There is no such task (any more).")
    return read_task(row)


def read_task(row: Row) -> Task:
    """Make a task of its row."""
    return Task.model_validate(
        {name: row[name] for name in COLUMNS} | {"arguments": from_json(row["arguments"])}
    )
