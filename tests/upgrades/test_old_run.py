"""A checkpoint that an older real trainer wrote is gone on from, with the losses that the older one had."""

import json
from pathlib import Path
from typing import Any

import pytest

from lora_core.schema.run import ExitCode, RunSpec
from runner.models.tiny import build_tiny_model
from runner.run_folder import RunFolder
from runner.train.__main__ import run
from tests.runner.train.bench import one_thread, outcome
from tests.upgrades.samples_of import lay_out_run

CHECKPOINT = "checkpoints/step-000003"
ALIKE = 1e-3
"""Other processors and libraries round otherwise; a lost optimizer or another order of rows differs by far more."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return lay_out_run("real-run", tmp_path / "old")


def new_run(old: Path, tmp_path: Path) -> RunFolder:
    spec = RunSpec.model_validate_json((old / "spec.json").read_bytes())
    changes = {
        "model_path": str(build_tiny_model(tmp_path / "model")),
        "train": spec.train.model_copy(update={"path": str(old / "train.jsonl")}),
        "attempt": 2,
        "resume_from": str(old / CHECKPOINT),
    }
    return RunFolder.create(tmp_path / "run", spec.model_copy(update=changes))


def train(folder: RunFolder) -> Any:
    from runner.run_folder import EventWriter
    from runner.train.journal import Journal

    with one_thread(), EventWriter(folder.events_file) as writer:
        return outcome(run(folder, Journal(writer)), folder)


def test_it_goes_on_with_the_losses_of_the_older_version(old: Path, tmp_path: Path) -> None:
    before = outcome(0, RunFolder(old))
    after = train(new_run(old, tmp_path))
    assert after.code == ExitCode.DONE, after.events
    assert after.of("phase", name="training")[0]["start_step"] == 3
    for column, kind in (("loss", "train"), ("eval_loss", "eval")):
        later = {step: value for step, value in before.column(column, kind).items() if step > 3}
        assert later
        assert after.column(column, kind) == pytest.approx(later, rel=ALIKE)


def test_a_checkpoint_of_a_later_version_is_refused_in_words_and_left_as_it_is(
    old: Path, tmp_path: Path
) -> None:
    state = old / CHECKPOINT / "studio.json"
    later = json.dumps({**json.loads(state.read_text()), "version": 99})
    state.write_text(later)
    ended = train(new_run(old, tmp_path))
    assert ended.code == ExitCode.CONFIG_OR_DATA
    assert "step-000003" in ended.result["error"]
    assert state.read_text() == later
