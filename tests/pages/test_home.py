"""The home page: empty, with data but no jobs, and with jobs."""

from lora_core.actions import datasets, jobs
from lora_core.actions.workspace import Workspace
from lora_core.schema.config import TrainingConfig
from lora_core.schema.job import EndOfAttempt, Job, Outcome
from lora_core.studio import Studio
from tests.pages.checked import RUNNER, checked_dataset
from tests.pages.conftest import OpenPage
from tests.pages.words import words

ROW = '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}\n'


def submitted(studio: Studio, name: str) -> Job:
    workspace = studio.workspace()
    known = datasets.list_datasets(workspace).items
    dataset = known[0] if known else checked_dataset(studio, ROW * 3, name="greetings")
    return jobs.submit_job(workspace, name=name, dataset_id=dataset.id, config=TrainingConfig())


def completed(studio: Studio, name: str) -> Job:
    job = submitted(studio, name)
    port = studio.runner_port()
    claim = port.claim(RUNNER, lease_seconds=60)
    assert claim is not None
    port.end(job.id, claim.attempt, EndOfAttempt(outcome=Outcome.FAILED, reason="out of memory"))
    return job


def test_a_fresh_studio_says_what_to_do_first(open_page: OpenPage, workspace: Workspace) -> None:
    page = open_page("home")
    assert "Fine-tune your first model" in words(page)
    page.button(key="sample").click().run()
    assert len(datasets.list_datasets(workspace).items) == 1


def test_data_without_jobs_leads_to_the_first_job(open_page: OpenPage, studio: Studio) -> None:
    checked_dataset(studio, ROW)
    page = open_page("home")
    assert page.button(key="first_job").label == "Start the first job"


def test_a_live_job_is_a_card(open_page: OpenPage, studio: Studio) -> None:
    submitted(studio, "my *first* job")
    page = open_page("home")
    assert page.metric[0].value == "0"
    assert "1 waiting" in words(page)
    assert "my \\*first\\* job" in words(page)


def test_an_ended_job_is_listed_and_opens(open_page: OpenPage, studio: Studio) -> None:
    job = completed(studio, "old job")
    page = open_page("home")
    assert "1 failed" in words(page)
    page.button(key=f"open_{job.id}").click().run()
    assert not page.exception


def test_messages_of_the_bell_are_shown(open_page: OpenPage, studio: Studio, workspace: Workspace) -> None:
    completed(studio, "old job")
    page = open_page("home")
    (newest, *_) = workspace.notifications.list().items
    assert newest.title.split()[0] in words(page)
