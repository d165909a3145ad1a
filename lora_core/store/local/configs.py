"""Training configs of one person as rows."""

from sqlite3 import Connection

from lora_core.errors import Conflict, Forbidden, NotFound
from lora_core.schema.base import Page
from lora_core.schema.config_faults import read_document
from lora_core.schema.saved_config import SavedConfig
from lora_core.store.configs import CURSOR, check_readable, name_is_taken
from lora_core.store.cursors import clamp, page
from lora_core.store.local.database import Database
from lora_core.store.local.rows import Row, from_json, stamp


class LocalConfigStore:
    """ConfigStore over SQLite."""

    def __init__(self, database: Database, user_id: str) -> None:
        self._database = database
        self._user_id = user_id

    def put(self, saved: SavedConfig) -> None:
        """Insert a config, or write one back; see `ConfigStore.put`."""
        if saved.user_id != self._user_id:
            raise Forbidden("A config is saved by the person it belongs to.")
        config = check_readable(saved)
        with self._database.write() as connection:
            self._check_name(connection, saved.id, saved.name)
            written = connection.execute(
                "INSERT INTO training_configs (id, user_id, name, draft, config, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET name = excluded.name, draft = excluded.draft,"
                " config = excluded.config, updated_at = excluded.updated_at WHERE user_id = excluded.user_id",
                (
                    saved.id,
                    saved.user_id,
                    saved.name,
                    saved.draft,
                    config.model_dump_json(),
                    stamp(saved.created_at),
                    stamp(saved.updated_at),
                ),
            )
            if not written.rowcount:
                raise Conflict("There is another saved config with this id.")

    def get(self, config_id: str) -> SavedConfig:
        """Return one config; see `ConfigStore.get`."""
        with self._database.read() as connection:
            return self._get(connection, config_id)

    def named(self, name: str) -> SavedConfig | None:
        """Return the config of this name; see `ConfigStore.named`."""
        with self._database.read() as connection:
            return self._named(connection, name)

    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[SavedConfig]:
        """Return configs, the last changed first; see `ConfigStore.list`."""
        limit = clamp(limit)
        place = CURSOR.read(cursor) if cursor is not None else ["~", ""]  # behind every time there is
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM training_configs WHERE user_id = ? AND (updated_at, id) < (?, ?)"
                " ORDER BY updated_at DESC, id DESC LIMIT ?",
                (self._user_id, *place, limit + 1),
            ).fetchall()
        return page(rows, limit, _read, lambda row: CURSOR.write(row["updated_at"], row["id"]))

    def rename(self, config_id: str, name: str) -> SavedConfig:
        """Give a config another name; see `ConfigStore.rename`."""
        with self._database.write() as connection:
            self._get(connection, config_id)
            self._check_name(connection, config_id, name)
            connection.execute("UPDATE training_configs SET name = ? WHERE id = ?", (name, config_id))
            return self._get(connection, config_id)

    def delete(self, config_id: str) -> None:
        """Remove a config; see `ConfigStore.delete`."""
        with self._database.write() as connection:
            self._get(connection, config_id)
            connection.execute("DELETE FROM training_configs WHERE id = ?", (config_id,))

    def _get(self, connection: Connection, config_id: str) -> SavedConfig:
        row = connection.execute(
            "SELECT * FROM training_configs WHERE id = ? AND user_id = ?", (config_id, self._user_id)
        ).fetchone()
        if row is None:
            raise NotFound("There is no such saved config (any more).")
        return _read(row)

    def _named(self, connection: Connection, name: str) -> SavedConfig | None:
        row = connection.execute(
            "SELECT * FROM training_configs WHERE user_id = ? AND name = ? ORDER BY updated_at DESC, id DESC LIMIT 1",
            (self._user_id, name),
        ).fetchone()
        return None if row is None else _read(row)

    def _check_name(self, connection: Connection, config_id: str, name: str) -> None:
        known = self._named(connection, name)
        if known is not None and known.id != config_id:
            raise name_is_taken(name)


def _read(row: Row) -> SavedConfig:
    config, fault = read_document(from_json(row["config"]))
    return SavedConfig(
        id=row["id"],
        user_id=row["user_id"],
        name=row["name"],
        draft=bool(row["draft"]),
        config=config,
        fault=fault,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
