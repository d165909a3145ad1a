"""What breaks beside a job: its trainer, its runner, the machine, the machine's clock. Nothing is lost, and it is said."""

from typing import Any

import pytest

from lora_core.errors import Unavailable
from lora_core.schema.job import JobStatus, Outcome, RequestedAction
from runner.run_folders import Origin
from tests.runner.agent.bench import Bench, kill_group, trainers, wait_until
from tests.runner.agent.test_away import Wire

SLOW = {"steps": 40, "step_seconds": 0.06}
ENDLESS = {"steps": 10_000, "step_seconds": 0.05}


def outcomes(bench: Bench, job: Any) -> list[Outcome | None]:
    return [attempt.outcome for attempt in bench.user.jobs.attempts(job.id)]


def test_a_trainer_that_was_killed_is_tried_again_from_its_checkpoint(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 20, "crash_at": 8, "only_first_attempt": True})
    wait_until(lambda: bench.job(job).retry_at, "the pause before the next try")
    waiting = bench.job(job)
    assert waiting.status is JobStatus.QUEUED
    assert "signal 9" in waiting.error
    assert "tried again" in waiting.status_reason
    bench.try_again_now(job)
    bench.wait_for(job)
    assert outcomes(bench, job) == [Outcome.FAILED, Outcome.COMPLETED]
    assert bench.user.jobs.attempts(job.id)[1].start_step == 5
    assert bench.steps(job) == list(range(1, 21))


def test_a_whole_group_that_is_gone_is_tried_again(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script=ENDLESS)
    bench.wait_for_step(job, 6)
    kill_group(bench.run_folder(job))
    wait_until(lambda: bench.job(job).retry_at, "the pause before the next try")
    assert "killed from outside" in bench.job(job).error


def test_a_trainer_that_is_killed_again_and_again_fails_in_the_end(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 20, "crash_at": 4})
    for _ in range(2):
        bench.try_again_now(job)
    failed = bench.wait_for(job, JobStatus.FAILED)
    assert "3 times" in failed.error
    assert "signal 9" in failed.error
    assert outcomes(bench, job) == [Outcome.FAILED] * 3


@pytest.mark.parametrize(
    "script",
    [
        {"raise_at": 4, "message": "the tensor is upside down"},
        {"fail_at": 4, "message": "Row 7 has no answer."},
        {"fail_at": 4, "message": "Out of memory.", "exit_code": 30},
    ],
    ids=["exception", "data", "memory"],
)
def test_what_would_happen_again_fails_at_once(bench: Bench, script: dict[str, Any]) -> None:
    job = bench.submit(retry_smaller=False)
    bench.start(script=script)
    failed = bench.wait_for(job, JobStatus.FAILED)
    assert script["message"] in failed.error
    assert outcomes(bench, job) == [Outcome.FAILED]


def test_a_job_whose_data_cannot_be_fetched_is_tried_again_later(bench: Bench) -> None:
    class Blocked(Wire):
        def open_dataset(self, *_: str) -> None:
            raise Unavailable("The store is at lunch.")

    job = bench.submit()
    bench.start(port=Blocked(bench.store.runner_port()), script={}, lease_seconds=1e6)
    wait_until(lambda: (bench.run_folder(job) / "journal.jsonl").exists(), "the fetching")
    wait_until(lambda: bench.machine.wait(601) or bench.job(job).retry_at, "the pause before the next try")
    assert "Nothing arrived for 600 seconds" in bench.job(job).error
    assert "at lunch" in bench.job(job).error


def test_a_runner_that_cannot_go_on_gives_the_job_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job = bench.submit()
    bench.start(script={**ENDLESS, "helper_process": True})
    bench.wait_for_step(job, 6)

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("the journal sings")

    monkeypatch.setattr("runner.journal.Journal.collect", refuse)
    wait_until(lambda: bench.job(job).retry_at, "the pause before the next try")
    assert "the journal sings" in bench.job(job).error
    wait_until(lambda: not trainers(bench.home), "every process of it to be gone")


def test_a_run_folder_that_cannot_be_read_is_given_back_and_its_trainer_ended(bench: Bench) -> None:
    job = bench.submit()
    first = bench.start_process(script=ENDLESS)
    bench.wait_for_step(job, 6)
    first.kill()
    first.wait()
    (bench.run_folder(job) / "journal.jsonl").write_bytes(b"{}\n")
    agent = bench.start(script={"steps": 20})
    wait_until(lambda: bench.job(job).retry_at, "the pause before the next try")
    assert "could not begin" in bench.job(job).error
    assert not trainers(bench.home)
    bench.try_again_now(job)
    bench.wait_for(job)
    assert bench.steps(job) == list(range(1, 21))
    wait_until(lambda: not agent.runs, "the agent to let go")


def test_after_a_restart_of_the_machine_the_job_goes_on_and_the_history_says_so(bench: Bench) -> None:
    job = bench.submit()
    first = bench.start_process(script=ENDLESS)
    wait_until(lambda: (bench.job(job).checkpoint_step or 0) >= 10, "a stored checkpoint")
    first.kill()
    first.wait()
    kill_group(bench.run_folder(job))
    origin = bench.run_folder(job) / "origin.json"
    before = Origin.model_validate_json(origin.read_bytes())
    origin.write_text(before.model_copy(update={"boot": "an earlier one"}).model_dump_json())
    bench.start(script={"steps": 40}, here=before.model_copy(update={"boot": "this one"}))
    bench.wait_for(job)
    assert outcomes(bench, job) == [Outcome.LOST, Outcome.COMPLETED]
    assert bench.user.jobs.attempts(job.id)[0].reason == "The machine was restarted."
    assert any(
        event.reason.startswith("The machine was restarted.")
        for event in bench.user.jobs.events(job.id).items
    )
    assert bench.steps(job) == list(range(1, 41))


