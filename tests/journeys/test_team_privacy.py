"""Two people in one app: neither learns anything of the other, by page, list, count, address, download or wire."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import expect

from lora_core.actions import datasets, jobs, results
from lora_core.schema.artifact import Artifact
from lora_core.schema.dataset import Dataset
from lora_core.schema.job import Job, JobStatus
from tests.journeys.conftest import Visit
from tests.journeys.stage import Stage, script
from tests.journeys.team_stage import TeamStage
from tests.journeys.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), pytest.mark.modes("team")]

MARK = "zebra"
"""In every name and row of Anne's; so wherever it turns up, it came from her."""


@pytest.fixture(scope="module")
def shared_environment() -> dict[str, str]:
    return script(steps=20, step_seconds=0.01)


@dataclass(frozen=True)
class Belongings:
    """What a person has: a data set, a completed job, its adapter."""

    dataset: Dataset
    job: Job
    adapter: Artifact

    def pages(self) -> dict[str, str]:
        """Every page by its title."""
        return {
            "Home": "/",
            "Data sets": "/datasets",
            self.dataset.name: f"/datasets?id={self.dataset.id}",
            "New job": "/train",
            "Jobs": "/jobs",
            self.job.name: f"/job?id={self.job.id}",
            "Runners": "/runners",
            "Settings": "/settings",
        }

    def downloads(self) -> list[str]:
        """Every address that hands out something of theirs."""
        return [
            f"/api/download/dataset/{self.dataset.id}",
            f"/api/download/artifact/{self.adapter.id}",
            f"/api/download/metrics/{self.job.id}",
            f"/api/download/logs/{self.job.id}",
        ]

    def ids(self) -> list[str]:
        return [self.dataset.id, self.job.id, self.adapter.id]


