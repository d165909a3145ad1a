"""A look at the embedded studio's database that changes nothing: no migration, no lock on the home, no key."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lora_core.store.local.database import BUSY_SECONDS, typed_errors
from lora_core.store.local.migrations import newest_schema
from lora_core.vault import Sealed


@dataclass(frozen=True)
class SealedAddress:
    """A notification route's address as it is kept."""

    user_id: str
    route_id: str
    sealed: Sealed


@dataclass(frozen=True)
class DatabaseAbout:
    """What a look found.

    Attributes:
        version: Number of the database's schema; 0 for an empty one.
        newest: Number that this code brings it to.
        addresses: Those of notification routes.
        held: (job id, attempt) of every attempt that has not ended.
        largest_checkpoint_bytes: Of those that are kept.
    """

    version: int
    newest: int
    addresses: Sequence[SealedAddress] = ()
    held: frozenset[tuple[str, int]] = frozenset()
    largest_checkpoint_bytes: int = 0


def look_at(database: Path) -> DatabaseAbout | None:
    """Return what is in a database; None if there is none. What its version did not know yet counts as empty.

    Raises:
        StoreError: It is damaged.
        Unavailable: It does not answer.
    """
    if not database.is_file():
        return None
    with typed_errors():
        connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        with closing(connection):
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            tables = {name for (name,) in found}
            about = DatabaseAbout(version, newest_schema())
            if version > about.newest or "training_jobs" not in tables:
                return about
            return DatabaseAbout(
                version,
                about.newest,
                _addresses(connection) if "notification_routes" in tables else (),
                frozenset(
                    connection.execute("SELECT job_id, number FROM job_attempts WHERE ended_at IS NULL")
                ),
                connection.execute(
                    "SELECT coalesce(max(bytes), 0) FROM model_artifacts WHERE kind = 'checkpoint'"
                ).fetchone()[0],
            )


def _addresses(connection: sqlite3.Connection) -> Sequence[SealedAddress]:
    rows = connection.execute("SELECT user_id, id, ciphertext, key_id FROM notification_routes")
    return [SealedAddress(user, route, Sealed(text, key)) for user, route, text, key in rows]
