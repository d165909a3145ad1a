"""The stores and settings one person works with. Every action takes a workspace first; `lora_core.studio` makes it."""

from dataclasses import dataclass
from typing import Protocol, Self

from lora_core.settings import Settings
from lora_core.store.base import (
    ArtifactStore,
    BlobStore,
    ConfigStore,
    DatasetStore,
    JobHandout,
    JobStore,
    MetricStore,
    NotificationRouteStore,
    NotificationStore,
    OperatorStore,
    RunnerRegistry,
    RunnerStore,
    TaskStore,
)


class PersonStores(Protocol):
    """The stores of one person, as every backend hands them out."""

    @property
    def datasets(self) -> DatasetStore:
        """DatasetStore of this person."""

    @property
    def configs(self) -> ConfigStore:
        """ConfigStore of this person."""

    @property
    def jobs(self) -> JobStore:
        """JobStore of this person."""

    @property
    def metrics(self) -> MetricStore:
        """MetricStore of this person."""

    @property
    def artifacts(self) -> ArtifactStore:
        """ArtifactStore of this person."""

    @property
    def blobs(self) -> BlobStore:
        """BlobStore of this person."""

    @property
    def tasks(self) -> TaskStore:
        """TaskStore of this person."""

    @property
    def notifications(self) -> NotificationStore:
        """NotificationStore of this person."""

    @property
    def runners(self) -> RunnerStore:
        """RunnerStore of this person."""

    @property
    def routes(self) -> NotificationRouteStore:
        """NotificationRouteStore of this person."""


@dataclass(frozen=True)
class Workspace:
    """One person's view of the studio. What only a team has (registry, handout, operator, e-mail) is empty without one.

    `operator` is there for every person of a team whose account says operator; the store checks it again at each call.
    """

    user_id: str
    settings: Settings
    datasets: DatasetStore
    configs: ConfigStore
    jobs: JobStore
    metrics: MetricStore
    artifacts: ArtifactStore
    blobs: BlobStore
    tasks: TaskStore
    notifications: NotificationStore
    runners: RunnerStore
    routes: NotificationRouteStore | None = None
    registry: RunnerRegistry | None = None
    handout: JobHandout | None = None
    operator: OperatorStore | None = None
    email: str = ""

    @classmethod
    def over(cls, stores: PersonStores, user_id: str, settings: Settings) -> Self:
        """Return one person's view over their stores, without what only a team has."""
        return cls(
            user_id=user_id,
            settings=settings,
            datasets=stores.datasets,
            configs=stores.configs,
            jobs=stores.jobs,
            metrics=stores.metrics,
            artifacts=stores.artifacts,
            blobs=stores.blobs,
            tasks=stores.tasks,
            notifications=stores.notifications,
            runners=stores.runners,
            routes=stores.routes,
        )
