"""A trainer that runs out of memory is started once more with half the micro-batch, and the person is told."""

import itertools
from pathlib import Path

import pytest

from lora_core.schema.job import JobStatus
from runner.oom import SAID, oom_kills
from tests.runner.agent.bench import Bench

TOLD = "Trying once more: micro-batch 4 → 2, accumulation 4 → 8, still 16 rows an update."


def test_it_goes_on_with_half_the_micro_batch_and_the_same_batch(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 20, "needs_micro_batch": 2})
    done = bench.wait_for(job)
    assert done.attempt == 1
    assert done.error == ""
    assert bench.steps(job) == list(range(1, 21))
    (told,) = [text for text in bench.logs(job) if "Trying once more" in text]
    assert told == f"Out of memory: only 2 rows fit. {TOLD}"
    assert told in [message.body for message in bench.user.notifications.list().items]


def test_it_goes_on_from_its_newest_checkpoint(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 20, "needs_micro_batch": 2, "out_of_memory_after": 12})
    bench.wait_for(job)
    assert bench.steps(job) == list(range(1, 21))
    (attempt,) = bench.user.jobs.attempts(job.id)
    assert attempt.start_step == 10, "the checkpoint before the step at which memory ran out"


def test_it_is_tried_once_only(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 20, "needs_micro_batch": 1})
    failed = bench.wait_for(job, JobStatus.FAILED)
    assert failed.error == "Out of memory: only 1 rows fit."
    assert sum("Trying once more" in text for text in bench.logs(job)) == 1


def test_it_is_not_tried_where_it_is_not_allowed(bench: Bench) -> None:
    job = bench.submit(retry_smaller=False)
    bench.start(script={"steps": 20, "needs_micro_batch": 2})
    bench.wait_for(job, JobStatus.FAILED)
    assert not any("Trying once more" in text for text in bench.logs(job))


def test_a_trainer_that_the_kernel_ended_for_lack_of_memory_ran_out_of_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counter goes up with each look: as if every kill had been the kernel's."""
    counter = itertools.count()
    monkeypatch.setattr("runner.training.oom_kills", lambda: next(counter))
    job = bench.submit()
    bench.start(script={"steps": 20, "crash_at": 12})
    failed = bench.wait_for(job, JobStatus.FAILED)
    assert (failed.status_reason, failed.error) == ("Out of memory.", SAID)
    assert f"{SAID} {TOLD}" in bench.logs(job)
    assert bench.steps(job) == list(range(1, 12))


def test_the_kernel_is_asked_for_its_own_count(tmp_path: Path) -> None:
    (tmp_path / "vmstat").write_text("nr_free_pages 1\noom_kill 3\noom_kill_x 9\n")
    assert oom_kills(tmp_path / "vmstat") == 3
    assert oom_kills(tmp_path / "missing") is None
