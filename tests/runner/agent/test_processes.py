"""The agent as a process: signals, kill -9 at any moment, and the next agent that goes on."""

import json
import os
import signal
import subprocess
import sys

import pytest

from lora_core.schema.job import JobStatus, Outcome
from tests.runner.agent.bench import ROOT, Bench, kill_group, pid_of, trainers, wait_until

SLOW = {"steps": 40, "step_seconds": 0.06}


def test_a_runner_that_is_stopped_saves_the_job_and_another_finishes_it(bench: Bench) -> None:
    job = bench.submit()
    first = bench.start_process(script=SLOW)
    bench.wait_for_step(job, 8)
    first.send_signal(signal.SIGINT)
    assert first.wait(30) == 0
    released = bench.job(job)
    assert released.status is JobStatus.QUEUED
    assert released.checkpoint_step
    bench.start_process("--once", script=SLOW).wait(60)
    assert bench.wait_for(job).attempt == 2
    assert bench.steps(job) == list(range(1, 41))
    outcomes = [attempt.outcome for attempt in bench.user.jobs.attempts(job.id)]
    assert outcomes == [Outcome.RELEASED, Outcome.COMPLETED]
    assert bench.user.jobs.attempts(job.id)[1].start_step >= 8


def test_a_killed_agent_is_succeeded_by_the_next_in_the_same_attempt(bench: Bench) -> None:
    job = bench.submit()
    first = bench.start_process(script=SLOW)
    bench.wait_for_step(job, 8)
    first.kill()
    first.wait()
    group = pid_of(bench.run_folder(job))
    os.killpg(group, 0)  # the trainer goes on without an agent
    bench.start_process("--once", script=SLOW).wait(60)
    assert bench.wait_for(job).attempt == 1
    assert bench.steps(job) == list(range(1, 41))
    numbers = [line.seq for line in bench.user.metrics.logs(job.id, limit=500).items]
    assert len(numbers) == len(set(numbers))


@pytest.mark.slow
def test_a_trainer_that_ended_while_no_agent_was_there_is_completed_by_the_next(bench: Bench) -> None:
    job = bench.submit()
    first = bench.start_process(script={"steps": 30})
    bench.wait_for_step(job, 1)
    first.kill()
    first.wait()
    wait_until((bench.run_folder(job) / "exit_code").exists, "the trainer to end")
    bench.start_process("--once").wait(60)
    assert bench.wait_for(job).attempt == 1
    assert bench.steps(job) == list(range(1, 31))


@pytest.mark.slow
def test_after_a_machine_went_down_the_job_goes_on_from_its_checkpoint(bench: Bench) -> None:
    job = bench.submit()
    first = bench.start_process(script=SLOW)
    wait_until(lambda: (bench.job(job).checkpoint_step or 0) >= 10, "a stored checkpoint")
    first.kill()
    first.wait()
    kill_group(bench.run_folder(job))
    bench.start_process("--once", script=SLOW).wait(60)
    done = bench.wait_for(job)
    first_attempt, second_attempt = bench.user.jobs.attempts(job.id)
    assert (first_attempt.outcome, done.attempt) == (Outcome.LOST, 2)
    assert second_attempt.start_step >= 10
    assert bench.steps(job) == list(range(1, 41))


def test_a_trainer_whose_job_went_to_another_runner_is_ended_by_the_next_agent(bench: Bench) -> None:
    job = bench.submit()
    first = bench.start_process(script={**SLOW, "steps": 10_000}, lease_seconds=2)
    bench.wait_for_step(job, 3)
    first.kill()
    first.wait()
    stranger = bench.user.runners.list()[0].model_copy(update={"id": "stranger", "name": "stranger"})
    claim = wait_until(
        lambda: bench.store.runner_port().claim(stranger, lease_seconds=60), "the second claim"
    )
    assert claim.attempt == 2
    assert trainers(bench.home), "the trainer of the first attempt is alive"
    assert bench.start_process("--once").wait(60) == 0
    assert not trainers(bench.home)
    assert bench.job(job).attempt == 2
    assert bench.job(job).status is JobStatus.INITIALIZING, "the other runner's attempt is left alone"


def test_a_second_signal_ends_everything_at_once(bench: Bench) -> None:
    job = bench.submit()
    agent = bench.start_process(script={**SLOW, "steps": 10_000, "ignore_requests": True})
    bench.wait_for_step(job, 3)
    agent.send_signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in bench.agent_log(), "the first signal")
    agent.send_signal(signal.SIGTERM)
    agent.wait(30)
    wait_until(lambda: not trainers(bench.home), "the trainer to be gone")


def test_once_ends_when_the_queue_is_empty_and_logs_json(bench: Bench) -> None:
    job = bench.submit()
    assert bench.start_process("--once", "--json", "--name", "box", script={"steps": 3}).wait(60) == 0
    assert bench.job(job).status is JobStatus.COMPLETED
    lines = [json.loads(line) for line in bench.agent_log().splitlines()]
    assert all({"at", "level", "logger", "text"} <= line.keys() for line in lines)
    assert bench.user.jobs.attempts(job.id)[0].runner_name == "box"


def test_two_runners_of_one_machine_have_names_of_their_own(bench: Bench) -> None:
    bench.start_process("--name", "box")
    bench.start_process("--name", "box")
    names = wait_until(
        lambda: (found := {each.name for each in bench.user.runners.list()}) and len(found) == 2 and found
    )
    assert names == {"box", "box-2"}


def test_the_agent_stays_light() -> None:
    heavy = ["torch", "transformers", "peft", "datasets", "pyarrow", "pandas", "tokenizers", "streamlit"]
    code = f"import sys, runner.__main__; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"
