"""The data set page: empty, full, failing, and what its buttons do."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from lora_core.actions import datasets, jobs
from lora_core.actions.workspace import Workspace
from lora_core.errors import NotFound
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import DatasetFormat
from lora_core.schema.runner import TaskKind
from lora_core.studio import Studio
from tests.pages.checked import checked_dataset, claimed_task, end_tasks
from tests.pages.conftest import OpenPage
from tests.pages.words import words


def chat(question: str, answer: str = "An answer.") -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns}) + "\n"


GOOD = "".join(chat(f"Question {number}?") for number in range(12))
BAD = GOOD + '{"messages": [{"role": "user", "content": "only a question"}]}\n' + "not json\n"
UNKNOWN = "".join(json.dumps({"frage": f"F{n}?", "antwort": f"A{n}."}) + "\n" for n in range(6))


def confirm(page: AppTest, opener: str, button: str) -> None:
    """Click a button of an open dialog; AppTest reruns the page, so its opener is clicked along with it."""
    page.button(key=opener).click()
    page.button(key=button).click().run()


def test_without_data_sets_the_page_offers_the_sample(open_page: OpenPage, workspace: Workspace) -> None:
    page = open_page("datasets")
    assert "No data sets yet" in words(page)
    page.button(key="sample").click().run()
    assert [dataset.name for dataset in datasets.list_datasets(workspace).items] == [
        "Support tickets (sample)"
    ]
    assert not page.exception


def test_the_sample_is_added_only_once(open_page: OpenPage, workspace: Workspace) -> None:
    from lora_core.actions.samples import add_sample_dataset

    assert add_sample_dataset(workspace).id == add_sample_dataset(workspace).id


def test_the_list_finds_data_sets_by_name(open_page: OpenPage, studio: Studio) -> None:
    checked_dataset(studio, GOOD, name="tickets")
    checked_dataset(studio, GOOD, name="stories")
    page = open_page("datasets", q="tick")
    labels = [button.label for button in page.button]
    assert "**tickets**" in labels
    assert "**stories**" not in labels


@pytest.mark.parametrize(
    ("asked", "shown"), [("1", 20), ("2", 23), ("0", 20), ("-1", 20), ("²", 20), ("9" * 30, 20)]
)
def test_a_long_list_is_shown_in_parts(
    open_page: OpenPage, workspace: Workspace, asked: str, shown: int
) -> None:
    for number in range(23):
        datasets.upload_dataset(workspace, f"{number}.jsonl", iter([b"x"]))
    page = open_page("datasets", pages=asked)
    assert len([button for button in page.button if button.key and button.key.startswith("open_")]) == shown


def test_an_unknown_id_is_a_calm_error(open_page: OpenPage) -> None:
    page = open_page("datasets", id="../../etc/passwd")
    assert len(page.error) == 1
    assert not page.exception


def test_a_checked_data_set_shows_its_rows(open_page: OpenPage, studio: Studio) -> None:
    page = open_page("datasets", id=checked_dataset(studio, GOOD).id)
    assert "Question 0?" in words(page)
    assert [metric.value for metric in page.metric][:3] == ["12", "None", "Chat"]
    assert not page.button(key="train").disabled


def test_rows_are_found_by_what_they_say(open_page: OpenPage, studio: Studio) -> None:
    dataset = checked_dataset(studio, GOOD)
    page = open_page("datasets", id=dataset.id)
    page.text_input(key=f"rows_q_{dataset.id}").set_value("Question 11").run()
    assert "Question 11?" in words(page)
    assert "Question 0?" not in words(page)


def test_bad_rows_keep_a_data_set_from_training(open_page: OpenPage, studio: Studio) -> None:
    page = open_page("datasets", id=checked_dataset(studio, BAD).id)
    assert page.button(key="train").disabled
    assert page.metric[1].value == "2"


def test_bad_rows_are_dropped_only_after_a_question(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    dataset = checked_dataset(studio, BAD)
    page = open_page("datasets", id=dataset.id, part="Problems")
    page.button(key="drop_ask").click().run()
    assert not datasets.view_dataset(workspace, dataset.id).busy
    confirm(page, "drop_ask", "drop_do")
    claimed_task(studio, TaskKind.DROP_BAD_ROWS)


def test_unknown_columns_are_mapped_by_hand(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    dataset = checked_dataset(studio, UNKNOWN)
    page = open_page("datasets", id=dataset.id)
    page.radio(key=f"format_{dataset.id}").set_value(DatasetFormat.PROMPT_COMPLETION).run()
    assert page.button(key="map").disabled
    stem = f"column_{dataset.id}_prompt_completion"
    page.selectbox(key=f"{stem}_prompt").set_value("frage")
    page.selectbox(key=f"{stem}_completion").set_value("antwort").run()
    page.button(key="map").click().run()
    mapped = datasets.view_dataset(workspace, dataset.id)
    assert (mapped.dataset.mapping.prompt, mapped.dataset.mapping.completion) == ("frage", "antwort")
    assert mapped.busy


def test_while_nobody_checks_the_page_says_what_to_do(open_page: OpenPage, workspace: Workspace) -> None:
    dataset = datasets.upload_dataset(workspace, "a.jsonl", iter([GOOD.encode()]))
    assert "none is online" in words(open_page("datasets", id=dataset.id))


def test_a_failed_check_can_be_repeated(open_page: OpenPage, studio: Studio, workspace: Workspace) -> None:
    dataset = datasets.upload_dataset(workspace, "a.jsonl", iter([GOOD.encode()]))
    end_tasks(studio, error="The runner lost the file.")
    page = open_page("datasets", id=dataset.id)
    assert "The runner lost the file\\." in words(page)
    page.button(key="check_again").click().run()
    assert datasets.view_dataset(workspace, dataset.id).busy


def test_a_data_set_is_renamed(open_page: OpenPage, studio: Studio, workspace: Workspace) -> None:
    dataset = checked_dataset(studio, GOOD)
    page = open_page("datasets", id=dataset.id)
    page.button(key="rename").click().run()
    page.text_input(key="new_name").set_value("better")
    confirm(page, "rename", "rename_do")
    assert datasets.view_dataset(workspace, dataset.id).dataset.name == "better"


def test_a_data_set_that_a_job_needs_stays_and_says_why(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    dataset = checked_dataset(studio, GOOD)
    jobs.submit_job(workspace, name="job", dataset_id=dataset.id, config=TrainingConfig())
    page = open_page("datasets", id=dataset.id)
    page.button(key="delete").click().run()
    confirm(page, "delete", "delete_do")
    assert len(page.error) == 1
    assert datasets.view_dataset(workspace, dataset.id).dataset.name == dataset.name


def test_a_data_set_is_deleted_only_after_a_question(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    dataset = checked_dataset(studio, GOOD)
    page = open_page("datasets", id=dataset.id)
    page.button(key="delete").click().run()
    datasets.view_dataset(workspace, dataset.id)
    confirm(page, "delete", "delete_do")
    with pytest.raises(NotFound):
        datasets.view_dataset(workspace, dataset.id)


@pytest.mark.parametrize("content", ["", "\x00\x01\x02", "[" * 2000, '{"a": ' * 500])
def test_an_unreadable_file_has_a_page_all_the_same(
    open_page: OpenPage, studio: Studio, content: str
) -> None:
    dataset = checked_dataset(studio, content or "\n\n")
    page = open_page("datasets", id=dataset.id)
    assert not page.exception
    assert page.button(key="train").disabled
