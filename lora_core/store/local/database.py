"""The SQLite file: one connection per thread, transactions, typed errors. Knows no table.

A connection is opened at first use in a thread and closed when the thread ends. Writers queue in the process first and
then at SQLite's own lock, so that other processes (app and runner) wait their turn instead of failing.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

from lora_core.errors import Conflict, DiskFull, StoreError, Unavailable

BUSY_SECONDS = 15.0
"""How long a writer waits for another process before it gives up with Unavailable."""

CLOSE_SECONDS = 5.0
"""How long closing waits for a transaction of another thread."""

PAGE_BYTES = 8192
"""Page size of new databases: a block of 1,000 float64 values fits in one page and its neighbour."""


class Database:
    """Connections to one database file. Safe to share between threads, and usable after a fork."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._handles: WeakSet[_Handle] = WeakSet()
        self._writer = threading.Lock()

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection, opened at first use."""
        return self._handle().connection

    def _handle(self) -> "_Handle":
        by_process: dict[int, _Handle] = self._local.__dict__.setdefault("handles", {})
        handle = by_process.get(os.getpid())
        if handle is None or handle.closed:
            handle = by_process[os.getpid()] = _Handle(self.path)
            self._handles.add(handle)
        return handle

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Run a block as one transaction that holds the write lock from its start; all or nothing.

        Raises:
            Unavailable: Another process kept the lock for longer than `BUSY_SECONDS`.
            DiskFull: No space left.
        """
        with self._writer, self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Run a block on one snapshot; writers are neither waited for nor kept waiting."""
        with self._transaction("BEGIN") as connection:
            yield connection

    def close(self) -> None:
        """Close the connections of all threads of this process, each when its transaction is over.

        One that goes on for longer than `CLOSE_SECONDS` is left alone: SQLite does not survive a close in the middle of a
        statement. It is closed when its thread ends.
        """
        for handle in list(self._handles):
            handle.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        handle = self._handle()
        with typed_errors(), handle.busy:
            connection = handle.connection
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


class _Handle:
    """Owns one connection, so that it is closed when its thread is gone, but never in a forked child."""

    def __init__(self, path: Path) -> None:
        self.closed = False
        self.busy = threading.Lock()
        self._process = os.getpid()
        with typed_errors():
            self.connection = connect(path)

    def close(self) -> None:
        if self.closed or self._process != os.getpid() or not self.busy.acquire(timeout=CLOSE_SECONDS):
            return
        try:
            self.closed = True
            self.connection.close()
        finally:
            self.busy.release()

    def __del__(self) -> None:
        if hasattr(self, "connection"):
            self.close()


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection with the studio's settings. The caller begins and ends transactions itself."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.create_function("casefold", 1, _casefold, deterministic=True)
    for pragma in (
        f"page_size = {PAGE_BYTES}",
        f"busy_timeout = {int(BUSY_SECONDS * 1000)}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        "cache_size = -16384",
        f"journal_size_limit = {64 * 2**20}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def typed_errors() -> Iterator[None]:
    """Turn SQLite's errors into the store's."""
    try:
        yield
    except sqlite3.Error as error:
        raise _typed(error) from error


def placeholders(values: Sequence[Any]) -> str:
    """Return the question marks for an IN list.

    >>> placeholders("abc")
    '?, ?, ?'
    """
    return ", ".join("?" * len(values))


def contains(text: str) -> str:
    r"""Return the LIKE pattern (ESCAPE '\') that matches any text containing this one, whatever the case.

    >>> print(contains("50%_Off"))
    %50\%\_off%
    """
    escaped = text.casefold().replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


def _casefold(text: str | None) -> str | None:
    return None if text is None else text.casefold()


def _typed(error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(
            "There is no space left for the studio's database.", "Free some disk space and try again."
        )
    if code == sqlite3.SQLITE_CONSTRAINT:
        return Conflict(f"The database refused the change: {error}.")
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return StoreError(f"The studio's database is damaged: {error}.", "Restore a copy of studio.sqlite3.")
    return Unavailable(f"The studio's database does not answer: {error}.", "Try again in a moment.")
