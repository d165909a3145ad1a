"""Checkpoints are there as a whole or not at all; a full disk costs a checkpoint, not the run."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_core.errors import DiskFull
from lora_core.schema.run import ExitCode
from runner.train import saving
from runner.train.__main__ import CRASHED
from tests.runner.train.bench import Bench


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def no_quota(*_: object, **__: object) -> None:
    raise OSError(errno.EDQUOT, "Disk quota exceeded")


def folders(root: Path, *steps: int) -> None:
    for step in steps:
        saving.step_folder(root, step).mkdir()


def test_rotation_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    folders(tmp_path, 5, 10, 15, 999_999, 1_000_000)
    dropped = [step for step, _ in saving.rotate(tmp_path, keep=2, best_step=10)]
    assert dropped == [5, 15]
    assert {path.name for path in tmp_path.iterdir()} == {"step-000010", "step-999999", "step-1000000"}


@pytest.mark.parametrize("full", [no_space, no_quota])
def test_a_full_disk_costs_a_checkpoint_and_not_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, full: Callable[..., None]
) -> None:
    monkeypatch.setattr(saving.os, "link", full)
    monkeypatch.setattr(saving.shutil, "copyfile", full)
    folder = bench.folder(optimisation={"max_steps": 2}, data={"validation_fraction": 0.0})
    ended = bench.train(folder)
    assert [alert["rule"] for alert in ended.of("alert")] == ["disk_full"] * 2
    assert list(folder.checkpoints.iterdir()) == []
    assert "The disk is full: the adapter could not be written" in ended.result["error"]


def test_a_pause_without_room_for_its_checkpoint_fails_loudly(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise DiskFull("The disk is full.")

    monkeypatch.setattr(saving, "write_checkpoint", full)
    ended = bench.train(at_step=2, request="pause", checkpoints={"every_steps": 6})
    assert (ended.code, ended.result["error"]) == (CRASHED, "The disk is full.")


def test_a_save_that_was_cut_off_leaves_no_checkpoint(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, "sha256_of", killed)
    folder = bench.folder(optimisation={"max_steps": 2})
    with pytest.raises(KeyboardInterrupt):
        bench.train(folder)
    assert list(folder.checkpoints.glob("step-*")) == []


@pytest.mark.parametrize("missing", [saving.STATE_FILE, saving.ADAPTER_WEIGHTS])
def test_a_folder_that_is_no_whole_checkpoint_is_refused(bench: Bench, missing: str) -> None:
    shape: dict[str, Any] = {"optimisation": {"max_steps": 2}}
    checkpoint = bench.train(**shape).folder.checkpoints / "step-000002"
    (checkpoint / missing).unlink()
    ended = bench.train(resume_from=str(checkpoint), **shape)
    assert ended.code == ExitCode.CONFIG_OR_DATA
    assert "no checkpoint of the studio" in ended.result["error"]
