"""Connections of several threads, and how they are closed."""

import threading
from pathlib import Path

import pytest

from lora_core.store.local import database as module
from lora_core.store.local.database import Database

DEADLINE_SECONDS = 30


class Writer(threading.Thread):
    """A thread in the middle of a transaction until it may go on."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self.inside, self.may_go_on = threading.Event(), threading.Event()
        self.rows = 0

    def run(self) -> None:
        with self._database.write() as connection:
            connection.execute("CREATE TABLE notes (text TEXT)")
            self.inside.set()
            self.may_go_on.wait(DEADLINE_SECONDS)
            connection.execute("INSERT INTO notes VALUES ('kept')")
            self.rows = connection.execute("SELECT count(*) FROM notes").fetchone()[0]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "studio.sqlite3")


@pytest.fixture
def writer(database: Database) -> Writer:
    writer = Writer(database)
    writer.start()
    assert writer.inside.wait(DEADLINE_SECONDS)
    return writer


def test_closing_waits_for_a_transaction_of_another_thread(database: Database, writer: Writer) -> None:
    closing = threading.Thread(target=database.close)
    closing.start()
    writer.may_go_on.set()
    closing.join(DEADLINE_SECONDS)
    writer.join(DEADLINE_SECONDS)
    assert writer.rows == 1
    with database.read() as connection:
        assert connection.execute("SELECT text FROM notes").fetchone()[0] == "kept"
    database.close()


def test_a_transaction_that_goes_on_for_too_long_is_left_alone(
    database: Database, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.0)
    database.close()
    writer.may_go_on.set()
    writer.join(DEADLINE_SECONDS)
    assert writer.rows == 1
    database.close()