def test_a_home_that_was_copied_from_another_machine_leaves_that_machines_jobs_alone(bench: Bench) -> None:
    job = bench.submit()
    first = bench.start_process(script=ENDLESS)
    bench.wait_for_step(job, 3)
    first.kill()
    first.wait()
    origin = bench.run_folder(job) / "origin.json"
    origin.write_text(Origin(machine="the other", boot="x").model_dump_json())
    agent = bench.agent(script={}, here=Origin(machine="this one", boot="x"))
    agent.take_up()
    assert not agent.runs
    assert bench.user.jobs.attempts(job.id)[0].outcome is None


def test_a_machine_that_slept_goes_on_with_its_job_and_says_so(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script=SLOW, slots=2)
    bench.wait_for_step(job, 3)
    bench.machine.sleep(3 * 3600)
    wait_until(lambda: any("slept" in text for text in bench.logs(job)), "the note")
    bench.wait_for(job)
    assert outcomes(bench, job) == [Outcome.COMPLETED]
    assert "The machine slept for 3 hours." in bench.logs(job)
    assert bench.steps(job) == list(range(1, 41))


@pytest.mark.parametrize("seconds", [7_200, -7_200])
def test_two_runners_survive_a_clock_that_is_set(bench: Bench, seconds: float) -> None:
    first, second = bench.submit(), bench.submit()
    for _ in range(2):
        bench.start(script={**SLOW, "steps": 80}, slots=2)
    for job in (first, second):
        bench.wait_for_step(job, 3)
    bench.machine.set_clock(seconds)
    for job in (first, second):
        bench.wait_for(job)
        assert outcomes(bench, job) == [Outcome.COMPLETED]
        assert bench.steps(job) == list(range(1, 81))
        assert sum("clock" in text for text in bench.logs(job)) == 1


def test_a_pause_before_the_next_try_is_not_longer_for_a_clock_that_was_set_back(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 20, "crash_at": 8, "only_first_attempt": True})
    wait_until(lambda: bench.job(job).retry_at, "the pause before the next try")
    bench.machine.set_clock(-7_200)
    bench.machine.wait(11)
    bench.wait_for(job)
    assert outcomes(bench, job) == [Outcome.FAILED, Outcome.COMPLETED]


def test_a_runner_that_dies_beside_another_is_succeeded_by_it_in_the_same_attempt(bench: Bench) -> None:
    job = bench.submit()
    first = bench.start_process(script=SLOW)
    bench.wait_for_step(job, 3)
    bench.start(script=SLOW)
    first.kill()
    first.wait()
    bench.wait_for(job)
    assert outcomes(bench, job) == [Outcome.COMPLETED]
    assert bench.steps(job) == list(range(1, 41))


def test_two_runners_of_one_home_share_the_work_and_each_job_runs_once(bench: Bench) -> None:
    dataset = bench.add_dataset()
    jobs = [bench.submit(dataset_id=dataset.id) for _ in range(8)]
    agents = [bench.start(script={"steps": 6}) for _ in range(2)]
    assert len({agent.info.id for agent in agents}) == len({agent.info.name for agent in agents}) == 2
    for job in jobs:
        bench.wait_for(job)
        assert outcomes(bench, job) == [Outcome.COMPLETED]
        assert bench.steps(job) == list(range(1, 7))
    wait_until(lambda: not list(bench.settings.runs.rglob("claim.json")), "the run folders to go")


@pytest.mark.parametrize(
    "way", ["completed", "failed", "crashed", "stalled", "paused", "cancelled", "released"]
)
def test_after_every_end_no_process_is_left(bench: Bench, way: str) -> None:
    faults = {"failed": "fail_at", "crashed": "crash_at", "stalled": "hang_at"}
    steps = 20 if way == "completed" else 10_000
    script = {
        "steps": steps,
        "step_seconds": 0.02,
        "helper_process": True,
        **({faults[way]: 6} if way in faults else {}),
    }
    job = bench.submit()
    agent = bench.start(script=script)
    bench.wait_for_step(job, 5)
    if way == "stalled":
        bench.machine.wait(601)
    elif way in ("paused", "cancelled"):
        bench.user.jobs.request(job.id, RequestedAction.PAUSE if way == "paused" else RequestedAction.CANCEL)
    elif way == "released":
        agent.stop()
    wait_until(lambda: outcomes(bench, job)[0], "the end")
    wait_until(lambda: not trainers(bench.home), "every process of it to be gone")


def test_after_a_gap_nothing_is_claimed_until_every_runner_could_renew_its_leases(bench: Bench) -> None:
    agent = bench.agent(script={"steps": 3})
    bench.machine.sleep(600)
    agent.tick()
    job = bench.submit()
    wait_until(lambda: agent.tick() or bench.user.runners.list(), "some turns")
    assert bench.job(job).status is JobStatus.QUEUED
    bench.machine.wait(11)
    wait_until(lambda: agent.tick() or bench.job(job).status is JobStatus.COMPLETED, "the job")
    assert outcomes(bench, job) == [Outcome.COMPLETED]


def test_a_lease_is_open_after_a_gap_until_it_is_renewed(bench: Bench) -> None:
    job = bench.submit()
    agent = bench.agent(script=ENDLESS, slots=2)
    wait_until(lambda: agent.tick() or bench.job(job).current_step >= 1, "the first steps")
    (run,) = agent.runs
    assert run.is_settled
    bench.machine.sleep(600)
    assert not run.is_settled
    wait_until(lambda: agent.tick() or run.is_settled, "the renewal")
    bench.machine.set_clock(7200)
    assert run.is_settled, "what the clock shows does not matter"
    agent.stop()
    agent.stop()
    agent.tick()
