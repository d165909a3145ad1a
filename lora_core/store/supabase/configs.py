"""Training configs of one person as rows of a project. Row-level security keeps everybody else's out of sight.

That a name is there once is looked up before writing: two writers of the same moment may both get it.
"""

from postgrest.types import ReturnMethod

from lora_core.errors import Conflict, Forbidden
from lora_core.schema.base import Page
from lora_core.schema.config_faults import read_document
from lora_core.schema.saved_config import SavedConfig
from lora_core.store.configs import CURSOR, check_readable, name_is_taken
from lora_core.store.cursors import clamp, page
from lora_core.store.supabase.client import PersonClient, Select
from lora_core.store.supabase.documents import storable
from lora_core.store.supabase.rows import Row, behind, check_id, not_found, read_place, stamp

_COLUMNS = ("id", "user_id", "name", "draft", "config", "created_at", "updated_at")
_CHANGING = ("name", "draft", "config", "updated_at")
_WHAT = "saved config"


class SupabaseConfigStore:
    """ConfigStore over PostgREST."""

    def __init__(self, client: PersonClient, user_id: str) -> None:
        self._client = client
        self._user_id = user_id

    def put(self, saved: SavedConfig) -> None:
        """Insert a config, or write one back; see `ConfigStore.put`. A call that comes twice finds its own row."""
        if saved.user_id != self._user_id:
            raise Forbidden("A config is saved by the person it belongs to.")
        config = check_readable(saved)
        self._check_name(saved.id, saved.name)
        row = storable(
            saved.model_dump(mode="json", include=set(_COLUMNS))
            | {
                "config": config.model_dump(mode="json"),
                "created_at": stamp(saved.created_at),
                "updated_at": stamp(saved.updated_at),
            }
        )
        if self._change(saved.id, row):
            return
        try:
            self._client.execute(self._client.table("training_configs").insert(row))
        except Conflict as error:
            if not self._change(saved.id, row):
                raise Conflict("There is another saved config with this id.") from error

    def get(self, config_id: str) -> SavedConfig:
        """Return one config; see `ConfigStore.get`."""
        rows = self._client.rows(self._mine().eq("id", check_id(config_id, _WHAT)).limit(1))
        if not rows:
            raise not_found(_WHAT)
        return _read(rows[0])

    def named(self, name: str) -> SavedConfig | None:
        """Return the config of this name; see `ConfigStore.named`."""
        query = self._mine().eq("name", storable(name)).order("updated_at", desc=True).order("id", desc=True)
        rows = self._client.rows(query.limit(1))
        return _read(rows[0]) if rows else None

    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[SavedConfig]:
        """Return configs, the last changed first; see `ConfigStore.list`."""
        limit = clamp(limit)
        query = self._mine()
        if cursor is not None:
            place = read_place(CURSOR.read(cursor))
            query = query.lte("updated_at", place[0]).or_(behind(("updated_at", "id"), place))
        query = query.order("updated_at", desc=True).order("id", desc=True).limit(limit + 1)
        rows = self._client.rows(query)
        return page(rows, limit, _read, lambda row: CURSOR.write(row["updated_at"], row["id"]))

    def rename(self, config_id: str, name: str) -> SavedConfig:
        """Give a config another name; see `ConfigStore.rename`."""
        self.get(config_id)
        self._check_name(config_id, name)
        if not self._change(config_id, {"name": storable(name)}):
            raise not_found(_WHAT)
        return self.get(config_id)

    def delete(self, config_id: str) -> None:
        """Remove a config; see `ConfigStore.delete`. A call that comes twice finds it gone, and that is well."""
        self.get(config_id)
        query = self._client.table("training_configs").delete(returning=ReturnMethod.minimal)
        self._client.execute(query.eq("id", config_id).eq("user_id", self._user_id))

    def _mine(self) -> Select:
        return self._client.table("training_configs").select(*_COLUMNS).eq("user_id", self._user_id)

    def _change(self, config_id: str, row: Row) -> bool:
        """Write what may change; say whether there was such a row."""
        changes = {name: row[name] for name in _CHANGING if name in row}
        query = self._client.table("training_configs").update(changes)
        return bool(
            self._client.rows(query.eq("id", check_id(config_id, _WHAT)).eq("user_id", self._user_id))
        )

    def _check_name(self, config_id: str, name: str) -> None:
        known = self.named(name)
        if known is not None and known.id != config_id:
            raise name_is_taken(name)


def _read(row: Row) -> SavedConfig:
    config, fault = read_document(row["config"])
    kept = {name: row[name] for name in _COLUMNS if name != "config"}
    return SavedConfig.model_validate(kept | {"config": config, "fault": fault})
