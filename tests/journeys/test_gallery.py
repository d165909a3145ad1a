"""Takes the pictures of docs/gallery, from a real job with the demo model: GALLERY=1 and `-m "slow and browser"`."""

import os

import pytest
from playwright.sync_api import expect

from lora_core.actions import team
from lora_core.schema.job import JobStatus
from tests.journeys.conftest import OpenStage, Visit
from tests.journeys.demo import give_models
from tests.journeys.stage import ROOT, eventually, script
from tests.journeys.team_stage import TeamStage
from tests.journeys.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]

FOLDER = ROOT / "docs" / "gallery"
SAMPLE = ROOT / "examples" / "support_tickets" / "train.jsonl"
MAX_BYTES = 250_000
WIDTH, LEAST_HEIGHT, MOST_HEIGHT = 1280, 860, 1640
REFRESH_SECONDS = "6"
"""Slow, so that no picture falls into a refresh: what is being drawn anew is pale."""

FAST = (
    "optimisation.micro_batch_size=2",
    "optimisation.accumulation_steps=1",
    "evaluation.max_rows=8",
    "evaluation.every_steps=8",
    "checkpoints.every_steps=16",
)
CONTENT_HEIGHT = "document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight"


def take(person: Visitor, name: str) -> None:
    """Take a picture of the whole page, as high as its content is, between two refreshes."""
    height = int(person.page.evaluate(CONTENT_HEIGHT))
    person.page.set_viewport_size({"width": WIDTH, "height": min(max(height, LEAST_HEIGHT), MOST_HEIGHT)})
    path = FOLDER / f"{name}.png"
    eventually(
        lambda: (
            is_fresh(person) and person.page.screenshot(path=path, animations="disabled") and is_fresh(person)
        ),
        name,
    )
    assert path.stat().st_size < MAX_BYTES, path.name
    person.page.set_viewport_size({"width": WIDTH, "height": LEAST_HEIGHT})


def is_fresh(person: Visitor) -> bool:
    """Say whether nothing on the page is being drawn anew."""
    person.idle()
    return person.page.locator("[data-stale=true]").count() == 0


if os.environ.get("GALLERY"):

    def test_take_the_pictures(open_stage: OpenStage, visit: Visit) -> None:
        stage = open_stage(LORA_STUDIO_REFRESH_SECONDS=REFRESH_SECONDS)
        give_models(stage)
        stage.start()
        FOLDER.mkdir(exist_ok=True)
        dataset = stage.add_dataset(SAMPLE, name="Support tickets")
        stage.add_dataset(ROOT / "examples" / "formats" / "prompt_completion.csv", name="Answers in one line")
        first = stage.add_job(dataset, "First try", *FAST, "optimisation.max_steps=8")
        stage.wait_for_status(first.id, JobStatus.COMPLETED, within=600)
        job = stage.add_job(dataset, "Tickets to JSON, rank 16", *FAST, "optimisation.max_steps=90")
        stage.add_job(dataset, "Tickets to JSON, rank 8", *FAST, "adapter.rank=8", "adapter.alpha=8")
        stage.wait_for_step(job.id, 58, within=900)
        pages = {
            "job": (f"/job?id={job.id}", job.name),
            "home": ("/", "Home"),
            "jobs": ("/jobs", "Jobs"),
            "runners": ("/runners", "Runners"),
            "datasets": ("/datasets", "Data sets"),
            "dataset": (f"/datasets?id={dataset.id}", dataset.name),
            "train": (f"/train?dataset={dataset.id}", "New job"),
        }
        for scheme in ("light", "dark"):
            person = visit(stage, scheme=scheme, width=WIDTH, height=LEAST_HEIGHT)
            for name, (path, title) in pages.items():
                person.open(path)
                person.sees_title(title)
                person.idle()
                take(person, f"{name}-{scheme}")
        assert stage.job(job.id).status is JobStatus.RUNNING, "the pictures of the job were taken too late"

    @pytest.mark.modes("team")
    def test_take_the_pictures_of_a_team(open_stage: OpenStage, visit: Visit) -> None:
        stage = open_stage(LORA_STUDIO_REFRESH_SECONDS=REFRESH_SECONDS, **script(steps=400, step_seconds=0.5))
        assert isinstance(stage, TeamStage)
        stage.start()
        operator = stage.workspace_of(stage.operator)
        team.invite_person(operator, "carla@example.org")
        dataset = stage.add_dataset(SAMPLE, name="Support tickets")
        job = stage.add_job(dataset, "Tickets to JSON, rank 16")
        stage.add_job(dataset, "Tickets to JSON, rank 8")
        stage.wait_for_step(job.id, 5)
        pages = {"operator": ("/operator", "Team"), "settings": ("/settings", "Settings")}
        for scheme in ("light", "dark"):
            stranger = visit(stage, stranger=True, scheme=scheme, width=WIDTH, height=LEAST_HEIGHT)
            stranger.page.goto(stage.url)
            expect(stranger.door).to_be_visible()
            stranger.page.screenshot(path=FOLDER / f"sign-in-{scheme}.png", animations="disabled")
            person = visit(stage, person=stage.operator, scheme=scheme, width=WIDTH, height=LEAST_HEIGHT)
            for name, (path, title) in pages.items():
                person.open(path)
                person.sees_title(title)
                take(person, f"{name}-{scheme}")
