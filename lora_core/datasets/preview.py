"""A few rows of a data set as they will be read, for showing: conversations as messages, bad rows with their fault."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from lora_core.datasets.convert import to_example
from lora_core.datasets.example import Example, Message
from lora_core.datasets.faults import RowError
from lora_core.datasets.read import read_rows
from lora_core.datasets.rows import Row
from lora_core.schema.dataset import ColumnMapping, DatasetFormat, RowIssue

_SHOWN_CHARACTERS = 4000


class PreviewRow(msgspec.Struct, frozen=True):
    """One row to show: `messages` or `text`; `issue` says why a row cannot be used, with its raw form as `text`.

    Of a preference row `messages` from `answer_from` on are the answer; `rejected` is the worse one, `label` the verdict.
    """

    line: int
    row: int
    messages: tuple[Message, ...] = ()
    text: str = ""
    tools: tuple[dict[str, Any], ...] = ()
    issue: RowIssue | None = None
    rejected: tuple[Message, ...] = ()
    label: bool | None = None
    answer_from: int = 0


def preview_rows(
    path: Path,
    format: DatasetFormat,
    mapping: ColumnMapping | None,
    *,
    offset: int,
    limit: int,
    search: str = "",
    file_name: str = "",
) -> list[PreviewRow]:
    """Read some rows. Reads no further than it has to.

    Args:
        path: The file.
        format: Layout of its rows; UNKNOWN shows each as it is, without an issue.
        mapping: Columns chosen by hand.
        offset: Rows (that match) to pass over.
        limit: Most rows returned.
        search: Only rows with this text in their content, whatever the case.
        file_name: Name the person gave the file.

    Raises:
        DataError: The file cannot be read up to there.
    """
    found: list[PreviewRow] = []
    wanted = search.casefold().strip()
    passed = 0
    for row in _all_rows(path, file_name):
        if limit <= 0 or len(found) >= limit:
            break
        if not wanted:
            if passed >= offset:
                found.append(_shown(row, format, mapping))
            passed += 1
            continue
        shown = _shown(row, format, mapping)
        if wanted in _content(shown).casefold():
            if passed >= offset:
                found.append(shown)
            passed += 1
    return found


def _all_rows(path: Path, file_name: str) -> Iterator[Row]:
    return read_rows(path, file_name=file_name)


def _shown(row: Row, format: DatasetFormat, mapping: ColumnMapping | None) -> PreviewRow:
    if row.value is None:
        raw = row.raw[:_SHOWN_CHARACTERS].decode("utf-8", "replace")
        return PreviewRow(row.line, row.row, text=raw, issue=row.error)
    if format is DatasetFormat.UNKNOWN:
        return PreviewRow(row.line, row.row, text=_raw(row.value))
    try:
        example: Example = to_example(row.value, format, mapping)
    except RowError as error:
        issue = RowIssue(
            line=row.line, row=row.row, code=error.code, field=error.field, message=error.message
        )
        return PreviewRow(row.line, row.row, text=_raw(row.value), issue=issue)
    return PreviewRow(
        row.line,
        row.row,
        example.messages,
        example.text,
        example.tools,
        rejected=example.rejected,
        label=example.label,
        answer_from=example.answer_from,
    )


def _raw(value: dict[str, Any] | str) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return text[:_SHOWN_CHARACTERS].encode("utf-8", "replace").decode("utf-8")


def _content(shown: PreviewRow) -> str:
    return "\n".join([shown.text, *[message.content for message in (*shown.messages, *shown.rejected)]])
