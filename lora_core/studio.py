"""The composition root: from settings to a workspace. The only place that knows which store is behind the ports."""

from lora_core.actions.workspace import Workspace
from lora_core.settings import LOCAL_USER, Settings
from lora_core.store.base import RunnerPort, TaskPort
from lora_core.store.local import LocalStore


class Studio:
    """The embedded studio: one person, SQLite and a folder. Safe to share between threads."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._store = LocalStore(self.settings)

    def workspace(self, user_id: str = LOCAL_USER) -> Workspace:
        """Return one person's view."""
        stores = self._store.for_user(user_id)
        return Workspace(
            user_id=user_id,
            settings=self.settings,
            datasets=stores.datasets,
            jobs=stores.jobs,
            metrics=stores.metrics,
            artifacts=stores.artifacts,
            blobs=stores.blobs,
            tasks=stores.tasks,
            notifications=stores.notifications,
            runners=stores.runners,
        )

    def runner_port(self) -> RunnerPort:
        """Return what a runner on this machine works with."""
        return self._store.runner_port()

    def task_port(self) -> TaskPort:
        """Return what a runner's tasks work with."""
        return self._store.task_port()

    def close(self) -> None:
        """Close the database."""
        self._store.close()
