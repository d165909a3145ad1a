"""The check of a whole file: counts, faults with lines, and a report whatever the file holds."""

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_core.datasets.check import check_file
from lora_core.schema.dataset import CheckReport, ColumnMapping, DatasetFormat, FileKind

Write = Callable[[str, bytes | str], Path]


def chat(*contents: str, **extra: Any) -> dict[str, Any]:
    roles = ("user", "assistant") * 9
    turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return {"messages": turns, **extra}


def lines(*rows: Any) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


GOOD = [chat(f"question {n}", f"answer {n}") for n in range(20)]


def found(report: CheckReport) -> list[tuple[int, str]]:
    return [(issue.line, issue.code) for issue in (*report.errors, *report.warnings)]


def test_a_good_file_is_counted(write: Write) -> None:
    report = check_file(write("a.jsonl", lines(*GOOD, chat("a", "b", "c", "d"))))
    assert (report.file_kind, report.format, report.confidence) == (
        FileKind.JSONL,
        DatasetFormat.MESSAGES,
        1.0,
    )
    assert (report.rows, report.good_rows, report.error_rows, report.warning_rows) == (21, 21, 0, 0)
    assert report.turns == 44
    assert report.roles == {"user": 22, "assistant": 22}
    assert report.characters is not None
    assert report.characters.minimum == 4
    assert sum(report.characters.histogram.counts) == 21
    assert not report.fatal


def test_faults_carry_their_line(write: Write, tmp_path: Path) -> None:
    path = write(
        "a.jsonl",
        lines(
            *GOOD,
            "{broken",
            "",
            chat("a", " "),
            chat("a"),
            GOOD[3],
            chat("caf\u00c3\u00a9 x", "b"),
            chat("\ufffd", "b"),
        ),
    )
    report = check_file(path, issues_path=tmp_path / "issues.jsonl")
    assert found(report) == [
        (21, "broken_json"),
        (23, "empty_answer"),
        (24, "no_answer_at_end"),
        (26, "mojibake"),
        (27, "replacement_character"),
        (25, "duplicate"),
    ]
    assert (report.rows, report.good_rows, report.error_rows, report.warning_rows) == (26, 23, 3, 3)
    assert report.duplicate_rows == 1
    assert report.issue_counts["duplicate"] == 1
    written = [json.loads(line) for line in (tmp_path / "issues.jsonl").read_text().splitlines()]
    first = written[0]
    assert (first["severity"], first["line"], first["code"]) == ("error", 21, "broken_json")
    assert len(written) == 6


@pytest.mark.parametrize("separator", ["\n", "\r\n"])
def test_the_quick_way_and_the_careful_way_agree(write: Write, separator: str) -> None:
    rows = [
        *GOOD,
        chat("a", "b", id=1),
        chat("tab\tand \u0007 bell", "b"),
        {"messages": [{"role": "system", "content": "s"}, *chat("a", "b")["messages"]]},
        chat("a", "b", tools=[{"name": "f"}]),
        chat("a", "b", system="s"),
        chat("é", "\\ud83d\\ude00"),
        chat("a"),
        GOOD[0],
    ]
    text = separator.join(json.dumps(row) for row in rows)
    quick = check_file(write("a.jsonl", text))
    as_list = check_file(write("a.json", json.dumps(rows)))
    names = {
        "rows",
        "good_rows",
        "error_rows",
        "warning_rows",
        "duplicate_rows",
        "turns",
        "roles",
        "issue_counts",
    }
    assert quick.model_dump(include=names) == as_list.model_dump(include=names)
    assert quick.characters == as_list.characters
    assert found(quick) == found(as_list)
    assert [issue.row for issue in quick.errors] == [issue.row for issue in as_list.errors] == [27]
    assert [issue.row for issue in quick.warnings] == [issue.row for issue in as_list.warnings]


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("a \u0007 bell", "control_character"),
        ("delete \x7f", "control_character"),
        ("old \u0092 quote", "control_character"),
        ("lost \ufffd", "replacement_character"),
        ("It\u00e2\u20ac\u2122s", "mojibake"),
        ("caf\u00c3\u00a9 au lait", "mojibake"),
        ("20 \u00c2\u00b0C", "mojibake"),
        ("tab\t, na\u00efve caf\u00e9, \u00e2ge, \u201cquotes\u201d, \u4e2d\u6587, \U0001f600", ""),
    ],
)
def test_signs_of_a_broken_encoding_are_warned_of(
    write: Write, content: str, code: str, escaped: bool
) -> None:
    row = json.dumps(chat("fine", content), ensure_ascii=escaped)
    assert found(check_file(write("a.jsonl", lines(row)))) == ([(1, code)] if code else [])


@pytest.mark.parametrize(
    "bad", [b'{"x":1}{"x":2}\n\n', b'{"messages": [\n{"role":"user","content":"a"}]}{}\n']
)
def test_objects_that_share_or_span_lines_are_faults(write: Write, bad: bytes) -> None:
    good = lines(*GOOD[:3]).encode()
    report = check_file(write("a.jsonl", good + bad + good))
    assert report.good_rows == 6
    assert report.error_rows >= 1
    assert all(issue.line in (4, 5) for issue in report.errors)


def test_the_quick_way_sees_what_is_not_utf8_in_columns_it_does_not_read(write: Write) -> None:
    content = lines(*GOOD * 100).encode() + b'{"id": "\xe9", "messages": []}\n'
    report = check_file(write("a.jsonl", content))
    assert "Line 2001 is not UTF-8" in report.fatal
    assert report.rows == 2000


