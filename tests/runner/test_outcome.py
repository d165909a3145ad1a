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
        ({"code": 137}, Outcome.FAILED, "by signal 9: perhaps the machine ran out of memory"),
        ({"code": 143}, Outcome.FAILED, "from outside by signal 15"),
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


@pytest.mark.parametrize(
    ("ending", "said", "transient"),
    [
        ({"code": None}, "", True),
        *(({"code": 128 + number}, "", True) for number in (1, 2, 7, 9, 15)),
        *(({"code": 128 + number}, "", False) for number in (4, 6, 8, 11)),
        ({"code": None, "killed_for": "stall"}, "", True),
        ({"code": None, "killed_for": "stall", "stall_pauses": True}, "", False),
        ({"code": 0}, "", False),
        ({"code": 20}, "NCCL timeout", False),
        ({"code": 30}, "NCCL timeout", False),
        ({"code": 1}, "ValueError: the tensor is upside down", False),
        ({"code": 1}, "CUDA error: unspecified launch failure", True),
        ({"code": 1}, "CUDA error: uncorrectable ECC error encountered", True),
        ({"code": 1}, "NVRM: Xid (PCI:0000:65:00): 79, GPU has fallen off the bus.", True),
        ({"code": 1}, "CUDA error: all CUDA-capable devices are busy or unavailable", True),
        ({"code": 134}, "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7)", True),
        ({"code": 1}, "torch.distributed.DistBackendError: NCCL error: unhandled system error", True),
        ({"code": 1}, "CUDA error: device-side assert triggered; unspecified launch failure", False),
        ({"code": 1}, "CUDA error: an illegal memory access was encountered", False),
        ({"code": 1}, "OSError: [Errno 28] No space left on device", False),
    ],
)
def test_what_may_pass_by_itself_is_told_from_what_would_end_the_same_way_again(
    ending: dict[str, Any], said: str, transient: bool, tmp_path: Path
) -> None:
    log = tmp_path / "train.log"
    log.write_text(f"first words\n{said}\nlast words\n")
    end = judge(Ending(log_file=log, **ending))
    assert end.transient is transient
    if transient:
        assert end.error.endswith("last words"), "the last lines of the log are part of the reason"


def test_a_full_disk_is_told_with_what_is_free(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("OSError: [Errno 28] No space left on device: 'x'")
    end = judge(Ending(code=1, log_file=tmp_path / "train.log", disk_full="0.00 GB are free."))
    assert (end.reason, end.transient) == ("The disk is full.", False)
    assert end.error.startswith("0.00 GB are free.\nOSError")


def test_a_restart_of_the_machine_is_told_from_the_end_of_the_runner() -> None:
    ends = [judge(Ending(code=None, orphaned=True, restarted=restarted)) for restarted in (True, False)]
    assert [end.reason for end in ends] == [
        "The machine was restarted.",
        "The runner and its trainer went down.",
    ]
