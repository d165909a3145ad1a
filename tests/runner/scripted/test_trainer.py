"""The scripted trainer obeys the contract of the run folder that the real one obeys."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_core.errors import ConfigError
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import DatasetFormat
from lora_core.schema.run import DataFile, EventKind, ExitCode, Request, RunEvent, RunSpec
from runner.run_folder import EventTail, RunFolder
from runner.scripted.script import read_script
from runner.scripted.trainer import main

Start = Callable[[RunFolder], subprocess.Popen[bytes]]


def run_folder(root: Path, resume_from: Path | None = None, attempt: int = 1, **script: Any) -> RunFolder:
    spec = RunSpec(
        job_id="j",
        job_name="job",
        attempt=attempt,
        config=TrainingConfig(),
        model_path="/model",
        train=DataFile(path="/data", format=DatasetFormat.TEXT),
        resume_from=str(resume_from) if resume_from else None,
        script={"step_seconds": 0, **script},
    )
    return RunFolder.create(root, spec)


def events(folder: RunFolder, kind: EventKind) -> list[RunEvent]:
    return [event for event in EventTail(folder.events_file).read(10_000) if event.kind is kind]


def losses(folder: RunFolder) -> dict[int, float]:
    points = [event.data for event in events(folder, EventKind.METRICS) if event.data["kind"] == "train"]
    return {point["step"]: point["loss"] for point in points}


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a trainer as a process and wait until it trains."""
    processes = []

    def begin(folder: RunFolder) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "runner.scripted", str(folder.root)])
        processes.append(process)
        deadline = time.monotonic() + 60
        while not losses(folder):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def test_a_run_leaves_curve_checkpoints_adapter_and_result(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, steps=20)
    assert main(tmp_path) == ExitCode.DONE
    curve = losses(folder)
    assert list(curve) == list(range(1, 21))
    assert curve[20] < curve[1]
    assert (folder.adapter / "adapter_model.safetensors").exists()
    result = events(folder, EventKind.RESULT)[0].data
    assert (result["adapter"], result["step"]) == ("adapter", 20)
    kept = sorted(path.name for path in folder.checkpoints.iterdir())
    assert kept[-2:] == ["step-000015", "step-000020"]


def test_weights_are_valid_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    run_folder(tmp_path, steps=1)
    main(tmp_path)
    assert load_file(tmp_path / "adapter" / "adapter_model.safetensors")["lora"].tolist() == [1.0, 1.0]


def test_a_resumed_run_gives_the_same_losses(tmp_path: Path) -> None:
    whole = run_folder(tmp_path / "whole", steps=20)
    main(whole.root)
    first = run_folder(tmp_path / "first", steps=20, fail_at=13)
    assert main(first.root) == ExitCode.CONFIG_OR_DATA
    second = run_folder(tmp_path / "second", resume_from=first.checkpoints / "step-000010", steps=20)
    assert main(second.root) == ExitCode.DONE
    assert losses(first) | losses(second) == losses(whole)
    assert events(second, EventKind.PHASE)[-1].data["start_step"] == 10


@pytest.mark.parametrize(
    ("action", "code"), [("pause", ExitCode.PAUSED), ("release", ExitCode.RELEASED), ("cancel", 143)]
)
def test_a_request_is_echoed_and_obeyed(tmp_path: Path, start: Start, action: Any, code: int) -> None:
    folder = run_folder(
        tmp_path, steps=100_000, step_seconds=0.01, checkpoint_every=100_000, eval_every=100_000
    )
    process = start(folder)
    folder.write_request(Request(id="7", action=action))
    assert process.wait(30) == code
    phase = events(folder, EventKind.PHASE)[-1].data
    assert (phase["name"], phase["id"], phase["action"]) == ("request", "7", action)
    saved = [
        json.loads((path / "trainer_state.json").read_text())["step"] for path in folder.checkpoints.iterdir()
    ]
    assert saved == ([] if action == "cancel" else [max(losses(folder))])


def test_a_trainer_holds_the_lock_and_sigterm_ends_it(tmp_path: Path, start: Start) -> None:
    folder = run_folder(tmp_path, steps=100_000, step_seconds=0.01)
    process = start(folder)
    assert folder.is_locked()
    assert main(tmp_path) == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert not folder.is_locked()


@pytest.mark.parametrize("place", ["loading", "step 3", "saving 5", "saved 5", "finishing", "finished"])
def test_it_waits_where_it_is_held_and_goes_on_as_if_nothing_had_been(place: str, tmp_path: Path) -> None:
    folder = run_folder(tmp_path, steps=10, hold=place)
    process = subprocess.Popen([sys.executable, "-m", "runner.scripted", str(folder.root)])
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "held").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        half, whole = (
            (tmp_path / "checkpoints" / name).exists() for name in ("step-000005.tmp", "step-000005")
        )
        steps = len(losses(folder))
        told = len(events(folder, EventKind.CHECKPOINT))
        (tmp_path / "go").touch()
        assert process.wait(30) == ExitCode.DONE
    finally:
        process.kill()
        process.wait()
    assert (steps, told, half, whole) == {
        "loading": (0, 0, False, False),
        "step 3": (2, 0, False, False),
        "saving 5": (5, 0, True, False),
        "saved 5": (5, 0, False, True),
        "finishing": (10, 2, False, True),
        "finished": (10, 2, False, True),
    }[place]
    assert list(losses(folder)) == list(range(1, 11))


def test_a_full_disk_leaves_half_a_checkpoint_and_the_system_words(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, steps=10, disk_full_at=5)
    with pytest.raises(OSError, match="No space left on device"):
        main(tmp_path)
    assert [path.name for path in folder.checkpoints.iterdir()] == ["step-000005.tmp"]
    assert not events(folder, EventKind.CHECKPOINT)


def test_a_script_with_an_unknown_instruction_is_refused() -> None:
    assert read_script('{"steps": 3}') == {"steps": 3}
    with pytest.raises(ConfigError, match="LORA_STUDIO_SCRIPT"):
        read_script('{"explode_at": 3}')
