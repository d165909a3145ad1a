"""Detecting formats: certain where it can be, silent nowhere."""

from typing import Any

import pytest

from lora_core.datasets.detect import detect_format
from lora_core.schema.dataset import ColumnMapping, DatasetFormat

CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
SHARE = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]


@pytest.mark.parametrize(
    ("row", "format"),
    [
        ({"instruction": "a", "input": "", "output": "b"}, DatasetFormat.ALPACA),
        ({"conversations": SHARE, "id": 1}, DatasetFormat.SHAREGPT),
        ({"messages": CHAT, "tools": []}, DatasetFormat.MESSAGES),
        ({"prompt": "a", "completion": "b"}, DatasetFormat.PROMPT_COMPLETION),
        ({"text": "a", "url": "b"}, DatasetFormat.TEXT),
        ("a", DatasetFormat.TEXT),
    ],
)
def test_known_formats_are_detected_with_full_confidence(
    row: dict[str, Any] | str, format: DatasetFormat
) -> None:
    found = detect_format([row] * 3)
    assert (found.format, found.confidence, found.mapping) == (format, 1.0, ColumnMapping())


@pytest.mark.parametrize(
    ("row", "format", "column"),
    [
        ({"conversations": CHAT}, DatasetFormat.MESSAGES, "conversations"),
        ({"messages": SHARE}, DatasetFormat.SHAREGPT, "messages"),
        ({"messages": '[{"role": "user", "content": "a"}]'}, DatasetFormat.MESSAGES, None),
    ],
)
def test_turns_in_another_column_are_mapped(
    row: dict[str, Any], format: DatasetFormat, column: str | None
) -> None:
    found = detect_format([row])
    assert (found.format, found.mapping.messages) == (format, column)


@pytest.mark.parametrize(
    ("row", "mapping"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, ColumnMapping()),
        ({"prompt": CHAT[:1], "chosen": CHAT[1:], "rejected": CHAT[1:]}, ColumnMapping()),
        ({"chosen": CHAT, "rejected": CHAT}, ColumnMapping()),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
            ColumnMapping(),
        ),
        ({"question": "a", "system": "s", "chosen": "b", "rejected": "c"}, ColumnMapping(prompt="question")),
        (
            {"conversations": SHARE[:1], "chosen": SHARE[1], "rejected": SHARE[1]},
            ColumnMapping(prompt="conversations"),
        ),
    ],
)
def test_preference_pairs_are_detected(row: dict[str, Any], mapping: ColumnMapping) -> None:
    found = detect_format([row] * 3)
    assert (found.format, found.confidence, found.mapping) == (DatasetFormat.PREFERENCE, 1.0, mapping)


@pytest.mark.parametrize(
    ("row", "mapping"),
    [
        ({"prompt": "a", "completion": "b", "label": False}, ColumnMapping()),
        ({"prompt": "a", "completion": "b", "label": "true"}, ColumnMapping()),
        ({"messages": CHAT, "kto_tag": True}, ColumnMapping(prompt="messages", label="kto_tag")),
        (
            {"instruction": "a", "input": "", "output": "b", "kto_tag": True},
            ColumnMapping(prompt="instruction", completion="output", label="kto_tag"),
        ),
    ],
)
def test_unpaired_preferences_are_detected(row: dict[str, Any], mapping: ColumnMapping) -> None:
    found = detect_format([row] * 3)
    assert (found.format, found.confidence, found.mapping) == (
        DatasetFormat.UNPAIRED_PREFERENCE,
        1.0,
        mapping,
    )


@pytest.mark.parametrize(
    "row",
    [{"prompt": "a", "completion": "b", "label": "spam"}, {"prompt": "a", "completion": "b", "label": 4}],
)
def test_a_label_that_is_no_verdict_makes_no_preference(row: dict[str, Any]) -> None:
    assert detect_format([row]).format is DatasetFormat.PROMPT_COMPLETION


def test_a_class_beside_a_conversation_makes_no_preference() -> None:
    assert detect_format([{"messages": CHAT, "label": 1}]).format is DatasetFormat.MESSAGES


def test_answers_without_any_prompt_are_only_suggested_as_a_pair() -> None:
    found = detect_format([{"chosen": "It is good.", "rejected": "It is bad."}] * 3)
    assert (found.format, found.suggested, found.confidence) == (
        DatasetFormat.UNKNOWN,
        DatasetFormat.PREFERENCE,
        0.5,
    )
    assert "what both texts begin with" in found.reason


@pytest.mark.parametrize(
    ("row", "suggested", "mapping"),
    [
        (
            {"Question": "a", "Answer": "b"},
            DatasetFormat.PROMPT_COMPLETION,
            ColumnMapping(prompt="Question", completion="Answer"),
        ),
        (
            {"instruction": "a", "context": "", "response": "b"},
            DatasetFormat.ALPACA,
            ColumnMapping(instruction="instruction", input="context", output="response"),
        ),
        ({"turnlist": CHAT}, DatasetFormat.MESSAGES, ColumnMapping(messages="turnlist")),
        ({"content": "a"}, DatasetFormat.TEXT, ColumnMapping(text="content")),
    ],
)
def test_unsure_columns_are_only_suggested(
    row: dict[str, Any], suggested: DatasetFormat, mapping: ColumnMapping
) -> None:
    found = detect_format([row])
    assert found.format is DatasetFormat.UNKNOWN
    assert (found.suggested, found.mapping) == (suggested, mapping)


def test_unknown_columns_are_listed() -> None:
    found = detect_format([{"alpha": 1, "beta": 2}])
    assert found.format is DatasetFormat.UNKNOWN
    assert "'alpha', 'beta'" in found.reason


def test_a_mixed_file_is_not_guessed() -> None:
    found = detect_format([{"text": "a"}] * 7 + [{"messages": CHAT}] * 3)
    assert found.format is DatasetFormat.UNKNOWN
    assert "70%" in found.reason


def test_a_few_odd_rows_do_not_hide_the_format() -> None:
    assert detect_format([{"messages": CHAT}] * 9 + [{"x": 1}]).format is DatasetFormat.MESSAGES


def test_no_rows_are_no_format() -> None:
    assert detect_format([]).format is DatasetFormat.UNKNOWN
