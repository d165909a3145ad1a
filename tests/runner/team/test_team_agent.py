"""An agent of a team: the same work over a project that is far, goes away, and may shut the runner out."""

import json
import stat
import time

import pytest

from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.job import JobStatus, Outcome, RequestedAction
from lora_core.schema.runner import TaskKind, TaskStatus
from runner.cadence import FAR
from tests.runner.agent.bench import kill_group, pid_of, trainers, wait_until
from tests.runner.team.bench import TeamBench

SLOW = {"steps": 40, "step_seconds": 0.06}


def test_a_job_runs_to_its_end_over_a_project(bench: TeamBench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 30, "print_lines": 2, "nan_at": 3})
    done = bench.wait_for(job)
    assert bench.steps(job) == list(range(1, 31))
    assert (done.progress, done.train_loss) == (1.0, bench.points(job)[-1].loss)
    assert bench.points(job)[2].nonfinite == {"loss": "nan"}
    texts = bench.logs(job)
    assert [texts.count(f"scripted line {number}") for number in range(2)] == [1, 1]
    kinds = {each.kind for each in bench.user.artifacts.list(job.id)}
    assert kinds == set(ArtifactKind)
    wait_until(lambda: not bench.run_folder(job).exists(), "the run folder to be gone")
    assert [runner.name for runner in bench.user.runners.list()] == ["bench"]


def test_a_task_is_done_over_a_project(bench: TeamBench) -> None:
    rows = b'{"prompt": "1+1", "completion": "2"}\n' * 20
    dataset = bench.add_dataset(rows, file_name="sums.jsonl")
    task = bench.ask(TaskKind.CHECK_DATASET, dataset.id)
    bench.start()
    wait_until(lambda: bench.user.tasks.get(task.id).status in (TaskStatus.DONE, TaskStatus.FAILED))
    assert bench.user.tasks.get(task.id).error == ""
    assert bench.user.datasets.get(dataset.id).rows == 20


@pytest.mark.slow
def test_a_pause_reaches_the_trainer_and_the_job_goes_on_later(bench: TeamBench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 60, "step_seconds": 0.03})
    bench.wait_for_step(job, 5)
    bench.user.jobs.request(job.id, RequestedAction.PAUSE)
    assert bench.wait_for(job, JobStatus.PAUSED).current_step < 60
    bench.user.jobs.move(job.id, JobStatus.QUEUED)
    bench.wait_for(job)
    assert bench.steps(job) == list(range(1, 61))


def test_a_project_that_goes_away_in_the_middle_loses_nothing_and_slows_nothing(bench: TeamBench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 100, "step_seconds": 0.02}, lease_seconds=60.0)
    bench.wait_for_step(job, 5)
    bench.project.stop_gateway()
    events = bench.run_folder(job) / "events.jsonl"
    wait_until(lambda: '"step": 100' in events.read_text(), "the trainer to go on to its end", seconds=10)
    bench.project.start_gateway()
    bench.wait_for(job)
    assert bench.steps(job) == list(range(1, 101))
    assert bench.job(job).attempt == 1
    assert bench.user.artifacts.list(job.id, ArtifactKind.ADAPTER)


def test_a_job_token_is_in_the_claim_only_and_the_claim_is_private(bench: TeamBench) -> None:
    job = bench.submit()
    bench.start_process(script={**SLOW, "print_lines": 3})
    bench.wait_for_step(job, 8)
    claim = bench.run_folder(job) / "claim.json"
    token = json.loads(claim.read_bytes())["job_token"]
    assert token.startswith("lsj_")
    assert stat.S_IMODE(claim.stat().st_mode) == 0o600
    assert bench.files_with(token) == {"claim.json"}
    assert bench.files_with(bench.token.reveal()) == set()
    environments = [process.environ() for process in trainers(bench.home)]
    assert environments
    assert not [
        name for each in environments for name in each if name.startswith(("SUPABASE_", "LORA_STUDIO_"))
    ]
    assert not [
        value for each in environments for value in each.values() if "lsr_" in value or "lsj_" in value
    ]
    bench.wait_for(job)
    wait_until(lambda: not bench.files_with(token), "the token to be gone from this machine")
    stored = bench.project.sql("select text as text from log_lines")
    assert not [row for row in stored if token in row["text"] or "lsr_" in row["text"]]


def test_the_folder_that_is_kept_of_a_failed_attempt_holds_no_token(bench: TeamBench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 20, "fail_at": 5, "message": "the data sings"})
    assert "sings" in bench.wait_for(job, JobStatus.FAILED).error
    wait_until((bench.run_folder(job) / "ended").exists, "the end")
    wait_until(lambda: not bench.files_with("lsj_"), "the token to be gone")


@pytest.mark.slow
def test_a_killed_agent_is_succeeded_by_the_next_in_the_same_attempt(bench: TeamBench) -> None:
    job = bench.submit()
    first = bench.start_process(script=SLOW)
    bench.wait_for_step(job, 8)
    first.kill()
    first.wait()
    assert bench.start_process("--once", script=SLOW).wait(60) == 0
    assert bench.wait_for(job).attempt == 1
    assert bench.steps(job) == list(range(1, 41))


@pytest.mark.slow
def test_a_stopped_runner_gives_the_job_back(bench: TeamBench) -> None:
    job = bench.submit()
    first = bench.start_process(script=SLOW)
    bench.wait_for_step(job, 8)
    first.terminate()
    assert first.wait(30) == 0
    released = bench.job(job)
    assert (released.status, bool(released.checkpoint_step)) == (JobStatus.QUEUED, True)


