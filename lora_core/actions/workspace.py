"""The stores and settings one person works with. Every action takes a workspace first; `lora_core.studio` makes it."""

from dataclasses import dataclass

from lora_core.settings import Settings
from lora_core.store.base import (
    ArtifactStore,
    BlobStore,
    DatasetStore,
    JobStore,
    MetricStore,
    NotificationStore,
    RunnerStore,
    TaskStore,
)


@dataclass(frozen=True)
class Workspace:
    """One person's view of the studio."""

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
