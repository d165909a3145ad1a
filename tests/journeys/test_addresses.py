"""Addresses: they can be shared and reloaded, a wrong one gets a calm answer, and every page fits a phone and both schemes."""

import re

import pytest
from playwright.sync_api import expect

from lora_core.schema.dataset import Dataset
from lora_core.schema.job import Job, JobStatus
from tests.journeys.conftest import OpenStage, Visit
from tests.journeys.stage import ROOT, Stage, script
from tests.journeys.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SAMPLE = ROOT / "examples" / "formats" / "messages.jsonl"
UNKNOWN_ID = "3f0c7f2e-6f0e-4d0c-9b53-0123456789ab"
BACKGROUND = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
OVERFLOW = """() => {
    const main = document.querySelector('[data-testid=stMain]')
    const page = document.scrollingElement
    return [page.scrollWidth - page.clientWidth, main.scrollWidth - main.clientWidth]
}"""


@pytest.fixture(scope="module")
def dataset(shared_stage: Stage) -> Dataset:
    return shared_stage.add_dataset(SAMPLE)


@pytest.fixture(scope="module")
def running(shared_stage: Stage, dataset: Dataset) -> Job:
    """A job that runs for as long as these journeys take, with a point or two."""
    job = shared_stage.add_job(dataset, "Night shift")
    shared_stage.wait_for_step(job.id, 5)
    return job


@pytest.fixture(scope="module")
def pages(dataset: Dataset, running: Job) -> dict[str, str]:
    """Every page by its title, the jobs' list and the job with something in them."""
    return {
        "Home": "/",
        "Data sets": "/datasets",
        dataset.name: f"/datasets?id={dataset.id}",
        "New job": "/train",
        "Jobs": "/jobs",
        running.name: f"/job?id={running.id}",
    }


def test_a_link_to_a_job_is_the_first_that_a_fresh_server_serves(open_stage: OpenStage, visit: Visit) -> None:
    stage = open_stage(**script(steps=5, step_seconds=0.01))
    stage.start_runner()
    job = stage.add_job(stage.add_dataset(SAMPLE), "Shared with you")
    stage.wait_for_status(job.id, JobStatus.COMPLETED)
    stage.start_app()
    person = visit(stage)
    person.open(f"/job?id={job.id}")
    person.sees_title("Shared with you")
    person.sees_status("Completed")
    expect(person.page.get_by_test_id("stSidebar")).to_contain_text("New job")


@pytest.mark.modes("embedded", "team")
@pytest.mark.parametrize("given", [f"?id={UNKNOWN_ID}", "?id=../../etc/passwd", "?id=%00", ""])
def test_a_wrong_address_of_a_job_gets_a_calm_answer(shared_stage: Stage, visit: Visit, given: str) -> None:
    person = visit(shared_stage)
    person.open(f"/job{given}")
    person.sees("No such job")
    person.button("All jobs").click()
    person.sees_title("Jobs")


@pytest.mark.modes("embedded", "team")
def test_filters_of_the_list_are_in_the_address_and_survive_a_reload(
    shared_stage: Stage, visit: Visit, running: Job
) -> None:
    person = visit(shared_stage)
    person.open("/jobs")
    person.sees_title("Jobs")
    person.fill("search", "night")
    person.key("status").get_by_role("button", name="Completed").click()
    person.sees("No job matches")
    expect(person.page).to_have_url(re.compile("search=night"))
    expect(person.page).to_have_url(re.compile("status=Completed"))

    person.reload()
    person.sees("No job matches")
    expect(person.key("search").locator("input")).to_have_value("night")
    person.key("status").get_by_role("button", name="Completed").click()
    expect(person.key("table")).to_be_visible()

    other = visit(shared_stage)
    other.open("/jobs?search=nothing-has-this-name")
    other.sees("No job matches")


@pytest.mark.parametrize(("scheme", "bright"), [("light", True), ("dark", False)])
def test_every_page_follows_the_colour_scheme(
    shared_stage: Stage, visit: Visit, pages: dict[str, str], scheme: str, bright: bool
) -> None:
    person = visit(shared_stage, scheme=scheme)
    for title, path in pages.items():
        person.open(path)
        person.sees_title(title)
        red, green, blue = (int(part) for part in re.findall(r"\d+", person.page.evaluate(BACKGROUND))[:3])
        assert (red + green + blue > 600) is bright, path
        person.assert_calm()


def test_no_page_scrolls_sideways_on_a_phone(
    shared_stage: Stage, visit: Visit, pages: dict[str, str]
) -> None:
    person = visit(shared_stage, width=390, height=844)
    too_wide = {}
    for title, path in pages.items():
        person.open(path)
        person.sees_title(title)
        over = person.page.evaluate(OVERFLOW)
        if any(pixels > 0 for pixels in over):
            too_wide[path] = over
    assert too_wide == {}


def test_nothing_is_fetched_from_elsewhere(shared_stage: Stage, visit: Visit, pages: dict[str, str]) -> None:
    """Every journey checks this at its end; this one visits all pages and says how much was asked for."""
    person: Visitor = visit(shared_stage)
    for title, path in pages.items():
        person.open(path)
        person.sees_title(title)
    assert len(person.requests) > 20
    assert any(url.startswith("ws://") for url in person.requests)
    assert person.foreign_requests() == []
