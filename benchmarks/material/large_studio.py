"""A studio in which a person has worked for years: many jobs in every state, one of them very long. Made through the store."""

import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.material.live_job import LiveJob, open_live_job
from lora_core.actions.jobs import submit_job
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.config import TrainingConfig
from lora_core.schema.job import EndOfAttempt, Job, JobStatus, Outcome
from lora_core.schema.run import EventKind, RunEvent
from lora_core.schema.runner import RunnerInfo

TOPICS = ("support", "summaries", "contracts", "letters", "recipes", "reviews")
SHARES = (
    ("completed", 70),
    ("failed", 10),
    ("queued", 10),
    ("cancelled", 5),
    ("paused", 5),
)
"""What became of the jobs, in per cent."""

SPREAD = 37
"""Has no factor in common with 100, so every state is among a few jobs too."""

LOG_LINES = 2_000
HOUR = 3600.0


@dataclass(frozen=True)
class LargeStudio:
    """The studio, with the ids of jobs that stand for their kind."""

    live: LiveJob
    by_state: dict[str, list[str]]

    @property
    def long_job(self) -> str:
        """The job with most of the points; a runner holds it."""
        return self.live.job_id


def make_large_studio(home: Path, jobs: int, points: int) -> LargeStudio:
    """Make it. About a minute for 10,000 jobs and a million points.

    Args:
        jobs: How many there are; one of them is the long one.
        points: How many the long one has. Every other job that began has one.
    """
    live = open_live_job(home)
    live.ship_points(points)
    lines = [
        RunEvent(
            seq=2 * points + number,
            at=utc_now(),
            kind=EventKind.LOG,
            data={"level": "info", "source": "trainer", "text": f"line {number}"},
        )
        for number in range(min(LOG_LINES, points))
    ]
    for start in range(0, len(lines), 500):
        live.port.ship(live.job_id, live.attempt, lines[start : start + 500])
    draw = random.Random(0)
    ends = [end for end, share in SHARES for _ in range(share)]
    by_state: dict[str, list[str]] = {end: [] for end, _ in SHARES}
    dataset_id = live.workspace.jobs.get(live.job_id).dataset_id
    now = utc_now()
    runner = RunnerInfo(id=new_id(), name="bench-2", version="0", started_at=now, seen_at=now)
    for number in range(jobs - 1):
        end = ends[number * SPREAD % len(ends)]
        if end == "queued":
            continue
        job = _submit(live, dataset_id, number, draw)
        _bring_to(live, job, end, runner)
        by_state[end].append(job.id)
    # Last, so that no runner takes them before their time.
    for number in range(jobs - 1):
        if ends[number * SPREAD % len(ends)] == "queued":
            by_state["queued"].append(_submit(live, dataset_id, number, draw).id)
    return LargeStudio(live, by_state)


def _submit(live: LiveJob, dataset_id: str, number: int, draw: random.Random) -> Job:
    return submit_job(
        live.workspace,
        name=f"{draw.choice(TOPICS)} {number}",
        dataset_id=dataset_id,
        config=TrainingConfig(),
        priority=draw.choice((0, 0, 0, 5)),
    )


def _bring_to(live: LiveJob, job: Job, end: str, runner: RunnerInfo) -> None:
    if end == "cancelled":
        live.workspace.jobs.move(job.id, JobStatus.CANCELLED, reason="cancelled by its owner")
        return
    claim = live.port.claim(runner, lease_seconds=HOUR)
    assert claim is not None
    begun = {"name": "training", "start_step": 0, "total_steps": 1}
    point = {"kind": "train", "step": 1, "loss": 1.0}
    live.port.ship(
        claim.job.id,
        claim.attempt,
        [
            RunEvent(seq=1, at=utc_now(), kind=EventKind.PHASE, data=begun),
            RunEvent(seq=2, at=utc_now(), kind=EventKind.METRICS, data=point),
        ],
    )
    error = "The rows are too long." if end == "failed" else ""
    live.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome(end), error=error))