@pytest.fixture(scope="module")
def annes(shared_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Belongings:
    file = tmp_path_factory.mktemp("annes") / f"{MARK}-recipes.jsonl"
    rows = (
        {"prompt": f"What does {MARK} {n} eat?", "completion": f"{MARK} {n} eats grass."} for n in range(30)
    )
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    dataset = shared_stage.add_dataset(file)
    job = shared_stage.add_job(dataset, f"{MARK} plan")
    job = shared_stage.wait_for_status(job.id, JobStatus.COMPLETED)
    adapter = results.find_adapter(shared_stage.workspace, job.id)
    assert adapter is not None
    return Belongings(dataset, job, adapter)


def assert_knows_nothing(visitor: Visitor, belongings: Belongings) -> None:
    """Check all that the app has ever sent to this browser, and what is on its page now."""
    assert visitor.heard
    for secret in (MARK, *(id_ for id_ in belongings.ids() if id_ not in visitor.page.url)):
        told = [frame for frame in visitor.heard if secret.encode() in frame]
        assert not told, f"{secret}: {told[0]!r}"
    assert MARK not in visitor.page.content()


def look_around(visitor: Visitor, belongings: Belongings) -> None:
    """See all of one's own."""
    for title, path in belongings.pages().items():
        visitor.open(path)
        visitor.sees_title(title)


def test_a_second_person_sees_nothing_of_the_first(
    team_stage: TeamStage, visit: Visit, annes: Belongings
) -> None:
    anne, ben = visit(team_stage), visit(team_stage, person=team_stage.other, scheme="dark")
    look_around(anne, annes)  # whatever the app keeps of her pages, it keeps now
    assert any(MARK.encode() in frame for frame in anne.heard)

    ben.open("/")
    ben.sees("Fine-tune your first model")
    expect(ben.page.get_by_test_id("stSidebar").get_by_text("Notifications", exact=True)).to_be_visible()
    ben.open("/datasets")
    ben.sees("No data sets yet")
    ben.open(f"/jobs?search={'plan'}")
    ben.sees("No jobs yet")
    ben.open("/runners")
    ben.sees("Nothing waits.")
    ben.open("/settings")
    ben.sees("You have registered no runner yet.")
    assert_knows_nothing(ben, annes)

    for address, answer in (
        (f"/job?id={annes.job.id}", "No such job"),
        (f"/job?id={annes.job.id}&tab=Files", "No such job"),
        (f"/datasets?id={annes.dataset.id}", "There is no such data set"),
    ):
        ben.open(address)
        ben.sees(answer)
        assert MARK not in ben.page.content()
    ben.open(f"/train?dataset={annes.dataset.id}")
    ben.sees_title("New job")
    ben.open("/jobs")
    assert_knows_nothing(ben, annes)


def test_downloads_and_uploads_are_ones_own(
    team_stage: TeamStage, visit: Visit, annes: Belongings, tmp_path: Path
) -> None:
    anne, ben = visit(team_stage), visit(team_stage, person=team_stage.other)
    anne.open("/datasets")
    anne.sees(annes.dataset.name)
    ben.open("/datasets")
    ben.sees("No data sets yet")
    own = [f"/api/download/issues/{annes.dataset.id}", *annes.downloads()]
    assert [anne.answer_of(path) for path in annes.downloads()] == [200] * 4
    assert [ben.answer_of(path) for path in own] == [404] * 5

    file = tmp_path / "giraffe.jsonl"
    file.write_text('{"text": "A giraffe is tall."}\n' * 3 + '{"text": "So it is."}\n', encoding="utf-8")
    ben.upload(file)
    ben.sees_title("giraffe")
    ben.sees_status("Ready")
    ben.open("/")
    expect(ben.metric("Data sets")).to_contain_text("1")
    (bens,) = datasets.list_datasets(team_stage.workspace_of(team_stage.other)).items

    anne.open("/")
    expect(anne.metric("Data sets")).to_contain_text("1")
    anne.open("/datasets")
    anne.sees(annes.dataset.name)
    anne.open(f"/datasets?id={bens.id}")
    anne.sees("There is no such data set")
    assert anne.answer_of(f"/api/download/dataset/{bens.id}") == 404
    assert not any(b"giraffe" in frame for frame in anne.heard)
    assert_knows_nothing(ben, annes)
    assert [job.id for job in jobs.list_jobs(team_stage.workspace).items] == [annes.job.id]
    datasets.delete_dataset(team_stage.workspace_of(team_stage.other), bens.id)


def test_who_comes_after_at_the_same_browser_finds_nothing(
    team_stage: TeamStage, visit: Visit, annes: Belongings
) -> None:
    visitor = visit(team_stage)
    look_around(visitor, annes)
    forgotten = visitor.context.new_page()  # a tab that stays open
    forgotten.goto(f"{team_stage.url}/job?id={annes.job.id}")
    expect(forgotten.get_by_role("heading", name=annes.job.name, level=1)).to_be_visible()
    visitor.sign_out()
    expect(forgotten.get_by_text("You are signed out.")).to_be_visible()
    assert MARK not in forgotten.content()

    visitor.heard.clear()
    visitor.sign_in(team_stage.other.email, team_stage.other.password)
    visitor.open("/jobs")
    visitor.sees("No jobs yet")
    visitor.page.goto(f"{team_stage.url}/job?id={annes.job.id}")
    visitor.sees("No such job")
    visitor.page.go_back()
    visitor.sees("No jobs yet")
    assert_knows_nothing(visitor, annes)
    forgotten.get_by_role("button", name="Sign in again").click()
    expect(forgotten.get_by_text("No such job")).to_be_visible()
    assert MARK not in forgotten.content()


def test_whose_session_is_taken_over_in_another_tab_is_told(
    team_stage: TeamStage, visit: Visit, annes: Belongings
) -> None:
    """The cookie is the browser's: who signs in at the door's page while a tab is open takes that tab over too."""
    visitor = visit(team_stage)
    visitor.open(f"/job?id={annes.job.id}")
    visitor.sees_title(annes.job.name)
    body = json.dumps({"email": team_stage.other.email, "password": team_stage.other.password})
    signed_in = visitor.page.evaluate(
        """async body => (await fetch("/api/session",
            {method: "POST", headers: {"content-type": "application/json"}, body})).status""",
        body,
    )
    assert signed_in == 200
    visitor.sees(re.compile("You are signed out|Somebody else has signed in"))
    expect(visitor.main.get_by_text(annes.job.name)).to_have_count(0)
    expect(visitor.page.get_by_test_id("stSidebarNav")).to_have_count(0)
    visitor.page.reload()
    visitor.sees("No such job")
