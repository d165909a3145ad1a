"""A person stops, pauses and resumes a job from its page."""

import pytest
from playwright.sync_api import expect

from lora_core.schema.job import JobStatus
from tests.journeys.conftest import OpenStage, Visit
from tests.journeys.stage import ROOT, eventually, script

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SAMPLE = ROOT / "examples" / "formats" / "messages.jsonl"
STEPS = 300


@pytest.mark.modes("embedded", "team", "pod")
def test_cancel_asks_first_by_name_and_ends_the_trainer(open_stage: OpenStage, visit: Visit) -> None:
    stage = open_stage(**script(steps=5000, step_seconds=0.1, checkpoint_every=1000)).start()
    job = stage.add_job(stage.add_dataset(SAMPLE), "Wrong data, sorry")
    stage.wait_for_step(job.id, 3)
    assert stage.trainers()
    person = visit(stage)
    person.open(f"/job?id={job.id}")
    person.sees_status("Running")

    person.button("Cancel").click()
    expect(person.dialog).to_contain_text("Wrong data, sorry")
    person.dialog.get_by_role("button", name="Keep it running").click()
    expect(person.dialog).to_have_count(0)
    step = stage.job(job.id).current_step
    stage.wait_for_step(job.id, step + 5)

    person.button("Cancel").click()
    person.dialog.get_by_role("button", name="Cancel the job").click()
    stage.wait_for_status(job.id, JobStatus.CANCELLED)
    eventually(lambda: not stage.trainers(), "the trainer is gone")
    person.sees_status("Cancelled")
    expect(person.button("Cancel")).to_have_count(0)


@pytest.mark.modes("embedded", "team", "pod")
def test_pause_saves_and_resume_goes_on_from_there(open_stage: OpenStage, visit: Visit) -> None:
    stage = open_stage(**script(steps=STEPS, step_seconds=0.1, checkpoint_every=1000)).start()
    dataset = stage.add_dataset(SAMPLE)
    person = visit(stage)
    person.open()  # before the job starts: the first page of a fresh server takes a while
    job = stage.add_job(dataset, "Nightly")
    stage.wait_for_step(job.id, 5)
    person.open(f"/job?id={job.id}")
    person.sees_status("Running")

    person.button("Pause").click()
    paused = stage.wait_for_status(job.id, JobStatus.PAUSED)
    person.sees_status("Paused")
    assert 5 <= paused.current_step < STEPS
    assert not stage.trainers()

    person.button("Resume").click()
    stage.wait_for_status(job.id, JobStatus.COMPLETED)
    person.sees_status("Completed")
    first, second = stage.workspace.jobs.attempts(job.id)
    assert second.start_step == paused.current_step
    assert first.number == 1
