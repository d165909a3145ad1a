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
    ("row", "word"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "DPO"),
        ({"conversations": SHARE, "chosen": {}, "rejected": {}}, "DPO"),
        ({"prompt": "a", "completion": "b", "label": True}, "KTO"),
    ],
)
def test_preference_data_is_named_and_not_taken(row: dict[str, Any], word: str) -> None:
    found = detect_format([row])
    assert found.format is DatasetFormat.UNKNOWN
    assert word in found.reason
    assert "not supported for training yet" in found.reason


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
