"""Which format rows have. Says how sure it is and why; where unsure it suggests a mapping and decides nothing."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from lora_core.datasets.conversation import CONVERSATION_COLUMNS
from lora_core.datasets.faults import RowError
from lora_core.datasets.preference import ANSWER_COLUMNS, LABEL_COLUMNS, label_of, present, prompt_column
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
    (format, column), count = votes.most_common(1)[0]
    share = count / len(rows)
    if format is DatasetFormat.UNKNOWN:
        return _suggestion(rows)
    mapping = _mapping(format, column, next(row for row in rows if _vote(row) == (format, column)))
    looks = _LOOKS[format].format(column=column or "what both texts begin with")
    if share < SURE:
        others = sorted({found.value for found, _ in votes if found is not format}) or [
            f"{format.value} with other columns"
        ]
        reason = (
            f"Only {share:.0%} of {len(rows)} sampled rows {looks}; the others look like {', '.join(others)}."
        )
        return Detection(DatasetFormat.UNKNOWN, share, reason, mapping, format)
    if format is DatasetFormat.PREFERENCE and not column:
        reason = (
            f"{share:.0%} of {len(rows)} sampled rows {looks}. Confirm it, or choose the prompt's column."
        )
        return Detection(DatasetFormat.UNKNOWN, 0.5, reason, mapping, format)
    return Detection(format, share, f"{share:.0%} of {len(rows)} sampled rows {looks}.", mapping)


def _mapping(format: DatasetFormat, column: str, row: dict[str, Any] | str) -> ColumnMapping:
    """Name the columns that do not have the format's own name."""
    if isinstance(row, str) or column == _IN_BOTH:
        return ColumnMapping()
    if format is DatasetFormat.PREFERENCE:
        return ColumnMapping(prompt=_unless(column, "prompt"))
    if format is DatasetFormat.UNPAIRED_PREFERENCE:
        return ColumnMapping(
            prompt=_unless(prompt_column(row, ColumnMapping()), "prompt"),
            completion=_unless(present(row, ANSWER_COLUMNS), "completion"),
            label=_unless(column, "label"),
        )
    return ColumnMapping(messages=_unless(column, _own_column(format)))


def _unless(column: str | None, own: str) -> str | None:
    return column if column not in ("", own) else None


_IN_BOTH = "both sides"

_LOOKS = {
    DatasetFormat.TEXT: "are plain text",
    DatasetFormat.ALPACA: "have the columns instruction and output",
    DatasetFormat.SHAREGPT: "have turns with from and value in {column!r}",
    DatasetFormat.MESSAGES: "have turns with role and content in {column!r}",
    DatasetFormat.PROMPT_COMPLETION: "have the columns prompt and completion",
    DatasetFormat.PREFERENCE: "have the columns chosen and rejected, and their prompt in {column}",
    DatasetFormat.UNPAIRED_PREFERENCE: "have a prompt, an answer, and true or false in {column!r}",
}


def _own_column(format: DatasetFormat) -> str:
    return {DatasetFormat.MESSAGES: "messages", DatasetFormat.SHAREGPT: "conversations"}.get(format, "")


def _vote(row: dict[str, Any] | str) -> tuple[DatasetFormat, str]:
    """The format one row has, and the column that tells it: of the turns, the prompt or the verdict."""
    if isinstance(row, str):
        return DatasetFormat.TEXT, ""
    if "chosen" in row and "rejected" in row:
        return DatasetFormat.PREFERENCE, _column_of_prompt(row)
    label = _verdict(row)
    if label:
        return DatasetFormat.UNPAIRED_PREFERENCE, label
    for column in CONVERSATION_COLUMNS:
        format = _turns_format(row.get(column))
        if format is not None:
            return format, column
    if "instruction" in row and "output" in row:
        return DatasetFormat.ALPACA, ""
    if "prompt" in row and "completion" in row:
        return DatasetFormat.PROMPT_COMPLETION, ""
    if isinstance(row.get("text"), str) and not _pair(row):
        return DatasetFormat.TEXT, ""
    return DatasetFormat.UNKNOWN, ""


def _column_of_prompt(row: dict[str, Any]) -> str:
    """Where a paired row has its prompt: a column, both sides as turns, or "" where only the words are shared."""
    side = row["chosen"]
    if isinstance(side, str) and side.lstrip().startswith("Human:"):
        return _IN_BOTH
    turns = side if isinstance(side, list) else []
    if turns and isinstance(turns[0], dict) and turns[0].get("role", turns[0].get("from")) in _OPENING:
        return _IN_BOTH
    return prompt_column(row, ColumnMapping()) or ""


_OPENING = ("system", "user", "human")


def _verdict(row: dict[str, Any]) -> str:
    """The column that says whether the answer of a row is good; "" if there is none."""
    plain = "prompt" in row and "completion" in row  # elsewhere a label of 0 or 1 may well be a class
    for column in LABEL_COLUMNS if plain else LABEL_COLUMNS[1:]:
        try:
            label_of(row, column)
        except RowError:
            continue
        return column
    return ""


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
