"""What is tidied up among the run folders of a machine, and what an agent leaves for its successor."""

import os
from pathlib import Path

import pytest

from lora_core.schema.job import EndOfAttempt, Outcome
from runner.run_folders import (
    FORGOTTEN_SECONDS,
    clear_remains,
    note_end,
    noted_end,
    prune_runs,
    recall,
    remove_run,
)


def folder_of(runs: Path, job: str, *names: str, age_seconds: float = 0.0) -> Path:
    """A run folder with these files, all as old as it is."""
    folder = runs / job / "1"
    folder.mkdir(parents=True)
    for path in [*(folder / name for name in names), folder]:
        if path != folder:
            path.touch()
        moment = path.stat().st_mtime - age_seconds
        os.utime(path, (moment, moment))
    return folder


def test_the_newest_ended_attempts_are_kept_and_all_that_have_not_ended(tmp_path: Path) -> None:
    ended = [folder_of(tmp_path, f"ended-{age}", "claim.json", "ended", age_seconds=age) for age in range(3)]
    at_work = folder_of(tmp_path, "at-work", "claim.json", age_seconds=10 * FORGOTTEN_SECONDS)
    prune_runs(tmp_path, keep=2)
    assert [folder.exists() for folder in ended] == [True, True, False]
    assert at_work.exists()
    assert not ended[2].parent.exists()


@pytest.mark.parametrize(("age_seconds", "stays"), [(0.0, True), (FORGOTTEN_SECONDS + 60, False)])
def test_a_folder_whose_agent_died_while_it_made_it_goes_after_an_hour(
    age_seconds: float, stays: bool, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, "nobodys", "agent.lock", "reserve", age_seconds=age_seconds)
    prune_runs(tmp_path, keep=10)
    assert folder.exists() is stays


def test_an_outcome_is_read_again_as_it_was_noted(tmp_path: Path) -> None:
    assert noted_end(tmp_path) is None
    end = EndOfAttempt(outcome=Outcome.FAILED, reason="Stalled.", transient=True, result={"step": 3})
    note_end(tmp_path, end)
    assert noted_end(tmp_path) == end


def test_of_a_run_folder_the_claim_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, "ended", "claim.json", "ended")
    left: list[list[str]] = []
    monkeypatch.setattr(
        "runner.run_folders.shutil.rmtree",
        lambda root, **_: left.append(sorted(path.name for path in root.iterdir())),
    )
    remove_run(folder)
    assert left == [["ended"]]


def test_a_new_attempt_finds_nothing_of_one_with_its_number(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "again", "agent.lock", "ended", "end.json", "uploads.json", "journal.jsonl")
    (folder / "checkpoints" / "step-000005").mkdir(parents=True)
    clear_remains(folder)
    assert [path.name for path in folder.iterdir()] == ["agent.lock"]


def test_a_claim_that_cannot_be_read_is_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / "claim.json").mkdir()
    assert recall(tmp_path) is None
