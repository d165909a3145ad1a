"""The fault matrix over a team's project: a network between runner and store, tokens instead of a file, other machines."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lora_core.schema.job import JobStatus, RequestedAction
from tests.faults.fuse import Fuse
from tests.faults.invariants import Curve
from tests.faults.matrix import (
    SCRIPT,
    Case,
    Scene,
    ask,
    kill_machine,
    kill_runner,
    kill_trainer,
    runner_dies,
)
from tests.faults.stage import FaultStage, TeamStage
from tests.runner.agent.bench import wait_until
from tests.supastub.faults import Faults

pytestmark = pytest.mark.slow

CHECKPOINT_10 = "checkpoint-000010"
TRIES = 2
"""Calls that a runner makes at once: the second is for an idle connection that was closed."""


def network(hurt: Callable[[Faults], None]) -> Callable[[FaultStage], None]:
    """Return: the network does this to the runner's next requests."""

    def before(stage: FaultStage) -> None:
        assert isinstance(stage, TeamStage)
        hurt(stage.project.faults)

    return before


def network_is_away(scene: Scene) -> None:
    """The project cannot be reached until the trainer has come to its end."""
    stage = scene.stage
    assert isinstance(stage, TeamStage)
    stage.project.stop_gateway()
    stage.let_go(scene.job)
    events = stage.run_folder(scene.job) / "events.jsonl"
    wait_until(lambda: '"kind": "result"' in events.read_text(), "the trainer's result")
    stage.project.start_gateway()


def another_machine_finishes(scene: Scene) -> None:
    """This machine goes down; when it is back, another one has gone on from the store's checkpoint and done the job."""
    wait_until(lambda: len(scene.stage.checkpoints(scene.job)) == 2, "two checkpoints in the store")
    kill_machine(scene)
    scene.stage.end_leases()
    elsewhere: Path = scene.stage.home / "elsewhere"
    assert scene.stage.start_runner(script=SCRIPT, home=elsewhere).wait(120) == 0, scene.stage.all_logs()
    assert scene.stage.user.jobs.attempts(scene.job.id)[-1].start_step >= 10


MATRIX = (
    Case(
        "claiming",
        "the runner is killed before it hears that it has the job",
        (Fuse("claim", "die", after=True),),
        then=runner_dies,
        attempts="lost completed",
    ),
    Case(
        "claiming",
        "the answer to the claim is lost",
        before=network(lambda faults: faults.lose_reply("/rest/v1/rpc/runner_claim", times=TRIES)),
    ),
    Case(
        "fetching",
        "the connection is cut in the middle of the data set",
        before=network(lambda faults: faults.cut_download("/storage/v1/object", 300, times=TRIES)),
    ),
    Case(
        "fetching",
        "the runner is killed in the middle of the data set",
        (Fuse("read", "die"),),
        then=runner_dies,
    ),
    Case(
        "fetching",
        "the machine's disk is full",
        (Fuse("read", "disk full"),),
        attempts="failed completed",
        fails="The disk of the runner's machine is full",
        by_hand=True,
    ),
    Case("loading", "the project is away until training is over", hold="loading", then=network_is_away),
    Case("loading", "the machine goes down", hold="loading", then=kill_machine, attempts="lost completed"),
    Case(
        "training",
        "the trainer is killed",
        hold="step 7",
        then=kill_trainer,
        attempts="failed completed",
        fails="by signal 9",
    ),
    Case("training", "the runner is killed", hold="step 7", then=kill_runner),
    Case(
        "training",
        "the machine goes down, and another one has done the job when it is back",
        hold="step 13",
        then=another_machine_finishes,
        attempts="lost completed",
    ),
    Case(
        "training",
        "the answers to batches of events are lost",
        before=network(lambda faults: faults.lose_reply("/rest/v1/rpc/job_ship", times=2 * TRIES)),
    ),
    Case(
        "checkpointing",
        "the trainer is killed in the middle of a checkpoint",
        hold="saving 10",
        then=kill_trainer,
        attempts="failed completed",
        fails="by signal 9",
    ),
    Case(
        "checkpointing", "the project is away until training is over", hold="saving 10", then=network_is_away
    ),
    Case(
        "uploading",
        "the connection is cut in the middle of a file",
        before=network(
            lambda faults: faults.cut_upload("/storage/v1/object", 60, times=TRIES, method="POST")
        ),
    ),
    Case(
        "uploading",
        "the runner is killed before it hears that a checkpoint is stored",
        (Fuse("put_artifact", "die", after=True, of=CHECKPOINT_10),),
        hold="step 13",
        then=runner_dies,
    ),
    Case(
        "ending",
        "the runner is killed before it hears that the end is known",
        (Fuse("end", "die", after=True),),
        then=runner_dies,
    ),
    Case(
        "ending",
        "the answer to the end is lost",
        before=network(lambda faults: faults.lose_reply("/rest/v1/rpc/job_end", times=TRIES)),
    ),
    Case(
        "asked to cancel",
        "the runner is killed before it hears of it",
        hold="step 7",
        then=ask(RequestedAction.CANCEL),
        attempts="cancelled",
        ends=JobStatus.CANCELLED,
    ),
)


@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_the_job_comes_through(case: Case, team: TeamStage, scripted_curve: Curve) -> None:
    case.play(team, scripted_curve)
