"""Brings a database file to the newest schema: numbered .sql files, each in one transaction. Only ever forward."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from lora_core.errors import StoreError
from lora_core.store.local.database import connect, typed_errors

FOLDER = Path(__file__).parent


def migrate(database: Path, folder: Path = FOLDER) -> int:
    """Apply what is missing. Safe when several processes start at once; an old database is copied first.

    Args:
        database: The file; made if missing.
        folder: Where the numbered `.sql` files are.

    Returns:
        The version of the schema, which is the number of the last file.

    Raises:
        StoreError: The database was made by a newer version of the studio, or a migration failed (nothing of it stays).
    """
    files = _files(folder)
    newest = max(files)
    with database.with_suffix(".lock").open("a") as lock, typed_errors():
        fcntl.flock(lock, fcntl.LOCK_EX)
        with closing(connect(database)) as connection:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > newest:
                raise StoreError(
                    f"The database {database} has schema {version}; this version of LoRA Studio knows {newest} at most.",
                    "Update LoRA Studio, or set LORA_STUDIO_HOME to another folder.",
                )
            if 0 < version < newest:
                _copy(connection, database.with_name(f"{database.name}.before-{newest:04d}"))
            for number, file in files.items():
                if number > version:
                    _apply(connection, number, file)
    return newest


def newest_schema(folder: Path = FOLDER) -> int:
    """Return the version that `migrate` brings a database to."""
    return max(_files(folder))


def _files(folder: Path) -> dict[int, Path]:
    return dict(sorted((int(file.name.split("_")[0]), file) for file in folder.glob("[0-9]*.sql")))


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)


def _apply(connection: sqlite3.Connection, number: int, file: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _statements(file.read_text(encoding="utf-8")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.execute("ROLLBACK")
        raise StoreError(
            f"The database could not be brought to schema {number} ({file.name}): {error}.",
            "It is unchanged; report this with the message.",
        ) from error


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
