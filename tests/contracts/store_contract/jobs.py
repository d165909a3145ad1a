"""What every store of jobs must do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lora_core.errors import Forbidden, NotAllowed, NotFound, StudioError
from lora_core.schema.job import EndOfAttempt, JobFilter, JobStatus, Outcome, RequestedAction
from lora_core.schema.metrics import MetricKind
from lora_core.store.base import MAX_PAGE
from tests.contracts.samples import (
    ANNE,
    BEN,
    START,
    Studio,
    artifact_of,
    folder_of,
    job_of,
    needs_gpu,
)
from tests.contracts.store_contract.stage import StoreContract, walk


class JobStoreContract(StoreContract):
    def test_a_submitted_job_is_queued(self, studio: Studio) -> None:
        job = studio.submit(name="Try", priority=3, requirements=needs_gpu(1, 24.0))
        stored = studio.anne.jobs.get(job.id)
        assert (stored.status, stored.name, stored.priority) == (JobStatus.QUEUED, "Try", 3)
        assert stored.requirements == needs_gpu(1, 24.0)

    def test_submitting_again_returns_the_stored_job(self, studio: Studio) -> None:
        dataset = studio.add_dataset()
        job = job_of(ANNE, dataset.id)
        first = studio.anne.jobs.submit(job)
        assert studio.anne.jobs.submit(job.model_copy(update={"name": "Other"})) == first
        assert studio.anne.jobs.counts() == {JobStatus.QUEUED: 1}

    def test_a_job_on_somebody_elses_data_set_is_not_found(self, studio: Studio) -> None:
        dataset = studio.add_dataset()
        with pytest.raises(NotFound):
            studio.ben.jobs.submit(job_of(BEN, dataset.id))

    def test_a_job_for_somebody_else_is_refused(self, studio: Studio) -> None:
        with pytest.raises(Forbidden):
            studio.ben.jobs.submit(job_of(ANNE, studio.add_dataset().id))

    def test_another_persons_job_is_not_found(self, studio: Studio) -> None:
        job = studio.submit()
        jobs, metrics = studio.ben.jobs, studio.ben.metrics
        reads: list[Callable[[], object]] = [
            lambda: jobs.get(job.id),
            lambda: jobs.move(job.id, JobStatus.CANCELLED),
            lambda: jobs.request(job.id, RequestedAction.CANCEL),
            lambda: jobs.rename(job.id, "mine"),
            lambda: jobs.delete(job.id),
            lambda: jobs.events(job.id),
            lambda: jobs.attempts(job.id),
            lambda: metrics.series(job.id, MetricKind.TRAIN, ["loss"]),
            lambda: metrics.points(job.id, MetricKind.TRAIN),
            lambda: metrics.latest(job.id, MetricKind.TRAIN),
            lambda: metrics.logs(job.id),
            lambda: studio.ben.artifacts.list(job.id),
        ]
        for read in reads:
            with pytest.raises(NotFound):
                read()
        assert not studio.ben.jobs.list(JobFilter()).items

    def test_lists_are_newest_first_and_complete_over_pages(self, studio: Studio) -> None:
        dataset = studio.add_dataset()
        hours = (5, 1, 3, 3, 4)
        for hour in hours:
            studio.submit(dataset_id=dataset.id, created_at=START + timedelta(hours=hour))
        listed = walk(lambda cursor: studio.anne.jobs.list(JobFilter(), limit=2, cursor=cursor))
        assert [job.created_at for job in listed] == [
            START + timedelta(hours=hour) for hour in (5, 4, 3, 3, 1)
        ]
        assert len({job.id for job in listed}) == len(hours)

    def test_a_limit_above_the_most_is_cut(self, studio: Studio) -> None:
        studio.submit()
        assert len(studio.anne.jobs.list(JobFilter(), limit=MAX_PAGE * 10).items) == 1

    def test_a_filter_finds_by_name_state_and_data_set(self, studio: Studio) -> None:
        first, second = studio.submit(name="Alpha"), studio.submit(name="alphabet")
        studio.anne.jobs.move(second.id, JobStatus.PAUSED)
        found = studio.anne.jobs.list(
            JobFilter(search="ALPHA", statuses=(JobStatus.PAUSED, JobStatus.FAILED))
        )
        assert [job.id for job in found.items] == [second.id]
        for beginning in (first.id, first.id[:12], first.id[:9].upper()):
            (begun,) = studio.anne.jobs.list(JobFilter(id_begins=beginning)).items
            assert begun.id == first.id
        for nobodys in ("none", f"{first.id}0", first.id.replace("-", "")):
            assert not studio.anne.jobs.list(JobFilter(id_begins=nobodys)).items
        found = studio.anne.jobs.list(JobFilter(dataset_id=first.dataset_id))
        assert [job.id for job in found.items] == [first.id]

    def test_a_cursor_of_another_list_is_a_studio_error(self, studio: Studio) -> None:
        for _ in range(2):
            studio.submit()
        cursor = studio.anne.jobs.list(JobFilter(), limit=1).cursor
        with pytest.raises(StudioError):
            studio.anne.datasets.list(cursor=cursor)

    def test_counts_leave_out_states_without_jobs(self, studio: Studio) -> None:
        studio.submit()
        studio.anne.jobs.move(studio.submit().id, JobStatus.PAUSED)
        assert studio.anne.jobs.counts() == {JobStatus.QUEUED: 1, JobStatus.PAUSED: 1}

    def test_a_queued_job_can_be_held_and_queued_again(self, studio: Studio) -> None:
        job = studio.submit()
        assert studio.anne.jobs.move(job.id, JobStatus.PAUSED).status is JobStatus.PAUSED
        assert studio.anne.jobs.move(job.id, JobStatus.QUEUED).status is JobStatus.QUEUED

    def test_a_cancelled_job_has_an_end_until_it_is_tried_again(self, studio: Studio) -> None:
        job = studio.submit()
        assert studio.anne.jobs.move(job.id, JobStatus.CANCELLED).ended_at is not None
        assert studio.anne.jobs.move(job.id, JobStatus.QUEUED).ended_at is None

    @pytest.mark.parametrize(
        "to", [JobStatus.RUNNING, JobStatus.COMPLETED, JobStatus.QUEUED, JobStatus.FAILED]
    )
    def test_a_person_cannot_make_other_transitions(self, studio: Studio, to: JobStatus) -> None:
        with pytest.raises(NotAllowed):
            studio.anne.jobs.move(studio.submit().id, to)

    def test_a_job_that_a_runner_holds_cannot_be_moved(self, studio: Studio) -> None:
        claim = studio.claimed()
        with pytest.raises(NotAllowed):
            studio.anne.jobs.move(claim.job.id, JobStatus.CANCELLED)

    def test_a_request_reaches_the_runner_with_its_id(self, studio: Studio) -> None:
        claim, _ = studio.running()
        assert (
            studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE).requested_action
            is RequestedAction.PAUSE
        )
        directive = studio.port.renew(claim.job.id, claim.attempt, lease_seconds=30)
        assert directive.requested_action is RequestedAction.PAUSE
        assert directive.request_id

    def test_the_same_request_again_keeps_its_id(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE)
        first = studio.port.renew(claim.job.id, claim.attempt, lease_seconds=30)
        studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE)
        assert studio.port.renew(claim.job.id, claim.attempt, lease_seconds=30) == first

    def test_a_cancel_replaces_a_pause_but_never_the_other_way(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE)
        studio.anne.jobs.request(claim.job.id, RequestedAction.CANCEL)
        with pytest.raises(NotAllowed):
            studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE)

    def test_an_ended_job_cannot_be_asked_for_anything(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.COMPLETED))
        for action in RequestedAction:
            with pytest.raises(NotAllowed):
                studio.anne.jobs.request(claim.job.id, action)

    def test_a_job_that_does_not_train_yet_cannot_be_asked_for_a_checkpoint(self, studio: Studio) -> None:
        claim = studio.claimed()
        with pytest.raises(NotAllowed):
            studio.anne.jobs.request(claim.job.id, RequestedAction.CHECKPOINT)

    def test_asking_to_cancel_a_queued_job_cancels_it(self, studio: Studio) -> None:
        job = studio.submit()
        assert studio.anne.jobs.request(job.id, RequestedAction.CANCEL).status is JobStatus.CANCELLED

    def test_a_job_can_be_renamed_in_any_state(self, studio: Studio) -> None:
        claim, _ = studio.running()
        assert studio.anne.jobs.rename(claim.job.id, "Better name").name == "Better name"

    def test_every_transition_leaves_a_line_in_the_audit_trail(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.COMPLETED))
        steps = [
            (e.from_status, e.to_status) for e in studio.anne.jobs.events(claim.job.id).items if e.to_status
        ]
        assert steps == [
            (JobStatus.RUNNING, JobStatus.COMPLETED),
            (JobStatus.INITIALIZING, JobStatus.RUNNING),
            (JobStatus.QUEUED, JobStatus.INITIALIZING),
            (None, JobStatus.QUEUED),
        ]

    def test_the_audit_trail_is_complete_over_pages(self, studio: Studio) -> None:
        job = studio.submit()
        for to in (JobStatus.PAUSED, JobStatus.QUEUED, JobStatus.CANCELLED):
            studio.anne.jobs.move(job.id, to, reason="because")
        events = walk(lambda cursor: studio.anne.jobs.events(job.id, limit=3, cursor=cursor))
        assert [event.to_status for event in events] == [
            JobStatus.CANCELLED,
            JobStatus.QUEUED,
            JobStatus.PAUSED,
            JobStatus.QUEUED,
        ]

    def test_a_live_or_paused_job_cannot_be_deleted(self, studio: Studio) -> None:
        job = studio.submit()
        with pytest.raises(NotAllowed):
            studio.anne.jobs.delete(job.id)
        studio.anne.jobs.move(job.id, JobStatus.PAUSED)
        with pytest.raises(NotAllowed):
            studio.anne.jobs.delete(job.id)

    def test_a_deleted_job_takes_its_artifacts_with_it(self, studio: Studio, tmp_path: Path) -> None:
        claim, _ = studio.running()
        artifact = studio.port.put_artifact(claim.attempt, artifact_of(claim), folder_of(tmp_path))
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.FAILED))
        studio.anne.jobs.delete(claim.job.id)
        with pytest.raises(NotFound):
            studio.anne.jobs.get(claim.job.id)
        with pytest.raises(NotFound):
            studio.anne.artifacts.get(artifact.id)
        with pytest.raises(NotFound):
            studio.anne.blobs.open(artifact.bucket, f"{artifact.path}/{artifact.files[0].name}")
