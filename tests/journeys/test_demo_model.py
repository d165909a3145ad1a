"""The path that the README promises, with the demo model and the sample data: the model learns something."""

import csv
from pathlib import Path

import pytest
from playwright.sync_api import expect

from lora_core.schema.job import JobStatus
from tests.journeys.conftest import OpenStage, Visit
from tests.journeys.demo import give_models
from tests.journeys.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1200)]

STEPS = 8


def test_the_demo_model_learns_the_sample(open_stage: OpenStage, visit: Visit, tmp_path: Path) -> None:
    stage = open_stage()
    give_models(stage)
    stage.start()
    person = visit(stage)
    person.open()
    person.button("Try it with sample data").click()
    person.sees_title("Support tickets (sample)")
    person.sees_status("Ready")
    person.sees("250")
    person.button("Train on this data set").click()

    person.sees_title("New job")
    person.sees("on this machine")
    choose_few_steps(person)
    person.button("Start").click()
    person.sees_title("Support tickets (sample) · smollm2-135m-instruct")
    job = stage.wait_for_status(stage.only_job().id, JobStatus.COMPLETED, within=900)
    person.sees_status("Completed")
    assert job.current_step == STEPS

    person.main.get_by_role("tab", name="Files").click()
    with person.download("metrics_csv", tmp_path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    first, *_, last = [float(row["eval_loss"]) for row in rows if row["kind"] == "eval"]
    assert last < first
    assert len([row for row in rows if row["kind"] == "train"]) == STEPS


def choose_few_steps(person: Visitor) -> None:
    """Choose the quick check and make it quicker still."""
    person.key("preset_quick-check").get_by_role("button").click()
    expect(person.key("preset_quick-check").get_by_role("button")).to_contain_text("Chosen")
    person.fill("optimisation-micro_batch_size_1", 2)
    person.fill("optimisation-accumulation_steps_1", 1)
    person.main.get_by_text("More settings").click()
    person.fill("optimisation-max_steps_1", STEPS)
    person.fill("evaluation-every_steps_1", STEPS // 2)
    person.fill("evaluation-max_rows_1", 8)
    expect(person.metric("Updates")).to_contain_text(f"{STEPS}")
