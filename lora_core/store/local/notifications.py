"""What the bell shows, as rows."""

# ruff: noqa: S608 - what is put into statements are names of columns from this code; values are always bound.

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lora_core.schema.base import Page
from lora_core.schema.notification import Notification, NotificationKind
from lora_core.store.cursors import Cursor, clamp, page
from lora_core.store.local.clock import Clock
from lora_core.store.local.database import Database, placeholders
from lora_core.store.local.rows import Row, stamp

COLUMNS = tuple(Notification.model_fields)
_CURSOR = Cursor("notifications", str, str)


class LocalNotificationStore:
    """NotificationStore over SQLite."""

    def __init__(self, database: Database, user_id: str, clock: Clock) -> None:
        self._database = database
        self._user_id = user_id
        self._clock = clock

    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[Notification]:
        """Return notifications, newest first; see `NotificationStore.list`."""
        limit = clamp(limit)
        where, values = "user_id = ?", [self._user_id]
        if cursor is not None:
            where += " AND (created_at, id) < (?, ?)"
            values += _CURSOR.read(cursor)
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT * FROM notifications WHERE {where} ORDER BY created_at DESC, id DESC LIMIT {limit + 1}",
                values,
            ).fetchall()
        return page(rows, limit, read_notification, lambda row: _CURSOR.write(row["created_at"], row["id"]))

    def unread(self) -> int:
        """Return how many are unread."""
        with self._database.read() as connection:
            count: int = connection.execute(
                "SELECT count(*) FROM notifications WHERE user_id = ? AND read_at IS NULL", (self._user_id,)
            ).fetchone()[0]
        return count

    def mark_read(self, notification_ids: Sequence[str] | None = None) -> None:
        """Mark some, or all, as read; see `NotificationStore.mark_read`."""
        where, values = "user_id = ? AND read_at IS NULL", [self._user_id]
        if notification_ids is not None:
            where += f" AND id IN ({placeholders(notification_ids)})"
            values += notification_ids
        with self._database.write() as connection:
            connection.execute(
                f"UPDATE notifications SET read_at = ? WHERE {where}", [stamp(self._clock()), *values]
            )


def notify(
    connection: Any,
    *,
    user_id: str,
    job_id: str,
    key: str,
    kind: NotificationKind,
    title: str,
    body: str,
    now: datetime,
) -> None:
    """Tell a person something once: the same job and key again add nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO notifications (id, user_id, job_id, kind, title, body, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            str(uuid.uuid5(uuid.NAMESPACE_OID, f"{job_id}/{key}")),
            user_id,
            job_id,
            kind.value,
            title,
            body,
            stamp(now),
        ),
    )


def read_notification(row: Row) -> Notification:
    """Make a notification of its row."""
    return Notification.model_validate({name: row[name] for name in COLUMNS})
