"""Several runners on one queue: each job runs exactly once, in the order of the queue. Real processes, scripted trainer."""

from datetime import timedelta

import pytest

from lora_core.schema.base import utc_now
from lora_core.schema.job import JobFilter, JobStatus, Outcome
from tests.runner.agent.bench import Bench, wait_until

RUNNERS, JOBS = 3, 200


@pytest.mark.slow
def test_three_runners_run_each_of_two_hundred_jobs_exactly_once(bench: Bench) -> None:
    dataset = bench.add_dataset()
    submitted = [bench.submit(dataset_id=dataset.id).id for _ in range(JOBS)]
    for _ in range(RUNNERS):
        bench.start(script={"steps": 2}, slots=2, lease_seconds=120)

    def all_done() -> bool:
        return bench.user.jobs.counts() == {JobStatus.COMPLETED: JOBS}

    wait_until(all_done, "all jobs to be completed", seconds=240)
    machines = set()
    for job_id in submitted:
        (attempt,) = bench.user.jobs.attempts(job_id)
        assert (attempt.number, attempt.outcome) == (1, Outcome.COMPLETED)
        machines.add(attempt.runner_id)
        actions = [event.action for event in bench.user.jobs.events(job_id).items]
        assert actions == ["completed", "started", "claimed", "submitted"]
        assert bench.steps(bench.user.jobs.get(job_id)) == [1, 2]
    assert len(machines) == RUNNERS
    listed = bench.user.jobs.list(JobFilter(), limit=500).items
    assert {job.id for job in listed} == set(submitted)


def test_a_runner_takes_the_urgent_job_first_and_leaves_one_that_waits_for_its_time(bench: Bench) -> None:
    dataset = bench.add_dataset()
    usual = bench.submit(dataset_id=dataset.id)
    urgent = bench.submit(dataset_id=dataset.id, priority=5)
    later = bench.submit(dataset_id=dataset.id, priority=9, not_before=utc_now() + timedelta(days=1))
    bench.start(script={"steps": 2})
    done = [bench.wait_for(job) for job in (usual, urgent)]
    assert done[1].started_at < done[0].started_at  # type: ignore[operator]
    assert bench.job(later).status is JobStatus.QUEUED
    bench.user.jobs.start_after(later.id, None)
    bench.wait_for(later)
