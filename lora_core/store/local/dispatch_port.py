"""The dispatcher's side of notification routes: take a message, report what became of it. At most one send each."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from lora_core.errors import Conflict, NotFound
from lora_core.schema.notification import Delivery, DeliveryState
from lora_core.store.deliveries import LOST_ERROR, NO_CLAIM, OLDEST_HOURS
from lora_core.store.local.clock import Clock
from lora_core.store.local.database import Database, placeholders
from lora_core.store.local.job_rows import get_row, read_job
from lora_core.store.local.notifications import read_notification
from lora_core.store.local.rows import Row, stamp

_WANTED = """
    SELECT n.id AS notification_id, r.id AS route_id
    FROM notification_routes r JOIN notifications n ON n.user_id = r.user_id
    LEFT JOIN notification_deliveries d ON d.notification_id = n.id AND d.route_id = r.id
    WHERE r.key_id IN ({keys}) AND n.created_at >= ?
        AND CASE WHEN d.state IS NULL
            THEN n.created_at >= r.created_at AND EXISTS (SELECT 1 FROM json_each(r.events) WHERE value = n.kind)
            ELSE d.state = 'waiting' AND (d.not_before IS NULL OR d.not_before <= ?) END
    ORDER BY n.created_at, n.id, r.id LIMIT 1
"""
_HELD = """
    SELECT d.*, r.ciphertext, r.key_id
    FROM notification_deliveries d JOIN notification_routes r ON r.id = d.route_id WHERE d.claim_id = ?
"""


class LocalDispatchPort:
    """DispatchPort over SQLite. Safe for several threads and processes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def claim_delivery(
        self, claim_id: str, key_ids: Sequence[str], *, lease_seconds: float
    ) -> Delivery | None:
        """Take the oldest message that nobody has taken; see `DispatchPort.claim_delivery`."""
        now = self._clock()
        with self._database.read() as connection:  # most polls find nothing, and must not take the write lock
            lost = "SELECT 1 FROM notification_deliveries WHERE state = 'sending' AND lease_until < ? LIMIT 1"
            held = connection.execute(_HELD, (claim_id,)).fetchone()
            if (
                held is None
                and not connection.execute(lost, (stamp(now),)).fetchone()
                and _find(connection, key_ids, now) is None
            ):
                return None
        with self._database.write() as connection:
            connection.execute(
                "UPDATE notification_deliveries SET state = 'unknown', error = ?, lease_until = NULL, updated_at = ?"
                " WHERE state = 'sending' AND lease_until < ?",
                (LOST_ERROR, stamp(now), stamp(now)),
            )
            held = connection.execute(_HELD, (claim_id,)).fetchone()
            if held is None:
                wanted = _find(connection, key_ids, now)
                if wanted is None:
                    return None
                connection.execute(
                    "INSERT INTO notification_deliveries"
                    " (notification_id, route_id, state, tries, claim_id, lease_until, updated_at)"
                    " VALUES (?, ?, 'sending', 1, ?, ?, ?)"
                    " ON CONFLICT (notification_id, route_id) DO UPDATE SET state = 'sending', tries = tries + 1,"
                    " claim_id = excluded.claim_id, lease_until = excluded.lease_until, updated_at = excluded.updated_at",
                    (
                        wanted["notification_id"],
                        wanted["route_id"],
                        claim_id,
                        stamp(now + timedelta(seconds=lease_seconds)),
                        stamp(now),
                    ),
                )
                held = connection.execute(_HELD, (claim_id,)).fetchone()
            return _read_delivery(connection, held) if held["state"] == DeliveryState.SENDING else None

    def end_delivery(
        self, delivery: Delivery, state: DeliveryState, *, error: str = "", wait_seconds: float = 0.0
    ) -> None:
        """Report what became of a message; see `DispatchPort.end_delivery`."""
        now = self._clock()
        with self._database.write() as connection:
            held = connection.execute(_HELD, (delivery.claim_id,)).fetchone()
            if held is None:
                raise Conflict(NO_CLAIM)
            if held["state"] == state:
                return
            if held["state"] not in (DeliveryState.SENDING, DeliveryState.UNKNOWN):
                raise Conflict(NO_CLAIM)
            connection.execute(
                "UPDATE notification_deliveries SET state = ?, error = ?, lease_until = NULL, updated_at = ?, not_before = ?"
                " WHERE claim_id = ?",
                (
                    state.value,
                    error[:500],
                    stamp(now),
                    stamp(now + timedelta(seconds=wait_seconds)) if state is DeliveryState.WAITING else None,
                    delivery.claim_id,
                ),
            )


def _find(connection: Any, key_ids: Sequence[str], now: datetime) -> Row | None:
    oldest = stamp(now - timedelta(hours=OLDEST_HOURS))
    statement = _WANTED.format(keys=placeholders(key_ids))
    return connection.execute(statement, [*key_ids, oldest, stamp(now)]).fetchone()


def _read_delivery(connection: Any, held: Row) -> Delivery:
    notification = read_notification(
        connection.execute("SELECT * FROM notifications WHERE id = ?", (held["notification_id"],)).fetchone()
    )
    job = None
    if notification.job_id is not None:
        try:
            job = read_job(get_row(connection, notification.user_id, notification.job_id))
        except NotFound:
            job = None
    return Delivery(
        claim_id=held["claim_id"],
        route_id=held["route_id"],
        ciphertext=held["ciphertext"],
        key_id=held["key_id"],
        tries=held["tries"],
        notification=notification,
        job=job,
    )
