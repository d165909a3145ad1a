"""How benchmarks take turns, judge and keep what they found. No figure is asserted on."""

import importlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.harness.line import Line, NotMeasured, compare
from benchmarks.harness.results import block, record, table
from benchmarks.harness.turns import Piece, Result, rounds, take_turns
from benchmarks.material.chat_rows import write_chat_file

SIDE = """
import sys
from benchmarks.harness.turns import Side
side = Side()
for piece in range({pieces}):
    with open({file!r}, "a") as file:
        file.write({name!r})
    side.mark(piece)
side.finish(name={name!r})
"""


def side(folder: Path, name: str, pieces: int) -> Sequence[str]:
    module = folder / f"side_{name}.py"
    module.write_text(SIDE.format(file=str(folder / "order"), name=name, pieces=pieces))
    return (module.stem,)


def test_sides_work_one_piece_each_in_turn(tmp_path: Path) -> None:
    sides = {"a": side(tmp_path, "a", 3), "b": side(tmp_path, "b", 2)}
    results = take_turns(sides, tmp_path, {"PYTHONPATH": str(tmp_path)})
    assert (tmp_path / "order").read_text() == "ababa"
    assert [piece.amount for piece in results["a"].pieces] == [0, 1, 2]
    assert results["b"].facts == {"name": "b"}
    assert results["a"].peak_mb > 1


def test_a_side_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit('no such model')")
    with pytest.raises(NotMeasured, match="no such model"):
        take_turns({"broken": ("broken",)}, tmp_path, {"PYTHONPATH": str(tmp_path)})


def test_rounds_leave_out_warm_up_and_what_fills_no_round() -> None:
    pieces = [Piece(float(number), 1.0, 10.0) for number in range(6)]
    assert rounds({"a": Result(pieces)}, skip=1, size=2) == {
        "a": [Piece(3.0, 2.0, 20.0), Piece(7.0, 2.0, 20.0)]
    }


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    line = compare("x", [1.0, 2.0, 30.0], [2.0, 2.0, 10.0], "s", "<= 1")
    assert (line.ours, line.theirs, line.ratio, line.is_met()) == (2.0, 2.0, 1.0, True)


def test_a_missed_goal_is_shown_as_missed() -> None:
    assert "**missed**" in table([Line("x", 2.0, 1.0, 2.0, "s", "<= 1")])


def test_a_record_replaces_the_older_one_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    file.write_text("# Results\n")
    for name, about in (("one", "first"), ("two", "second"), ("one", "third")):
        record(name, block(name, about, [], [Line(name, 1.0, 1.0, 1.0, "s")]), file)
    text = file.read_text()
    assert "first" not in text
    assert text.index("# Results") < text.index("third") < text.index("second")
    assert text.count("<!-- begin one -->") == 1


def test_the_same_seed_writes_the_same_rows(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b")]
    assert [write_chat_file(file, 50_000) for file in files] == [write_chat_file(files[0], 50_000)] * 2
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_says_what_it_measures_and_names_packages(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.__doc__
    assert module.PACKAGES
    assert callable(module.measure)
