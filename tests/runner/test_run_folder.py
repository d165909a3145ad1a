"""The run folder keeps its promises when a process dies in the middle of a write."""

import errno
import math
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from lora_core.errors import Conflict
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import DatasetFormat
from lora_core.schema.run import DataFile, EventKind, Request, RunSpec
from runner.run_folder import EventTail, EventWriter, RunFolder


@pytest.fixture
def spec() -> RunSpec:
    train = DataFile(path="/data", format=DatasetFormat.TEXT)
    return RunSpec(
        job_id="j", job_name="job", attempt=1, config=TrainingConfig(), model_path="/model", train=train
    )


def texts(tail: EventTail) -> list[str]:
    return [event.data["text"] for event in tail.read()]


def test_a_spec_is_written_once(tmp_path: Path, spec: RunSpec) -> None:
    folder = RunFolder.create(tmp_path / "run", spec)
    assert folder.spec() == spec
    with pytest.raises(FileExistsError):
        RunFolder.create(tmp_path / "run", spec)


def test_a_newer_request_replaces_an_older_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_request() is None
    folder.write_request(Request(id="1", action="pause"))
    folder.write_request(Request(id="2", action="cancel"))
    assert folder.read_request() == Request(id="2", action="cancel")


def test_one_trainer_holds_a_folder_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert not folder.is_locked()
    with folder.locked():
        assert folder.is_locked()
        with pytest.raises(Conflict), RunFolder(tmp_path).locked():
            pass
    assert not folder.is_locked()


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    for _ in range(3):
        with EventWriter(file) as writer:
            writer.write(EventKind.LOG, text="a")
            writer.write(EventKind.LOG, text="b")
    assert [event.seq for event in EventTail(file).read()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("torn", [b'{"seq": 2, "at": "20', b'{"seq": 2}', b"\xff\xfe", b"{"])
def test_a_torn_line_is_passed_over_and_costs_no_other(tmp_path: Path, torn: bytes) -> None:
    file = tmp_path / "events.jsonl"
    with EventWriter(file) as writer:
        writer.write(EventKind.LOG, text="before")
    with file.open("ab") as stream:
        stream.write(torn)
    with EventWriter(file) as writer:
        writer.write(EventKind.LOG, text="after")
    tail = EventTail(file)
    assert texts(tail) == ["before", "after"]
    assert tail.bad_lines == 1


def test_an_event_for_which_the_disk_has_no_room_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.jsonl"
    writer = EventWriter(file)
    writer.write(EventKind.LOG, text="before")
    whole = file.read_bytes()
    rooms = [10]

    def write(descriptor: int, content: bytes) -> int:
        if not rooms:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(descriptor, content[: rooms.pop()])

    monkeypatch.setattr("runner.disk.os", SimpleNamespace(write=write, ftruncate=os.ftruncate))
    with pytest.raises(OSError, match="No space left"):
        writer.write(EventKind.LOG, text="lost")
    assert file.read_bytes() == whole
    monkeypatch.undo()
    writer.write(EventKind.LOG, text="after")
    writer.close()
    assert texts(EventTail(file)) == ["before", "after"]


def test_an_unfinished_last_line_is_left_for_later(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    with EventWriter(file) as writer:
        writer.write(EventKind.LOG, text="whole")
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:20])
    tail = EventTail(file)
    assert texts(tail) == ["whole"]
    assert tail.offset == len(whole)
    file.write_bytes(whole + whole)
    assert texts(tail) == ["whole"]


def test_a_tail_goes_on_from_an_offset(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    with EventWriter(file) as writer:
        for number in range(5):
            writer.write(EventKind.LOG, text=str(number))
    first = EventTail(file)
    assert [event.data["text"] for event in first.read(limit=2)] == ["0", "1"]
    assert texts(EventTail(file, first.offset)) == ["2", "3", "4"]


def test_a_tail_of_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert EventTail(tmp_path / "none").read() == []


@pytest.mark.parametrize(("value", "name"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_a_number_that_is_not_finite_is_kept_by_name(tmp_path: Path, value: float, name: str) -> None:
    file = tmp_path / "events.jsonl"
    with EventWriter(file) as writer:
        writer.write(EventKind.METRICS, kind="train", step=1, loss=value, grad_norm=1.0)
    data = EventTail(file).read()[0].data
    assert (data["loss"], data["grad_norm"], data["nonfinite"]) == (None, 1.0, {"loss": name})
