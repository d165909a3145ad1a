"""How a job goes: at once for its owner. The rows of a very long one go in slices afterwards: nobody waits for them, and no
runner is kept from writing.
"""

# ruff: noqa: S608 - what is put into statements are names of tables and columns from this code; values are always bound.

from typing import Any

from lora_core.store.local.database import Database

SLICE_ROWS = 10_000
"""Rows that go in one transaction; a tenth of a second or two."""

NOBODY = "(deleted)"
"""Whose a job is that has been deleted and is not gone yet; no person can have this id."""

_LONG = (
    ("metrics_points", "job_id, kind, step", 1),
    ("log_lines", "job_id, attempt, seq", 1),
    ("metrics_blocks", "id", 10),
)
"""Tables in which a job can have more rows than go in one slice, with their keys, and how many usual rows one is worth."""


def delete_job(connection: Any, job_id: str) -> None:
    """Remove a job with all its rows; those of a very long one are left to `sweep_deleted`, and belong to nobody meanwhile."""
    if not any(_has_more(connection, table, job_id, SLICE_ROWS // worth) for table, _, worth in _LONG):
        connection.execute("DELETE FROM training_jobs WHERE id = ?", (job_id,))
        return
    # Without its attempts no runner can deliver anything for it any more.
    for table in ("job_attempts", "model_artifacts", "samples"):
        connection.execute(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))
    connection.execute("UPDATE training_jobs SET user_id = ? WHERE id = ?", (NOBODY, job_id))


def sweep_deleted(database: Database) -> bool:
    """Remove one slice of what deleted jobs have left.

    Returns:
        Whether there was anything.
    """
    with database.read() as connection:
        found = connection.execute(
            "SELECT id FROM training_jobs WHERE user_id = ? LIMIT 1", (NOBODY,)
        ).fetchone()
    if found is None:
        return False
    with database.write() as connection:
        for table, key, worth in _LONG:
            most = max(1, SLICE_ROWS // worth)
            if _has_more(connection, table, found["id"], most):
                connection.execute(
                    f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE job_id = ? LIMIT ?)",
                    (found["id"], most),
                )
                return True
        connection.execute("DELETE FROM training_jobs WHERE id = ? AND user_id = ?", (found["id"], NOBODY))
    return True


def _has_more(connection: Any, table: str, job_id: str, most: int) -> bool:
    query = f"SELECT 1 FROM {table} WHERE job_id = ? LIMIT 1 OFFSET ?"
    return connection.execute(query, (job_id, most)).fetchone() is not None
