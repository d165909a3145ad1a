"""The stores and settings one person works with. Every action takes a workspace first; `lora_core.studio` makes it."""

from dataclasses import dataclass

from lora_core.settings import Settings
from lora_core.store.base import (
    ArtifactStore,
    BlobStore,
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


@dataclass(frozen=True)
class Workspace:
    """One person's view of the studio. What only a team has (registry, handout, operator, e-mail) is empty without one.

    `operator` is there for every person of a team whose account says operator; the store checks it again at each call.
    """

    user_id: str
    settings: Settings
    datasets: DatasetStore
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
