"""Data sets of one person as rows."""

# ruff: noqa: S608 - what is put into statements are names of columns from this code; values are always bound.

from collections.abc import Sequence
from typing import Any

from lora_core.errors import Conflict, Forbidden, NotFound
from lora_core.schema.base import Page
from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus
from lora_core.store.cursors import Cursor, clamp, page
from lora_core.store.local.database import Database, contains
from lora_core.store.local.rows import Row, from_json, stamp, to_json

COLUMNS = tuple(Dataset.model_fields)
_CURSOR = Cursor("datasets", str, str)
_CONTENT = ("user_id", "storage_bucket", "storage_path", "bytes", "parent_id", "created_at")
"""What two rows of one id must agree on; the rest changes as the data set is checked."""


class LocalDatasetStore:
    """DatasetStore over SQLite."""

    def __init__(self, database: Database, user_id: str) -> None:
        self._database = database
        self._user_id = user_id

    def add(self, dataset: Dataset) -> None:
        """Insert a data set; see `DatasetStore.add`."""
        if dataset.user_id != self._user_id:
            raise Forbidden("A data set is added by the person it belongs to.")
        with self._database.write() as connection:
            insert_dataset(connection, dataset)

    def get(self, dataset_id: str) -> Dataset:
        """Return one data set; see `DatasetStore.get`."""
        with self._database.read() as connection:
            return get_dataset(connection, self._user_id, dataset_id)

    def list(
        self,
        *,
        search: str = "",
        formats: Sequence[DatasetFormat] = (),
        statuses: Sequence[DatasetStatus] = (),
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Dataset]:
        """Return data sets, newest first; see `DatasetStore.list`."""
        limit = clamp(limit)
        where, values = "user_id = ?", [self._user_id]
        if search:
            where += r" AND casefold(name) LIKE ? ESCAPE '\'"
            values.append(contains(search))
        for column, chosen in (("format", formats), ("status", statuses)):
            if chosen:
                where += f" AND {column} IN ({', '.join('?' * len(chosen))})"
                values += [choice.value for choice in chosen]
        if cursor is not None:
            where += " AND (created_at, id) < (?, ?)"
            values += _CURSOR.read(cursor)
        query = f"SELECT * FROM datasets WHERE {where} ORDER BY created_at DESC, id DESC LIMIT {limit + 1}"
        with self._database.read() as connection:
            rows = connection.execute(query, values).fetchall()
        return page(rows, limit, read_dataset, lambda row: _CURSOR.write(row["created_at"], row["id"]))

    def save(self, dataset: Dataset) -> Dataset:
        """Write back what may change; see `DatasetStore.save`."""
        with self._database.write() as connection:
            return save_dataset(connection, self._user_id, dataset)

    def delete(self, dataset_id: str) -> None:
        """Remove the row; see `DatasetStore.delete`."""
        with self._database.write() as connection:
            get_dataset(connection, self._user_id, dataset_id)
            user = connection.execute(
                "SELECT name FROM training_jobs WHERE user_id = ? AND status IN ('queued', 'initializing', 'running', 'paused')"
                " AND (dataset_id = ? OR validation_dataset_id = ?) LIMIT 1",
                (self._user_id, dataset_id, dataset_id),
            ).fetchone()
            if user is not None:
                raise Conflict(
                    f"The job “{user['name']}” uses this data set.", "Cancel the job or wait for its end."
                )
            connection.execute("DELETE FROM datasets WHERE id = ?", (dataset_id,))


def get_dataset(connection: Any, user_id: str, dataset_id: str) -> Dataset:
    """Return one data set of one person.

    Raises:
        NotFound: No such data set of this person.
    """
    row = connection.execute(
        "SELECT * FROM datasets WHERE id = ? AND user_id = ?", (dataset_id, user_id)
    ).fetchone()
    if row is None:
        raise NotFound("There is no such data set (any more).")
    return read_dataset(row)


def insert_dataset(connection: Any, dataset: Dataset) -> None:
    """Insert a row; the same row again changes nothing.

    Raises:
        Conflict: The id exists with other content.
    """
    columns = _columns(dataset)
    known = connection.execute("SELECT * FROM datasets WHERE id = ?", (dataset.id,)).fetchone()
    if known is None:
        names = ", ".join(columns)
        marks = ", ".join(f":{name}" for name in columns)
        connection.execute(f"INSERT INTO datasets ({names}) VALUES ({marks})", columns)
    elif any(known[name] != columns[name] for name in _CONTENT) or (
        known["sha256"] and dataset.sha256 and known["sha256"] != dataset.sha256
    ):
        raise Conflict("There is another data set with this id.")


def save_dataset(connection: Any, user_id: str, dataset: Dataset) -> Dataset:
    """Write back name, status, format, mapping, rows, sha256 and report; return the stored row.

    Raises:
        NotFound: No such data set of this person.
    """
    get_dataset(connection, user_id, dataset.id)
    changing = ("name", "status", "format", "mapping", "rows", "sha256", "report")
    assignments = ", ".join(f"{name} = :{name}" for name in changing)
    connection.execute(f"UPDATE datasets SET {assignments} WHERE id = :id", _columns(dataset))
    return get_dataset(connection, user_id, dataset.id)


def read_dataset(row: Row) -> Dataset:
    """Make a data set of its row."""
    values = {name: row[name] for name in COLUMNS}
    values["mapping"] = from_json(values["mapping"])
    if values["report"] is not None:
        values["report"] = from_json(values["report"])
    return Dataset.model_validate(values)


def _columns(dataset: Dataset) -> dict[str, Any]:
    values = {name: getattr(dataset, name) for name in COLUMNS}
    values["status"], values["format"] = dataset.status.value, dataset.format.value
    values["mapping"] = to_json(dataset.mapping.model_dump(exclude_none=True))
    values["report"] = dataset.report.model_dump_json() if dataset.report is not None else None
    values["created_at"] = stamp(dataset.created_at)
    return values
