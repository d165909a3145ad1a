"""What a job will need: the panel of the form, and expected beside measured on the job page."""

from datetime import timedelta
from typing import Any

from streamlit.testing.v1 import AppTest

from lora_core.actions import jobs
from lora_core.actions.workspace import Workspace
from lora_core.schema.base import utc_now
from lora_core.schema.job import Outcome
from lora_core.schema.metrics import MetricKind
from lora_core.studio import Studio
from tests.pages.conftest import OpenPage
from tests.pages.seeding import Run, queued_job, ready_dataset, runner
from tests.pages.words import words as escaped_words


def words(page: AppTest) -> str:
    """What can be read, without what keeps it from being Markdown."""
    return escaped_words(page).replace("\\", "")


def form(open_page: OpenPage, studio: Studio, **machine: Any) -> AppTest:
    """The form, with a data set and one runner of that machine."""
    ready_dataset(studio)
    studio.runner_port().announce(runner().model_copy(update=machine))
    return open_page("train")


def test_a_job_that_fits_says_so_with_memory_and_time(open_page: OpenPage, studio: Studio) -> None:
    page = form(open_page, studio)
    assert not page.exception
    said = words(page)
    assert "What it will need" in said
    assert "Fits" in said
    assert "29 GB RAM (it trains on the CPU)" in said
    assert "no charge" in said
    parts = page.dataframe[-1].value
    assert list(parts["Part"]) == [
        "Base weights", "Adapter", "Gradients", "Optimizer", "Activations", "Logits", "Process",
    ]  # fmt: skip
    assert "8 CPU cores" in said
    assert page.button(key="start").disabled is False


def test_on_a_gpu_its_own_memory_counts(open_page: OpenPage, studio: Studio) -> None:
    said = words(form(open_page, studio, gpus=("NVIDIA L4",), gpu_memory_gb=24.0))
    assert "of 24 GB GPU memory" in said
    assert "NVIDIA L4: 8 to 40 % of 121 TFLOP/s" in said


def test_one_click_makes_the_smallest_change_that_fits(open_page: OpenPage, studio: Studio) -> None:
    page = form(open_page, studio, memory_gb=4.0)
    page.selectbox(key="model_0").set_value("smollm2-1.7b-instruct").run()
    assert "Smallest change that fits: quantisation none → 4bit." in words(page)
    page.button(key="use_change").click().run()
    assert not page.exception
    said = words(page)
    assert "Fits" in said
    assert "Smallest change" not in said


def test_where_nothing_helps_the_panel_says_so(open_page: OpenPage, studio: Studio) -> None:
    page = form(open_page, studio, memory_gb=0.2)
    assert "Does not fit" in words(page)
    assert "take a smaller base model" in words(page)
    assert page.button(key="start").disabled is False, "an estimate forbids nothing"


def test_a_model_of_unknown_sizes_has_no_estimate(open_page: OpenPage, studio: Studio) -> None:
    page = form(open_page, studio)
    page.selectbox(key="model_0").set_value("Another model ...").run()
    page.text_input(key="reference_0").set_value("somebody/something").run()
    assert "known once its weights are here" in words(page)


def test_without_a_runner_there_is_nothing_to_estimate_for(open_page: OpenPage, studio: Studio) -> None:
    ready_dataset(studio)
    assert "once a runner has been online" in words(open_page("train"))


def test_the_job_carries_the_middle_of_the_range(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    page = form(open_page, studio)
    page.button(key="start").click().run()
    (job,) = jobs.list_jobs(workspace).items
    assert job.estimated_seconds is not None
    assert job.estimated_seconds > 0


def test_speed_is_taken_from_finished_jobs_of_the_same_model(open_page: OpenPage, studio: Studio) -> None:
    run = Run(studio, queued_job(studio), total_steps=40).train(40, checkpoints=False)
    run.end(Outcome.COMPLETED)
    said = words(form(open_page, studio))
    assert "measured: 1 finished job of this model on workstation" in said
    assert "nothing was measured yet" not in said


def test_a_running_job_shows_expected_beside_measured(open_page: OpenPage, studio: Studio) -> None:
    run = Run(studio, queued_job(studio), total_steps=40).train(10, checkpoints=False)
    run.reading(int((utc_now() + timedelta(seconds=5)).timestamp()), extra={"rss_gb": 2.5})
    run.log("Out of memory: x. Trying once more: micro-batch 4 → 2, accumulation 4 → 8.", "warning")
    page = open_page("job", id=run.job_id, tab="Config")
    assert not page.exception
    table = page.dataframe[-1].value
    assert list(table["What"]) == ["Memory"]
    assert table["Measured"][0] == "2.5 GB of the machine's memory"
    assert " GB" in table["Expected"][0]
    assert "Trying once more: micro-batch 4 → 2, accumulation 4 → 8." in words(page)
    assert studio.workspace().metrics.latest(run.job_id, MetricKind.SYSTEM) is not None
