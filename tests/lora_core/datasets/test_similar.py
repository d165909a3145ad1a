"""Rows that repeat others: estimated as the exact measure says, in bounded memory, and never dropped unasked."""

import json
import random
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lora_core.datasets.check import check_file
from lora_core.datasets.clean import write_without
from lora_core.datasets.issues import add_warnings
from lora_core.datasets.prepare import prepare
from lora_core.datasets.similar import BATCH_WORDS, HASHES, SIMILARITY, Near, Sketches
from lora_core.datasets.similar_rows import Comparison, SplitChoice, compare_rows
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.errors import DataError
from lora_core.schema.config import DataConfig
from lora_core.schema.dataset import DatasetFormat, DropKind
from lora_core.schema.run import DataFile

Write = Callable[[str, bytes | str], Path]
PAIRS = DatasetFormat.PROMPT_COMPLETION
WORDS = [f"word{number}" for number in range(3000)]


def near(folder: Path, texts: Sequence[str], others: Sequence[str] = ()) -> Near:
    folder.mkdir(exist_ok=True)
    with Sketches(folder) as sketches:
        for text in others:
            sketches.add([text])
        sketches.others_end()
        for text in texts:
            sketches.add([text])
        return sketches.near()


def changed(text: str, places: Sequence[int]) -> str:
    words = text.split()
    for place in places:
        words[place] = "other"
    return " ".join(words)


def jaccard(left: str, right: str) -> float:
    sides = []
    for text in (left, right):
        words = text.split()
        sides.append({tuple(words[place : place + 3]) for place in range(len(words) - 2)})
    return len(sides[0] & sides[1]) / len(sides[0] | sides[1])


def texts_of(count: int, seed: int, length: int = 80) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=length)) for _ in range(count)]


def test_what_is_found_agrees_with_the_exact_measure(tmp_path: Path) -> None:
    chance = random.Random(3)
    originals = texts_of(400, seed=1)
    copies = [changed(text, chance.sample(range(80), chance.randrange(0, 14))) for text in originals]
    found = near(tmp_path, [*originals, *copies]).earlier
    assert not (found[:400] >= 0).any()
    wrong = 0
    for number, (original, copy) in enumerate(zip(originals, copies, strict=True)):
        exact = jaccard(original, copy)
        twin = int(found[400 + number])
        assert twin in (-1, number)
        if abs(exact - SIMILARITY) > 0.15:
            assert (twin == number) is (exact > SIMILARITY), exact
        else:
            wrong += (twin == number) is not (exact >= SIMILARITY)
    assert wrong < 80


def test_the_result_is_the_same_in_every_run(tmp_path: Path) -> None:
    texts = [*texts_of(50, seed=2), *texts_of(50, seed=2, length=79)]
    first, second = near(tmp_path / "a", texts), near(tmp_path / "b", texts)
    assert first.earlier.tolist() == second.earlier.tolist()


@pytest.mark.parametrize(
    ("left", "right", "close"),
    [
        ("Yes.", "No.", False),
        ("Yes.", "YES!", True),
        ("", "", True),
        ("How do I bake bread at home?", "How do I bake bread at home", True),
        ("How do I bake bread?", "How do I paint a wall?", False),
        (
            "学习语言模型需要很多数据,但是重复的数据没有用处,所以我们要把它们找出来。",
            "学习语言模型需要很多数据,但是重复的数据没有用处,所以我们要把它们找出来!",
            True,
        ),
        (
            "今天天气很好,我们去公园散步吧,然后回家吃饭。",
            "学习语言模型需要很多数据,但是重复的数据没有用处。",
            False,
        ),
    ],
)
def test_short_texts_and_texts_without_spaces(tmp_path: Path, left: str, right: str, close: bool) -> None:
    assert bool(near(tmp_path, [left, right]).earlier[1] == 0) is close


def test_every_repetition_points_at_a_row_that_stays(tmp_path: Path) -> None:
    text = texts_of(1, seed=4)[0]
    drift = [text]
    for place in range(30):
        drift.append(changed(drift[-1], [place * 2]))
    found = near(tmp_path, drift).earlier.tolist()
    assert any(twin >= 0 for twin in found)
    assert any(twin < 0 for twin in found[1:])  # the far end of the chain is not like its beginning
    assert all(found[twin] == -1 for twin in found if twin >= 0)


def test_rows_of_another_file_are_told_apart(tmp_path: Path) -> None:
    mine, theirs = texts_of(30, seed=5), texts_of(30, seed=6)
    theirs[7] = changed(mine[3], [10])
    mine[20] = changed(mine[3], [11])
    found = near(tmp_path, mine, theirs)
    assert [place for place, twin in enumerate(found.other.tolist()) if twin >= 0] == [3, 20]
    assert found.other[3] == 7
    assert [place for place, twin in enumerate(found.earlier.tolist()) if twin >= 0] == [20]


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    def peak(count: int, folder: Path) -> int:
        tracemalloc.start()
        folder.mkdir(exist_ok=True)
        with Sketches(folder) as sketches:
            chance = random.Random(1)
            for _ in range(count):
                sketches.add([" ".join(chance.choices(WORDS, k=100))])
            sketches.near()
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    small = 3 * BATCH_WORDS // 100
    grown = peak(3 * small, tmp_path / "b") - peak(small, tmp_path / "a")
    assert grown / (2 * small) < HASHES * 2  # bytes a row: less than one sketch, so sketches are not held


