"""The embedded store: one SQLite file and a folder of files. `LocalStore` opens both."""

from lora_core.store.local.store import LocalStore, LocalUserStore

__all__ = ["LocalStore", "LocalUserStore"]
