"""Preference rows: every form they come in gives the same example, and every fault has a name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_core.datasets.check import check_file
from lora_core.datasets.clean import write_converted
from lora_core.datasets.convert import to_example
from lora_core.datasets.example import Example, Message, fingerprint
from lora_core.datasets.faults import RowError
from lora_core.datasets.lay_out import TARGETS
from lora_core.datasets.prepare import prepare
from lora_core.datasets.preview import preview_rows
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.errors import DataError
from lora_core.schema.config import DataConfig
from lora_core.schema.dataset import ColumnMapping, DatasetFormat
from lora_core.schema.run import DataFile

Write = Callable[[str, bytes | str], Path]
PAIR, RATED = DatasetFormat.PREFERENCE, DatasetFormat.UNPAIRED_PREFERENCE
U = {"role": "user", "content": "Is it good?"}
YES, NO = {"role": "assistant", "content": "Yes."}, {"role": "assistant", "content": "No."}
EXPECTED = Example(
    messages=(Message("user", "Is it good?"), Message("assistant", "Yes.")),
    rejected=(Message("assistant", "No."),),
    answer_from=1,
)


def gpt(turn: dict[str, str]) -> dict[str, str]:
    return {"from": "human" if turn["role"] == "user" else "gpt", "value": turn["content"]}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Is it good?", "chosen": "Yes.", "rejected": "No."},
        {"question": "Is it good?", "chosen": "Yes.", "rejected": "No."},
        {"prompt": [U], "chosen": [YES], "rejected": [NO]},
        {"prompt": [U], "chosen": YES, "rejected": NO},
        {"prompt": json.dumps([U]), "chosen": json.dumps([YES]), "rejected": json.dumps([NO])},
        {"chosen": [U, YES], "rejected": [U, NO]},
        {"prompt": "Is it good?", "chosen": [U, YES], "rejected": [U, NO]},
        {"conversations": [gpt(U)], "chosen": gpt(YES), "rejected": gpt(NO)},
        {"instruction": "Is it good?", "input": "", "chosen": "Yes.", "rejected": "No."},
        {
            "chosen": "\n\nHuman: Is it good?\n\nAssistant: Yes.",
            "rejected": "\n\nHuman: Is it good?\n\nAssistant: No.",
        },
        {"chosen": "Is it good? Yes.", "rejected": "Is it good? No."},
    ],
)
def test_every_form_of_a_pair_gives_the_same_example(row: dict[str, Any]) -> None:
    assert to_example(row, PAIR) == EXPECTED


def test_turns_before_the_last_question_belong_to_the_prompt() -> None:
    first = [U, {"role": "assistant", "content": "Maybe."}, U]
    example = to_example({"chosen": [*first, YES], "rejected": [*first, NO]}, PAIR)
    assert (example.answer_from, len(example.messages), example.rejected) == (3, 4, EXPECTED.rejected)


def test_answers_of_several_turns_keep_their_tool_calls() -> None:
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "look", "arguments": '{"at": "it"}'}}]}
    found = {"role": "tool", "content": "fine"}
    row = {"prompt": [U], "chosen": [call, found, YES], "rejected": [NO], "tools": [{"name": "look"}]}
    example = to_example(row, PAIR)
    assert [message.role for message in example.messages] == ["user", "assistant", "tool", "assistant"]
    assert example.messages[1].tool_calls[0]["function"]["arguments"] == {"at": "it"}
    assert example.tools[0]["function"] == {"name": "look"}


def test_mapped_columns_and_a_system_prompt_are_read() -> None:
    row = {"q": "Is it good?", "up": "Yes.", "down": "No.", "s": "Be brief."}
    example = to_example(row, PAIR, ColumnMapping(prompt="q", chosen="up", rejected="down", system="s"))
    assert example.messages[0] == Message("system", "Be brief.")
    assert example.messages[1:] == EXPECTED.messages
    assert example.answer_from == 2


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ({"prompt": "a", "chosen": "Yes."}, "missing_field", "rejected"),
        ({"prompt": "a", "chosen": " ", "rejected": "No."}, "empty_answer", "chosen"),
        ({"prompt": " ", "chosen": "Yes.", "rejected": "No."}, "empty_prompt", "prompt"),
        ({"prompt": "a", "chosen": "Yes.", "rejected": "Yes. "}, "chosen_equals_rejected", "rejected"),
        ({"prompt": "a", "chosen": 3, "rejected": "No."}, "wrong_type", "chosen"),
        ({"chosen": "Yes.", "rejected": "No."}, "no_shared_prompt", "chosen"),
        (
            {"chosen": [U, YES], "rejected": [{"role": "user", "content": "?"}, NO]},
            "no_shared_prompt",
            "rejected",
        ),
        ({"prompt": [U, YES], "chosen": YES, "rejected": NO}, "roles_do_not_alternate", "chosen[2]"),
        ({"prompt": [U], "chosen": [YES], "rejected": [U]}, "no_shared_prompt", "rejected"),
        ({"prompt": [U], "chosen": [], "rejected": [NO]}, "no_messages", "chosen"),
    ],
)
def test_faulty_pairs_are_named(row: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(RowError) as caught:
        to_example(row, PAIR)
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize("label", [True, 1, "true", "True ", "1"])
@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Is it good?", "completion": "Yes."},
        {"prompt": [U], "completion": [YES]},
        {"messages": [U, YES]},
        {"instruction": "Is it good?", "input": "", "output": "Yes."},
    ],
)
def test_every_form_of_a_rated_answer_gives_the_same_example(row: dict[str, Any], label: object) -> None:
    example = to_example(row | {"label": label}, RATED)
    assert example == Example(messages=EXPECTED.messages, label=True, answer_from=1)


@pytest.mark.parametrize("label", ["good", 2, 0.5, [True], "", {}])
def test_a_label_has_to_be_true_or_false(label: object) -> None:
    with pytest.raises(RowError, match="true or false") as caught:
        to_example({"prompt": "a", "completion": "b", "label": label}, RATED)
    assert (caught.value.code, caught.value.field) == ("label_not_boolean", "label")


def test_rows_that_differ_in_the_verdict_only_are_no_duplicates() -> None:
    row = {"prompt": "a", "completion": "b"}
    good, bad = (to_example(row | {"label": label}, RATED) for label in (True, False))
    assert fingerprint(good) != fingerprint(bad)
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    assert fingerprint(to_example(pair, PAIR)) != fingerprint(to_example(pair | {"rejected": "d"}, PAIR))


def test_the_check_tells_lines(write: Write) -> None:
    good = [{"prompt": f"Question {n}?", "chosen": "Yes.", "rejected": f"No {n}."} for n in range(8)]
    rows = [*good, good[0] | {"rejected": "Yes."}, good[3], good[1] | {"chosen": None}]
    report = check_file(write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))
    assert (report.format, report.good_rows, report.error_rows) == (PAIR, 9, 2)
    assert [(issue.line, issue.code) for issue in report.errors] == [
        (9, "chosen_equals_rejected"),
        (11, "empty_answer"),
    ]
    assert [(issue.line, issue.code) for issue in report.warnings] == [(10, "duplicate")]


def test_labels_of_a_csv_file_are_read(write: Write) -> None:
    report = check_file(
        write("a.csv", "prompt,completion,label\na,b,True\nc,d,false\ne,f,maybe\n" + "g,h,True\n" * 9)
    )
    assert (report.format, report.error_rows) == (RATED, 1)
    assert [(issue.line, issue.code) for issue in report.errors] == [(4, "label_not_boolean")]


def test_the_preview_tells_prompt_from_answers(write: Write) -> None:
    path = write("a.jsonl", json.dumps({"prompt": [U], "chosen": [YES], "rejected": [NO]}))
    (row,) = preview_rows(path, PAIR, None, offset=0, limit=5)
    assert (row.messages, row.rejected, row.answer_from) == (
        EXPECTED.messages,
        EXPECTED.rejected,
        1,
    )
    assert preview_rows(path, PAIR, None, offset=0, limit=5, search="no.")


@pytest.mark.parametrize(
    ("format", "row"),
    [
        (PAIR, {"prompt": "a", "chosen": "b", "rejected": "c"}),
        (RATED, {"prompt": "a", "completion": "b", "label": True}),
    ],
)
def test_the_trainer_says_which_method_they_are_for(
    write: Write, chatml: ChatTokenizer, format: DatasetFormat, row: dict[str, Any]
) -> None:
    file = DataFile(path=str(write("a.jsonl", json.dumps(row) * 1)), name="pairs", format=format)
    with pytest.raises(
        DataError, match=r"pairs cannot be trained on.*that serves (DPO and ORPO|KTO), not supervised"
    ):
        prepare(file, None, DataConfig(), seed=1, tokenizer=chatml)


def converted(path: Path, format: DatasetFormat, target: DatasetFormat) -> list[Example]:
    out = path.with_suffix(".out")
    write_converted(path, out, format, None, target)
    return [to_example(json.loads(line), target) for line in out.read_text().splitlines()]


def test_a_pair_becomes_its_good_answer_or_two_rated_ones(write: Write) -> None:
    path = write("a.jsonl", json.dumps({"prompt": "Is it good?", "chosen": "Yes.", "rejected": "No."}) + "\n")
    assert converted(path, PAIR, DatasetFormat.MESSAGES) == [Example(messages=EXPECTED.messages)]
    good, bad = converted(path, PAIR, RATED)
    assert (good.label, bad.label) == (True, False)
    assert (good.messages, bad.messages[1]) == (EXPECTED.messages, Message("assistant", "No."))


def test_bad_answers_are_left_out_of_a_chat(write: Write) -> None:
    rows = [{"prompt": "a", "completion": text, "label": text == "yes"} for text in ("yes", "no", "yes")]
    path = write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert len(converted(path, RATED, DatasetFormat.MESSAGES)) == 2


@pytest.mark.parametrize(
    ("format", "row"),
    [
        (DatasetFormat.ALPACA, {"instruction": "a", "input": "b", "output": "c", "history": [["x", "y"]]}),
        (DatasetFormat.PROMPT_COMPLETION, {"prompt": "a", "completion": "b"}),
        (
            DatasetFormat.SHAREGPT,
            {
                "conversations": [
                    {"from": "human", "value": "Which way?"},
                    {"from": "function_call", "value": '{"name": "map", "arguments": {"to": "Köln"}}'},
                    {"from": "observation", "value": "north"},
                    {"from": "gpt", "value": "North.", "weight": 0},
                ],
                "system": "Be brief.",
                "tools": '[{"name": "map"}]',
            },
        ),
    ],
)
def test_a_converted_row_means_the_same(write: Write, format: DatasetFormat, row: dict[str, Any]) -> None:
    path = write("a.jsonl", json.dumps(row) + "\n")
    assert DatasetFormat.MESSAGES in TARGETS[format]
    assert converted(path, format, DatasetFormat.MESSAGES) == [to_example(row, format)]


def test_a_bad_row_stops_a_conversion_and_leaves_nothing(write: Write) -> None:
    path = write("a.jsonl", json.dumps({"prompt": "a", "completion": ""}) + "\n")
    with pytest.raises(DataError):
        converted(path, DatasetFormat.PROMPT_COMPLETION, DatasetFormat.MESSAGES)
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.jsonl"]
