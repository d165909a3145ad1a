"""Opens the embedded store and hands out its parts: one set for a person, one for a runner."""

import re
from dataclasses import dataclass

from lora_core.errors import Forbidden
from lora_core.schema.base import utc_now
from lora_core.settings import Settings
from lora_core.store.local.artifacts import LocalArtifactStore
from lora_core.store.local.blobs import LocalBlobStore
from lora_core.store.local.clock import Clock
from lora_core.store.local.configs import LocalConfigStore
from lora_core.store.local.database import Database
from lora_core.store.local.datasets import LocalDatasetStore
from lora_core.store.local.dispatch_port import LocalDispatchPort
from lora_core.store.local.files import FileTree
from lora_core.store.local.history import LocalHistory
from lora_core.store.local.jobs import LocalJobStore
from lora_core.store.local.metrics import LocalMetricStore
from lora_core.store.local.migrations import migrate
from lora_core.store.local.notification_routes import LocalNotificationRouteStore
from lora_core.store.local.notifications import LocalNotificationStore
from lora_core.store.local.presence import enter
from lora_core.store.local.runner_port import LocalRunnerPort
from lora_core.store.local.runners import LocalRunnerStore
from lora_core.store.local.task_port import LocalTaskPort
from lora_core.store.local.tasks import LocalTaskStore

_USER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


@dataclass(frozen=True)
class LocalUserStore:
    """The stores of one person."""

    datasets: LocalDatasetStore
    configs: LocalConfigStore
    jobs: LocalJobStore
    metrics: LocalMetricStore
    artifacts: LocalArtifactStore
    blobs: LocalBlobStore
    tasks: LocalTaskStore
    notifications: LocalNotificationStore
    routes: LocalNotificationRouteStore
    runners: LocalRunnerStore


class LocalStore:
    """The embedded store under `settings.root`. Open it once a process; all threads share it.

    Args:
        settings: Where the database and the files are.
        clock: What time it is; tests hand in their own.

    Raises:
        StoreError: The database was made by a newer version of the studio, or cannot be brought up to date.
        Unavailable: A backup is being restored into the home.
    """

    def __init__(self, settings: Settings, clock: Clock = utc_now) -> None:
        self._presence = enter(settings.root)
        migrate(settings.database)
        self._clock = clock
        self._database = Database(settings.database)
        self._files = FileTree(settings.files, settings.max_upload_bytes)
        self._files.sweep()

    def for_user(self, user_id: str) -> LocalUserStore:
        """Return the stores of one person."""
        if not _USER_ID.fullmatch(user_id):
            raise Forbidden("A person's id has letters, digits and dashes only.")
        database, files, clock = self._database, self._files, self._clock
        return LocalUserStore(
            datasets=LocalDatasetStore(database, user_id),
            configs=LocalConfigStore(database, user_id),
            jobs=LocalJobStore(database, files, user_id, clock),
            metrics=LocalMetricStore(database, user_id),
            artifacts=LocalArtifactStore(database, files, user_id),
            blobs=LocalBlobStore(files, user_id),
            tasks=LocalTaskStore(database, user_id),
            notifications=LocalNotificationStore(database, user_id, clock),
            routes=LocalNotificationRouteStore(database, user_id, clock),
            runners=LocalRunnerStore(database),
        )

    def history(self, user_id: str) -> LocalHistory:
        """Return everything a person has here, as of now, to be moved elsewhere."""
        return LocalHistory(self._database.path, self._files, user_id)

    def runner_port(self) -> LocalRunnerPort:
        """Return what runners may do with jobs."""
        return LocalRunnerPort(self._database, self._files, self._clock)

    def task_port(self) -> LocalTaskPort:
        """Return what runners may do with tasks."""
        return LocalTaskPort(self._database, self._files, self._clock)

    def dispatch_port(self) -> LocalDispatchPort:
        """Return what runners may do with notification routes."""
        return LocalDispatchPort(self._database, self._clock)

    def close(self) -> None:
        """Close all connections of this process."""
        self._database.close()
        self._presence.leave()
