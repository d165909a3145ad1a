"""Pause, release and resume in this process: the losses are those of a run that was never stopped, to the last bit."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lora_core.schema.run import ExitCode, Request
from runner.models.tiny import build_tiny_model
from runner.train.checkpoint_state import MOVED
from runner.train.saving import ADAPTER_WEIGHTS, STATE_FILE, sha256_of
from tests.runner.train.bench import (
    Bench,
    assert_as_if_never_stopped,
    best_at,
    newest,
    toy_rows,
    wait_for_step,
)

STEPS = 12
DROPOUT: dict[str, Any] = {"adapter": {"dropout": 0.1}, "optimisation": {"max_steps": STEPS}}


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


@pytest.mark.slow
@pytest.mark.parametrize("model", [{"dtype": "bfloat16"}, {"quantisation": "4bit"}])
def test_other_number_formats_keep_the_promise_on_a_cpu(bench: Bench, model: dict[str, Any]) -> None:
    shape: dict[str, Any] = {**DROPOUT, "model": {"dtype": "float32", **model}}
    whole = bench.train(**shape)
    before = bench.train(at_step=5, request="pause", **shape)
    assert_as_if_never_stopped(whole, before, bench.train(resume_from=newest(before), **shape))


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


def test_an_older_checkpoint_gives_the_same_losses_as_the_newest(bench: Bench) -> None:
    shape: dict[str, Any] = {**DROPOUT, "checkpoints": {"every_steps": 3, "keep": 9}}
    whole = bench.train(**shape)
    chosen = whole.folder.checkpoints / "step-000006"
    assert_as_if_never_stopped(whole, whole, bench.train(resume_from=str(chosen), **shape))


def test_a_rule_goes_on_with_what_it_has_seen_before_the_stop(bench: Bench) -> None:
    """The second evaluation without improvement lies behind the stop, the first before it."""
    plateau = {"plateau": {"evaluations": 2, "improvement": 0.99}}
    shape: dict[str, Any] = {**DROPOUT, "evaluation": {"every_steps": 4}, "alerts": plateau}
    whole = bench.train(**shape)
    before = bench.train(at_step=6, request="pause", **shape)
    after = bench.train(resume_from=newest(before), **shape)
    told = [[(alert["rule"], alert["step"]) for alert in run.of("alert")] for run in (whole, before, after)]
    assert told == [[("plateau", 8)], [], [("plateau", 8)]]


@pytest.mark.parametrize("keep_best", [True, False])
def test_a_run_that_ended_before_its_adapter_was_written_writes_it_on_resume(
    bench: Bench, keep_best: bool
) -> None:
    shape: dict[str, Any] = {"evaluation": {"keep_best": keep_best}}
    whole = bench.train(**shape)
    after = bench.train(resume_from=newest(whole), **shape)
    assert (after.code, after.column("loss")) == (ExitCode.DONE, {})
    assert after.result["adapter_sha256"] == whole.result["adapter_sha256"]


def test_a_resume_says_what_is_promised(bench: Bench) -> None:
    before = bench.train(at_step=2, request="pause")
    after = bench.train(resume_from=newest(before))
    (said,) = after.of("phase", name="resuming")
    assert (said["step"], said["exact"]) == (2, True)
    assert said["message"] in [line["text"] for line in after.of("log")]
    assert (after.result["resumed_from"], after.result["resumed_exactly"]) == (2, True)


def test_a_resume_with_other_threads_names_the_difference_and_the_tolerance(bench: Bench) -> None:
    before = bench.train(at_step=2, request="pause")
    folder = bench.folder(resume_from=newest(before))
    folder.spec_file.write_text(folder.spec().model_copy(update={"threads": 2}).model_dump_json())
    after = bench.train(folder)
    (said,) = after.of("phase", name="resuming")
    assert not said["exact"]
    assert "1 threads → 2 threads. Expect" in said["message"]
    assert after.result["resumed_with"] == ["1 threads → 2 threads"]


def test_a_resume_on_other_base_weights_is_refused(bench: Bench, tmp_path: Path) -> None:
    before = bench.train(at_step=2, request="pause")
    bench.model = build_tiny_model(tmp_path / "other", seed=5)
    after = bench.train(resume_from=newest(before))
    assert after.code == ExitCode.CONFIG_OR_DATA
    assert "other weights" in after.result["error"]


def test_a_checkpoint_of_an_older_version_is_gone_on_from_and_nothing_is_promised(bench: Bench) -> None:
    before = bench.train(at_step=2, request="pause")
    file = Path(newest(before)) / STATE_FILE
    state = json.loads(file.read_bytes())
    moved = {name: state["environment"][name] for name in MOVED}
    del state["alerts"], state["environment"]
    file.write_text(json.dumps({**state, "version": 1, **moved}))
    after = bench.train(resume_from=newest(before))
    assert (after.code, min(after.column("loss"))) == (ExitCode.DONE, 3)
    assert "does not say its" in after.of("phase", name="resuming")[0]["message"]


def test_a_fork_with_another_rate_goes_on_with_that_rate(bench: Bench) -> None:
    constant = {"max_steps": 6, "scheduler": "constant", "weight_decay": 0.0}
    before = bench.train(at_step=3, request="pause", optimisation={**constant, "learning_rate": 0.01})
    fork = bench.train(resume_from=newest(before), optimisation={**constant, "learning_rate": 0.002})
    assert set(before.column("learning_rate").values()) == {0.01}
    assert fork.column("learning_rate") == {4: 0.002, 5: 0.002, 6: 0.002}
    assert "learning rate 0.01 → 0.002" in fork.of("phase", name="resuming")[0]["message"]


def test_a_fork_with_another_schedule_goes_on_where_that_schedule_stands(bench: Bench) -> None:
    falling = {"scheduler": "linear", "warmup_ratio": 0.0}
    before = bench.train(at_step=3, request="pause", optimisation={"max_steps": 6, **falling})
    fork = bench.train(resume_from=newest(before), optimisation={"max_steps": 12, **falling})
    whole = bench.train(optimisation={"max_steps": 12, **falling})
    from_4 = {step: rate for step, rate in whole.column("learning_rate").items() if step > 3}
    assert fork.column("learning_rate") == from_4


def test_a_fork_with_fewer_updates_than_the_checkpoint_has_is_refused(bench: Bench) -> None:
    before = bench.train(at_step=4, request="pause")
    fork = bench.train(resume_from=newest(before), optimisation={"max_steps": 3})
    assert fork.code == ExitCode.CONFIG_OR_DATA
    assert "ends after 3 updates" in fork.result["error"]


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
