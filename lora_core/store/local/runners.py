"""Which runners there are, as rows."""

# ruff: noqa: S608 - what is put into statements are names of columns from this code; values are always bound.

from collections.abc import Sequence
from typing import Any

from lora_core.schema.runner import RunnerInfo
from lora_core.store.local.database import Database
from lora_core.store.local.rows import from_json, stamp, to_json

COLUMNS = tuple(RunnerInfo.model_fields)
LISTED = 100


class LocalRunnerStore:
    """RunnerStore over SQLite: in the embedded mode every runner works for the one person."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> Sequence[RunnerInfo]:
        """Return runners, most recently seen first (at most 100)."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT * FROM runners ORDER BY seen_at DESC LIMIT {LISTED}"
            ).fetchall()
        return [
            RunnerInfo.model_validate(
                {name: row[name] for name in COLUMNS}
                | {name: from_json(row[name]) for name in ("roles", "gpus")}
            )
            for row in rows
        ]


def save_runner(connection: Any, runner: RunnerInfo) -> None:
    """Insert or refresh a runner's row."""
    values = {
        **runner.model_dump(),
        "roles": to_json(runner.roles),
        "gpus": to_json(runner.gpus),
        "started_at": stamp(runner.started_at),
        "seen_at": stamp(runner.seen_at),
    }
    names = ", ".join(COLUMNS)
    marks = ", ".join(f":{name}" for name in COLUMNS)
    replaced = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
    connection.execute(
        f"INSERT INTO runners ({names}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {replaced}", values
    )
