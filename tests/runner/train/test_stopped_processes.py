"""Trainers as the processes they are in life: stopped by SIGTERM, killed between checkpoints, and gone on from by new ones.

Every later loss, gradient norm and evaluation is that of a run that was never stopped, and so are the adapter's bytes: on the
CPU in float32, with dropout, with packing and without.
"""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from lora_core.schema.run import ExitCode
from runner.run_folder import RunFolder
from tests.faults.fuse import Fuse
from tests.runner.train.bench import Bench, assert_as_if_never_stopped, kill, newest, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 12


def shape(**data: Any) -> dict[str, Any]:
    return {
        "data": data,
        "adapter": {"dropout": 0.1},
        "optimisation": {"max_steps": STEPS},
        "evaluation": {"every_steps": 3},
        "checkpoints": {"every_steps": 4, "keep": 2},
    }


def at_update(step: int, does: Any) -> Fuse:
    """Something happens after an update, before anything of it is saved."""
    return Fuse("trainer.step", does, of="'train'", call=step)


def struck(folder: RunFolder) -> Path:
    """The mark that a fuse leaves."""
    return folder.root / "struck-1"


@pytest.mark.parametrize("packing", [True, False])
def test_stopped_twice_it_is_as_if_it_had_never_been_stopped(bench: Bench, packing: bool) -> None:
    """SIGTERM after update 3; the next process is killed after update 7, so updates 4 to 7 are computed twice."""
    wanted = shape(packing=packing)
    whole = bench.train(**wanted)

    folder = bench.folder(**wanted)
    process = bench.start(folder, at_update(3, "hold"))
    wait_for(struck(folder).exists)
    kill(process, signal.SIGTERM)
    (folder.root / "mended").touch()
    released = bench.wait(process, folder)
    assert (released.code, list(released.column("loss"))) == (ExitCode.RELEASED, [1, 2, 3])

    folder = bench.folder(resume_from=newest(released), **wanted)
    killed = bench.wait(bench.start(folder, at_update(4, "die")), folder)
    assert (killed.code, Path(newest(killed)).name) == (-signal.SIGKILL, "step-000004")
    assert list(killed.column("loss")) == [4, 5, 6, 7]

    moved = shutil.move(newest(killed), bench.root / "elsewhere")
    after = bench.spawn(bench.folder(resume_from=str(moved), **wanted))
    assert list(after.column("loss")) == list(range(5, STEPS + 1))
    assert_as_if_never_stopped(whole, released, killed, after)
    again = {step: loss for step, loss in after.column("loss").items() if step <= 7}
    assert again == {step: loss for step, loss in killed.column("loss").items() if step > 4}


def test_a_sigterm_between_two_evaluations_saves_after_the_step_it_came_in(bench: Bench) -> None:
    """The signal comes while update 4 is told, so update 5 is the next after which it is heeded."""
    folder = bench.folder(**{**shape(), "checkpoints": {"every_steps": STEPS}})
    process = bench.start(folder, at_update(4, "hold"))
    wait_for(struck(folder).exists)
    kill(process, signal.SIGTERM)
    (folder.root / "mended").touch()
    ended = bench.wait(process, folder)
    assert (ended.code, Path(newest(ended)).name) == (ExitCode.RELEASED, "step-000005")


def test_on_other_cpu_instructions_it_goes_on_and_the_losses_are_within_what_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch takes its plainest kernels, as on an older processor."""
    wanted = shape()
    whole = bench.train(**wanted)
    chosen = whole.folder.checkpoints / "step-000008"
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    after = bench.spawn(bench.folder(resume_from=str(chosen), **wanted))
    (said,) = after.of("phase", name="resuming")
    assert "instructions → DEFAULT instructions" in said["message"]
    assert not said["exact"]
    expected = whole.column("loss")
    assert after.column("loss") == pytest.approx({s: expected[s] for s in range(9, STEPS + 1)}, rel=1e-5)
