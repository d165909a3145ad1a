"""A trainer that runs out of memory is started once more with half the micro-batch, and the person is told."""

from lora_core.schema.job import JobStatus
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
