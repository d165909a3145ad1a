"""The journal: one order, nothing lost and nothing twice, whenever the agent dies."""

from pathlib import Path

import pytest

from lora_core.schema.run import EventKind
from runner.journal import LONGEST_LINE, Journal, PrintedTail
from runner.run_folder import EventWriter, RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def write(folder: RunFolder, *steps: int) -> None:
    with EventWriter(folder.events_file) as events:
        for step in steps:
            events.write(EventKind.METRICS, kind="train", step=step)


def shipped(journal: Journal) -> list[tuple[int, object]]:
    return [(event.seq, event.data.get("step") or event.data.get("text")) for event in journal.batch()]


def test_three_sources_become_one_order(folder: RunFolder) -> None:
    journal = Journal(folder)
    journal.log("first")
    write(folder, 1, 2)
    folder.log_file.write_text("printed\nunfinished")
    assert [event.data["step"] for event in journal.collect()] == [1, 2]
    journal.log("last")
    assert shipped(journal) == [(1, "first"), (2, 1), (3, 2), (4, "printed"), (5, "last")]
    journal.collect(last=True)
    assert shipped(journal)[-1] == (6, "unfinished")
    journal.close()


def test_a_batch_comes_again_until_it_is_confirmed(folder: RunFolder) -> None:
    journal = Journal(folder)
    journal.log("a")
    assert journal.batch() == journal.batch()
    journal.log("b")  # arrives while the batch is on its way
    journal.confirm()
    assert not journal.caught_up
    assert shipped(journal) == [(2, "b")]
    journal.confirm()
    assert journal.caught_up
    journal.close()


def test_the_next_agent_goes_on_where_the_last_one_died(folder: RunFolder) -> None:
    first = Journal(folder)
    write(folder, 1, 2)
    first.collect()
    first.batch()
    first.confirm()
    first.log("not confirmed")
    first.close()
    write(folder, 3)
    second = Journal(folder)
    assert [event.data["step"] for event in second.replay()] == [1, 2]
    assert [event.data["step"] for event in second.collect()] == [3]
    assert shipped(second) == [(3, "not confirmed"), (4, 3)]
    second.close()


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_journal_torn_at_any_byte_neither_loses_nor_doubles(folder: RunFolder, cut: int) -> None:
    first = Journal(folder)
    write(folder, 1, 2, 3, 4)
    first.collect()
    first.close()
    file = folder.root / "journal.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    second = Journal(folder)
    second.collect()
    assert shipped(second) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    second.close()


def test_a_torn_event_is_mentioned_and_passed_over(folder: RunFolder) -> None:
    journal = Journal(folder)
    folder.events_file.write_bytes(b'{"seq": 1, "at"\n')
    write(folder, 1)
    journal.collect()
    kinds = [event.kind for event in journal.batch()]
    assert kinds == [EventKind.METRICS, EventKind.LOG]
    journal.close()


def test_a_progress_bar_leaves_its_last_state_and_long_lines_are_cut(tmp_path: Path) -> None:
    file = tmp_path / "train.log"
    file.write_text(f"10%\r50%\r100%\n\n{'x' * 3 * LONGEST_LINE}\n")
    lines = [text for text, _ in PrintedTail(file).read()]
    assert lines == ["100%", "x" * LONGEST_LINE]


def test_only_so_many_printed_lines_are_shipped(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.journal.MOST_PRINTED_LINES", 3)
    folder.log_file.write_text("".join(f"{number}\n" for number in range(10)))
    journal = Journal(folder)
    journal.collect()
    assert [text for _, text in shipped(journal)] == ["0", "1", "2", "More output is only in train.log."]
    journal.close()
    again = Journal(folder)
    folder.log_file.write_text("".join(f"{number}\n" for number in range(20)))
    again.collect()
    assert len(again.batch()) == 4
    again.close()


def test_closing_twice_closes_nobody_elses_file(tmp_path: Path) -> None:
    journal = Journal(RunFolder(tmp_path))
    journal.close()
    with (tmp_path / "other").open("w") as other:  # takes the number that has become free
        journal.close()
        other.write("whole")
    assert (tmp_path / "other").read_text() == "whole"
