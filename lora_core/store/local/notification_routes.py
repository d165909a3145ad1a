"""Notification routes of one person, as rows. The ciphertext goes in here and comes out in `dispatch_port` only."""

from collections.abc import Sequence
from datetime import timedelta

from lora_core.errors import Conflict, NotAllowed, NotFound
from lora_core.schema.notification import TEST_KIND, NotificationKind, NotificationRoute
from lora_core.store.deliveries import (
    MAX_ROUTES,
    MAX_WAITING_TESTS,
    OLDEST_HOURS,
    TEST_BODY,
    TEST_TITLE,
    TOO_MANY_ROUTES,
    TOO_MANY_TESTS,
)
from lora_core.store.local.clock import Clock
from lora_core.store.local.database import Database
from lora_core.store.local.rows import Row, from_json, stamp, to_json

_LIST = """
    SELECT r.id, r.user_id, r.name, r.shown, r.events, r.created_at,
        d.state AS last_state, coalesce(d.error, '') AS last_error, d.updated_at AS last_at
    FROM notification_routes r LEFT JOIN notification_deliveries d ON d.rowid = (
        SELECT rowid FROM notification_deliveries WHERE route_id = r.id ORDER BY updated_at DESC, rowid DESC LIMIT 1
    )
    WHERE r.user_id = ? ORDER BY r.created_at, r.id
"""


class LocalNotificationRouteStore:
    """NotificationRouteStore over SQLite."""

    def __init__(self, database: Database, user_id: str, clock: Clock) -> None:
        self._database = database
        self._user_id = user_id
        self._clock = clock

    def add(self, route: NotificationRoute, *, ciphertext: str, key_id: str) -> None:
        """Insert a route; see `NotificationRouteStore.add`."""
        row = (
            route.id,
            self._user_id,
            route.name,
            route.shown,
            ciphertext,
            key_id,
            to_json(route.events),
            stamp(route.created_at),
        )
        with self._database.write() as connection:
            known = connection.execute(
                "SELECT id, user_id, name, shown, ciphertext, key_id, events, created_at FROM notification_routes WHERE id = ?",
                (route.id,),
            ).fetchone()
            if known is not None:
                if tuple(known) != row:
                    raise Conflict("There is another route with this id.")
                return
            count = connection.execute(
                "SELECT count(*) FROM notification_routes WHERE user_id = ?", (self._user_id,)
            ).fetchone()[0]
            if count >= MAX_ROUTES:
                raise NotAllowed(TOO_MANY_ROUTES, "Remove one first.")
            connection.execute(
                "INSERT INTO notification_routes (id, user_id, name, shown, ciphertext, key_id, events, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )

    def list(self) -> Sequence[NotificationRoute]:
        """Return the routes; see `NotificationRouteStore.list`."""
        with self._database.read() as connection:
            rows = connection.execute(_LIST, (self._user_id,)).fetchall()
        return [_read_route(row) for row in rows]

    def set_events(self, route_id: str, events: Sequence[NotificationKind]) -> None:
        """Choose what is told over a route; see `NotificationRouteStore.set_events`."""
        with self._database.write() as connection:
            changed = connection.execute(
                "UPDATE notification_routes SET events = ? WHERE id = ? AND user_id = ?",
                (to_json(list(events)), route_id, self._user_id),
            )
            if changed.rowcount == 0:
                raise _no_route()

    def remove(self, route_id: str) -> None:
        """Remove a route; see `NotificationRouteStore.remove`."""
        with self._database.write() as connection:
            connection.execute(
                "DELETE FROM notification_routes WHERE id = ? AND user_id = ?", (route_id, self._user_id)
            )

    def test(self, route_id: str, notification_id: str) -> None:
        """Ask a runner to send a message over this route; see `NotificationRouteStore.test`."""
        now = self._clock()
        with self._database.write() as connection:
            own = "SELECT 1 FROM notification_routes WHERE id = ? AND user_id = ?"
            if connection.execute(own, (route_id, self._user_id)).fetchone() is None:
                raise _no_route()
            known = "SELECT 1 FROM notifications WHERE id = ? AND user_id = ?"
            if connection.execute(known, (notification_id, self._user_id)).fetchone() is not None:
                return
            waiting = connection.execute(
                "SELECT count(*) FROM notification_deliveries d JOIN notifications n ON n.id = d.notification_id"
                " WHERE d.route_id = ? AND d.state = 'waiting' AND n.kind = ? AND n.created_at >= ?",
                (route_id, TEST_KIND, stamp(now - timedelta(hours=OLDEST_HOURS))),
            ).fetchone()[0]
            if waiting >= MAX_WAITING_TESTS:
                raise NotAllowed(TOO_MANY_TESTS, "Is a runner online?")
            connection.execute(
                "INSERT INTO notifications (id, user_id, kind, title, body, created_at, read_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (notification_id, self._user_id, TEST_KIND, TEST_TITLE, TEST_BODY, stamp(now), stamp(now)),
            )
            connection.execute(
                "INSERT INTO notification_deliveries (notification_id, route_id, state, updated_at)"
                " VALUES (?, ?, 'waiting', ?)",
                (notification_id, route_id, stamp(now)),
            )


def _read_route(row: Row) -> NotificationRoute:
    return NotificationRoute.model_validate(dict(row) | {"events": from_json(row["events"])})


def _no_route() -> NotFound:
    return NotFound("There is no such route (any more).")
