"""Nothing that happens to browser or app harms a job: it trains in a process of its own, and the page finds it again."""

import pytest

from lora_core.schema.job import JobStatus
from tests.journeys.conftest import OpenStage, Visit
from tests.journeys.stage import ROOT, Stage, eventually, script
from tests.journeys.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SAMPLE = ROOT / "examples" / "formats" / "messages.jsonl"


def running_job(stage: Stage) -> str:
    """Start the studio with a job of some minutes and wait until it runs."""
    stage.start()
    job = stage.add_job(stage.add_dataset(SAMPLE), "Long one")
    stage.wait_for_step(job.id, 3)
    return job.id


def shows_newer(person: Visitor, step: int) -> None:
    """Wait until the page shows a step beyond this one."""
    eventually(lambda: person.step_shown() > step, f"the page shows a step after {step}")


@pytest.mark.modes("embedded", "team", "pod")
def test_a_job_outlives_the_app_and_the_open_page_finds_it_again(open_stage: OpenStage, visit: Visit) -> None:
    stage = open_stage(**script(steps=2000, step_seconds=0.1, checkpoint_every=500))
    job_id = running_job(stage)
    person = visit(stage)
    person.open(f"/job?id={job_id}")
    person.sees_status("Running")
    shows_newer(person, 3)

    stage.kill_app()
    before = stage.job(job_id).current_step
    stage.wait_for_step(job_id, before + 20)
    stage.start_app()

    at_start = stage.job(job_id).current_step
    shows_newer(person, at_start)
    person.sees_status("Running")
    person.reload()
    shows_newer(person, at_start + 1)
    assert [attempt.number for attempt in stage.workspace.jobs.attempts(job_id)] == [1]


@pytest.mark.modes("embedded", "team")
def test_a_job_outlives_the_browser(open_stage: OpenStage, visit: Visit) -> None:
    stage = open_stage(**script(steps=500, step_seconds=0.1, checkpoint_every=50))
    job_id = running_job(stage)
    person = visit(stage)
    person.open(f"/job?id={job_id}")
    person.sees_status("Running")
    person.context.close()

    stage.wait_for_step(job_id, stage.job(job_id).current_step + 20)
    stage.wait_for_status(job_id, JobStatus.COMPLETED, within=240)
    later = visit(stage)
    later.open(f"/job?id={job_id}")
    later.sees_status("Completed")
