"""The first ten minutes: from an empty studio to an adapter in one's hands, with a tiny but real model."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from lora_core.actions import datasets, jobs
from lora_core.actions.jobs import ChartView
from lora_core.schema.job import JobStatus
from runner.models.tiny import build_tiny_model
from tests.journeys.chart import LossChart
from tests.journeys.conftest import OpenStage, Visit
from tests.journeys.stage import ROOT, Stage, eventually
from tests.journeys.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ROWS = 120
STEPS = 160
EPOCHS = 20
"""More than enough for that many steps."""

COMPARE = """
import sys
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter = sys.argv[1:]
tokens = AutoTokenizer.from_pretrained(adapter)("What is the capital of France?", return_tensors="pt")
with torch.no_grad():
    plain = AutoModelForCausalLM.from_pretrained(base)(**tokens).logits
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)(**tokens).logits
print((plain - tuned).abs().max().item())
"""


def write_rows(file: Path) -> Path:
    """Write a data set a tiny model can learn something from."""
    rows = (
        {"prompt": f"What comes after {number}?", "completion": f"After {number} comes {number + 1}."}
        for number in range(ROWS)
    )
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.modes("embedded", "team", "pod")
def test_a_newcomer_trains_and_takes_home_an_adapter(
    open_stage: OpenStage, visit: Visit, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    model = build_tiny_model(models / "tiny")
    stage = open_stage(LORA_STUDIO_MODEL_ROOTS=json.dumps([str(models)])).start()
    person = visit(stage)

    person.open()
    person.sees_title("Home")
    person.sees("Fine-tune your first model")
    person.button("Upload a data set").click()

    person.sees_title("Data sets")
    person.sees("No data sets yet")
    person.upload(write_rows(tmp_path / "counting.jsonl"))
    person.sees_title("counting")
    person.sees_status("Ready")
    person.sees("all can be learned from")
    person.sees(re.compile("^Prompt"))
    (dataset,) = datasets.list_datasets(stage.workspace).items
    assert dataset.rows == ROWS
    person.button("Train on this data set").click()

    person.sees_title("New job")
    person.choose("model_0", "Another model")
    person.fill("reference_0", str(model))
    person.sees("on this machine")
    person.key("preset_quick-check").get_by_role("button").click()
    expect(person.key("preset_quick-check").get_by_role("button")).to_contain_text("Chosen")
    person.fill("optimisation-epochs_1", EPOCHS)
    person.main.get_by_text("More settings").click()
    person.fill("optimisation-max_steps_1", STEPS)
    person.fill("name", "First try")
    expect(person.metric("Updates")).to_contain_text(f"{STEPS}")
    person.button("Start").click()

    person.sees_title("First try")
    watch_it_grow(stage, person)
    job = stage.wait_for_status(stage.only_job().id, JobStatus.COMPLETED, within=240)
    assert job.current_step == STEPS
    person.sees_status("Completed")
    assert_timer_stops(person)

    person.main.get_by_role("tab", name="Files").click()
    archive = person.download("adapter_zip", tmp_path)
    assert archive.name == "First-try-adapter.zip"
    zipfile.ZipFile(archive).extractall(tmp_path / "home")
    assert moves_the_logits(model, tmp_path / "home") > 1e-4


def watch_it_grow(stage: Stage, person: Visitor) -> None:
    """While the job runs the line gets longer, in the same view."""
    job_id = stage.only_job().id
    chart = LossChart(person)
    chart.wait()
    assert stage.job(job_id).status is JobStatus.RUNNING, "the chart was drawn too late to see it grow"
    chart.mark()
    person.ticks.clear()
    corners, points = chart.corners(), points_of(stage, job_id)
    eventually(lambda: points_of(stage, job_id) > points, "more points in the store")
    eventually(lambda: chart.corners() > corners, "more points in the line")
    assert chart.is_the_marked_one()


def points_of(stage: Stage, job_id: str) -> int:
    """Count the points of the raw curve."""
    return len(jobs.read_job_page(stage.workspace, job_id, ChartView()).raw.x)


def assert_timer_stops(person: Visitor) -> None:
    """Of the page's two timers only the sidebar's slow one goes on once the job is over."""
    ((live, _),) = person.ticks.most_common(1)
    person.idle()
    person.ticks.clear()

    def sidebar_ticks() -> int:
        person.page.evaluate("0")  # lets Playwright hand over what it has heard
        return max((count for fragment, count in person.ticks.items() if fragment != live), default=0)

    eventually(lambda: sidebar_ticks() >= 2, "the sidebar looks again")
    assert person.ticks[live] <= 1


def moves_the_logits(model: Path, unpacked: Path) -> float:
    """Load base model and adapter as a person would; return by how much the adapter changes what the model says."""
    (config,) = unpacked.rglob("adapter_config.json")
    compared = subprocess.run(
        [sys.executable, "-c", COMPARE, str(model), str(config.parent)],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert compared.returncode == 0, compared.stderr
    return float(compared.stdout)
