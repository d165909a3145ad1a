"""Rows and events that contract tests put into a store. Small real values, no behaviour."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.base import new_id
from lora_core.schema.config import DataConfig, TrainingConfig
from lora_core.schema.dataset import Dataset
from lora_core.schema.job import Job, Requirements
from lora_core.schema.run import EventKind, RunEvent
from lora_core.schema.runner import Claim, RunnerInfo, Task, TaskKind
from lora_core.schema.saved_config import SavedConfig
from lora_core.store.base import (
    ArtifactStore,
    BlobStore,
    ConfigStore,
    DatasetStore,
    JobStore,
    MetricStore,
    NotificationRouteStore,
    NotificationStore,
    RunnerPort,
    RunnerStore,
    TaskStore,
)

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANNE = "00000000-0000-4000-8000-00000000000a"
BEN = "00000000-0000-4000-8000-00000000000b"
CLEO = "00000000-0000-4000-8000-00000000000c"
"""In a team, Cleo is its operator."""

ROWS = b'{"prompt": "1+1", "completion": "2"}\n'


class UserStore(Protocol):
    """The stores of one person, as a backend hands them out."""

    @property
    def datasets(self) -> DatasetStore: ...
    @property
    def configs(self) -> ConfigStore: ...
    @property
    def jobs(self) -> JobStore: ...
    @property
    def metrics(self) -> MetricStore: ...
    @property
    def artifacts(self) -> ArtifactStore: ...
    @property
    def blobs(self) -> BlobStore: ...
    @property
    def tasks(self) -> TaskStore: ...
    @property
    def notifications(self) -> NotificationStore: ...
    @property
    def routes(self) -> NotificationRouteStore: ...
    @property
    def runners(self) -> RunnerStore: ...


def dataset_of(user_id: str, name: str = "Support tickets", **changes: Any) -> Dataset:
    """Make a data set's row."""
    dataset_id = changes.pop("id", None) or new_id()
    values = {
        "storage_path": f"{user_id}/datasets/{dataset_id}/data.jsonl",
        "bytes": len(ROWS),
        "created_at": START,
    }
    return Dataset(id=dataset_id, user_id=user_id, name=name, **(values | changes))


def config_of(user_id: str, name: str = "My usual one", **changes: Any) -> SavedConfig:
    """Make a saved config."""
    values: dict[str, Any] = {
        "id": new_id(),
        "config": TrainingConfig(),
        "created_at": START,
        "updated_at": START,
    }
    return SavedConfig(user_id=user_id, name=name, **(values | changes))


def job_of(user_id: str, dataset_id: str, name: str = "First try", **changes: Any) -> Job:
    """Make a job as a person submits it."""
    values: dict[str, Any] = {"config": TrainingConfig(), "created_at": START, "updated_at": START}
    return Job(id=new_id(), user_id=user_id, name=name, dataset_id=dataset_id, **(values | changes))


def submitted(stores: UserStore, user_id: str, **changes: Any) -> Job:
    """Submit a job of a person on a new data set."""
    dataset = dataset_of(user_id)
    stores.datasets.add(dataset)
    return stores.jobs.submit(job_of(user_id, dataset.id, **changes))


def task_of(user_id: str, subject_id: str, kind: TaskKind = TaskKind.CHECK_DATASET, **changes: Any) -> Task:
    """Make a task as a person asks for it."""
    values: dict[str, Any] = {"created_at": START, "updated_at": START}
    return Task(id=new_id(), user_id=user_id, kind=kind, subject_id=subject_id, **(values | changes))


def runner_of(name: str = "workstation", **changes: Any) -> RunnerInfo:
    """Make a runner without a GPU."""
    values: dict[str, Any] = {"version": "0.1.0", "started_at": START, "seen_at": START}
    return RunnerInfo(id=name, name=name, **(values | changes))


