"""Jobs as a runner leaves them, put into a studio through the real ports: claimed, trained, with checkpoints and ends."""

import math
import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lora_core.actions import configs, jobs
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import Dataset
from lora_core.schema.job import EndOfAttempt, Job, Outcome
from lora_core.schema.run import EventKind, RunEvent
from lora_core.schema.runner import Claim, RunnerInfo
from lora_core.studio import Studio
from tests.pages.checked import checked_dataset

ROW = '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}\n'
SECONDS_PER_STEP = 0.83
BATCH = 1000
EVALUATIONS, CHECKPOINTS = 17, 4
"""How many of them a whole run has."""


def runner(name: str = "workstation") -> RunnerInfo:
    """Make a runner that is online now."""
    return RunnerInfo(
        id=name, name=name, version="0.1.0", cpus=8, memory_gb=32.0, started_at=utc_now(), seen_at=utc_now()
    )


def ready_dataset(studio: Studio, *, rows: int = 40, name: str = "Support tickets") -> Dataset:
    """Return the data set of that name, checked and ready; it is made if there is none."""
    known = studio.workspace().datasets.list(search=name).items
    return known[0] if known else checked_dataset(studio, ROW * rows, name=name)


def queued_job(
    studio: Studio, name: str = "First try", *, preset: str = "balanced", overrides: Sequence[str] = ()
) -> Job:
    """Submit a job."""
    config: TrainingConfig = configs.config_from_preset(preset, overrides)
    dataset = ready_dataset(studio)
    return jobs.submit_job(studio.workspace(), name=name, dataset_id=dataset.id, config=config)


