"""Pause, release, kill and resume: the losses are those of a run that was never stopped, to the last bit."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from lora_core.schema.run import ExitCode, Request
from runner.train.saving import ADAPTER_WEIGHTS, STATE_FILE, sha256_of
from tests.runner.train.bench import Bench, Outcome, best_at, kill, toy_rows, wait_for_step

STEPS = 12
DROPOUT: dict[str, Any] = {"adapter": {"dropout": 0.1}, "optimisation": {"max_steps": STEPS}}


def newest(ended: Outcome) -> str:
    return str(max(ended.folder.checkpoints.glob("step-*")))


def assert_as_if_never_stopped(whole: Outcome, before: Outcome, after: Outcome) -> None:
    """Losses, gradient norms, evaluations and the adapter's bytes are equal."""
    start = after.of("phase", name="training")[0]["start_step"]
    assert 0 < start < STEPS
    for column, kind in (
        ("loss", "train"),
        ("grad_norm", "train"),
        ("tokens_seen", "train"),
        ("eval_loss", "eval"),
    ):
        first = {step: value for step, value in before.column(column, kind).items() if step <= start}
        assert {**first, **after.column(column, kind)} == whole.column(column, kind), column
    assert after.code == ExitCode.DONE
    assert after.result["adapter_sha256"] == whole.result["adapter_sha256"]


@pytest.mark.parametrize("at", [4, 5])
def test_a_paused_and_resumed_run_equals_one_that_was_never_stopped(bench: Bench, at: int) -> None:
    """With dropout and packing; one pause falls on an evaluation, which is then made up for."""
    shape = {**DROPOUT, "evaluation": {"every_steps": 3}}
    whole = bench.train(**shape)
    before = bench.train(at_step=at, request="pause", **shape)
    assert before.code == ExitCode.PAUSED
    assert_as_if_never_stopped(whole, before, bench.train(resume_from=newest(before), **shape))


def test_a_resume_at_the_start_of_an_epoch_equals_one_that_was_never_stopped(bench: Bench) -> None:
    bench.data = bench.write_rows("few", toy_rows()[:20])
    shape: dict[str, Any] = {**DROPOUT, "data": {"packing": False, "validation_fraction": 0.2}}
    whole = bench.train(**shape)
    before = bench.train(at_step=8, request="pause", **shape)
    after = bench.train(resume_from=newest(before), **shape)
    assert before.column("epoch")[8] == 2
    assert_as_if_never_stopped(whole, before, after)


def test_a_release_saves_and_says_so(bench: Bench) -> None:
    ended = bench.train(at_step=2, request="release")
    assert (ended.code, Path(newest(ended)).name) == (ExitCode.RELEASED, "step-000002")


def test_a_request_is_echoed(bench: Bench) -> None:
    ended = bench.train(at_step=1, request="pause")
    assert ended.of("phase", name="request") == [{"name": "request", "id": "r1", "action": "pause"}]


def test_a_checkpoint_on_request_is_saved_and_training_goes_on(bench: Bench) -> None:
    ended = bench.train(at_step=2, request="checkpoint", checkpoints={"every_steps": 6, "keep": 5})
    saved = [event["step"] for event in ended.of("checkpoint")]
    assert (ended.code, saved) == (ExitCode.DONE, [3, 6])


def test_a_pause_before_the_first_step_needs_no_checkpoint(bench: Bench) -> None:
    folder = bench.folder()
    folder.write_request(Request(id="early", action="pause"))
    ended = bench.train(folder)
    assert (ended.code, ended.of("checkpoint")) == (ExitCode.PAUSED, [])


def test_a_request_in_the_last_step_comes_too_late(bench: Bench) -> None:
    assert bench.train(at_step=6, request="pause").code == ExitCode.DONE


def test_nothing_of_a_checkpoint_needs_to_be_unpickled_by_us(bench: Bench) -> None:
    ended = bench.train(optimisation={"max_steps": 2})
    names = {file.name for file in Path(newest(ended)).iterdir()}
    assert "training_args.bin" not in names
    assert {ADAPTER_WEIGHTS, STATE_FILE, "optimizer.pt", "scheduler.pt", "rng_state.pth"} <= names


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": {"validation_fraction": 0.25}}, "other rows"),
        ({"adapter": {"rank": 4}}, "another adapter"),
        ({"optimisation": {"accumulation_steps": 3}}, "another effective batch"),
    ],
)
def test_a_resume_that_cannot_be_exact_is_refused(bench: Bench, change: dict[str, Any], words: str) -> None:
    before = bench.train(at_step=2, request="pause")
    after = bench.train(resume_from=newest(before), **change)
    assert after.code == ExitCode.CONFIG_OR_DATA
    assert words in after.result["error"]


def test_half_the_micro_batch_with_twice_the_accumulation_can_go_on(bench: Bench) -> None:
    """What a runner does after a lack of memory."""
    before = bench.train(at_step=2, request="pause")
    after = bench.train(
        resume_from=newest(before),
        optimisation={"micro_batch_size": 1, "accumulation_steps": 4, "max_steps": 6},
    )
    assert (after.code, min(after.column("loss"))) == (ExitCode.DONE, 3)