def test_a_revoked_runner_ends_its_trainer_says_what_to_do_and_stays(
    bench: TeamBench, caplog: pytest.LogCaptureFixture
) -> None:
    job = bench.submit()
    agent = bench.start(script={"steps": 10_000, "step_seconds": 0.02})
    bench.wait_for_step(job, 3)
    bench.team.store_for(bench.user_id).registry.revoke(bench.registration)
    wait_until(lambda: not agent.runs, "the runner to let go")
    assert not trainers(bench.home)
    wait_until(lambda: agent.refusal, "the runner to hear of it")
    calls = bench.project.faults.count("/rest/v1/rpc/runner_claim")
    time.sleep(2)
    asked = bench.project.faults.count("/rest/v1/rpc/runner_claim") - calls
    assert asked <= 1, "it asks slowly now; one question may have been on its way"
    said = [record.getMessage() for record in caplog.records if "refuses this runner" in record.getMessage()]
    assert len(said) == 1
    assert "Register the runner again" in said[0]


@pytest.mark.slow
def test_a_revoked_runner_that_was_to_end_by_itself_ends_with_an_error(bench: TeamBench) -> None:
    bench.team.store_for(bench.user_id).registry.revoke(bench.registration)
    process = bench.start_process("--once")
    assert process.wait(30) == 1
    assert "Register the runner again" in bench.agent_log()


def test_a_runner_without_a_token_says_how_to_get_one(bench: TeamBench) -> None:
    process = bench.start_process(environment=bench.project.environment())
    assert process.wait(30) == 1
    assert "LORA_STUDIO_RUNNER_TOKEN" in bench.agent_log()
    assert "Traceback" not in bench.agent_log()


@pytest.mark.slow
def test_a_runner_that_trains_nothing_does_tasks_only(bench: TeamBench) -> None:
    job = bench.submit()
    rows = b'{"prompt": "1+1", "completion": "2"}\n'
    task = bench.ask(TaskKind.CHECK_DATASET, bench.add_dataset(rows, file_name="x.jsonl").id)
    assert bench.start_process("--once", "--no-training").wait(60) == 0
    assert bench.user.tasks.get(task.id).status is TaskStatus.DONE
    assert bench.job(job).status is JobStatus.QUEUED
    assert bench.user.runners.list()[0].roles == ()


@pytest.mark.slow
def test_another_token_makes_another_runner_of_the_same_machine(bench: TeamBench) -> None:
    bench.start_process("--once").wait(30)
    _, bench.token = bench.team.register(bench.user_id)
    bench.start_process("--once").wait(30)
    wait_until(lambda: len(bench.user.runners.list()) == 2, "two runners")


@pytest.mark.slow
def test_an_idle_runner_of_a_team_makes_about_one_call_a_second(bench: TeamBench) -> None:
    bench.cadence = FAR
    bench.start()
    wait_until(bench.user.runners.list, "the runner")
    before = bench.project.faults.count("/rest/v1/rpc/")
    time.sleep(3)
    assert bench.project.faults.count("/rest/v1/rpc/") - before <= 6


@pytest.mark.slow
def test_a_point_is_in_a_far_store_soon_after_it_was_made(bench: TeamBench) -> None:
    bench.cadence = FAR
    job = bench.submit()
    bench.project.faults.delay("/rest/v1/rpc/", 0.1, times=10_000)
    bench.start(script={"steps": 12, "step_seconds": 0.4}, poll_seconds=0.3)
    seen: dict[int, float] = {}

    def watch() -> bool:
        query = "select step, extract(epoch from clock_timestamp() - recorded_at)::float8 as age from metrics_points"
        for row in bench.project.sql(f"{query} where kind = 'train'"):
            seen.setdefault(row["step"], row["age"])
        return len(seen) == 12

    wait_until(watch, "all steps")
    assert sorted(seen.values())[6] < 1.5
    assert max(seen.values()) < 3.0
    bench.wait_for(job)


@pytest.mark.slow
def test_a_far_store_that_was_away_has_ten_thousand_points_in_a_few_seconds(bench: TeamBench) -> None:
    bench.cadence = FAR
    job = bench.submit()
    bench.project.faults.delay("/rest/v1/rpc/", 0.1, times=10_000)
    script = {"steps": 10_000, "step_seconds": 0.0, "eval_every": 10_000, "checkpoint_every": 10_000}
    bench.start(script=script, poll_seconds=0.3, lease_seconds=120.0)
    bench.wait_for_step(job, 1)
    bench.project.stop_gateway()
    journal = bench.run_folder(job) / "journal.jsonl"
    wait_until(lambda: '"step": 10000' in journal.read_text(), "the trainer and the journal")
    bench.project.start_gateway()
    started = time.monotonic()
    wait_until(lambda: bench.project.sql("select 1 from metrics_points where step = 10000"), "the last point")
    assert time.monotonic() - started < 30, "ten seconds of backoff, and a few for the points"
    bench.wait_for(job)
    counted = bench.project.sql("select count(*) as points from metrics_points where kind = 'train'")
    assert counted[0]["points"] == 10_000


@pytest.mark.slow
def test_after_a_machine_went_down_another_goes_on_from_the_checkpoint(bench: TeamBench) -> None:
    job = bench.submit()
    first = bench.start_process(script=SLOW)
    wait_until(lambda: (bench.job(job).checkpoint_step or 0) >= 10, "a stored checkpoint")
    first.kill()
    first.wait()
    kill_group(bench.run_folder(job))
    assert pid_of(bench.run_folder(job))
    bench.start_process("--once", script=SLOW).wait(60)
    assert bench.wait_for(job).attempt == 2
    outcomes = [attempt.outcome for attempt in bench.user.jobs.attempts(job.id)]
    assert outcomes == [Outcome.LOST, Outcome.COMPLETED]
    assert bench.steps(job) == list(range(1, 41))