class Run:
    """One attempt at a job, told as a trainer tells it."""

    def __init__(self, studio: Studio, job: Job, *, total_steps: int = 4500) -> None:
        self.studio, self.total_steps, self.step = studio, total_steps, 0
        self._port, self._seq = studio.runner_port(), 0
        self._random = random.Random(3)
        self._began = utc_now() - timedelta(seconds=total_steps * SECONDS_PER_STEP)
        self._port.announce(runner())
        claim = self._port.claim(runner(), lease_seconds=3600.0)
        assert claim is not None
        assert claim.job.id == job.id, "another job was first in the queue"
        self.claim: Claim = claim

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self.claim.job.id

    @property
    def job(self) -> Job:
        """The job as it is now."""
        return self.studio.workspace().jobs.get(self.job_id)

    def phase(self, name: str, **data: Any) -> "Run":
        """Report a phase, such as "loading_model"."""
        self._ship([self._event(EventKind.PHASE, name=name, **data)])
        return self

    def train(self, upto: int, *, checkpoints: bool = True) -> "Run":
        """Train to a step: points, evaluations, log lines, and checkpoint artifacts."""
        if self.step == 0:
            self.phase("training", start_step=0, total_steps=self.total_steps)
        first, self.step = self.step + 1, upto
        events = list(self._events(first, upto))
        for start in range(0, len(events), BATCH):
            self._ship(events[start : start + BATCH])
        every = max(1, self.total_steps // CHECKPOINTS - self.total_steps // 40)
        for step in range(first, upto + 1):
            if checkpoints and step % every == 0:
                self.keep(ArtifactKind.CHECKPOINT, step)
        return self

    def evaluate(self, step: int, eval_loss: float | None) -> "Run":
        """Report one evaluation."""
        self._ship([self._event(EventKind.METRICS, kind="eval", step=step, eval_loss=eval_loss)])
        return self

    def point(self, step: int, **data: Any) -> "Run":
        """Report one training point."""
        self._ship([self._event(EventKind.METRICS, kind="train", step=step, **data)])
        return self

    def reading(self, at: int, **data: Any) -> "Run":
        """Report one reading of the machine; `at` in seconds since the epoch."""
        self._ship([self._event(EventKind.METRICS, kind="system", step=at, **data)])
        return self

    def log(self, text: str, level: str = "info") -> "Run":
        """Write one log line."""
        self._ship([self._event(EventKind.LOG, level=level, source="trainer", text=text)])
        return self

    def keep(self, kind: ArtifactKind, step: int) -> Artifact:
        """Store an artifact of two small files."""
        with TemporaryDirectory() as folder:
            (Path(folder) / "adapter_model.safetensors").write_bytes(b"w" * 98_000)
            (Path(folder) / "adapter_config.json").write_text("{}", encoding="utf-8")
            artifact = Artifact(
                id=new_id(),
                user_id=self.claim.job.user_id,
                job_id=self.job_id,
                attempt=self.claim.attempt,
                kind=kind,
                name=f"{kind.value}-{step}",
                step=step,
                path="",
                eval_loss=_validation_loss(step),
                best=kind is ArtifactKind.CHECKPOINT and step >= 0.6 * self.total_steps,
                created_at=utc_now(),
            )
            return self._port.put_artifact(self.claim.attempt, artifact, Path(folder))

    def end(self, outcome: Outcome, *, reason: str = "", error: str = "", transient: bool = False) -> Job:
        """Close the attempt."""
        end = EndOfAttempt(outcome=outcome, reason=reason, error=error, transient=transient)
        self._port.end(self.job_id, self.claim.attempt, end)
        return self.job

    def _events(self, first: int, upto: int) -> Iterator[RunEvent]:
        every = max(1, self.total_steps // EVALUATIONS)
        for step in range(first, upto + 1):
            elapsed = step * SECONDS_PER_STEP
            at = self._began + timedelta(seconds=elapsed)
            noise = self._random.gauss(0, 0.055) * (1 + 0.6 * math.exp(-step / 900))
            common = {"step": step, "epoch": step / self.total_steps * 2, "elapsed_seconds": elapsed}
            yield self._event(
                EventKind.METRICS,
                at,
                **common,
                kind="train",
                loss=_training_loss(step) + noise + (0.6 if step == self.total_steps * 47 // 100 else 0.0),
                tokens_seen=step * 4000,
                learning_rate=2e-4
                * min(1, step / (0.05 * self.total_steps))
                * (0.5 * (1 + math.cos(math.pi * step / self.total_steps))),
                grad_norm=0.8 + 1.5 * math.exp(-step / 300) + abs(noise),
                tokens_per_second=4800 + 120 * math.sin(step / 60) + 400 * noise,
                remaining_seconds=(self.total_steps - step) * SECONDS_PER_STEP,
            )
            if step % every == 0:
                yield self._event(
                    EventKind.METRICS, at, **common, kind="eval", eval_loss=_validation_loss(step)
                )
                text = f"step {step}: validation loss {_validation_loss(step):.4f} on 200 rows"
                yield self._event(EventKind.LOG, at, level="info", source="trainer", text=text)

    def _event(self, event_kind: EventKind, at: datetime | None = None, /, **data: Any) -> RunEvent:
        self._seq += 1
        return RunEvent(seq=self._seq, at=at or utc_now(), kind=event_kind, data=data)

    def _ship(self, events: Sequence[RunEvent]) -> None:
        self._port.ship(self.job_id, self.claim.attempt, events)


def seed_every_state(studio: Studio, *, scale: float = 1.0) -> dict[str, Job]:
    """Fill a studio with one job in each state, by the name of the state.

    Args:
        scale: Share of the usual number of steps; small is quick.
    """

    def steps(usual: int) -> int:
        return max(1, int(usual * scale))

    done = Run(studio, queued_job(studio, "Support bot, rank 32"), total_steps=steps(900))
    done.train(steps(900)).keep(ArtifactKind.ADAPTER, steps(800))
    done.end(Outcome.COMPLETED)
    paused = Run(studio, queued_job(studio, "Support bot, long answers"), total_steps=steps(1200))
    paused.train(steps(420))
    paused.end(Outcome.PAUSED, reason="paused by its owner")
    failed = Run(studio, queued_job(studio, "Rank 256 on the laptop", overrides=("adapter.rank=256",)))
    failed.train(steps(31)).log("CUDA out of memory while allocating 1.2 GB.", "error")
    failed.end(
        Outcome.FAILED,
        reason="out of memory",
        error="Out of memory at step 31. Choose the preset Memory saver, or halve the micro-batch.",
    )
    cancelled = queued_job(studio, "Wrong data set", preset="quick-check")
    jobs.cancel_job(studio.workspace(), cancelled.id)
    running = Run(
        studio, queued_job(studio, "support-bot-r16", overrides=("adapter.rank=16",)), total_steps=steps(4500)
    )
    running.phase("loading_model", progress=0.4).train(steps(4024))
    running.log("Row 318 is longer than 1024 tokens and was cut.", "warning")
    starting = Run(studio, queued_job(studio, "Tone of voice", preset="quick-check"))
    starting.phase("loading_model", progress=0.35)
    queued_job(studio, "Memory saver on tickets", preset="memory-saver")
    found = {job.status.value: job for job in jobs.list_jobs(studio.workspace()).items}
    assert len(found) == 7
    return found


def _training_loss(step: int) -> float:
    return 1.55 * math.exp(-step / 520) + 0.62 * math.exp(-step / 4200) + 0.34


def _validation_loss(step: int) -> float:
    return 1.5 * math.exp(-step / 540) + 0.60 * math.exp(-step / 3600) + 0.41 + max(0, step - 3250) * 6e-5
