"""`python -m runner --job`: a machine that holds nothing but a job token does one job and ends."""

import json
import signal

import pytest

from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.job import JobStatus, Outcome, RequestedAction
from lora_core.schema.runner import TaskKind, TaskStatus
from lora_core.secrets import TokenKind, new_token
from tests.runner.agent.bench import trainers, wait_until
from tests.runner.team.bench import TeamBench

SLOW = {"steps": 40, "step_seconds": 0.06}


def test_a_pod_does_its_one_job_and_ends(bench: TeamBench) -> None:
    other = bench.submit(priority=5)
    task = bench.ask(TaskKind.CHECK_DATASET, bench.add_dataset().id)
    job, token = bench.hand_out()
    pod = bench.start_pod(token.reveal(), "--name", "pod-7", script={"steps": 20})
    assert pod.wait(60) == 0, bench.agent_log()
    done = bench.job(job)
    assert (done.status, done.attempt) == (JobStatus.COMPLETED, 1)
    assert bench.steps(job) == list(range(1, 21))
    assert bench.user.artifacts.list(job.id, ArtifactKind.ADAPTER)
    assert bench.user.jobs.attempts(job.id)[0].runner_name == "pod-7"
    assert bench.job(other).status is JobStatus.QUEUED
    assert bench.user.tasks.get(task.id).status is TaskStatus.WAITING
    assert not bench.user.runners.list()
    assert bench.files_with(token.reveal()) == set()


@pytest.mark.slow
def test_a_pod_whose_job_fails_ends_well_all_the_same(bench: TeamBench) -> None:
    job, token = bench.hand_out()
    pod = bench.start_pod(token.reveal(), script={"steps": 20, "fail_at": 5, "message": "the data sings"})
    assert pod.wait(60) == 0, bench.agent_log()
    assert bench.job(job).status is JobStatus.FAILED


@pytest.mark.slow
def test_a_pod_obeys_the_person(bench: TeamBench) -> None:
    job, token = bench.hand_out()
    pod = bench.start_pod(token.reveal(), script={**SLOW, "steps": 10_000})
    bench.wait_for_step(job, 5)
    bench.user.jobs.request(job.id, RequestedAction.PAUSE)
    assert pod.wait(60) == 0, bench.agent_log()
    assert bench.job(job).status is JobStatus.PAUSED


@pytest.mark.slow
def test_a_pod_that_is_shut_down_gives_the_job_back(bench: TeamBench) -> None:
    job, token = bench.hand_out()
    pod = bench.start_pod(token.reveal(), script={**SLOW, "steps": 10_000})
    bench.wait_for_step(job, 5)
    pod.send_signal(signal.SIGTERM)
    assert pod.wait(60) == 0, bench.agent_log()
    assert bench.job(job).status is JobStatus.QUEUED


def test_a_restarted_pod_goes_on_with_the_same_attempt(bench: TeamBench) -> None:
    job, token = bench.hand_out()
    first = bench.start_pod(token.reveal(), "--name", "a3f1", script=SLOW)
    bench.wait_for_step(job, 8)
    first.kill()
    first.wait()
    assert bench.start_pod(token.reveal(), "--name", "77b2", script=SLOW).wait(60) == 0, bench.agent_log(1)
    assert bench.job(job).attempt == 1
    assert bench.steps(job) == list(range(1, 41))
    assert [attempt.outcome for attempt in bench.user.jobs.attempts(job.id)] == [Outcome.COMPLETED]


def test_a_pod_whose_token_was_never_good_says_so(bench: TeamBench) -> None:
    pod = bench.start_pod(new_token(TokenKind.JOB).reveal())
    assert pod.wait(30) == 1
    assert "token is not valid" in bench.agent_log()
    assert "Traceback" not in bench.agent_log()


@pytest.mark.slow
def test_a_second_machine_with_the_same_token_is_refused(bench: TeamBench) -> None:
    job, token = bench.hand_out()
    bench.start_pod(token.reveal(), script={**SLOW, "steps": 10_000})
    bench.wait_for_step(job, 1)
    second = bench.start_pod(token.reveal(), "--home", str(bench.home / "elsewhere"))
    assert second.wait(30) == 1
    assert "Another machine" in bench.agent_log(1)
    assert bench.job(job).status is JobStatus.RUNNING


def test_a_pod_whose_token_ends_stops_its_trainer(bench: TeamBench) -> None:
    job, token = bench.hand_out()
    pod = bench.start_pod(token.reveal(), script={**SLOW, "steps": 10_000})
    bench.wait_for_step(job, 3)
    bench.project.sql("update private.job_tokens set expires_at = now()")
    assert pod.wait(60) == 1
    assert not trainers(bench.home)
    assert "its token has ended" in bench.agent_log()


@pytest.mark.slow
def test_a_pod_that_finds_no_project_waits_for_it(bench: TeamBench) -> None:
    job, token = bench.hand_out()
    bench.project.stop_gateway()
    pod = bench.start_pod(token.reveal(), "--json", script={"steps": 5})
    wait_until(lambda: "does not answer" in bench.agent_log(), "the first try")
    bench.project.start_gateway()
    assert pod.wait(60) == 0, bench.agent_log()
    assert bench.job(job).status is JobStatus.COMPLETED
    assert all(json.loads(line) for line in bench.agent_log().splitlines())


def test_a_pod_needs_its_token_and_a_project(bench: TeamBench) -> None:
    wanted = {
        "LORA_STUDIO_JOB_TOKEN": bench.project.environment(),
        "SUPABASE_URL": {"LORA_STUDIO_JOB_TOKEN": "lsj_x"},
        "begins with lsj_": {**bench.project.environment(), "LORA_STUDIO_JOB_TOKEN": "lsr_x"},
    }
    processes = [bench.start_process("--job", environment=environment) for environment in wanted.values()]
    assert [process.wait(30) for process in processes] == [1, 1, 1]
    for number, words in enumerate(wanted):
        assert words in bench.agent_log(number)
