"""Which format rows have. Says how sure it is and why; where unsure it suggests a mapping and decides nothing."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from lora_core.datasets.convert import CONVERSATION_COLUMNS
from lora_core.datasets.faults import RowError
from lora_core.datasets.values import as_list
from lora_core.schema.dataset import ColumnMapping, DatasetFormat

SURE = 0.8
"""A format is only taken if at least this share of the sample has it."""

_QUESTION = ("question", "query", "input", "problem", "user", "instruction", "prompt", "context", "source")
_ANSWER = (
    "answer",
    "response",
    "output",
    "completion",
    "solution",
    "assistant",
    "reply",
    "target",
    "answers",
)
_TEXT = ("content", "document", "body", "article", "passage", "raw_content")
_NOT_YET = "is not supported for training yet"


class Detection(msgspec.Struct, frozen=True):
    """What detection found.

    Args:
        format: UNKNOWN where it is not sure.
        confidence: 0 to 1: the share of sampled rows that have the format.
        reason: For a person.
        mapping: Columns that differ from the format's own names; a suggestion where `format` is UNKNOWN.
        suggested: The format that `mapping` stands for, where `format` is UNKNOWN.
    """

    format: DatasetFormat
    confidence: float
    reason: str
    mapping: ColumnMapping = msgspec.field(default_factory=ColumnMapping)
    suggested: DatasetFormat = DatasetFormat.UNKNOWN


def detect_format(rows: Sequence[dict[str, Any] | str]) -> Detection:
    """Find the format of sample rows.

    Args:
        rows: Rows as read, in the order of the file; a few hundred are enough.

    Example:
        >>> detect_format([{"prompt": "1+1=", "completion": "2"}]).format.value
        'prompt_completion'
    """
    if not rows:
        return Detection(DatasetFormat.UNKNOWN, 0.0, "There is no row that can be read.")
    votes = Counter(_vote(row) for row in rows)
    (format, column, not_yet), count = votes.most_common(1)[0]
    share = count / len(rows)
    if not_yet and share >= 0.5:
        return Detection(DatasetFormat.UNKNOWN, 0.0, f"{not_yet} {_NOT_YET}.")
    if format is DatasetFormat.UNKNOWN:
        return _suggestion(rows)
    mapping = ColumnMapping(messages=column) if column not in ("", _own_column(format)) else ColumnMapping()
    looks = _LOOKS[format].format(column=column)
    if share < SURE:
        others = sorted({found.value for found, _, _ in votes if found is not format})
        reason = (
            f"Only {share:.0%} of {len(rows)} sampled rows {looks}; the others look like {', '.join(others)}."
        )
        return Detection(DatasetFormat.UNKNOWN, share, reason, mapping, format)
    return Detection(format, share, f"{share:.0%} of {len(rows)} sampled rows {looks}.", mapping)


_LOOKS = {
    DatasetFormat.TEXT: "are plain text",
    DatasetFormat.ALPACA: "have the columns instruction and output",
    DatasetFormat.SHAREGPT: "have turns with from and value in {column!r}",
    DatasetFormat.MESSAGES: "have turns with role and content in {column!r}",
    DatasetFormat.PROMPT_COMPLETION: "have the columns prompt and completion",
}


def _own_column(format: DatasetFormat) -> str:
    return {DatasetFormat.MESSAGES: "messages", DatasetFormat.SHAREGPT: "conversations"}.get(format, "")


def _vote(row: dict[str, Any] | str) -> tuple[DatasetFormat, str, str]:
    """The format one row has, the column of its turns, and the kind of preference data it is instead."""
    if isinstance(row, str):
        return DatasetFormat.TEXT, "", ""
    if "chosen" in row and "rejected" in row:
        return DatasetFormat.UNKNOWN, "", "Preference data (columns chosen and rejected, as for DPO)"
    if "label" in row and "completion" in row and "prompt" in row:
        return (
            DatasetFormat.UNKNOWN,
            "",
            "Unpaired preference data (prompt, completion and label, as for KTO)",
        )
    if isinstance(row.get("kto_tag"), bool | str):
        return DatasetFormat.UNKNOWN, "", "Unpaired preference data (column kto_tag, as for KTO)"
    for column in CONVERSATION_COLUMNS:
        format = _turns_format(row.get(column))
        if format is not None:
            return format, column, ""
    if "instruction" in row and "output" in row:
        return DatasetFormat.ALPACA, "", ""
    if "prompt" in row and "completion" in row:
        return DatasetFormat.PROMPT_COMPLETION, "", ""
    if isinstance(row.get("text"), str) and not _pair(row):
        return DatasetFormat.TEXT, "", ""
    return DatasetFormat.UNKNOWN, "", ""


def _turns_format(value: Any) -> DatasetFormat | None:
    try:
        turns = as_list(value, "") if isinstance(value, list | tuple | str) else []
    except RowError:
        return None
    first = turns[0] if turns else None
    if not isinstance(first, dict):
        return None
    if "from" in first and "value" in first:
        return DatasetFormat.SHAREGPT
    if "role" in first and ("content" in first or "tool_calls" in first or "value" in first):
        return DatasetFormat.MESSAGES
    return None


def _pair(row: dict[str, Any]) -> tuple[str, str] | None:
    names = {name.lower(): name for name in row}
    question = next((names[name] for name in _QUESTION if name in names), None)
    answer = next((names[name] for name in _ANSWER if name in names and names[name] != question), None)
    return (question, answer) if question is not None and answer is not None else None


def _suggestion(rows: Sequence[dict[str, Any] | str]) -> Detection:
    """No known format: look for columns that might be a question and its answer, or a text."""
    row = max((row for row in rows if isinstance(row, dict)), key=len, default={})
    listed = ", ".join(repr(name[:40]) for name in list(row)[:12]) or "none"
    names = {name.lower(): name for name in row}
    if "instruction" in names and (answer := next((names[name] for name in _ANSWER if name in names), None)):
        extra = names.get("context") or names.get("input")
        mapping = ColumnMapping(instruction=names["instruction"], input=extra, output=answer)
        words = f"{names['instruction']!r} could be the instruction and {answer!r} the output"
        return _maybe(DatasetFormat.ALPACA, mapping, words, listed)
    pair = _pair(row)
    if pair is not None:
        mapping = ColumnMapping(prompt=pair[0], completion=pair[1])
        words = f"{pair[0]!r} could be the prompt and {pair[1]!r} the completion"
        return _maybe(DatasetFormat.PROMPT_COMPLETION, mapping, words, listed)
    for name, value in row.items():
        if (format := _turns_format(value)) is not None:
            words = f"{name[:40]!r} could hold the turns of a conversation"
            return _maybe(format, ColumnMapping(messages=name), words, listed)
    text = next((names[name] for name in _TEXT if name in names), None)
    if text is not None:
        return _maybe(DatasetFormat.TEXT, ColumnMapping(text=text), f"{text!r} could be the text", listed)
    return Detection(
        DatasetFormat.UNKNOWN,
        0.0,
        f"No known format. Columns: {listed}. Choose by hand which column plays which part.",
    )


def _maybe(format: DatasetFormat, mapping: ColumnMapping, words: str, listed: str) -> Detection:
    reason = f"No known format. Columns: {listed}. {words[0].upper()}{words[1:]}: confirm or choose by hand."
    return Detection(DatasetFormat.UNKNOWN, 0.5, reason, mapping, format)
