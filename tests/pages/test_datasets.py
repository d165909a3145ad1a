"""The data set page: empty, full, failing, and what its buttons do."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from lora_core.actions import datasets, jobs
from lora_core.actions.dataset_import import import_from_hub
from lora_core.actions.workspace import Workspace
from lora_core.errors import NotFound
from lora_core.schema.base import new_id
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import (
    AuditKind,
    AuditRow,
    Dataset,
    DatasetFormat,
    DatasetStatus,
    SimilarReport,
    TokenReport,
)
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


def test_the_list_is_filtered_by_format_and_status(open_page: OpenPage, studio: Studio) -> None:
    checked_dataset(studio, GOOD, name="chats")
    checked_dataset(studio, BAD, name="broken chats")
    checked_dataset(studio, PAIRS, name="pairs")
    page = open_page("datasets")
    page.multiselect(key="formats").set_value([DatasetFormat.MESSAGES]).run()
    labels = [button.label for button in page.button]
    assert "**pairs**" not in labels
    assert {"**chats**", "**broken chats**"} <= set(labels)
    page.multiselect(key="statuses").set_value([DatasetStatus.READY]).run()
    assert "**broken chats**" not in [button.label for button in page.button]


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


def test_similar_rows_are_looked_for_on_demand(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    dataset, other = checked_dataset(studio, GOOD), checked_dataset(studio, GOOD, name="held back")
    page = open_page("datasets", id=dataset.id, part="Problems")
    page.selectbox(key="similar_other").set_value(other.id).run()
    page.button(key="similar_do").click().run()
    task = datasets.view_dataset(workspace, dataset.id).task
    assert task is not None
    assert (task.arguments["similar"], task.arguments["compare_with"]) == (True, other.id)


def test_what_repeats_is_told_and_dropped_only_by_choice(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    dataset = checked_dataset(studio, GOOD)
    assert dataset.report is not None
    similar = SimilarReport(
        similarity=0.8,
        near_duplicate_rows=4,
        compared_with="x",
        compared_name="held back",
        near_in_both_rows=2,
    )
    workspace.datasets.save(
        dataset.model_copy(update={"report": dataset.report.model_copy(update={"similar": similar})})
    )
    page = open_page("datasets", id=dataset.id, part="Problems")
    assert "4 rows nearly repeat an earlier row" in words(page)
    assert "0 rows are also in held back, 2 more are nearly" in words(page)
    page.button(key="drop_ask").click().run()
    assert page.button(key="drop_do").disabled
    page.button(key="drop_ask").click()
    page.checkbox(key="drop_near_duplicates").check().run()
    confirm(page, "drop_ask", "drop_do")
    task = datasets.view_dataset(workspace, dataset.id).task
    assert task is not None
    assert task.arguments["kinds"] == ["near_duplicates"]


def audited(studio: Studio, workspace: Workspace, **counts: int) -> Dataset:
    """A data set with an audit, as the runner leaves it."""
    dataset = checked_dataset(studio, GOOD)
    assert dataset.report is not None
    assert dataset.report.characters is not None
    rows = (
        AuditRow(
            line=1,
            row=1,
            kind=AuditKind.USUAL,
            tokens=3,
            learned=1,
            ids=(7, 8, 9),
            pieces=("a\n", "<b>", "!"),
            mask="001",
        ),
        AuditRow(
            line=4, row=4, kind=AuditKind.REFUSED, tokens=0, learned=0, message="System role not supported"
        ),
    )
    config = TrainingConfig()
    found = {"learned_tokens": 30, "kept_tokens": 120, "counted_rows": 12} | counts
    tokens = TokenReport(
        model=config.model.base,
        lengths=dataset.report.characters,
        over_length_rows=0,
        max_length=config.data.max_length,
        loss_on=config.data.loss_on,
        audit=rows,
        **({"nothing_to_learn_rows": 0} | found),
    )
    report = dataset.report.model_copy(update={"tokens": tokens})
    return workspace.datasets.save(dataset.model_copy(update={"report": report}))


def test_the_audit_colours_what_is_learned(open_page: OpenPage, studio: Studio, workspace: Workspace) -> None:
    page = open_page("datasets", id=audited(studio, workspace).id, part="Learned")
    assert "30 of 120 tokens are learned (25%)" in words(page)
    shown = page.get("html")[0].proto.body
    assert "&lt;b&gt;" in shown
    assert "↵" in shown
    assert shown.count("border-bottom") == 1
    assert 'title="9" style=' in shown


def test_the_audit_says_what_is_wrong(open_page: OpenPage, studio: Studio, workspace: Workspace) -> None:
    dataset = audited(studio, workspace, answer_cut_rows=2, no_end_rows=1, refused_rows=3)
    warned = open_page("datasets", id=dataset.id, part="Learned").warning[0].value
    assert "cut off at 1,024 tokens: 2 rows" in warned
    assert "does not learn to stop: 1 row" in warned
    assert "would stop there: 3 rows" in warned


def test_an_audit_is_asked_for(open_page: OpenPage, studio: Studio, workspace: Workspace) -> None:
    dataset = checked_dataset(studio, GOOD)
    page = open_page("datasets", id=dataset.id, part="Learned")
    page.number_input(key="audit_length").set_value(128)
    page.selectbox(key="audit_loss").set_value("last").run()
    page.button(key="audit").click().run()
    task = datasets.view_dataset(workspace, dataset.id).task
    assert task is not None
    assert (task.kind, task.arguments["max_length"], task.arguments["loss_on"]) == (
        TaskKind.MEASURE_DATASET,
        128,
        "last",
    )


def test_the_form_for_a_job_tells_what_it_would_learn(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    dataset = audited(studio, workspace)
    assert "30 of 120 tokens are learned" in words(open_page("train", dataset=dataset.id))


def test_a_job_with_nothing_to_learn_cannot_be_started(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    dataset = audited(studio, workspace, learned_tokens=0, nothing_to_learn_rows=12)
    page = open_page("train", dataset=dataset.id)
    assert page.button(key="start").disabled
    assert "There is nothing to learn" in words(page)


def test_the_form_for_a_job_offers_the_audit(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    dataset = checked_dataset(studio, GOOD)
    page = open_page("train", dataset=dataset.id)
    page.button(key="audit_ask").click().run()
    assert datasets.view_dataset(workspace, dataset.id).busy


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


def test_an_import_from_the_hub_is_asked_for_and_shown(open_page: OpenPage, workspace: Workspace) -> None:
    page = open_page("datasets")
    page.text_input(key="hub_repo").set_value("own/pairs")
    page.button(key="hub_do").click().run()
    (dataset,) = datasets.list_datasets(workspace).items
    task = datasets.view_dataset(workspace, dataset.id).task
    assert task is not None
    assert (task.kind, task.arguments["repo"]) == (TaskKind.IMPORT_DATASET, "own/pairs")
    assert "To be imported" in words(open_page("datasets", id=dataset.id))


def test_an_id_that_cannot_be_is_said(open_page: OpenPage, workspace: Workspace) -> None:
    page = open_page("datasets")
    page.text_input(key="hub_repo").set_value("no id")
    page.button(key="hub_do").click().run()
    assert "is no id of a data set" in words(page)
    assert not datasets.list_datasets(workspace).items


def test_a_failed_import_can_be_repeated(open_page: OpenPage, studio: Studio, workspace: Workspace) -> None:
    dataset = import_from_hub(workspace, "own/pairs")
    end_tasks(studio, error="The Hugging Face Hub cannot be reached.")
    page = open_page("datasets", id=dataset.id)
    assert "cannot be reached" in words(page)
    page.button(key="import_again").click().run()
    assert datasets.view_dataset(workspace, dataset.id).busy


def test_a_file_of_the_bucket_is_imported(open_page: OpenPage, workspace: Workspace) -> None:
    page = open_page("datasets")
    page.segmented_control(key="import_place").set_value("training-files").run()
    assert "There is no file of yours" in words(page)
    workspace.blobs.put("training-files", f"{workspace.user_id}/chats.jsonl", iter([GOOD.encode()]))
    page.run()
    page.button(key="bucket_do").click().run()
    assert [dataset.name for dataset in datasets.list_datasets(workspace).items] == ["chats"]


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


PAIRS = "".join(
    json.dumps({"prompt": f"Question {n}?", "chosen": f"Good {n}.", "rejected": f"Bad {n}."}) + "\n"
    for n in range(6)
)
RATED = "".join(
    json.dumps({"prompt": f"Question {n}?", "completion": f"Answer {n}.", "label": n % 2 == 0}) + "\n"
    for n in range(6)
)


def test_preference_pairs_are_shown_side_by_side_and_not_trained_on(
    open_page: OpenPage, studio: Studio
) -> None:
    page = open_page("datasets", id=checked_dataset(studio, PAIRS).id)
    assert [badge for badge in ("Chosen", "Rejected") if badge not in words(page)] == []
    assert "Good 0" in words(page)
    assert "Bad 0" in words(page)
    assert page.button(key="train").disabled
    assert "serves DPO and ORPO" in page.button(key="train").help


def test_rated_answers_show_their_verdict(open_page: OpenPage, studio: Studio) -> None:
    page = open_page("datasets", id=checked_dataset(studio, RATED).id)
    assert "Good answer" in words(page)
    assert "Bad answer" in words(page)


def test_a_data_set_is_converted_after_a_question(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    dataset = checked_dataset(studio, PAIRS)
    page = open_page("datasets", id=dataset.id, part="Columns")
    page.button(key="convert").click().run()
    page.radio(key="convert_to").set_value(DatasetFormat.UNPAIRED_PREFERENCE)
    confirm(page, "convert", "convert_do")
    task = datasets.view_dataset(workspace, dataset.id).task
    assert task is not None
    assert (task.kind, task.arguments) == (TaskKind.CONVERT_DATASET, {"target": "unpaired_preference"})


def test_chat_data_has_nothing_to_convert(open_page: OpenPage, studio: Studio) -> None:
    page = open_page("datasets", id=checked_dataset(studio, GOOD).id, part="Columns")
    assert "convert" not in [button.key for button in page.button]


def test_versions_made_from_a_data_set_are_linked(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    dataset = checked_dataset(studio, PAIRS)
    made = checked_dataset(studio, GOOD, name="pairs (chat)")
    child = made.model_copy(update={"id": new_id(), "parent_id": dataset.id})
    workspace.datasets.add(child)
    page = open_page("datasets", id=dataset.id)
    assert page.button(key=f"made_{child.id}").label.startswith("Made from this: pairs")


@pytest.mark.parametrize("content", ["", "\x00\x01\x02", "[" * 2000, '{"a": ' * 500])
def test_an_unreadable_file_has_a_page_all_the_same(
    open_page: OpenPage, studio: Studio, content: str
) -> None:
    dataset = checked_dataset(studio, content or "\n\n")
    page = open_page("datasets", id=dataset.id)
    assert not page.exception
    assert page.button(key="train").disabled