def rows_file(write: Write, name: str, rows: Sequence[tuple[str, str]]) -> DataFile:
    text = "".join(json.dumps({"prompt": prompt, "completion": answer}) + "\n" for prompt, answer in rows)
    return DataFile(path=str(write(name, text)), name=name, format=PAIRS)


def twins(count: int) -> list[tuple[str, str]]:
    """Pairs of rows that are nearly the same, side by side."""
    rows = []
    for text in texts_of(count, seed=9, length=60):
        rows += [(text, "It is so."), (changed(text, [30]), "It is so.")]
    return rows


def compared(write: Write, tmp_path: Path, rows: Sequence[tuple[str, str]], **choices: object) -> Comparison:
    folder = tmp_path / "sketches"
    folder.mkdir()
    return compare_rows(rows_file(write, "rows.jsonl", rows), folder, **choices)  # type: ignore[arg-type]


def test_repeated_rows_are_counted_and_carry_their_line(write: Write, tmp_path: Path) -> None:
    rows = [*twins(2), ("alone in the world", "yes"), twins(1)[0]]
    found = compared(write, tmp_path, rows)
    assert found.report().near_duplicate_rows == 2
    assert [(issue.line, issue.code) for issue in found.issues()] == [
        (2, "near_duplicate"),
        (4, "near_duplicate"),
    ]
    assert "line 1" in next(iter(found.issues())).message
    assert found.dropped({DropKind.NEAR_DUPLICATES}) == {2, 4}
    assert found.dropped({DropKind.DUPLICATES}) == {6}
    assert found.dropped({DropKind.LEAKED}) == set()


def test_rows_of_a_validation_file_are_found_exact_and_near(write: Write, tmp_path: Path) -> None:
    rows = twins(4)
    held = rows_file(
        write, "held.jsonl", [rows[0], (changed(rows[4][0], [50]), "It is so."), ("something else", "no")]
    )
    found = compared(write, tmp_path, rows, other=held)
    report = found.report("id", "held")
    assert (report.in_both_rows, report.near_in_both_rows) == (1, 3)
    assert found.dropped({DropKind.LEAKED}) == {1, 2, 5, 6}
    assert {issue.code for issue in found.issues()} == {
        "near_duplicate",
        "in_both_files",
        "near_in_both_files",
    }


def test_a_split_that_parts_near_duplicates_is_told_and_is_the_trainers(
    write: Write, tmp_path: Path, chatml: ChatTokenizer
) -> None:
    rows = twins(40)
    found = compared(write, tmp_path, rows, split=SplitChoice(0.25, seed=7))
    prepared = prepare(
        rows_file(write, "rows.jsonl", rows),
        None,
        DataConfig(validation_fraction=0.25),
        seed=7,
        tokenizer=chatml,
    )
    told = {issue.row for issue in found.issues() if issue.code == "near_across_split"}
    held = [example.messages[0].content for example in prepared.validation_examples]
    parted = set()
    for number, (prompt, _) in enumerate(rows):
        twin = rows[number + 1 if number % 2 == 0 else number - 1][0]
        if prompt in held and twin not in held:
            parted.add(number + 1)
    assert told == parted
    assert parted
    assert found.report().across_split_rows == len(parted)


def test_without_a_split_nothing_is_across_it(write: Write, tmp_path: Path) -> None:
    assert compared(write, tmp_path, twins(3)).report().across_split_rows == 0


def test_findings_join_the_report_of_the_check(write: Write, tmp_path: Path) -> None:
    rows = [*twins(2), ("x", " ")]
    file = rows_file(write, "rows.jsonl", rows)
    issues = tmp_path / "issues.jsonl"
    report = check_file(Path(file.path), format=PAIRS, issues_path=issues)
    (tmp_path / "sketches").mkdir()
    joined = add_warnings(report, compare_rows(file, tmp_path / "sketches").issues(), issues)
    assert joined.issue_counts == {"empty_answer": 1, "near_duplicate": 2}
    assert [issue.code for issue in joined.warnings] == ["near_duplicate"] * 2
    assert len(issues.read_text().splitlines()) == 3


def test_only_chosen_rows_are_left_out(write: Write, tmp_path: Path) -> None:
    text = "".join(json.dumps(row) + "\n" for row in ({"prompt": "a", "completion": "b"}, {"prompt": "c"}))
    source, out = write("rows.jsonl", text + "not json\n" + text), tmp_path / "out.jsonl"
    assert write_without(source, out, PAIRS, None, drop_errors=False, dropped_rows={4}) == 4
    assert out.read_text() == text + "not json\n" + text.splitlines()[1] + "\n"
    assert write_without(source, out, PAIRS, None, dropped_rows={4}) == 1


def test_a_row_that_cannot_be_kept_is_not_left_out_silently(write: Write, tmp_path: Path) -> None:
    source = write("rows.csv", "prompt,completion\na,b\nc,d,one too many\n")
    with pytest.raises(DataError, match="cannot be kept"):
        write_without(source, tmp_path / "out.jsonl", PAIRS, None, drop_errors=False)
    assert not (tmp_path / "out.jsonl").exists()
