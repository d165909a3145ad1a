"""Reading files: every kind, every way to break one."""

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from lora_core.datasets.read import detect_kind, inspect_file, read_rows
from lora_core.errors import DataError
from lora_core.schema.dataset import FileKind

Write = Callable[[str, bytes | str], Path]
ROWS = [{"prompt": f"question {n} é", "completion": f"answer\n{n}"} for n in range(5)]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def values(path: Path, **options: Any) -> list[Any]:
    return [row.value for row in read_rows(path, **options)]


def codes(path: Path, **options: Any) -> list[tuple[int, str]]:
    return [(row.line, row.error.code) for row in read_rows(path, **options) if row.error]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_jsonl_is_read_in_every_encoding_with_a_mark(write: Write, encoding: str) -> None:
    assert values(write("a.jsonl", JSONL.encode(encoding))) == ROWS


def test_windows_line_ends_and_blank_lines_do_not_matter(write: Write) -> None:
    path = write("a.jsonl", JSONL.replace("\n", "\r\n\r\n"))
    rows = list(read_rows(path))
    assert [row.value for row in rows] == ROWS
    assert [row.line for row in rows] == [1, 3, 5, 7, 9]


def test_a_last_line_without_newline_counts(write: Write) -> None:
    assert values(write("a.jsonl", JSONL.rstrip("\n"))) == ROWS


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_list_is_read(write: Write, indent: int | None) -> None:
    path = write("a.json", json.dumps(ROWS, indent=indent))
    assert detect_kind(path) == (FileKind.JSON, "")
    assert values(path) == ROWS


def test_a_json_object_with_one_list_is_read(write: Write) -> None:
    path = write("a.json", json.dumps({"version": [1, {"a": 2}][1], "data": ROWS, "n": 5}, indent=1))
    assert values(path) == ROWS


def test_a_json_object_that_is_a_row_is_one_row(write: Write) -> None:
    row = {"messages": [{"role": "user", "content": "x"}], "id": 1}
    assert values(write("a.json", json.dumps(row, indent=1))) == [row]


def test_a_json_object_with_two_lists_is_refused(write: Write) -> None:
    with pytest.raises(DataError, match="several lists"):
        values(write("a.json", json.dumps({"train": ROWS, "test": ROWS})))


def test_json_elements_may_span_blocks(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_core.datasets.blocks.BLOCK_BYTES", 7)
    rows = [*ROWS, {"n": [1.25, -3e5, True, None]}, {"text": '\\" é 😀' * 20}]
    assert values(write("a.json", json.dumps(rows, ensure_ascii=False))) == rows
    assert values(write("b.jsonl", JSONL)) == ROWS


def test_json_lines_in_a_json_file_are_seen(write: Write) -> None:
    path = write("a.json", JSONL)
    assert detect_kind(path)[0] is FileKind.JSONL
    assert values(path) == ROWS


def test_broken_json_names_the_line(write: Write) -> None:
    text = json.dumps(ROWS, indent=1).replace('"completion": "answer\\n2"', '"completion" "answer"')
    with pytest.raises(DataError, match="not valid JSON") as caught:
        values(write("a.json", text))
    assert caught.value.line == 12


def test_cut_off_json_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match="not valid JSON"):
        values(write("a.json", json.dumps(ROWS)[:-9]))


def test_a_too_large_json_row_is_an_error(write: Write) -> None:
    text = json.dumps([{"text": "x" * 5000}, {"text": "y"}])
    assert codes(write("a.json", text), max_line_bytes=1000) == [(1, "too_long")]
    text = json.dumps([{"text": "x" * 600_000}, {"text": "y"}])
    with pytest.raises(DataError, match="longer than 1000 bytes"):
        values(write("a.json", text), max_line_bytes=1000)


