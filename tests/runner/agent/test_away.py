"""The store goes away, or the lease does: nothing is lost, nothing is stored twice, nobody trains for nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from lora_core.errors import Unavailable
from lora_core.schema.alerts import StallRule
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.job import JobStatus, Outcome
from lora_core.schema.run import EventKind, RunEvent
from lora_core.store.base import RunnerPort
from tests.runner.agent.bench import Bench, wait_until


class Wire:
    """A RunnerPort behind a wire that can be cut. With `after`, calls arrive and their replies are lost."""

    def __init__(self, port: RunnerPort) -> None:
        self._port = port
        self.cut = False
        self.after = False
        self.calls = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._port, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.cut and not self.after:
                raise Unavailable("The wire is cut.")
            answer = method(*arguments, **named)
            if self.cut:
                raise Unavailable("The reply is lost.")
            return answer

        return call


def test_a_store_that_is_away_for_a_while_stops_no_training_and_loses_nothing(bench: Bench) -> None:
    job, wire = bench.submit(), Wire(bench.store.runner_port())
    bench.start(port=wire, script={"steps": 100, "step_seconds": 0.02})
    bench.wait_for_step(job, 5)
    wire.cut = True
    events = bench.run_folder(job) / "events.jsonl"
    wait_until(lambda: '"step": 100' in events.read_text(), "the trainer to go on to its end")
    assert bench.job(job).current_step < 100
    wire.cut = False
    bench.wait_for(job)
    assert bench.steps(job) == list(range(1, 101))
    assert bench.user.artifacts.list(job.id, ArtifactKind.ADAPTER)


def test_lost_replies_store_nothing_twice(bench: Bench) -> None:
    job, wire = bench.submit(), Wire(bench.store.runner_port())
    bench.start(port=wire, script={"steps": 40, "step_seconds": 0.02, "print_lines": 5})
    bench.wait_for_step(job, 5)
    wire.cut = wire.after = True
    before = wire.calls
    wait_until(lambda: wire.calls > before + 5, "some lost replies")
    wire.cut = False
    bench.wait_for(job)
    assert bench.steps(job) == list(range(1, 41))
    assert [bench.logs(job).count(f"scripted line {number}") for number in range(5)] == [1] * 5
    artifacts = bench.user.artifacts.list(job.id)
    assert len({(each.kind, each.name) for each in artifacts}) == len(artifacts)


def test_a_runner_that_lost_its_lease_ends_its_trainer_and_leaves_the_job_alone(bench: Bench) -> None:
    job, wire = bench.submit(), Wire(bench.store.runner_port())
    script = {"steps": 10_000, "step_seconds": 0.05, "checkpoint_every": 10_000}
    first = bench.start(port=wire, script=script, lease_seconds=2.0)
    bench.wait_for_step(job, 3)
    wire.cut = True
    bench.start(script={"steps": 60}, lease_seconds=30.0)
    wait_until(lambda: bench.job(job).attempt == 2, "the second claim")
    wire.cut = False
    wait_until(lambda: not first.runs, "the first runner to let go")
    done = bench.wait_for(job)
    assert [attempt.outcome for attempt in bench.user.jobs.attempts(job.id)] == [
        Outcome.LOST,
        Outcome.COMPLETED,
    ]
    assert done.current_step == 60
    assert bench.steps(job) == list(range(1, 61))


@pytest.mark.parametrize("slots", [1, 2])
def test_a_lost_lease_without_another_runner_still_delivers_the_tail(bench: Bench, slots: int) -> None:
    wire = Wire(bench.store.runner_port())
    agent = bench.start(port=wire, script={"steps": 2000}, lease_seconds=2.0, slots=slots)
    job = bench.submit(target=agent.info.id)
    bench.wait_for_step(job, 3)
    wire.cut = True
    checkpoint = bench.run_folder(job) / "checkpoints" / "step-000100"
    wait_until(checkpoint.exists, "step 100")
    stranger = agent.info.model_copy(update={"id": "stranger"})

    def given_back() -> bool:
        bench.store.runner_port().claim(stranger, lease_seconds=2)
        return bench.job(job).status is JobStatus.QUEUED

    wait_until(given_back, "the lease to run out")
    wire.cut = False
    wait_until(lambda: len(bench.user.jobs.attempts(job.id)) == 2, "the next attempt")
    wait_until(lambda: bench.user.jobs.attempts(job.id)[1].start_step >= 100, "its start")
    steps = bench.steps(job)
    assert steps == list(range(1, len(steps) + 1))


def test_a_lease_that_ran_out_while_the_store_was_away_is_taken_up_again_if_nobody_else_took_it(
    bench: Bench,
) -> None:
    job, wire = bench.submit(stall=StallRule(action="notify")), Wire(bench.store.runner_port())
    bench.start(port=wire, script={"steps": 60, "step_seconds": 0.05})
    bench.wait_for_step(job, 3)
    wire.cut = True
    bench.machine.wait(3600)
    events = bench.run_folder(job) / "events.jsonl"
    wait_until(lambda: '"step": 30' in events.read_text(), "the trainer to go on")
    bench.machine.wait(60)
    wire.cut = False
    bench.wait_for(job)
    assert [attempt.outcome for attempt in bench.user.jobs.attempts(job.id)] == [Outcome.COMPLETED]
    assert bench.steps(job) == list(range(1, 61))


def test_an_event_that_the_store_cannot_take_holds_up_no_other(bench: Bench) -> None:
    class Picky(Wire):
        def ship(self, job_id: str, attempt: int, events: Sequence[RunEvent]) -> None:
            if any(event.kind is EventKind.METRICS and event.data["step"] == 7 for event in events):
                raise ValueError("seven is too much")
            self._port.ship(job_id, attempt, events)

    job = bench.submit()
    bench.start(port=Picky(bench.store.runner_port()), script={"steps": 10})
    bench.wait_for(job)
    assert 7 not in bench.steps(job)
    assert {1, 6, 10} <= set(bench.steps(job))
