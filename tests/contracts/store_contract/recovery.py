"""What every store must do about failures that may pass by themselves, lost runners, and what people see of work under way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lora_core.backoff import retry_pause
from lora_core.schema.job import (
    EndOfAttempt,
    Job,
    JobFilter,
    JobStatus,
    Outcome,
    QueuePlace,
    RequestedAction,
    WaitReason,
)
from lora_core.schema.runner import Claim
from tests.contracts.samples import START, Studio, artifact_of, folder_of, runner_of
from tests.contracts.store_contract.stage import StoreContract

PassTime = Callable[[float], None]
FLAKY = EndOfAttempt(
    outcome=Outcome.FAILED,
    reason="The model could not be fetched.",
    error="ConnectionError: reset by peer",
    transient=True,
)
LONGEST_FIRST = retry_pause(1, 1.0)
LONGEST_SECOND = retry_pause(2, 1.0)


def fail(studio: Studio, claim: Claim) -> Job:
    """Let the attempt fail for a cause that may pass; return the job as it is then."""
    studio.port.end(claim.job.id, claim.attempt, FLAKY)
    return studio.job(claim)


def pause_after(studio: Studio, job: Job) -> float:
    """Return for how many seconds a job waits to be tried again, from the newest transition on."""
    moved = next(event for event in studio.anne.jobs.events(job.id).items if event.to_status is not None)
    assert job.retry_at is not None
    return (job.retry_at - moved.at).total_seconds()


def place_of(studio: Studio, job: Job) -> QueuePlace:
    """Return where a queued job stands."""
    place = studio.anne.jobs.queue_place(job.id)
    assert place is not None
    return place


def wait_of(studio: Studio, job: Job) -> float | None:
    """Return how long it is until a job is expected to start, in seconds, from a moment ago on."""
    moment = studio.anne.jobs.rename(job.id, job.name).updated_at
    start = place_of(studio, job).expected_start
    return (start - moment).total_seconds() if start is not None else None


class RecoveryContract(StoreContract):
    # Failures that may pass by themselves

    def test_a_failure_that_may_pass_is_tried_again_after_a_pause(
        self, studio: Studio, pass_time: PassTime
    ) -> None:
        claim, _ = studio.running()
        job = fail(studio, claim)
        assert (job.status, job.error, job.ended_at) == (JobStatus.QUEUED, FLAKY.error, None)
        assert retry_pause(1, 0.0) <= pause_after(studio, job) <= LONGEST_FIRST
        assert job.retry_at is not None
        words = f"It is tried again at {job.retry_at:%H:%M:%S} UTC (failure 1 of 3 in a row)."
        assert job.status_reason == f"{FLAKY.reason} {words}"
        (newest, *_) = studio.anne.jobs.events(job.id).items
        assert (newest.action, newest.reason) == ("retrying", job.status_reason)
        (attempt,) = studio.anne.jobs.attempts(job.id)
        assert (attempt.outcome, attempt.reason) == (Outcome.FAILED, FLAKY.reason)
        assert studio.port.claim(runner_of(), lease_seconds=30) is None
        pass_time(LONGEST_FIRST + 1)
        again = studio.claim()
        assert (again.job.id, again.attempt, again.job.retry_at, again.job.error) == (job.id, 2, None, "")

    def test_a_cause_that_does_not_pass_fails_at_once(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, 1, FLAKY.model_copy(update={"transient": False}))
        assert (studio.job(claim).status, studio.job(claim).error) == (JobStatus.FAILED, FLAKY.error)

    def test_a_failure_without_a_reason_shows_the_first_line_of_its_error(self, studio: Studio) -> None:
        claim, _ = studio.running()
        end = EndOfAttempt(outcome=Outcome.FAILED, error=" OSError: broken pipe\nlog line", transient=True)
        studio.port.end(claim.job.id, 1, end)
        assert studio.job(claim).status_reason.startswith("OSError: broken pipe. It is tried again at ")

    def test_the_third_failure_in_a_row_is_final(self, studio: Studio, pass_time: PassTime) -> None:
        job = studio.submit()
        pauses = []
        for _ in range(2):
            pauses.append(pause_after(studio, fail(studio, studio.claim())))
            pass_time(LONGEST_SECOND + 1)
        assert retry_pause(2, 0.0) <= pauses[1] <= LONGEST_SECOND
        failed = fail(studio, studio.claim())
        assert (failed.id, failed.status, failed.retry_at) == (job.id, JobStatus.FAILED, None)
        reason = "It was tried 3 times in a row without a new checkpoint."
        assert failed.status_reason == reason
        assert failed.error == f"{reason} The last time: {FLAKY.error}"

    def test_a_new_checkpoint_ends_the_count_of_failures(
        self, studio: Studio, pass_time: PassTime, tmp_path: Path
    ) -> None:
        studio.submit()
        for _ in range(2):
            fail(studio, studio.claim())
            pass_time(LONGEST_SECOND + 1)
        claim = studio.claim()
        studio.port.put_artifact(claim.attempt, artifact_of(claim), folder_of(tmp_path))
        job = fail(studio, claim)
        assert job.status is JobStatus.QUEUED
        assert "failure 1 of 3" in job.status_reason

    @pytest.mark.parametrize(
        ("action", "status"),
        [(RequestedAction.PAUSE, JobStatus.PAUSED), (RequestedAction.CANCEL, JobStatus.CANCELLED)],
    )
    def test_a_job_that_was_asked_to_stop_is_not_tried_again(
        self, studio: Studio, action: RequestedAction, status: JobStatus
    ) -> None:
        claim, _ = studio.running()
        studio.anne.jobs.request(claim.job.id, action)
        job = fail(studio, claim)
        assert (job.status, job.retry_at, job.error) == (status, None, FLAKY.error)

    @pytest.mark.parametrize("way", ["start now", "hold and resume"])
    def test_a_person_need_not_wait_for_the_next_try(self, studio: Studio, way: str) -> None:
        claim, _ = studio.running()
        job_id = fail(studio, claim).id
        if way == "start now":
            job = studio.anne.jobs.start_after(job_id, None)
            assert studio.anne.jobs.events(job_id).items[0].reason == "at once"
        else:
            studio.anne.jobs.move(job_id, JobStatus.PAUSED)
            job = studio.anne.jobs.move(job_id, JobStatus.QUEUED)
        assert job.retry_at is None
        assert studio.claim().job.id == job_id

    def test_an_earliest_start_leaves_the_next_try_as_it_is(self, studio: Studio) -> None:
        claim, _ = studio.running()
        retry_at = fail(studio, claim).retry_at
        assert retry_at is not None
        job = studio.anne.jobs.start_after(claim.job.id, retry_at - timedelta(seconds=1))
        assert job.retry_at == retry_at
        assert studio.port.claim(runner_of(), lease_seconds=30) is None

    # Lost runners

    def test_a_lost_job_waits_only_from_the_second_time_on(self, studio: Studio, pass_time: PassTime) -> None:
        studio.submit()
        studio.claim()
        pass_time(31)
        claim = studio.claim()
        assert claim.attempt == 2
        pass_time(31)
        assert studio.port.claim(runner_of(), lease_seconds=30) is None
        job = studio.job(claim)
        assert (job.status, job.error) == (JobStatus.QUEUED, "")
        assert retry_pause(2, 0.0) <= pause_after(studio, job) <= LONGEST_SECOND
        assert job.status_reason.startswith("The runner was lost. It is tried again at ")
        assert studio.anne.jobs.events(job.id).items[0].action == "lease lost"

    def test_lost_runners_and_failures_are_counted_together(
        self, studio: Studio, pass_time: PassTime
    ) -> None:
        studio.submit()
        studio.claim()
        pass_time(31)
        fail(studio, studio.claim())
        pass_time(LONGEST_SECOND + 1)
        claim = studio.claim()
        pass_time(31)
        assert studio.port.claim(runner_of(), lease_seconds=30) is None
        job = studio.job(claim)
        assert (job.status, job.attempt) == (JobStatus.FAILED, 3)
        assert job.error.endswith("The last time: The runner was lost.")

    def test_a_released_job_does_not_wait_and_starts_the_count_anew(
        self, studio: Studio, pass_time: PassTime
    ) -> None:
        studio.submit()
        for _ in range(2):
            fail(studio, studio.claim())
            pass_time(LONGEST_SECOND + 1)
        claim = studio.claim()
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.RELEASED))
        assert studio.job(claim).retry_at is None
        assert "failure 1 of 3" in fail(studio, studio.claim()).status_reason

    @pytest.mark.parametrize("read", ["get", "list", "counts", "at_work"])
    def test_a_job_whose_runner_is_gone_is_shown_so_though_no_other_claims(
        self, studio: Studio, pass_time: PassTime, read: str
    ) -> None:
        claim, _ = studio.running()
        jobs = studio.anne.jobs
        look: dict[str, Callable[[], object]] = {
            "get": lambda: jobs.get(claim.job.id),
            "list": lambda: jobs.list(JobFilter()),
            "counts": jobs.counts,
            "at_work": jobs.at_work,
        }
        pass_time(31)
        look[read]()
        assert [attempt.outcome for attempt in jobs.attempts(claim.job.id)] == [None]
        pass_time(31)
        look[read]()
        assert [attempt.outcome for attempt in jobs.attempts(claim.job.id)] == [Outcome.LOST]
        assert jobs.get(claim.job.id).status is JobStatus.QUEUED
        assert (jobs.counts(), jobs.at_work()) == ({JobStatus.QUEUED: 1}, [])

    def test_a_runner_that_was_away_for_a_moment_keeps_its_job(
        self, studio: Studio, pass_time: PassTime
    ) -> None:
        claim, _ = studio.running()
        for _ in range(2):
            pass_time(31)
            studio.anne.jobs.get(claim.job.id)
            studio.port.renew(claim.job.id, claim.attempt, lease_seconds=30)
        assert studio.job(claim).status is JobStatus.RUNNING

    def test_another_persons_look_ends_nothing(self, studio: Studio, pass_time: PassTime) -> None:
        claim, _ = studio.running()
        for _ in range(2):
            pass_time(31)
            assert not studio.ben.jobs.list(JobFilter()).items
            assert not studio.ben.jobs.counts()
        assert studio.anne.jobs.attempts(claim.job.id)[0].outcome is None

    # What people see of it

    def test_what_was_expected_of_a_job_is_kept(self, studio: Studio) -> None:
        job = studio.submit(estimated_seconds=90.5)
        assert (studio.anne.jobs.get(job.id).estimated_seconds, studio.submit().estimated_seconds) == (
            90.5,
            None,
        )

    def test_work_in_hand_is_listed_with_who_has_it(self, studio: Studio, pass_time: PassTime) -> None:
        studio.submit(name="old")
        first = studio.claim(runner_of("shelf"))
        pass_time(5)
        studio.submit(name="new", created_at=START + timedelta(seconds=1))
        studio.submit(name="queued", created_at=START + timedelta(seconds=2))
        studio.claim(runner_of("box"))
        held = studio.anne.jobs.at_work()
        assert [(work.job.name, work.runner_id, work.runner_name, work.attempt) for work in held] == [
            ("new", "box", "box", 1),
            ("old", "shelf", "shelf", 1),
        ]
        assert held[1].job == studio.job(first)
        assert held[1].since == studio.anne.jobs.attempts(first.job.id)[0].started_at
        assert studio.ben.jobs.at_work() == []
        studio.port.end(first.job.id, 1, EndOfAttempt(outcome=Outcome.PAUSED))
        assert [work.job.name for work in studio.anne.jobs.at_work()] == ["new"]

    def test_a_place_says_when_a_job_is_tried_again(self, studio: Studio) -> None:
        studio.port.announce(runner_of())
        claim, _ = studio.running()
        job = fail(studio, claim)
        place = place_of(studio, job)
        assert (place.reason, place.until, place.expected_start) == (
            WaitReason.RETRY,
            job.retry_at,
            job.retry_at,
        )

    def test_a_job_before_a_free_runner_is_expected_now(self, studio: Studio) -> None:
        studio.port.announce(runner_of(slots=2))
        studio.claimed()  # without an estimate; the other slot is free
        wait = wait_of(studio, studio.submit())
        assert wait is not None
        assert 0 <= wait < 60

    def test_a_start_is_worked_out_from_what_runs_and_what_goes_before(self, studio: Studio) -> None:
        studio.port.announce(runner_of())
        claim, events = studio.running()
        studio.port.ship(claim.job.id, 1, [events.train(1, remaining_seconds=600.0)])
        before = studio.submit(estimated_seconds=3000.0)
        last = studio.submit(created_at=START + timedelta(hours=1))
        waits = [wait_of(studio, job) for job in (before, last)]
        assert all(
            wait is not None and expected <= wait < expected + 60
            for wait, expected in zip(waits, (600, 3600), strict=True)
        )
        assert (place_of(studio, last).position, place_of(studio, last).reason) == (1, WaitReason.BUSY)

    def test_what_was_expected_counts_until_something_is_measured(self, studio: Studio) -> None:
        studio.port.announce(runner_of(slots=2))
        claim, events = studio.running(estimated_seconds=1000.0)
        studio.port.ship(claim.job.id, 1, [events.train(1, elapsed_seconds=400.0)])
        studio.claimed(estimated_seconds=5000.0)
        wait = wait_of(studio, studio.submit())
        assert wait is not None
        assert 600 <= wait < 660

    def test_a_start_that_hangs_on_something_unknown_is_not_guessed(self, studio: Studio) -> None:
        studio.port.announce(runner_of())
        studio.running()
        assert place_of(studio, studio.submit()).expected_start is None

    def test_a_runner_tells_how_many_jobs_it_trains_at_once(self, studio: Studio) -> None:
        studio.port.announce(runner_of(slots=3))
        studio.port.announce(runner_of(slots=4))
        assert [runner.slots for runner in studio.anne.runners.list()] == [4]
