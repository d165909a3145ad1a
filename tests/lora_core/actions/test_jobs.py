"""What a person does with jobs, on a real store; the runner's part is played through its port."""

from datetime import timedelta

import pytest

from lora_core.actions import datasets, jobs, overview
from lora_core.actions.configs import override_config
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, ModelError, NotAllowed, NotFound
from lora_core.schema.base import utc_now
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import DatasetFormat, DatasetStatus
from lora_core.schema.job import MAX_ESTIMATED_SECONDS, EndOfAttempt, JobStatus, Outcome, RequestedAction
from lora_core.schema.run import EventKind, RunEvent
from lora_core.studio import Studio
from tests.lora_core.actions.scenes import ROW, checked, claimed, submitted


def test_a_submitted_job_is_queued(workspace: Workspace) -> None:
    job = submitted(workspace)
    assert (jobs.get_job(workspace, job.id).status, job.dataset_name) == (JobStatus.QUEUED, "a")


def test_submitting_the_same_id_twice_makes_one_job(workspace: Workspace) -> None:
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])))
    job_id = "00000000-0000-4000-8000-00000000aaaa"
    for _click in range(2):
        jobs.submit_job(workspace, name="n", dataset_id=dataset.id, config=TrainingConfig(), job_id=job_id)
    assert len(jobs.list_jobs(workspace).items) == 1


def test_an_estimate_beyond_what_stores_keep_does_not_stop_a_job(workspace: Workspace) -> None:
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])))
    job = jobs.submit_job(
        workspace, name="n", dataset_id=dataset.id, config=TrainingConfig(), estimated_seconds=1e12
    )
    assert job.estimated_seconds == MAX_ESTIMATED_SECONDS


@pytest.mark.parametrize("status", [status for status in DatasetStatus if status is not DatasetStatus.READY])
def test_a_data_set_that_is_not_ready_cannot_be_trained_on(
    workspace: Workspace, status: DatasetStatus
) -> None:
    with pytest.raises(NotAllowed) as refused:
        submitted(workspace, status=status)
    assert refused.value.next_step


def test_plain_text_has_no_answers_to_learn_from(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="loss_on"):
        submitted(workspace, format=DatasetFormat.TEXT)


def test_an_unknown_base_model_is_refused_before_anything_is_queued(workspace: Workspace) -> None:
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])))
    config = override_config(TrainingConfig(), ["model.base=no such model"])
    with pytest.raises(ModelError):
        jobs.submit_job(workspace, name="n", dataset_id=dataset.id, config=config)
    assert not jobs.list_jobs(workspace).items


def test_a_queued_job_is_cancelled_at_once(workspace: Workspace) -> None:
    assert jobs.cancel_job(workspace, submitted(workspace).id).status is JobStatus.CANCELLED


def test_a_claimed_job_is_asked_to_cancel(studio: Studio, workspace: Workspace) -> None:
    job = submitted(workspace)
    claimed(studio)
    assert jobs.cancel_job(workspace, job.id).requested_action is RequestedAction.CANCEL


def test_a_cancel_that_came_too_late_says_so(studio: Studio, workspace: Workspace) -> None:
    job = submitted(workspace)
    studio.runner_port().end(job.id, claimed(studio), EndOfAttempt(outcome=Outcome.FAILED, error="boom"))
    jobs.cancel_job(workspace, submitted(workspace, "other").id)
    with pytest.raises(NotAllowed):
        jobs.cancel_job(workspace, job.id)


def test_a_paused_job_goes_back_to_the_queue(workspace: Workspace) -> None:
    job = jobs.pause_job(workspace, submitted(workspace).id)
    assert job.status is JobStatus.PAUSED
    assert jobs.resume_job(workspace, job.id).status is JobStatus.QUEUED


def test_every_transition_is_in_the_audit_trail(workspace: Workspace) -> None:
    job = submitted(workspace)
    jobs.pause_job(workspace, job.id)
    jobs.resume_job(workspace, job.id)
    moves = [event.to_status for event in jobs.list_events(workspace, job.id).items]
    assert moves == [JobStatus.QUEUED, JobStatus.PAUSED, JobStatus.QUEUED]


def test_a_live_job_cannot_be_deleted(workspace: Workspace) -> None:
    with pytest.raises(NotAllowed, match="Cancel it first"):
        jobs.delete_job(workspace, submitted(workspace).id)


def test_a_deleted_job_is_gone(workspace: Workspace) -> None:
    job = jobs.cancel_job(workspace, submitted(workspace).id)
    jobs.delete_job(workspace, job.id)
    with pytest.raises(NotFound):
        jobs.get_job(workspace, job.id)


def test_a_job_page_without_points_is_empty_and_says_what_it_waits_for(workspace: Workspace) -> None:
    snapshot = jobs.read_job_page(workspace, submitted(workspace).id, jobs.ChartView())
    assert (snapshot.raw.x, snapshot.newest, snapshot.connected) == ((), None, True)
    assert snapshot.waiting_for.startswith("No runner is online")


def test_a_job_page_shows_what_the_runner_shipped(studio: Studio, workspace: Workspace) -> None:
    job = submitted(workspace)
    now = utc_now()
    points = [
        RunEvent(
            seq=step, at=now, kind=EventKind.METRICS, data={"kind": "train", "step": step, "loss": 1 / step}
        )
        for step in range(1, 6)
    ]
    studio.runner_port().ship(job.id, claimed(studio), points)
    snapshot = jobs.read_job_page(workspace, job.id, jobs.ChartView(smoothing=0.5))
    assert snapshot.raw.columns["loss"] == (1.0, 0.5, 1 / 3, 0.25, 0.2)
    assert snapshot.smooth.columns["loss"][0] == 1.0
    assert 0.2 < (snapshot.smooth.columns["loss"][-1] or 0) < 0.5


def test_a_runner_not_heard_of_is_disconnected(workspace: Workspace) -> None:
    job = submitted(workspace).model_copy(update={"status": JobStatus.RUNNING, "heartbeat_at": utc_now()})
    assert jobs.is_connected(job)
    assert not jobs.is_connected(job, utc_now() + timedelta(minutes=2))


def test_the_overview_counts_live_and_ended_jobs(workspace: Workspace) -> None:
    submitted(workspace, "one")
    jobs.cancel_job(workspace, submitted(workspace, "two").id)
    seen = overview.read_overview(workspace)
    assert [job.name for job in seen.live] == ["one"]
    assert [job.name for job in seen.recent] == ["two"]
    assert seen.counts == {JobStatus.QUEUED: 1, JobStatus.CANCELLED: 1}


def test_a_job_is_live_until_it_is_paused_or_over(studio: Studio, workspace: Workspace) -> None:
    job = submitted(workspace)
    assert (jobs.is_live(job), jobs.is_held(job), jobs.is_over(job)) == (True, False, False)
    claimed(studio)
    job = jobs.get_job(workspace, job.id)
    assert (jobs.is_live(job), jobs.is_held(job), jobs.is_over(job)) == (True, True, False)
    for status, over in ((JobStatus.PAUSED, False), (JobStatus.FAILED, True), (JobStatus.COMPLETED, True)):
        ended = job.model_copy(update={"status": status})
        assert (jobs.is_live(ended), jobs.is_over(ended)) == (False, over)