def test_elements_of_a_json_list_that_are_no_objects_are_row_errors(write: Write) -> None:
    assert codes(write("a.json", '[{"text": "a"}, 12.5, ["x"]]')) == [
        (2, "not_an_object"),
        (3, "not_an_object"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_delimiters_are_found(write: Write, delimiter: str) -> None:
    text = f'prompt{delimiter}completion\n"a, b; c | d"{delimiter}"two\nlines"\nx{delimiter}"say ""hi"""\n'
    path = write("a.csv", text)
    assert inspect_file(path).delimiter == delimiter
    assert values(path) == [
        {"prompt": "a, b; c | d", "completion": "two\nlines"},
        {"prompt": "x", "completion": 'say "hi"'},
    ]


def test_csv_rows_know_the_line_they_begin_in(write: Write) -> None:
    path = write("a.csv", 'a,b\n1,"x\ny\nz"\n\n2,w\n')
    assert [row.line for row in read_rows(path)] == [2, 6]


def test_ragged_csv_rows_are_row_errors(write: Write) -> None:
    path = write("a.csv", "a,b\n1,2\n1\n1,2,3\n4,5\n")
    assert codes(path) == [(3, "ragged_row"), (4, "ragged_row")]
    assert [value for value in values(path) if value] == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]


def test_an_open_quote_is_a_row_error(write: Write) -> None:
    assert codes(write("a.csv", 'a,b\n1,2\n3,"open\n5,6\n')) == [(3, "broken_csv")]


def test_csv_columns_of_the_same_name_are_refused(write: Write) -> None:
    with pytest.raises(DataError, match="'a'"):
        values(write("a.csv", "a,a\n1,2\n"))


def test_a_long_csv_field_is_read(write: Write) -> None:
    assert len(values(write("a.csv", f"text,b\n{'x' * 200_000},c\n"))[0]["text"]) == 200_000


def test_parquet_is_read_whatever_its_name(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "object-key"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    assert detect_kind(path) == (FileKind.PARQUET, "")
    assert values(path) == ROWS
    assert values(write("b", gzip.compress(path.read_bytes()))) == ROWS


def test_damaged_parquet_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match="Parquet"):
        values(write("a.parquet", b"PAR1" + b"\x15\x04" * 50 + b"PAR1"))


def test_text_is_read_by_paragraph(write: Write) -> None:
    path = write("a.txt", "one\ntwo\n\n \nthree\r\n\r\nfour")
    assert [(row.line, row.value) for row in read_rows(path)] == [(1, "one\ntwo"), (5, "three"), (7, "four")]


def test_text_without_blank_lines_is_read_by_line(write: Write) -> None:
    assert values(write("a.txt", "one\ntwo\nthree\n")) == ["one", "two", "three"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_compressed_files_read_the_same(write: Write, name: str) -> None:
    content = {
        "a.jsonl": JSONL,
        "a.json": json.dumps(ROWS),
        "a.csv": "a,b\n1,2\n3,4\n",
        "a.txt": "one\n\ntwo\n",
    }[name].encode()
    expected = values(write(name, content))
    parts = gzip.compress(content[:9]) + gzip.compress(content[9:])
    assert values(write(f"{name}.gz", parts)) == expected
    compress = zstandard.ZstdCompressor().compress
    assert values(write(f"{name}.zst", compress(content[:9]) + compress(content[9:]))) == expected


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_cut_off_compressed_file_is_an_error(write: Write, compress: Callable[[bytes], bytes]) -> None:
    content = "".join(json.dumps({"text": f"{n * 7919}"}) + "\n" for n in range(60_000)).encode()
    path = write("a.jsonl", compress(content)[:-20])
    with pytest.raises(DataError, match="cut off"):
        values(path)


def test_damaged_gzip_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match="damaged"):
        values(write("a.jsonl.gz", b"\x1f\x8b\x08\x00" + b"\xff" * 100))


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_bomb_is_refused_in_little_memory(write: Write, compress: Callable[[bytes], bytes]) -> None:
    path = write("a.txt", compress(b"a" * 80_000_000))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(DataError, match="larger than"):
        values(path, max_bytes=50_000_000, max_line_bytes=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24_000_000


def test_a_file_compressed_twice_is_refused(write: Write) -> None:
    with pytest.raises(DataError, match="twice"):
        values(write("a.gz", gzip.compress(gzip.compress(b"x"))))


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xef\xbb\xbf\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_an_error(write: Write, content: bytes) -> None:
    with pytest.raises(DataError, match="empty"):
        values(write("a.jsonl", content))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04abc", "zip"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"%PDF-1.4", "PDF"),
        (b"\x00\x01\x02\x03" * 9, "binary"),
        (('{"a": 1}\n' * 5).encode("utf-16-le"), "UTF-16"),
    ],
)
def test_a_binary_file_is_refused_by_name(write: Write, content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        values(write("a.jsonl", content))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.json"])
def test_text_that_is_not_utf8_names_line_and_way_out(write: Write, name: str) -> None:
    lines = [f'{{"text": "caf\xe9 au lait num\xe9ro {n}"}}' if n > 2 else '{"text": "ok"}' for n in range(6)]
    content = (
        "[" + ",\n".join(lines) + "]"
        if name == "a.json"
        else "\n".join(["x", *lines] if name == "a.csv" else lines)
    )
    with pytest.raises(DataError, match="Save the file as UTF-8") as caught:
        values(write(name, content.encode("latin-1")))
    assert caught.value.line == (5 if name == "a.csv" else 4)


def test_bytes_that_are_not_utf8_far_into_the_file_are_found(write: Write) -> None:
    content = b'{"text": "fine"}\n' * 10_000 + b'{"text": "\xe9"}\n'
    with pytest.raises(DataError) as caught:
        values(write("a.jsonl", content))
    assert caught.value.line == 10_001


def test_a_broken_line_is_a_row_error_and_reading_goes_on(write: Write) -> None:
    path = write("a.jsonl", '{"a": 1}\n{"a": \n[1]\n{"a": "\\ud800"}\n{"a": NaN}\n' + "[" * 9000 + "\n{}\n")
    assert codes(path) == [(2, "broken_json"), (3, "not_an_object"), (4, "broken_json"), (6, "broken_json")]
    assert [row.row for row in read_rows(path)] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("block_bytes", [10, 64, 100_000])
def test_a_huge_line_is_skipped_and_reading_goes_on(
    write: Write, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr("lora_core.datasets.blocks.BLOCK_BYTES", block_bytes)
    long = json.dumps({"a": "x" * 500})
    path = write("a.jsonl", f'{{"a": 1}}\n{long}\n{{"a": 2}}\n{{"a": 3}}\n{long}')
    assert codes(path, max_line_bytes=100) == [(2, "too_long"), (5, "too_long")]
    assert [value for value in values(path, max_line_bytes=100) if value] == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_a_huge_line_is_never_in_memory(write: Write) -> None:
    path = write("a.jsonl", b'{"a": "' + b"x" * 30_000_000 + b'"}\n{"a": 1}\n')
    tracemalloc.start()
    assert codes(path, max_line_bytes=100_000) == [(1, "too_long")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt", "a.jsonl.gz"])
def test_memory_does_not_grow_with_the_file(write: Write, name: str) -> None:
    rows = [json.dumps({"text": f"row {n} " + "x" * 200}) for n in range(40_000)]
    text = {"a.json": "[" + ",".join(rows) + "]", "a.csv": "text,b\n" + "hello there,b\n" * 60_000}.get(
        name, "\n".join(rows)
    )
    content = gzip.compress(text.encode(), 1) if name.endswith("gz") else text.encode()
    path = write(name, content)
    del rows, text, content
    tracemalloc.start()
    count = sum(1 for _ in read_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count >= 40_000
    assert peak < 6_000_000


def test_progress_reaches_one(write: Write) -> None:
    told: list[float] = []
    values(write("a.jsonl", JSONL * 9000), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.csv", '{"a": 1}\n{"a": 2}\n', FileKind.JSONL),
        ("a.txt", '[\n {"a": 1}]', FileKind.JSON),
        ("a.txt", "[1] A citation\n", FileKind.TEXT),
        ("noname", "a,b\n1,2\n3,4\n", FileKind.CSV),
        ("noname", "Just a sentence, or two.\nAnd more.\n", FileKind.TEXT),
        ("a.jsonl", "{broken\n{}\n", FileKind.JSONL),
        ("a.json", '{"messages": []}', FileKind.JSON),
        ("noname", '{"messages": []}', FileKind.JSONL),
    ],
)
def test_content_decides_before_the_name(write: Write, name: str, content: str, kind: FileKind) -> None:
    assert detect_kind(write(name, content))[0] is kind


def test_the_name_the_person_gave_decides_before_the_path(write: Write) -> None:
    assert detect_kind(write("5f3c", "one\ntwo"), "words.csv.gz")[0] is FileKind.CSV