def artifact_of(claim: Claim, kind: ArtifactKind = ArtifactKind.CHECKPOINT, **changes: Any) -> Artifact:
    """Make an artifact's row as a runner fills it in before storing the files."""
    job = claim.job
    values: dict[str, Any] = {
        "user_id": job.user_id,
        "attempt": claim.attempt,
        "name": kind.value,
        "step": 100,
    }
    return Artifact(id=new_id(), job_id=job.id, kind=kind, path="", created_at=START, **(values | changes))


def folder_of(root: Path, files: dict[str, bytes] | None = None) -> Path:
    """Write a folder as a trainer leaves it."""
    folder = root / new_id()
    for name, content in (files or {"adapter.safetensors": b"weights"}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


class Events:
    """Makes the events of one attempt, numbered as a trainer numbers them, one second apart."""

    def __init__(self, first: int = 1) -> None:
        self._next = first

    def make(self, event_kind: EventKind, /, **data: Any) -> RunEvent:
        event = RunEvent(seq=self._next, at=START + timedelta(seconds=self._next), kind=event_kind, data=data)
        self._next += 1
        return event

    def phase(self, name: str, **data: Any) -> RunEvent:
        return self.make(EventKind.PHASE, name=name, **data)

    def train(self, step: int, loss: float | None = 1.0, **data: Any) -> RunEvent:
        return self.make(EventKind.METRICS, kind="train", step=step, loss=loss, **data)

    def evaluation(self, step: int, eval_loss: float | None, **data: Any) -> RunEvent:
        return self.make(EventKind.METRICS, kind="eval", step=step, eval_loss=eval_loss, **data)

    def log(self, text: str, level: str = "info") -> RunEvent:
        return self.make(EventKind.LOG, level=level, source="trainer", text=text)

    def curve(self, losses: Sequence[float | None], first: int = 1) -> list[RunEvent]:
        return [self.train(first + place, loss) for place, loss in enumerate(losses)]


@dataclass
class Studio:
    """Two people and a runner over one store: the stage of most tests."""

    anne: UserStore
    ben: UserStore
    port: RunnerPort

    def add_dataset(self, **changes: Any) -> Dataset:
        """Store a data set of Anne's, with its file."""
        dataset = dataset_of(ANNE, **changes)
        self.anne.blobs.put(dataset.storage_bucket, dataset.storage_path, iter([ROWS]))
        self.anne.datasets.add(dataset)
        return dataset

    def submit(self, **changes: Any) -> Job:
        """Submit a job of Anne's on a new data set."""
        dataset_id = changes.pop("dataset_id", None) or self.add_dataset().id
        return self.anne.jobs.submit(job_of(ANNE, dataset_id, **changes))

    def claim(self, runner: RunnerInfo | None = None, *, lease_seconds: float = 30.0) -> Claim:
        """Claim the next job; there must be one."""
        claim = self.port.claim(runner or runner_of(), lease_seconds=lease_seconds)
        assert claim is not None
        return claim

    def claimed(self, **changes: Any) -> Claim:
        """Submit a job and claim it."""
        self.submit(**changes)
        return self.claim()

    def running(self, **changes: Any) -> tuple[Claim, Events]:
        """Submit a job, claim it, and let training begin (event 1)."""
        claim, events = self.claimed(**changes), Events()
        self.port.ship(
            claim.job.id, claim.attempt, [events.phase("training", start_step=0, total_steps=1000)]
        )
        return claim, events

    def job(self, claim: Claim) -> Job:
        """Return the job as it is now."""
        return self.anne.jobs.get(claim.job.id)


def with_validation(dataset_id: str) -> TrainingConfig:
    """Make a config that validates on a data set of its own."""
    return TrainingConfig(data=DataConfig(validation_dataset_id=dataset_id))


def needs_gpu(gpus: int, gpu_memory_gb: float) -> Requirements:
    """Make requirements that a machine without a GPU does not meet."""
    return Requirements(gpus=gpus, gpu_memory_gb=gpu_memory_gb)
