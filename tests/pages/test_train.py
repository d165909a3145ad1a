"""The form for a new job: what it offers, refuses, remembers and starts."""

import pytest
import yaml
from streamlit.testing.v1 import AppTest

from lora_core.actions import jobs
from lora_core.actions.workspace import Workspace
from lora_core.errors import Unavailable
from lora_core.schema.config import AdapterConfig, TrainingConfig
from lora_core.schema.dataset import DatasetFormat, DatasetStatus
from lora_core.studio import Studio
from tests.pages.checked import checked_dataset
from tests.pages.conftest import OpenPage
from tests.pages.seeding import ROW, queued_job, ready_dataset, runner
from tests.pages.words import words


@pytest.fixture
def page(open_page: OpenPage, studio: Studio) -> AppTest:
    """The form, with one data set that is ready."""
    ready_dataset(studio)
    return open_page("train")


def yaml_box(page: AppTest):  # type: ignore[no-untyped-def]
    return page.text_area[0]


def start(page: AppTest):  # type: ignore[no-untyped-def]
    return page.button(key="start")


def only_config(workspace: Workspace) -> TrainingConfig:
    (job,) = jobs.list_jobs(workspace).items
    return job.config


def test_without_data_the_page_leads_to_the_upload(open_page: OpenPage) -> None:
    page = open_page("train")
    assert "First, some data" in words(page)
    page.button(key="to_datasets").click().run()
    assert not page.exception


def test_start_submits_the_job_as_reviewed(page: AppTest, workspace: Workspace) -> None:
    page.number_input(key="adapter.rank_0").set_value(8).run()
    page.text_input(key="name").set_value("My job").run()
    start(page).click().run()
    (job,) = jobs.list_jobs(workspace).items
    assert (job.name, job.config.adapter.rank, job.config.preset) == ("My job", 8, "balanced")


def test_a_job_without_a_name_is_called_by_data_and_model(page: AppTest, workspace: Workspace) -> None:
    start(page).click().run()
    (job,) = jobs.list_jobs(workspace).items
    assert job.name == "Support tickets · smollm2-135m-instruct"


