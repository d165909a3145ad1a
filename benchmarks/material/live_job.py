"""A studio in a folder of its own with one job that a runner holds, and points as a trainer writes them."""

import hashlib
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_core.actions.jobs import submit_job
from lora_core.actions.workspace import Workspace
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus
from lora_core.schema.metrics import MetricKind
from lora_core.schema.run import EventKind, RunEvent
from lora_core.schema.runner import RunnerInfo
from lora_core.settings import Settings
from lora_core.store.base import RunnerPort
from lora_core.studio import Studio

BATCH = 1000
HOUR = 3600.0


@dataclass(frozen=True)
class LiveJob:
    """A running job and the two views of its store; close it at the end."""

    close: Callable[[], None]
    workspace: Workspace
    port: RunnerPort
    job_id: str
    attempt: int

    def ship_points(self, count: int) -> None:
        """Begin to train and store points, with an evaluation after every 1,000."""
        batch = [RunEvent(seq=1, at=utc_now(), kind=EventKind.PHASE, data=begin(count))]
        for number, (kind, data) in enumerate(points(count), start=2):
            batch.append(RunEvent(seq=number, at=utc_now(), kind=kind, data=data))
            if len(batch) == BATCH:
                self.port.ship(self.job_id, self.attempt, batch)
                batch = []
        self.port.ship(self.job_id, self.attempt, batch)


def open_live_job(home: Path, *, lease_seconds: float = HOUR) -> LiveJob:
    """Make an embedded studio, its data set and the job, and claim it."""
    studio = Studio(Settings(home=home))
    return begin_live_job(
        studio.workspace(), studio.runner_port(), lease_seconds=lease_seconds, close=studio.close
    )


def begin_live_job(
    workspace: Workspace, port: RunnerPort, *, lease_seconds: float = HOUR, close: Callable[[], None]
) -> LiveJob:
    """Make a data set and a job in any store, and claim it."""
    content = (
        b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 100
    )
    dataset_id = new_id()
    key = f"{workspace.user_id}/datasets/{dataset_id}/data.jsonl"
    workspace.blobs.put("lora-datasets", key, iter([content]))
    workspace.datasets.add(
        Dataset(
            id=dataset_id,
            user_id=workspace.user_id,
            name="rows",
            storage_path=key,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            rows=100,
            status=DatasetStatus.READY,
            format=DatasetFormat.MESSAGES,
            created_at=utc_now(),
        )
    )
    job = submit_job(workspace, name="measured", dataset_id=dataset_id, config=TrainingConfig())
    now = utc_now()
    runner = RunnerInfo(
        id=new_id(), name="bench", version="0", cpus=2, memory_gb=8.0, started_at=now, seen_at=now
    )
    port.announce(runner)
    claim = port.claim(runner, lease_seconds=lease_seconds)
    assert claim is not None
    return LiveJob(close, workspace, port, job.id, claim.attempt)


def begin(count: int) -> dict[str, Any]:
    """Return the phase event with which a run of `count` steps begins."""
    return {"name": "training", "start_step": 0, "total_steps": count}


def points(count: int, seed: int = 0) -> Iterator[tuple[EventKind, dict[str, Any]]]:
    """Yield the metric events of a run of `count` steps: a falling loss with noise and a few spikes."""
    draw = random.Random(seed)
    for step in range(1, count + 1):
        loss = (
            0.8
            + 2.0 * math.exp(-3.0 * step / count)
            + draw.gauss(0, 0.05)
            + (3.0 if step % 9973 == 0 else 0.0)
        )
        yield (
            EventKind.METRICS,
            {
                "kind": MetricKind.TRAIN.value,
                "step": step,
                "loss": loss,
                "learning_rate": 2e-4 * (1 - step / count),
                "grad_norm": abs(draw.gauss(1.0, 0.2)),
                "epoch": 2.0 * step / count,
                "tokens_seen": step * 1500,
                "tokens_per_second": draw.gauss(300.0, 20.0),
                "samples_per_second": draw.gauss(1.6, 0.1),
                "data_wait_fraction": 0.001,
                "elapsed_seconds": step * 1.5,
                "remaining_seconds": (count - step) * 1.5,
            },
        )
        if step % 1000 == 0:
            yield (
                EventKind.METRICS,
                {
                    "kind": MetricKind.EVAL.value,
                    "step": step,
                    "eval_loss": loss + 0.1,
                    "epoch": 2.0 * step / count,
                },
            )
