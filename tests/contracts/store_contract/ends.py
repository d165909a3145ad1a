"""What every runner port must do at the end of an attempt, and with one that is no longer the newest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lora_core.errors import Conflict
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.base import new_id
from lora_core.schema.job import EndOfAttempt, JobStatus, Outcome, RequestedAction
from tests.contracts.samples import (
    Studio,
    artifact_of,
    folder_of,
    runner_of,
)
from tests.contracts.store_contract.stage import StoreContract

DRAIN_SECONDS = 600


class EndContract(StoreContract):
    def test_an_old_attempt_is_fenced(
        self, studio: Studio, pass_time: Callable[[float], None], tmp_path: Path
    ) -> None:
        claim, events = studio.running()
        pass_time(31)
        studio.claim(runner_of("other"))
        job_id = claim.job.id
        calls: list[Callable[[], object]] = [
            lambda: studio.port.renew(job_id, 1, lease_seconds=30),
            lambda: studio.port.ship(job_id, 1, [events.train(1)]),
            lambda: studio.port.open_dataset(job_id, 1, claim.dataset.id),
            lambda: studio.port.put_artifact(1, artifact_of(claim), folder_of(tmp_path)),
            lambda: studio.port.end(job_id, 1, EndOfAttempt(outcome=Outcome.COMPLETED)),
        ]
        for call in calls:
            with pytest.raises(Conflict):
                call()

    def test_a_late_tail_is_accepted_for_ten_minutes(
        self, studio: Studio, pass_time: Callable[[float], None], tmp_path: Path
    ) -> None:
        claim, events = studio.running()
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.COMPLETED))
        pass_time(DRAIN_SECONDS - 5)
        studio.port.ship(claim.job.id, 1, [events.train(7), events.phase("training"), events.log("bye")])
        studio.port.put_artifact(1, artifact_of(claim, ArtifactKind.ADAPTER), folder_of(tmp_path))
        assert studio.job(claim).status is JobStatus.COMPLETED
        assert (studio.job(claim).current_step, studio.job(claim).phase) == (7, "")
        pass_time(10)
        with pytest.raises(Conflict):
            studio.port.ship(claim.job.id, 1, [events.train(8)])

    def test_an_ended_attempt_cannot_renew(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.PAUSED))
        with pytest.raises(Conflict):
            studio.port.renew(claim.job.id, 1, lease_seconds=30)

    def test_calls_about_a_job_that_never_was_are_a_conflict(self, studio: Studio) -> None:
        with pytest.raises(Conflict):
            studio.port.renew(new_id(), 1, lease_seconds=30)
        with pytest.raises(Conflict):
            studio.port.ship(new_id(), 1, [])

    @pytest.mark.parametrize(
        ("outcome", "status"),
        [
            (Outcome.COMPLETED, JobStatus.COMPLETED),
            (Outcome.PAUSED, JobStatus.PAUSED),
            (Outcome.RELEASED, JobStatus.QUEUED),
            (Outcome.CANCELLED, JobStatus.CANCELLED),
            (Outcome.FAILED, JobStatus.FAILED),
        ],
    )
    def test_an_outcome_decides_the_state(self, studio: Studio, outcome: Outcome, status: JobStatus) -> None:
        claim, _ = studio.running()
        studio.anne.jobs.request(claim.job.id, RequestedAction.CHECKPOINT)
        studio.port.end(
            claim.job.id, 1, EndOfAttempt(outcome=outcome, error="oops" if outcome == "failed" else "")
        )
        job = studio.job(claim)
        assert (job.status, job.requested_action, job.phase) == (status, None, "")
        assert (job.ended_at is not None) == (status in {"completed", "failed", "cancelled"})
        assert job.error == ("oops" if outcome is Outcome.FAILED else "")

    def test_a_cancel_that_comes_while_a_job_is_being_paused_holds(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE)
        studio.anne.jobs.request(claim.job.id, RequestedAction.CANCEL)
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.PAUSED, reason="Paused by request."))
        job = studio.job(claim)
        assert (job.status, job.status_reason) == (JobStatus.CANCELLED, "Cancelled by request.")
        (attempt,) = studio.anne.jobs.attempts(claim.job.id)
        assert attempt.outcome is Outcome.PAUSED

    def test_an_end_that_comes_twice_changes_nothing(self, studio: Studio) -> None:
        claim, _ = studio.running()
        for _ in range(2):
            studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.RELEASED))
        assert studio.job(claim).status is JobStatus.QUEUED
        with pytest.raises(Conflict):
            studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.COMPLETED))

    def test_a_job_that_never_trained_can_complete(self, studio: Studio) -> None:
        claim = studio.claimed()
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.COMPLETED))
        assert (studio.job(claim).status, studio.job(claim).progress) == (JobStatus.COMPLETED, 1.0)
