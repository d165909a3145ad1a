"""From file to rows to train on: repeatable, leak-free, and honest about rows that cannot be used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.datasets.clean import write_without
from lora_core.datasets.lengths import length_stats
from lora_core.datasets.measure import measure_tokens
from lora_core.datasets.prepare import Prepared, prepare
from lora_core.datasets.preview import preview_rows
from lora_core.datasets.split import sample_rows, split_rows
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.errors import DataError
from lora_core.schema.config import DataConfig
from lora_core.schema.dataset import ColumnMapping, DatasetFormat
from lora_core.schema.run import DataFile

Write = Callable[[str, bytes | str], Path]
PAIRS = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(40)]
FORMAT = DatasetFormat.PROMPT_COMPLETION


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def data_file(path: Path) -> DataFile:
    return DataFile(path=str(path), name=path.name, format=FORMAT)


def made(path: Path, tokenizer: ChatTokenizer, validation: Path | None = None, **data: Any) -> Prepared:
    held = data_file(validation) if validation else None
    return prepare(data_file(path), held, DataConfig(**data), seed=7, tokenizer=tokenizer)


def texts(rows: Any, tokenizer: ChatTokenizer) -> list[str]:
    return [tokenizer.decode(row.input_ids) for row in rows]


def test_the_same_file_and_seed_give_the_same_rows(write: Write, chatml: ChatTokenizer) -> None:
    path = write("a.jsonl", lines(PAIRS))
    first = made(path, chatml)
    assert (len(first.train), len(first.validation)) == (36, 4)
    assert made(path, chatml) == first
    assert len(first.fingerprint) == 64
    other = prepare(data_file(path), None, DataConfig(), seed=8, tokenizer=chatml)
    assert other.fingerprint != first.fingerprint


def test_the_fingerprint_sees_the_mask(write: Write, chatml: ChatTokenizer) -> None:
    path = write("a.jsonl", lines(PAIRS))
    assert made(path, chatml).fingerprint != made(path, chatml, loss_on="all").fingerprint


def test_validation_examples_belong_to_validation_rows(write: Write, chatml: ChatTokenizer) -> None:
    found = made(write("a.jsonl", lines(PAIRS)), chatml)
    assert [chatml.render(example) for example in found.validation_examples] == texts(
        found.validation, chatml
    )


def test_duplicates_stay_on_one_side(write: Write, chatml: ChatTokenizer) -> None:
    found = made(write("a.jsonl", lines(PAIRS[:10] * 4)), chatml, validation_fraction=0.3)
    assert found.validation
    assert not set(texts(found.train, chatml)) & set(texts(found.validation, chatml))


def test_an_own_validation_file_is_used_whole(write: Write, chatml: ChatTokenizer) -> None:
    found = made(write("a.jsonl", lines(PAIRS)), chatml, write("b.jsonl", lines(PAIRS[:3])), row_limit=10)
    assert (len(found.train), len(found.validation), len(found.validation_examples)) == (10, 3, 3)


def test_validation_rows_that_are_also_learned_from_are_counted(write: Write, chatml: ChatTokenizer) -> None:
    path = write("a.jsonl", lines(PAIRS))
    held = write("held.jsonl", lines([*PAIRS[:3], {"prompt": "Another?", "completion": "Yes."}]))
    assert made(path, chatml, held).leaked == 3
    assert made(path, chatml).leaked == 0


def test_the_row_limit_counts_training_and_split(write: Write, chatml: ChatTokenizer) -> None:
    found = made(write("a.jsonl", lines(PAIRS)), chatml, row_limit=10, validation_fraction=0.2)
    assert (len(found.train), len(found.validation)) == (8, 2)


@pytest.mark.parametrize(
    ("bad", "words"),
    [('{"prompt": "x", "completion": ""}', "'completion' is empty"), ("{nonsense", "not valid JSON")],
)
def test_a_bad_row_is_named_by_its_line(write: Write, chatml: ChatTokenizer, bad: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        made(write("a.jsonl", lines(PAIRS[:3]) + bad + "\n"), chatml)
    assert caught.value.line == 4
    assert "drop the bad rows" in str(caught.value)


def test_rows_cut_before_their_answer_are_skipped_and_counted(write: Write, chatml: ChatTokenizer) -> None:
    rows = [*PAIRS[:4], {"prompt": "x" * 200, "completion": "y"}, {"prompt": "a", "completion": "y" * 200}]
    found = made(write("a.jsonl", lines(rows)), chatml, max_length=64, validation_fraction=0)
    assert (len(found.train), found.skipped, found.truncated) == (5, 1, 1)


def test_nothing_to_learn_is_an_error(write: Write, chatml: ChatTokenizer) -> None:
    with pytest.raises(DataError, match="nothing to learn"):
        made(write("a.jsonl", lines([{"prompt": "x" * 200, "completion": "y"}] * 3)), chatml, max_length=16)


def test_progress_goes_from_0_to_1(write: Write, chatml: ChatTokenizer) -> None:
    told: list[float] = []
    path = data_file(write("a.jsonl", lines(PAIRS)))
    prepare(path, path, DataConfig(), seed=1, tokenizer=chatml, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_tokens_are_measured(write: Write, chatml: ChatTokenizer) -> None:
    rows = [*PAIRS[:9], {"prompt": "x" * 300, "completion": "y"}, {"prompt": "", "completion": "bad"}]
    path = write("a.jsonl", lines(rows))
    found = measure_tokens(path, FORMAT, None, chatml, model="tiny", max_length=64, loss_on="completion")
    prepared = made(write("b.jsonl", lines(rows[:9])), chatml, max_length=64, validation_fraction=0)
    assert found.learned_tokens == sum(row.learned_tokens for row in prepared.train)
    assert (found.over_length_rows, found.nothing_to_learn_rows) == (1, 1)
    assert found.lengths.maximum > 64
    assert sum(found.lengths.histogram.counts) == 10


def test_measuring_no_good_row_is_an_error(write: Write, chatml: ChatTokenizer) -> None:
    with pytest.raises(DataError, match="No row"):
        measure_tokens(write("a.txt", "x"), FORMAT, None, chatml, model="m", max_length=64, loss_on="all")


@given(
    count=st.integers(0, 60),
    fraction=st.floats(0, 0.5),
    seed=st.integers(0, 2**31),
    groups=st.integers(1, 60),
)
def test_a_split_is_whole_repeatable_and_keeps_groups_together(
    count: int, fraction: float, seed: int, groups: int
) -> None:
    keys = [index % groups for index in range(count)]
    train, held = split_rows(count, fraction, seed, keys)
    assert sorted(train + held) == list(range(count))
    assert (train, held) == split_rows(count, fraction, seed, keys)
    assert not {keys[index] for index in train} & {keys[index] for index in held}
    if fraction > 0 and len(set(keys)) >= 2:
        assert train
        assert held
    if count >= 2 and fraction > 0 and groups >= count:
        assert len(held) == min(max(1, round(count * fraction)), count - 1)


def test_a_split_is_the_same_on_every_machine() -> None:
    assert split_rows(12, 0.25, 42)[1] == EXPECTED_SPLIT
    assert sample_rows(12, 3, 42) == EXPECTED_SAMPLE


EXPECTED_SPLIT = [0, 2, 7]
EXPECTED_SAMPLE = [1, 2, 6]


def test_preview_shows_conversations_and_faults(write: Write) -> None:
    path = write("a.jsonl", lines(PAIRS[:2]) + '{"prompt": "x"}\n{broken\n')
    shown = preview_rows(path, FORMAT, None, offset=1, limit=9)
    assert [row.line for row in shown] == [2, 3, 4]
    assert shown[0].messages[1].content == "It is 1."
    assert [row.issue.code if row.issue else "" for row in shown] == ["", "missing_field", "broken_json"]
    assert shown[2].text == "{broken"


def test_preview_searches_whatever_the_case(write: Write) -> None:
    path = write("a.jsonl", lines(PAIRS))
    assert [row.row for row in preview_rows(path, FORMAT, None, offset=0, limit=9, search="IS 13")] == [14]
    assert [row.row for row in preview_rows(path, FORMAT, None, offset=1, limit=2, search="is 3")] == [31, 32]


def test_preview_of_unknown_rows_shows_them_as_they_are(write: Write) -> None:
    path = write("a.csv", "x,y\n1,2\n")
    assert '"x": "1"' in preview_rows(path, DatasetFormat.UNKNOWN, None, offset=0, limit=1)[0].text


def test_good_lines_are_kept_byte_for_byte(write: Write, tmp_path: Path) -> None:
    good = b'{ "prompt":"caf\\u00e9",  "completion":"\xc3\xa9", "id": 7 }\n'
    path = write("a.jsonl", good + b'{"prompt": ""}\n{\n' + good)
    out = tmp_path / "out.jsonl"
    assert write_without(path, out, FORMAT, None) == 2
    assert out.read_bytes() == good * 2
    assert write_without(path, out, FORMAT, None, dropped_rows={4}) == 1
    assert out.read_bytes() == good


def test_other_kinds_become_jsonl_with_the_same_meaning(write: Write, tmp_path: Path) -> None:
    mapping = ColumnMapping(prompt="q", completion="a")
    out = tmp_path / "out.jsonl"
    assert write_without(write("a.csv", "q,a\n1,é\n2,\n3\n"), out, FORMAT, mapping) == 1
    assert json.loads(out.read_text()) == {"q": "1", "a": "é"}
    assert write_without(write("a.txt", "one\n\ntwo"), out, DatasetFormat.TEXT, None) == 2
    assert json.loads(out.read_text().splitlines()[1]) == {"text": "two"}


def test_a_copy_that_fails_leaves_nothing_behind(write: Write, tmp_path: Path) -> None:
    path = write("a.jsonl", lines(PAIRS).encode() * 60 + b"\xff\n")
    with pytest.raises(DataError):
        write_without(path, tmp_path / "out.jsonl", FORMAT, None)
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


def test_statistics_of_lengths() -> None:
    stats = length_stats([1, 2, 3, 10])
    assert stats is not None
    assert (stats.minimum, stats.median, stats.mean, stats.maximum, stats.total) == (1, 2.5, 4, 10, 16)
    assert sum(stats.histogram.counts) == 4
    assert len(stats.histogram.edges) == len(stats.histogram.counts) + 1
    assert length_stats([]) is None
    same = length_stats([5, 5])
    assert same is not None
    assert same.histogram.counts == (2,)
