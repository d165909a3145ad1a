"""Every way a trainer can end has an outcome and, where it failed, words."""

from pathlib import Path
from typing import Any

import pytest

from lora_core.schema.job import Outcome, RequestedAction
from runner.outcome import Ending, judge

CANCEL, PAUSE = RequestedAction.CANCEL, RequestedAction.PAUSE


@pytest.mark.parametrize(
    ("ending", "outcome", "words"),
    [
        ({"code": 0, "has_adapter": True}, Outcome.COMPLETED, ""),
        ({"code": 0}, Outcome.FAILED, "no adapter"),
        ({"code": 10}, Outcome.PAUSED, ""),
        ({"code": 11}, Outcome.RELEASED, ""),
        ({"code": 11, "requested": PAUSE}, Outcome.PAUSED, ""),
        ({"code": 20, "error": "Row 3 is empty."}, Outcome.FAILED, "Row 3 is empty."),
        ({"code": 20}, Outcome.FAILED, "last words"),
        ({"code": 30}, Outcome.FAILED, "smaller micro-batch"),
        ({"code": 1}, Outcome.FAILED, "exit code 1"),
        ({"code": 137}, Outcome.FAILED, "signal 9"),
        ({"code": 139}, Outcome.FAILED, "signal 11"),
        ({"code": None}, Outcome.FAILED, "from outside"),
        ({"code": None, "orphaned": True}, Outcome.LOST, ""),
        ({"code": 0, "has_adapter": True, "requested": CANCEL}, Outcome.CANCELLED, ""),
        ({"code": 137, "requested": CANCEL, "killed_for": "cancel"}, Outcome.CANCELLED, ""),
        ({"code": None, "killed_for": "release"}, Outcome.RELEASED, ""),
        ({"code": None, "killed_for": "release", "requested": PAUSE}, Outcome.PAUSED, ""),
        (
            {"code": None, "killed_for": "stall", "stall_seconds": 600},
            Outcome.FAILED,
            "no progress for 600 seconds",
        ),
    ],
)
def test_an_end_is_judged(ending: dict[str, Any], outcome: Outcome, words: str, tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("first words\nlast words\n")
    end = judge(Ending(log_file=log, **ending))
    assert end.outcome is outcome
    assert words in end.error
    assert bool(end.error) == (outcome is Outcome.FAILED)
