"""A database file is brought forward, never back, and never half."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from lora_core.errors import StoreError
from lora_core.settings import Settings
from lora_core.store.local import LocalStore
from lora_core.store.local.migrations import FOLDER, migrate


def version(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def scripts(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, script in files.items():
        (folder / f"{name.lstrip('_')}.sql").write_text(script)
    return folder


def test_a_new_database_has_the_newest_schema(tmp_path: Path) -> None:
    assert (
        migrate(tmp_path / "a.sqlite3") == len(list(FOLDER.glob("*.sql"))) == version(tmp_path / "a.sqlite3")
    )


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    migrate(tmp_path / "a.sqlite3")
    migrate(tmp_path / "a.sqlite3")
    assert not list(tmp_path.glob("*before*"))


def test_missing_migrations_are_applied_in_order(tmp_path: Path) -> None:
    folder = scripts(tmp_path / "sql", _0001_a="CREATE TABLE a (x);", _0002_b="ALTER TABLE a RENAME TO b;")
    assert migrate(tmp_path / "a.sqlite3", folder) == 2
    assert tables(tmp_path / "a.sqlite3") == {"b"}


def test_an_old_database_is_copied_before_it_is_changed(tmp_path: Path) -> None:
    folder = scripts(tmp_path / "sql", _0001_a="CREATE TABLE a (x);")
    migrate(tmp_path / "a.sqlite3", folder)
    migrate(tmp_path / "a.sqlite3", scripts(folder, _0002_b="DROP TABLE a;"))
    assert tables(tmp_path / "a.sqlite3") == set()
    assert tables(tmp_path / "a.sqlite3.before-0002") == {"a"}


def test_a_failing_migration_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = scripts(
        tmp_path / "sql", _0001_a="CREATE TABLE a (x);", _0002_b="CREATE TABLE b (x); DROP TABLE nothing;"
    )
    with pytest.raises(StoreError, match="0002_b"):
        migrate(tmp_path / "a.sqlite3", folder)
    assert (tables(tmp_path / "a.sqlite3"), version(tmp_path / "a.sqlite3")) == ({"a"}, 1)


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with closing(sqlite3.connect(settings.database)) as connection:
        connection.execute("PRAGMA user_version = 9999")
    with pytest.raises(StoreError, match="Update LoRA Studio"):
        LocalStore(settings)
    assert tables(settings.database) == set()


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.database.write_bytes(b"this is not a database, but it is long enough to be read as one" * 100)
    with pytest.raises(StoreError, match="damaged"):
        LocalStore(settings)


def test_several_openers_at_once_make_one_schema(tmp_path: Path) -> None:
    faults: list[BaseException] = []

    def open_store() -> None:
        try:
            LocalStore(Settings(home=tmp_path)).close()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=open_store) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not faults