def test_two_starts_of_one_form_make_one_job(
    page: AppTest, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply to the first click is lost after the store has the job."""
    submit = jobs.submit_job

    def lost_reply(*arguments: object, **named: object) -> None:
        submit(*arguments, **named)  # type: ignore[arg-type]
        raise Unavailable("No reply.")

    monkeypatch.setattr(jobs, "submit_job", lost_reply)
    start(page).click().run()
    monkeypatch.setattr(jobs, "submit_job", submit)
    start(page).click().run()
    assert len(jobs.list_jobs(workspace).items) == 1


def test_the_address_chooses_the_data_set(open_page: OpenPage, studio: Studio) -> None:
    first = ready_dataset(studio, name="first")
    ready_dataset(studio, name="second")
    assert open_page("train", dataset=first.id).selectbox(key="dataset").value == first.id
    assert not open_page("train", dataset="nonsense").exception


def test_a_preset_fills_the_form_anew(page: AppTest) -> None:
    page.number_input(key="adapter.rank_0").set_value(8).run()
    (button,) = [button for button in page.button if button.key.startswith("preset_memory")]
    button.click().run()
    assert page.number_input(key="adapter.rank_1").value == 16
    assert page.selectbox(key="model.quantisation_1").value == "4bit"
    assert {metric.label: metric.value for metric in page.metric}["Changed settings"] == "0"


def test_label_help_and_bounds_come_from_the_schema(page: AppTest) -> None:
    field = AdapterConfig.model_fields["rank"]
    box = page.number_input(key="adapter.rank_0")
    assert (box.label, box.help, box.min, box.max) == (field.title, field.description, 1, 1024)


def test_the_review_counts_updates_and_names_changes(page: AppTest) -> None:
    page.number_input(key="optimisation.max_steps_0").set_value(3).run()
    facts = {metric.label: metric.value for metric in page.metric}
    assert (facts["Rows"], facts["Rows per update"], facts["Updates"]) == ("40", "16", "3")
    assert "max\\_steps: None → **3**" in words(page)


def test_settings_stay_while_the_person_looks_elsewhere(page: AppTest) -> None:
    page.number_input(key="adapter.rank_0").set_value(8).run()
    kept = page.session_state["draft"]
    assert kept.config.adapter.rank == 8
    assert kept.dataset_id == page.selectbox(key="dataset").value


def test_yaml_is_the_same_config_and_is_applied(page: AppTest, workspace: Workspace) -> None:
    content = yaml.safe_load(yaml_box(page).value)
    content["adapter"]["targets"] = ["q_proj", "v_proj"]
    yaml_box(page).set_value(yaml.safe_dump(content)).run()
    page.button(key="apply_yaml").click().run()
    start(page).click().run()
    assert only_config(workspace).adapter.targets == ("q_proj", "v_proj")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("adapter: {rank: 0}", "adapter\\.rank"),
        ("adaptor: {}", "did you mean"),
        ("a: [", "valid YAML"),
    ],
)
def test_yaml_with_a_fault_says_where(page: AppTest, text: str, told: str) -> None:
    yaml_box(page).set_value(text).run()
    page.button(key="apply_yaml").click().run()
    assert told in "".join(f"{error.proto.title} {error.value}" for error in page.error)
    assert page.number_input(key="adapter.rank_0").value == 32


def test_a_data_set_that_is_not_ready_cannot_start(open_page: OpenPage, studio: Studio) -> None:
    dataset = ready_dataset(studio)
    studio.workspace().datasets.save(dataset.model_copy(update={"status": DatasetStatus.HAS_ERRORS}))
    page = open_page("train")
    assert "Drop the bad rows" in words(page)
    assert start(page).disabled


def test_plain_text_is_learned_whole(open_page: OpenPage, studio: Studio, workspace: Workspace) -> None:
    dataset = ready_dataset(studio)
    workspace.datasets.save(dataset.model_copy(update={"format": DatasetFormat.TEXT}))
    page = open_page("train")
    assert "every token is learned" in words(page)
    start(page).click().run()
    assert only_config(workspace).data.loss_on == "all"


def test_one_row_cannot_be_split(open_page: OpenPage, studio: Studio) -> None:
    checked_dataset(studio, ROW)
    page = open_page("train")
    assert "one row cannot be split" in words(page)
    assert start(page).disabled


def test_another_model_is_named_by_hand(page: AppTest, workspace: Workspace) -> None:
    page.selectbox(key="model_0").set_value("Another model ...").run()
    assert "No base model is chosen" in words(page)
    page.text_input(key="reference_0").set_value("someone/a-model").run()
    start(page).click().run()
    assert only_config(workspace).model.base == "someone/a-model"


def test_a_model_that_cannot_be_is_refused_beside_its_field(page: AppTest) -> None:
    page.selectbox(key="model_0").set_value("Another model ...").run()
    page.text_input(key="reference_0").set_value("no such model").run()
    assert "There is no base model" in words(page)


def test_without_a_runner_the_page_says_that_the_job_will_wait(page: AppTest, studio: Studio) -> None:
    assert "No runner is online" in words(page)
    studio.runner_port().announce(runner())
    assert "No runner is online" not in words(page.run())


def test_a_job_can_be_the_start_of_another(open_page: OpenPage, studio: Studio) -> None:
    job = queued_job(studio, overrides=("adapter.rank=8",))
    page = open_page("job", id=job.id)
    page.button(key="copy").click().run()
    kept = page.session_state["draft"]
    assert (kept.config.adapter.rank, kept.dataset_id) == (8, job.dataset_id)
    assert kept.job_id != job.id


def test_the_rate_that_the_width_suggests_can_be_taken(page: AppTest, workspace: Workspace) -> None:
    page.button(key="use_rate").click().run()
    start(page).click().run()
    assert only_config(workspace).optimisation.learning_rate == 1.3e-3


def test_a_rate_near_the_suggested_one_gets_no_advice(page: AppTest) -> None:
    page.number_input(key="optimisation.learning_rate_0").set_value(1e-3).run()
    assert "use_rate" not in [button.key for button in page.button]


def test_a_config_of_another_tool_is_reported_line_by_line_and_taken_when_wanted(
    open_page: OpenPage, studio: Studio
) -> None:
    ready_dataset(studio)
    page = open_page("train", configs="true")
    text = "model_name_or_path: smollm2-135m-instruct\nlora_rank: 4\ntemplate: llama3\nplot_loss: true\nlora_rnk: 2\n"
    page.file_uploader[0].set_value(("llama.yaml", text.encode(), "text/yaml")).run()
    assert "A config of LLaMA-Factory" in words(page)
    report = page.dataframe[0].value
    fates = dict(zip(report["Key"], report["Here"], strict=True))
    assert "same" in fates["lora_rank"]
    assert "changes" in fates["template"]
    assert "no effect" in fates["plot_loss"]
    assert "not known" in fates["lora_rnk"]
    assert page.number_input(key="adapter.rank_0").value == 32
    page.button(key="use_config").click().run()
    assert not page.exception
    assert page.number_input(key="adapter.rank_1").value == 4


def test_a_file_that_is_no_config_is_a_calm_error(open_page: OpenPage, studio: Studio) -> None:
    ready_dataset(studio)
    page = open_page("train", configs="true")
    page.file_uploader[0].set_value(("x.yaml", b"\xff\xfe", "text/yaml")).run()
    assert "This file is not text" in words(page)
    assert not page.exception
