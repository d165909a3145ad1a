"""Notification routes of one person of a team, through functions of the database: no call can read an address back."""

from collections.abc import Sequence

from postgrest.types import ReturnMethod

from lora_core.schema.notification import NotificationKind, NotificationRoute
from lora_core.store.supabase.client import PersonClient
from lora_core.store.supabase.rows import check_id, is_id, stamp


class SupabaseNotificationRouteStore:
    """NotificationRouteStore over functions."""

    def __init__(self, client: PersonClient, user_id: str) -> None:
        self._client = client
        self._user_id = user_id

    def add(self, route: NotificationRoute, *, ciphertext: str, key_id: str) -> None:
        """Insert a route; see `NotificationRouteStore.add`."""
        row = {
            "id": route.id,
            "name": route.name,
            "shown": route.shown,
            "ciphertext": ciphertext,
            "key_id": key_id,
            "events": list(route.events),
            "created_at": stamp(route.created_at),
        }
        self._client.rpc("add_notification_route", {"p_route": row})

    def list(self) -> Sequence[NotificationRoute]:
        """Return the routes; see `NotificationRouteStore.list`."""
        return [
            NotificationRoute.model_validate(row) for row in self._client.rpc("notification_routes_now", {})
        ]

    def set_events(self, route_id: str, events: Sequence[NotificationKind]) -> None:
        """Choose what is told over a route; see `NotificationRouteStore.set_events`."""
        self._client.rpc(
            "set_route_events", {"p_route": check_id(route_id, "route"), "p_events": list(events)}
        )

    def remove(self, route_id: str) -> None:
        """Remove a route; see `NotificationRouteStore.remove`."""
        if is_id(route_id):
            query = self._client.table("notification_routes").delete(returning=ReturnMethod.minimal)
            self._client.execute(query.eq("user_id", self._user_id).eq("id", route_id))

    def test(self, route_id: str, notification_id: str) -> None:
        """Ask a runner to send a message over this route; see `NotificationRouteStore.test`."""
        arguments = {"p_route": check_id(route_id, "route"), "p_notification": notification_id}
        self._client.rpc("test_notification_route", arguments)