def test_sharegpt_takes_the_quick_way_too(write: Write) -> None:
    row = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    report = check_file(write("a.jsonl", lines(row, row, *[row])))
    assert (report.format, report.good_rows, report.duplicate_rows) == (DatasetFormat.SHAREGPT, 3, 2)
    assert report.roles == {"user": 3, "assistant": 3}


def test_a_detected_mapping_is_reported(write: Write) -> None:
    report = check_file(write("a.jsonl", lines({"conversations": GOOD[0]["messages"]})))
    assert (report.format, report.mapping.messages) == (DatasetFormat.MESSAGES, "conversations")
    assert report.good_rows == 1


def test_unknown_columns_are_not_guessed_but_suggested(write: Write) -> None:
    path = write("a.csv", "question,answer\nq,a\nr,b\n")
    report = check_file(path)
    assert (report.format, report.rows, report.good_rows) == (DatasetFormat.UNKNOWN, 2, 0)
    assert report.columns == ("question", "answer")
    assert report.suggested_format is DatasetFormat.PROMPT_COMPLETION
    assert report.mapping == ColumnMapping(prompt="question", completion="answer")
    confirmed = check_file(path, format=report.suggested_format, mapping=report.mapping)
    assert confirmed.good_rows == 2


def test_rows_in_both_files_are_warned_of(write: Write) -> None:
    train = write("train.jsonl", lines(*GOOD))
    held = write("held.jsonl", lines(chat("new", "row"), GOOD[7]))
    report = check_file(held, compare_with=train)
    assert found(report) == [(2, "in_both_files")]
    assert report.warning_rows == 1


def test_a_file_to_compare_with_that_cannot_be_read_is_a_warning(write: Write, tmp_path: Path) -> None:
    report = check_file(write("a.jsonl", lines(*GOOD)), compare_with=tmp_path / "gone")
    assert report.issue_counts == {"comparison_unreadable": 1}


def test_very_long_rows_are_warned_of(write: Write) -> None:
    report = check_file(write("a.jsonl", lines(chat("a", "b" * 100_001))))
    assert found(report) == [(1, "very_long")]


def test_only_the_first_faults_are_in_the_report_and_all_in_the_file(write: Write, tmp_path: Path) -> None:
    report = check_file(write("a.jsonl", lines(*["{"] * 500, *GOOD)), issues_path=tmp_path / "i.jsonl")
    assert (len(report.errors), report.issue_counts["broken_json"]) == (200, 500)
    assert len((tmp_path / "i.jsonl").read_text().splitlines()) == 500


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b"", "empty"),
        ("a.jsonl", b"\n \n", "empty"),
        ("a.json", b"[]", "no rows"),
        ("a.csv", b"a,b\n", "no rows"),
        ("a.jsonl", b"\x7fELF\x00", "a program"),
        ("a.json", b"{", "not valid JSON"),
        ("a.jsonl.gz", gzip.compress(lines(*GOOD).encode())[:-9], "cut off"),
        ("a.jsonl.zst", zstandard.compress(lines(*GOOD).encode())[:-9], "cut off"),
        ("a.txt", "caf\xe9".encode("latin-1"), "Save the file as UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_fatal_with_a_way_out(
    write: Write, name: str, content: bytes, words: str
) -> None:
    assert words in check_file(write(name, content)).fatal


def test_a_missing_file_is_fatal_not_an_exception(tmp_path: Path) -> None:
    assert "cannot be read" in check_file(tmp_path / "gone.jsonl").fatal


def test_all_rows_broken_is_a_report(write: Write) -> None:
    report = check_file(write("a.jsonl", "{\n{\n"))
    assert (report.rows, report.error_rows, report.format) == (2, 2, DatasetFormat.UNKNOWN)


def test_memory_stays_small(write: Write) -> None:
    path = write("a.jsonl", lines(*[chat(f"question {n}", "x" * 300) for n in range(30_000)]))
    tracemalloc.start()
    report = check_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.good_rows == 30_000
    assert peak < 7_000_000


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("messages"), inner, max_size=3)
    ),
    max_leaves=10,
)
hostile = (
    st.binary(max_size=300)
    | st.lists(json_values.map(json.dumps), max_size=6).map(lambda rows: "\n".join(rows).encode())
    | st.lists(json_values, max_size=6).map(lambda rows: json.dumps(rows).encode())
    | st.text(alphabet='{}[]",:\\\n\r\t ;|aé1-.', max_size=200).map(str.encode)
    | st.binary(max_size=60).map(lambda tail: lines(*GOOD[:2]).encode() + tail)
    | st.binary(max_size=60).map(lambda tail: b"\x1f\x8b\x08\x00" + tail)
    | st.binary(max_size=60).map(lambda tail: b"\x28\xb5\x2f\xfd" + tail)
    | st.binary(max_size=60).map(lambda tail: b"PAR1" + tail + b"PAR1")
    | st.binary(max_size=60).map(lambda tail: b"\xff\xfe" + tail)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(
    content=hostile,
    name=st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.txt", "a.parquet", "a"]),
    format=st.sampled_from([None, *DatasetFormat]),
)
def test_no_bytes_make_the_check_raise(
    tmp_path: Path, content: bytes, name: str, format: DatasetFormat | None
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    report = check_file(path, file_name=name, format=format, issues_path=tmp_path / "issues")
    assert report.rows or report.fatal
    assert CheckReport.model_validate_json(report.model_dump_json()).rows == report.rows