def test_more_epochs_can_be_added_to_a_finished_run(bench: Bench) -> None:
    before = bench.train(optimisation={"max_steps": 4})
    after = bench.train(resume_from=newest(before), optimisation={"max_steps": 6})
    assert (after.code, list(after.column("loss"))) == (ExitCode.DONE, [5, 6])


def test_a_checkpoint_with_another_adapter_inside_is_refused(bench: Bench) -> None:
    before = bench.train(at_step=2, request="pause")
    with (Path(newest(before)) / ADAPTER_WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    after = bench.train(resume_from=newest(before))
    assert after.code == ExitCode.CONFIG_OR_DATA
    assert "changed after it was saved" in after.result["error"]


def test_the_best_adapter_survives_a_move_to_another_machine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the newest checkpoint is taken along; the best one was earlier."""
    best_at(4, monkeypatch)
    shape: dict[str, Any] = {"evaluation": {"every_steps": 2}, "optimisation": {"max_steps": 12}}
    whole = bench.train(**shape)
    before = bench.train(at_step=8, request="pause", **shape)
    moved = shutil.move(newest(before), bench.root / "moved")
    shutil.rmtree(before.folder.root)
    after = bench.train(resume_from=str(moved), **shape)
    assert after.result["best_step"] == whole.result["best_step"] == 4
    assert after.result["adapter_sha256"] == whole.result["adapter_sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_new_process_goes_on_as_if_there_had_been_none_before(
    bench: Bench, packing: bool, dropout: float
) -> None:
    shape: dict[str, Any] = {
        "adapter": {"dropout": dropout},
        "data": {"packing": packing},
        "optimisation": {"max_steps": STEPS},
    }
    whole = bench.spawn(bench.folder(**shape))
    folder = bench.folder(**shape)
    before = bench.train(folder, at_step=5, request="pause")
    after = bench.spawn(bench.folder(resume_from=newest(before), **shape))
    assert_as_if_never_stopped(whole, before, after)


@pytest.mark.slow
def test_sigterm_saves_and_releases(bench: Bench) -> None:
    folder = bench.folder(
        optimisation={"max_steps": 100_000, "epochs": 1000}, checkpoints={"every_steps": 100_000}
    )
    process = bench.start(folder)
    wait_for_step(folder, 3)
    kill(process, signal.SIGTERM)
    ended = bench.wait(process, folder)
    state = json.loads((Path(newest(ended)) / STATE_FILE).read_text())
    assert (ended.code, state["step"]) == (ExitCode.RELEASED, max(ended.column("loss")))


@pytest.mark.slow
def test_cancel_ends_it_at_once(bench: Bench) -> None:
    folder = bench.folder(
        optimisation={"max_steps": 100_000, "epochs": 1000}, checkpoints={"every_steps": 100_000}
    )
    process = bench.start(folder)
    wait_for_step(folder, 1)
    folder.write_request(Request(id="stop", action="cancel"))
    ended = bench.wait(process, folder)
    assert ended.of("phase", name="request", id="stop")
    assert ended.code not in list(ExitCode)
    assert not folder.is_locked()


@pytest.mark.slow
def test_after_kill_9_it_goes_on_from_the_last_checkpoint_with_the_same_losses(bench: Bench) -> None:
    shape: dict[str, Any] = {
        "adapter": {"dropout": 0.1},
        "optimisation": {"max_steps": 400, "epochs": 1000},
        "data": {"validation_fraction": 0.0},
        "checkpoints": {"every_steps": 50},
    }
    folder = bench.folder(**shape)
    process = bench.start(folder)
    wait_for_step(folder, 55)
    kill(process)
    killed = bench.wait(process, folder)
    checkpoint = newest(killed)
    step = int(Path(checkpoint).name.removeprefix("step-"))
    after = bench.train(
        bench.folder(resume_from=checkpoint, **{**shape, "optimisation": {"max_steps": 400, "epochs": 1000}}),
        at_step=step + 8,
        request="pause",
    )
    both = killed.column("loss").keys() & after.column("loss").keys()
    assert both
    assert killed.code == -signal.SIGKILL
    assert after.code == ExitCode.PAUSED
    assert {s: killed.column("loss")[s] for s in both} == {s: after.column("loss")[s] for s in both}


@pytest.mark.slow
def test_two_trainers_never_share_a_folder(bench: Bench) -> None:
    folder = bench.folder()
    with folder.locked():
        ended = bench.spawn(folder)
    assert (ended.code, ended.events) == (1, [])
    assert "Another trainer" in folder.log_file.read_text()


def test_equal_runs_give_equal_adapters(bench: Bench) -> None:
    first, second = (bench.train(**DROPOUT) for _ in range(2))
    digests = {sha256_of(ended.folder.adapter / ADAPTER_WEIGHTS) for ended in (first, second)}
    assert len(digests) == 1
