"""What the bell shows, as rows of a project."""

from collections.abc import Sequence

from postgrest.types import CountMethod, ReturnMethod

from lora_core.schema.base import Page, utc_now
from lora_core.schema.notification import Notification
from lora_core.store.cursors import Cursor, clamp, page
from lora_core.store.supabase.client import PersonClient
from lora_core.store.supabase.rows import (
    NOTIFICATION_COLUMNS,
    behind,
    is_id,
    read_notification,
    read_place,
    stamp,
)

_CURSOR = Cursor("notifications", str, str)
_IDS_AT_ONCE = 100
"""Ids stand in the address of the request, which may not become long."""


class SupabaseNotificationStore:
    """NotificationStore over PostgREST."""

    def __init__(self, client: PersonClient, user_id: str) -> None:
        self._client = client
        self._user_id = user_id

    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[Notification]:
        """Return notifications, newest first; see `NotificationStore.list`."""
        limit = clamp(limit)
        query = self._client.table("notifications").select(*NOTIFICATION_COLUMNS).eq("user_id", self._user_id)
        if cursor is not None:
            place = read_place(_CURSOR.read(cursor))
            query = query.lte("created_at", place[0]).or_(behind(("created_at", "id"), place))
        query = query.order("created_at", desc=True).order("id", desc=True).limit(limit + 1)
        return page(
            self._client.rows(query),
            limit,
            read_notification,
            lambda row: _CURSOR.write(row["created_at"], row["id"]),
        )

    def unread(self) -> int:
        """Return how many are unread."""
        query = self._client.table("notifications").select("id", count=CountMethod.exact, head=True)
        query = query.eq("user_id", self._user_id).is_("read_at", None)
        return self._client.execute(query).count or 0

    def mark_read(self, notification_ids: Sequence[str] | None = None) -> None:
        """Mark some, or all, as read; see `NotificationStore.mark_read`."""
        if notification_ids is None:
            self._mark(None)
            return
        known = [notification_id for notification_id in notification_ids if is_id(notification_id)]
        for start in range(0, len(known), _IDS_AT_ONCE):
            self._mark(known[start : start + _IDS_AT_ONCE])

    def _mark(self, notification_ids: Sequence[str] | None) -> None:
        change = {"read_at": stamp(utc_now())}
        query = self._client.table("notifications").update(change, returning=ReturnMethod.minimal)
        query = query.eq("user_id", self._user_id).is_("read_at", None)
        if notification_ids is not None:
            query = query.in_("id", notification_ids)
        self._client.execute(query)
