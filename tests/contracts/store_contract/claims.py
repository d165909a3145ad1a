"""What every runner port must do: runners announce themselves, claim jobs, keep them and read their files."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lora_core.errors import NotFound
from lora_core.schema.job import EndOfAttempt, JobStatus, Outcome, RequestedAction
from tests.contracts.samples import (
    ROWS,
    START,
    Studio,
    artifact_of,
    folder_of,
    needs_gpu,
    runner_of,
    with_validation,
)
from tests.contracts.store_contract.stage import StoreContract


class ClaimContract(StoreContract):
    def test_an_announced_runner_is_listed_as_it_last_was(self, studio: Studio) -> None:
        studio.port.announce(runner_of("old"))
        studio.port.announce(runner_of("box", seen_at=START + timedelta(seconds=5)))
        busy = runner_of("box", state="busy", gpus=("H100",), seen_at=START + timedelta(seconds=9))
        studio.port.announce(busy)
        # When a runner was last seen is by the clock of the runner or of the store.
        listed = [runner.model_copy(update={"seen_at": START}) for runner in studio.anne.runners.list()]
        assert listed == [busy.model_copy(update={"seen_at": START}), runner_of("old")]

    def test_a_claim_has_all_that_an_attempt_needs(self, studio: Studio) -> None:
        validation = studio.add_dataset()
        job = studio.submit(config=with_validation(validation.id))
        claim = studio.claim()
        assert (claim.job.id, claim.attempt, claim.job.status) == (job.id, 1, JobStatus.INITIALIZING)
        assert (claim.dataset.id, claim.checkpoint) == (job.dataset_id, None)
        assert claim.validation is not None
        assert claim.validation.id == validation.id

    def test_an_empty_queue_gives_nothing(self, studio: Studio) -> None:
        assert studio.port.claim(runner_of(), lease_seconds=30) is None

    def test_the_highest_priority_goes_first_then_the_oldest(self, studio: Studio) -> None:
        made = [
            studio.submit(priority=priority, created_at=START + timedelta(minutes=minute))
            for priority, minute in ((0, 1), (0, 0), (5, 3), (5, 2))
        ]
        claimed = [studio.claim().job.id for _ in made]
        assert claimed == [made[place].id for place in (3, 2, 1, 0)]

    def test_a_machine_only_gets_what_it_can_run(self, studio: Studio) -> None:
        studio.submit(requirements=needs_gpu(2, 40.0))
        machines = [
            runner_of("none"),
            runner_of("one", gpus=("A100",), gpu_memory_gb=80),
            runner_of("small", gpus=("T4", "T4"), gpu_memory_gb=16),
        ]
        for machine in machines:
            assert studio.port.claim(machine, lease_seconds=30) is None
        studio.claim(runner_of("two", gpus=("A100", "A100"), gpu_memory_gb=80))

    def test_a_job_for_another_target_is_left(self, studio: Studio) -> None:
        studio.submit(target="workshop")
        assert studio.port.claim(runner_of("laptop"), lease_seconds=30) is None
        studio.claim(runner_of("workshop"))

    def test_a_runner_that_does_not_train_claims_nothing(self, studio: Studio) -> None:
        studio.submit()
        assert studio.port.claim(runner_of(roles=("dispatch",)), lease_seconds=30) is None

    def test_two_runners_never_claim_one_job(self, studio: Studio) -> None:
        for _ in range(12):
            studio.submit()
        claimed: list[str] = []

        def work(name: str) -> None:
            while (claim := studio.port.claim(runner_of(name), lease_seconds=30)) is not None:
                claimed.append(claim.job.id)

        threads = [threading.Thread(target=work, args=(f"runner-{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(claimed) == len(set(claimed)) == 12

    def test_a_job_whose_data_set_is_gone_fails(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.FAILED))
        studio.anne.datasets.delete(claim.dataset.id)
        studio.anne.jobs.move(claim.job.id, JobStatus.QUEUED)
        assert studio.port.claim(runner_of(), lease_seconds=30) is None
        assert studio.job(claim).status is JobStatus.FAILED

    def test_a_renewed_lease_keeps_the_job(self, studio: Studio, pass_time: Callable[[float], None]) -> None:
        claim = studio.claimed()
        for _ in range(3):
            pass_time(20)
            studio.port.renew(claim.job.id, claim.attempt, lease_seconds=30)
        assert studio.port.claim(runner_of("other"), lease_seconds=30) is None

    def test_a_lost_job_goes_back_to_the_queue(
        self, studio: Studio, pass_time: Callable[[float], None]
    ) -> None:
        claim = studio.claimed()
        pass_time(31)
        again = studio.claim(runner_of("other"))
        assert (again.job.id, again.attempt) == (claim.job.id, 2)
        first, second = studio.anne.jobs.attempts(claim.job.id)
        assert (first.outcome, second.outcome) == (Outcome.LOST, None)
        assert "system" in {event.actor for event in studio.anne.jobs.events(claim.job.id).items}

    @pytest.mark.parametrize(
        ("action", "status"), [("cancel", JobStatus.CANCELLED), ("pause", JobStatus.PAUSED)]
    )
    def test_a_lost_job_that_was_asked_to_stop_stops(
        self, studio: Studio, pass_time: Callable[[float], None], action: str, status: JobStatus
    ) -> None:
        claim = studio.claimed()
        studio.anne.jobs.request(claim.job.id, RequestedAction(action))
        pass_time(31)
        assert studio.port.claim(runner_of("other"), lease_seconds=30) is None
        assert studio.job(claim).status is status

    def lose(self, studio: Studio, pass_time: Callable[[float], None], times: int) -> None:
        """Let the box claim its job and be lost so often; each time it is over when the job may be claimed again."""
        for _ in range(times):
            studio.claim(runner_of("box"))
            pass_time(31)
            assert studio.port.claim(runner_of("other"), lease_seconds=30) is None
            pass_time(31)

    def test_a_job_that_is_lost_three_times_in_a_row_fails(
        self, studio: Studio, pass_time: Callable[[float], None]
    ) -> None:
        job = studio.submit(target="box")
        self.lose(studio, pass_time, 3)
        failed = studio.anne.jobs.get(job.id)
        assert (failed.status, failed.attempt) == (JobStatus.FAILED, 3)
        assert "lost" in failed.error
        newest, *_ = studio.anne.notifications.list().items
        assert newest.kind == "job_failed"

    def test_a_checkpoint_ends_the_count_of_lost_attempts(
        self, studio: Studio, pass_time: Callable[[float], None], tmp_path: Path
    ) -> None:
        job = studio.submit(target="box")
        self.lose(studio, pass_time, 2)
        claim = studio.claim(runner_of("box"))
        studio.port.put_artifact(3, artifact_of(claim), folder_of(tmp_path))
        pass_time(31)
        again = studio.claim(runner_of("box"))  # at once: it is the first loss since the checkpoint
        assert (again.job.id, again.attempt) == (job.id, 4)

    def test_the_next_attempt_gets_the_newest_checkpoint(self, studio: Studio, tmp_path: Path) -> None:
        claim, _ = studio.running()
        for step in (100, 200):
            studio.port.put_artifact(
                1, artifact_of(claim, step=step), folder_of(tmp_path, {"state.bin": b"%d" % step})
            )
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.RELEASED))
        again = studio.claim()
        assert again.checkpoint is not None
        with studio.port.open_artifact(claim.job.id, 2, again.checkpoint.id, "state.bin") as stream:
            assert stream.read() == b"200"

    def test_a_runner_reads_the_data_sets_of_its_job_only(self, studio: Studio) -> None:
        claim = studio.claimed()
        other = studio.add_dataset()
        with studio.port.open_dataset(claim.job.id, 1, claim.dataset.id) as stream:
            assert stream.read() == ROWS
        with pytest.raises(NotFound):
            studio.port.open_dataset(claim.job.id, 1, other.id)
