"""What every store must do about the order of its queue, about jobs put away, and about where an attempt begins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lora_core.errors import NotAllowed, NotFound
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.base import new_id
from lora_core.schema.job import EndOfAttempt, JobFilter, JobStatus, Outcome, WaitReason
from lora_core.schema.runner import Claim
from tests.contracts.samples import (
    BEN,
    START,
    Studio,
    artifact_of,
    dataset_of,
    folder_of,
    job_of,
    needs_gpu,
    runner_of,
)
from tests.contracts.store_contract.stage import StoreContract

FAR = datetime(2999, 1, 1, tzinfo=UTC)


def actions_of(studio: Studio, job_id: str) -> list[tuple[str, str]]:
    return [(event.action, event.reason) for event in studio.anne.jobs.events(job_id).items]


class QueueContract(StoreContract):
    @pytest.fixture
    def kept(self, studio: Studio, tmp_path: Path) -> tuple[Claim, Artifact, Artifact]:
        """Return a paused job's claim with its checkpoints of step 100 and 200."""
        claim, _ = studio.running(name="Parent")
        early, late = (self.keep(studio, claim, tmp_path, step) for step in (100, 200))
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.PAUSED))
        return claim, early, late

    def keep(self, studio: Studio, claim: Claim, root: Path, step: int) -> Artifact:
        folder = folder_of(root, {"adapter.safetensors": f"weights {step}".encode()})
        return studio.port.put_artifact(claim.attempt, artifact_of(claim, step=step), folder)

    def fork(self, studio: Studio, checkpoint: Artifact) -> str:
        parent = studio.anne.jobs.get(checkpoint.job_id)
        return studio.submit(dataset_id=parent.dataset_id, parent_artifact_id=checkpoint.id).id

    # Priority and earliest start

    def test_a_higher_priority_goes_first(self, studio: Studio) -> None:
        studio.submit(name="first")
        second = studio.submit(name="second", created_at=START + timedelta(seconds=1))
        assert studio.anne.jobs.prioritise(second.id, 5).priority == 5
        assert studio.claim().job.id == second.id

    def test_a_changed_priority_is_in_the_audit_trail_once(self, studio: Studio) -> None:
        job = studio.submit()
        for _ in range(2):
            studio.anne.jobs.prioritise(job.id, -7)
        assert actions_of(studio, job.id)[:-1] == [("priority changed", "0 to -7")]

    @pytest.mark.parametrize("priority", [-101, 101])
    def test_a_priority_has_bounds(self, studio: Studio, priority: int) -> None:
        with pytest.raises(NotAllowed, match="between -100 and 100"):
            studio.anne.jobs.prioritise(studio.submit().id, priority)
        assert -100 <= studio.submit(priority=priority).priority <= 100

    def test_no_runner_takes_a_job_before_its_earliest_start(self, studio: Studio) -> None:
        job = studio.submit(not_before=FAR)
        assert studio.anne.jobs.get(job.id).not_before == FAR
        assert studio.port.claim(runner_of(), lease_seconds=30) is None
        assert studio.anne.jobs.start_after(job.id, None).not_before is None
        assert studio.claim().job.id == job.id

    def test_a_job_whose_earliest_start_has_come_is_taken(self, studio: Studio) -> None:
        job = studio.submit()
        studio.anne.jobs.start_after(job.id, START - timedelta(seconds=1))
        assert studio.claim().job.id == job.id

    def test_a_job_that_waits_for_its_time_holds_nobody_up(self, studio: Studio) -> None:
        studio.submit(not_before=FAR, priority=50)
        other = studio.submit()
        assert studio.claim().job.id == other.id

    @pytest.mark.parametrize("year", [1969, 9999])
    def test_a_job_starts_at_a_time_that_every_zone_has(self, studio: Studio, year: int) -> None:
        moment = datetime(year, 12, 31, 23, tzinfo=UTC)
        job = studio.submit()
        with pytest.raises(NotAllowed):
            studio.anne.jobs.start_after(job.id, moment)
        with pytest.raises(NotAllowed):
            studio.submit(not_before=moment)

    def test_a_changed_start_is_in_the_audit_trail(self, studio: Studio) -> None:
        job = studio.submit()
        studio.anne.jobs.start_after(job.id, FAR)
        studio.anne.jobs.start_after(job.id, None)
        assert actions_of(studio, job.id)[:-1] == [
            ("start changed", "at once"),
            ("start changed", "not before 2999-01-01T00:00:00.000000Z"),
        ]

    def test_only_a_job_that_waits_can_be_moved_in_the_queue(self, studio: Studio) -> None:
        claim = studio.claimed()
        with pytest.raises(NotAllowed, match="does not wait"):
            studio.anne.jobs.prioritise(claim.job.id, 1)
        with pytest.raises(NotAllowed, match="does not wait"):
            studio.anne.jobs.start_after(claim.job.id, FAR)

    # Archive

    def test_an_archived_job_is_listed_only_when_asked_for(self, studio: Studio) -> None:
        kept, away = studio.submit(), studio.submit()
        studio.anne.jobs.move(away.id, JobStatus.CANCELLED)
        assert studio.anne.jobs.archive(away.id, archived=True).archived_at is not None

        def listed(archived: bool | None) -> set[str]:
            return {job.id for job in studio.anne.jobs.list(JobFilter(archived=archived)).items}

        assert (listed(False), listed(True), listed(None)) == ({kept.id}, {away.id}, {kept.id, away.id})
        assert studio.anne.jobs.counts() == {JobStatus.QUEUED: 1}
        assert studio.anne.jobs.archive(away.id, archived=False).archived_at is None
        assert listed(False) == {kept.id, away.id}

    def test_only_an_ended_job_can_be_archived(self, studio: Studio) -> None:
        job = studio.submit()
        for status in (JobStatus.QUEUED, JobStatus.PAUSED):
            if status is JobStatus.PAUSED:
                studio.anne.jobs.move(job.id, status)
            with pytest.raises(NotAllowed, match="only an ended job"):
                studio.anne.jobs.archive(job.id, archived=True)

    def test_an_archived_job_that_is_queued_again_comes_back(self, studio: Studio) -> None:
        job = studio.submit()
        studio.anne.jobs.move(job.id, JobStatus.CANCELLED)
        studio.anne.jobs.archive(job.id, archived=True)
        assert studio.anne.jobs.move(job.id, JobStatus.QUEUED).archived_at is None

    # Where an attempt begins

    def test_a_job_goes_on_from_the_checkpoint_that_was_chosen(
        self, studio: Studio, kept: tuple[Claim, Artifact, Artifact]
    ) -> None:
        claim, early, _ = kept
        moved = studio.anne.jobs.move(claim.job.id, JobStatus.QUEUED, reason="again", checkpoint_id=early.id)
        assert moved.resume_from == early.id
        assert actions_of(studio, claim.job.id)[0] == ("queued", "again (from step 100)")
        again = studio.claim()
        assert again.checkpoint is not None
        assert again.checkpoint.id == early.id

    def test_a_choice_holds_until_a_newer_checkpoint_is_stored(
        self, studio: Studio, kept: tuple[Claim, Artifact, Artifact], tmp_path: Path
    ) -> None:
        claim, early, _ = kept
        studio.anne.jobs.move(claim.job.id, JobStatus.QUEUED, checkpoint_id=early.id)
        lost = studio.claim()
        studio.port.end(lost.job.id, lost.attempt, EndOfAttempt(outcome=Outcome.RELEASED))
        again = studio.claim()
        assert again.checkpoint is not None
        assert again.checkpoint.id == early.id
        newest = self.keep(studio, again, tmp_path, 110)
        assert studio.anne.jobs.get(claim.job.id).resume_from is None
        studio.port.end(again.job.id, again.attempt, EndOfAttempt(outcome=Outcome.RELEASED))
        last = studio.claim()
        assert last.checkpoint is not None
        assert last.checkpoint.id == newest.id

    def test_to_resume_without_a_choice_takes_an_earlier_choice_back(
        self, studio: Studio, kept: tuple[Claim, Artifact, Artifact]
    ) -> None:
        claim, early, late = kept
        studio.anne.jobs.move(claim.job.id, JobStatus.QUEUED, checkpoint_id=early.id)
        studio.anne.jobs.move(claim.job.id, JobStatus.PAUSED)
        studio.anne.jobs.move(claim.job.id, JobStatus.QUEUED)
        again = studio.claim()
        assert again.checkpoint is not None
        assert again.checkpoint.id == late.id

    def test_only_a_checkpoint_of_the_job_can_be_chosen(
        self, studio: Studio, kept: tuple[Claim, Artifact, Artifact], tmp_path: Path
    ) -> None:
        _, early, _ = kept
        other, _ = studio.running()
        adapter = artifact_of(other, ArtifactKind.ADAPTER)
        studio.port.put_artifact(other.attempt, adapter, folder_of(tmp_path))
        studio.port.end(other.job.id, other.attempt, EndOfAttempt(outcome=Outcome.PAUSED))
        for chosen in (early.id, adapter.id, new_id(), "nonsense"):
            with pytest.raises(NotFound):
                studio.anne.jobs.move(other.job.id, JobStatus.QUEUED, checkpoint_id=chosen)
        assert studio.anne.jobs.get(other.job.id).status is JobStatus.PAUSED

    def test_a_fork_starts_from_its_parents_checkpoint_and_reads_it(
        self, studio: Studio, kept: tuple[Claim, Artifact, Artifact]
    ) -> None:
        claim, early, late = kept
        fork = self.fork(studio, early)
        begun = studio.claim()
        assert begun.job.id == fork
        assert (begun.job.parent_job_id, begun.job.parent_artifact_id) == (claim.job.id, early.id)
        assert begun.checkpoint is not None
        assert begun.checkpoint.id == early.id
        with studio.port.open_artifact(fork, begun.attempt, early.id, "adapter.safetensors") as stream:
            assert stream.read() == b"weights 100"
        with pytest.raises(NotFound):  # the parent's other checkpoint is none of its business
            studio.port.open_artifact(fork, begun.attempt, late.id, "adapter.safetensors")
        assert actions_of(studio, fork)[-1] == ("submitted", "forked from step 100 of “Parent”")

    def test_a_fork_goes_on_from_its_own_checkpoint_once_it_has_one(
        self, studio: Studio, kept: tuple[Claim, Artifact, Artifact], tmp_path: Path
    ) -> None:
        self.fork(studio, kept[1])
        begun = studio.claim()
        own = self.keep(studio, begun, tmp_path, 105)
        studio.port.end(begun.job.id, begun.attempt, EndOfAttempt(outcome=Outcome.RELEASED))
        again = studio.claim()
        assert again.checkpoint is not None
        assert again.checkpoint.id == own.id

    def test_a_fork_keeps_its_parents_checkpoint_from_rotation(
        self, studio: Studio, kept: tuple[Claim, Artifact, Artifact]
    ) -> None:
        self.fork(studio, kept[1])
        assert studio.anne.artifacts.get(kept[1].id).pinned

    def test_a_runner_of_a_fork_removes_nothing_of_the_parent(
        self, studio: Studio, kept: tuple[Claim, Artifact, Artifact]
    ) -> None:
        fork = self.fork(studio, kept[1])
        studio.anne.artifacts.pin(kept[1].id, pinned=False)
        begun = studio.claim()
        studio.port.drop_artifact(fork, begun.attempt, kept[1].id)
        assert studio.anne.artifacts.get(kept[1].id) == kept[1]

    def test_a_fork_whose_checkpoint_is_gone_fails_and_does_not_begin_from_nothing(
        self, studio: Studio, kept: tuple[Claim, Artifact, Artifact]
    ) -> None:
        fork = self.fork(studio, kept[1])
        studio.anne.artifacts.delete(kept[1].id)
        assert studio.port.claim(runner_of(), lease_seconds=30) is None
        failed = studio.anne.jobs.get(fork)
        assert failed.status is JobStatus.FAILED
        assert failed.error == "The checkpoint that this job starts from has been deleted."

    def test_only_ones_own_checkpoint_can_be_forked(
        self, studio: Studio, kept: tuple[Claim, Artifact, Artifact], tmp_path: Path
    ) -> None:
        dataset = dataset_of(BEN)
        studio.ben.datasets.add(dataset)
        with pytest.raises(NotFound):
            studio.ben.jobs.submit(job_of(BEN, dataset.id, parent_artifact_id=kept[1].id))
        other, _ = studio.running()
        adapter = artifact_of(other, ArtifactKind.ADAPTER)
        studio.port.put_artifact(other.attempt, adapter, folder_of(tmp_path))
        with pytest.raises(NotAllowed, match="starts from a checkpoint"):
            self.fork(studio, adapter)

    # Where a queued job stands

    def test_a_place_says_that_no_runner_is_there(
        self, studio: Studio, pass_time: Callable[[float], None]
    ) -> None:
        job = studio.submit()
        place = studio.anne.jobs.queue_place(job.id)
        assert place is not None
        assert place.reason is WaitReason.NO_RUNNER
        studio.port.announce(runner_of())
        pass_time(60)
        place = studio.anne.jobs.queue_place(job.id)
        assert place is not None
        assert place.reason is WaitReason.NO_RUNNER

    def test_a_place_says_that_no_runner_is_large_enough(self, studio: Studio) -> None:
        studio.port.announce(runner_of(gpus=("A10",), gpu_memory_gb=24.0))
        job = studio.submit(requirements=needs_gpu(1, 80.0))
        place = studio.anne.jobs.queue_place(job.id)
        assert place is not None
        assert place.reason is WaitReason.TOO_SMALL

    def test_a_place_says_until_when_a_job_waits(self, studio: Studio) -> None:
        studio.port.announce(runner_of())
        place = studio.anne.jobs.queue_place(studio.submit(not_before=FAR).id)
        assert place is not None
        assert (place.reason, place.until) == (WaitReason.NOT_BEFORE, FAR)

    def test_a_place_counts_what_goes_before_on_runners_that_can_take_it(self, studio: Studio) -> None:
        studio.port.announce(runner_of("box"))
        studio.submit()
        studio.claim(runner_of("box"))
        first = studio.submit()
        studio.submit(requirements=needs_gpu(8, 80.0), created_at=START)  # no runner can take it
        studio.submit(not_before=FAR, created_at=START)
        urgent = studio.submit(priority=9, created_at=START + timedelta(hours=2))
        last = studio.submit(created_at=START + timedelta(hours=1))
        places = {job.id: studio.anne.jobs.queue_place(job.id) for job in (urgent, first, last)}
        assert [place and (place.position, place.reason) for place in places.values()] == [
            (0, WaitReason.BUSY),
            (1, WaitReason.BUSY),
            (2, WaitReason.BUSY),
        ]

    def test_the_first_job_before_a_free_runner_is_next(self, studio: Studio) -> None:
        studio.port.announce(runner_of())
        place = studio.anne.jobs.queue_place(studio.submit().id)
        assert place is not None
        assert (place.position, place.reason) == (0, WaitReason.NEXT)

    def test_only_a_queued_job_has_a_place(self, studio: Studio) -> None:
        assert studio.anne.jobs.queue_place(studio.claimed().job.id) is None

    def test_another_persons_job_has_no_place_and_stays_as_it_is(self, studio: Studio) -> None:
        job = studio.submit()
        jobs = studio.ben.jobs
        calls: list[Callable[[], object]] = [
            lambda: jobs.queue_place(job.id),
            lambda: jobs.prioritise(job.id, 1),
            lambda: jobs.start_after(job.id, None),
            lambda: jobs.archive(job.id, archived=True),
        ]
        for call in calls:
            with pytest.raises(NotFound):
                call()
