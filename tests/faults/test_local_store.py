"""The fault matrix over the embedded store: phase by phase, what breaks, and what becomes of the job."""

import pytest

from lora_core.schema.job import JobStatus, RequestedAction
from tests.faults.fuse import ENDLESS, Fuse
from tests.faults.invariants import Curve
from tests.faults.matrix import (
    Case,
    Scene,
    ask,
    kill_machine,
    kill_runner,
    kill_trainer,
    runner_dies,
    runner_dies_later,
    somebody_else_finishes,
    store_comes_back,
    until,
)
from tests.faults.stage import LocalStage

pytestmark = pytest.mark.slow

DISK_FULL = "The disk of the runner's machine is full"
STEP_7, CHECKPOINT_10, ADAPTER = "'step': 7,", "checkpoint-000010", "name='adapter'"


def database_is_locked(scene: Scene) -> None:
    """Another process keeps the database for itself while the runner asks for a job."""
    stage = scene.stage
    assert isinstance(stage, LocalStage)
    with stage.locked_database():
        stage.mend()
        until(stage, "does not answer")


CLAIMING = (
    Case(
        "claiming", "the runner is killed before its claim arrives", (Fuse("claim", "die"),), then=runner_dies
    ),
    Case(
        "claiming",
        "the runner is killed before it hears that it has the job",
        (Fuse("claim", "die", after=True),),
        then=runner_dies,
        attempts="lost completed",
    ),
    Case(
        "claiming",
        "the runner is killed before it has written down its claim",
        (Fuse("note", "die", of="claim.json"),),
        then=runner_dies,
        attempts="lost completed",
    ),
    Case(
        "claiming",
        "the store is away",
        (Fuse("claim", "unavailable", times=ENDLESS), Fuse("claim_task", "unavailable", times=ENDLESS)),
        then=store_comes_back,
    ),
    Case(
        "claiming",
        "the answer to the claim is lost",
        (Fuse("claim", "unavailable", after=True),),
        attempts="lost completed",
    ),
    Case("claiming", "the database is locked", (Fuse("claim", "hold"),), then=database_is_locked),
    Case(
        "claiming",
        "the disk is full when the claim is written down",
        (Fuse("note", "disk full", of="claim.json"),),
        attempts="failed completed",
        fails=DISK_FULL,
        by_hand=True,
    ),
)

FETCHING = (
    Case(
        "fetching",
        "the runner is killed in the middle of the data set",
        (Fuse("read", "die"),),
        then=runner_dies,
    ),
    Case(
        "fetching",
        "the store is away",
        (Fuse("open_dataset", "unavailable", times=ENDLESS),),
        then=store_comes_back,
    ),
    Case("fetching", "the connection is cut in the middle of the data set", (Fuse("read", "unavailable"),)),
    Case("fetching", "the data set comes damaged once", (Fuse("read", "damage"),)),
    Case(
        "fetching",
        "the data set comes damaged every time",
        (Fuse("read", "damage", times=ENDLESS),),
        attempts="failed completed",
        fails="came damaged 3 times",
        by_hand=True,
    ),
    Case(
        "fetching",
        "the disk is full",
        (Fuse("read", "disk full"),),
        attempts="failed completed",
        fails=DISK_FULL,
        by_hand=True,
    ),
    Case(
        "fetching a checkpoint",
        "the runner is killed in the middle",
        hold="step 13",
        then=kill_machine,
        second=(Fuse("read", "die", call=2),),
        attempts="lost completed",
    ),
    Case(
        "fetching a checkpoint",
        "the connection is cut in the middle",
        hold="step 13",
        then=kill_machine,
        second=(Fuse("read", "unavailable"),),
        attempts="lost completed",
    ),
    Case(
        "fetching a checkpoint",
        "it comes damaged once",
        hold="step 13",
        then=kill_machine,
        second=(Fuse("read", "damage"),),
        attempts="lost completed",
    ),
)

LOADING = (
    Case(
        "loading",
        "the runner is killed before it starts the trainer",
        (Fuse("start", "die"),),
        then=runner_dies,
    ),
    Case(
        "loading",
        "the runner is killed right after it has started the trainer",
        (Fuse("start", "die", after=True),),
        then=runner_dies,
    ),
    Case("loading", "the disk is full when the trainer is to start", (Fuse("folder", "disk full"),)),
    Case(
        "loading",
        "the trainer is killed",
        hold="loading",
        then=kill_trainer,
        attempts="failed completed",
        fails="by signal 9",
    ),
    Case("loading", "the runner is killed", hold="loading", then=kill_runner),
    Case("loading", "the machine goes down", hold="loading", then=kill_machine, attempts="lost completed"),
    Case(
        "loading",
        "the store is away",
        (Fuse("ship", "unavailable", times=ENDLESS),),
        hold="loading",
        then=store_comes_back,
    ),
)

TRAINING = (
    Case(
        "training",
        "the trainer is killed",
        hold="step 7",
        then=kill_trainer,
        attempts="failed completed",
        fails="by signal 9",
    ),
    Case(
        "training",
        "the trainer is killed in the middle of a line",
        script={"torn_line_at": 7},
        attempts="failed completed",
        fails="by signal 9",
    ),
    Case("training", "the runner is killed", hold="step 7", then=kill_runner),
    Case("training", "the machine goes down", hold="step 7", then=kill_machine, attempts="lost completed"),
    Case(
        "training",
        "the runner is killed in the middle of a line of its journal",
        (Fuse("journal", "tear", of='"step": 7,'),),
        then=runner_dies,
    ),
    Case(
        "training",
        "the runner is killed before it hears that its events have arrived",
        (Fuse("ship", "die", after=True, of=STEP_7),),
        then=runner_dies,
    ),
    Case(
        "training",
        "the runner is killed before it has written down that its events have arrived",
        (Fuse("note", "die", of="journal.confirmed", call=2),),
        then=runner_dies,
    ),
    Case(
        "training",
        "the store is away",
        (Fuse("ship", "unavailable", of=STEP_7, times=ENDLESS),),
        then=store_comes_back,
    ),
    Case(
        "training",
        "the answer to a batch of events is lost",
        (Fuse("ship", "unavailable", after=True, of=STEP_7),),
    ),
    Case(
        "training",
        "the runner sleeps while another one does the job",
        hold="step 7",
        then=somebody_else_finishes,
        attempts="lost completed",
    ),
    Case(
        "training",
        "the disk is full for the runner's journal",
        (Fuse("journal", "disk full", of='"step": 7,', times=3),),
    ),
)

CHECKPOINTING = (
    Case(
        "checkpointing",
        "the trainer is killed in the middle of a checkpoint",
        hold="saving 10",
        then=kill_trainer,
        attempts="failed completed",
        fails="by signal 9",
    ),
    Case(
        "checkpointing",
        "the trainer is killed before it tells of its checkpoint",
        hold="saved 10",
        then=kill_trainer,
        attempts="failed completed",
        fails="by signal 9",
    ),
    Case("checkpointing", "the runner is killed", hold="saving 10", then=kill_runner),
    Case(
        "checkpointing",
        "the machine goes down",
        hold="saving 10",
        then=kill_machine,
        attempts="lost completed",
    ),
    Case(
        "checkpointing",
        "the store is away",
        (Fuse("renew", "unavailable", times=ENDLESS), Fuse("ship", "unavailable", times=ENDLESS)),
        hold="saving 10",
        then=store_comes_back,
    ),
    Case(
        "checkpointing",
        "the disk is full for the trainer",
        script={"disk_full_at": 10},
        attempts="failed completed",
        fails=DISK_FULL,
        by_hand=True,
    ),
)

UPLOADING = (
    Case(
        "uploading",
        "the runner is killed when a checkpoint's files are stored and its row is not",
        (Fuse("files", "die", after=True, of=CHECKPOINT_10),),
        hold="step 13",
        then=runner_dies,
    ),
    Case(
        "uploading",
        "the runner is killed before it hears that a checkpoint is stored",
        (Fuse("put_artifact", "die", after=True, of=CHECKPOINT_10),),
        hold="step 13",
        then=runner_dies,
    ),
    Case(
        "uploading",
        "the trainer is killed while its checkpoint is on the way",
        (Fuse("put_artifact", "hold", of=CHECKPOINT_10),),
        hold="step 13",
        then=kill_trainer,
        attempts="failed completed",
        fails="by signal 9",
    ),
    Case(
        "uploading",
        "the machine goes down while a checkpoint is on the way",
        (Fuse("put_artifact", "hold", of=CHECKPOINT_10),),
        hold="step 13",
        then=kill_machine,
        attempts="lost completed",
    ),
    Case(
        "uploading",
        "the store is away",
        (Fuse("put_artifact", "unavailable", of=CHECKPOINT_10, times=2),),
        hold="step 13",
    ),
    Case(
        "uploading",
        "the answer about a checkpoint is lost",
        (Fuse("put_artifact", "unavailable", after=True, of=CHECKPOINT_10),),
        hold="step 13",
    ),
    Case(
        "uploading",
        "the store has no space for a checkpoint",
        (Fuse("put_artifact", "store full", of=CHECKPOINT_10),),
        hold="step 13",
    ),
    Case(
        "uploading",
        "the runner is killed while a rotated checkpoint goes",
        (Fuse("drop_artifact", "die"),),
        hold="step 13",
        then=runner_dies_later,
    ),
    Case(
        "uploading",
        "the runner is killed while the adapter is on its way",
        (Fuse("put_artifact", "die", of=ADAPTER),),
        then=runner_dies,
    ),
    Case(
        "uploading",
        "the store has no space for the adapter",
        (Fuse("put_artifact", "store full", of=ADAPTER),),
        attempts="failed completed",
        fails="adapter could not be stored",
        by_hand=True,
    ),
)

ENDING = (
    Case(
        "ending",
        "the trainer is killed before its result",
        hold="finishing",
        then=kill_trainer,
        attempts="failed completed",
        fails="by signal 9",
    ),
    Case(
        "ending",
        "the trainer is killed after its result",
        hold="finished",
        then=kill_trainer,
        attempts="failed completed",
        fails="by signal 9",
    ),
    Case("ending", "the runner is killed before the result", hold="finishing", then=kill_runner),
    Case(
        "ending",
        "the machine goes down before the result",
        hold="finishing",
        then=kill_machine,
        attempts="lost completed",
    ),
    Case("ending", "the runner is killed before it tells the end", (Fuse("end", "die"),), then=runner_dies),
    Case(
        "ending",
        "the runner is killed before it hears that the end is known",
        (Fuse("end", "die", after=True),),
        then=runner_dies,
    ),
    Case("ending", "the runner is killed before it has tidied up", (Fuse("tidy", "die"),), then=runner_dies),
    Case("ending", "the store is away", (Fuse("end", "unavailable", times=ENDLESS),), then=store_comes_back),
    Case("ending", "the answer to the end is lost", (Fuse("end", "unavailable", after=True),)),
)

ASKED = (
    Case(
        "asked to pause",
        "the runner is killed before it hears of it",
        hold="step 7",
        then=ask(RequestedAction.PAUSE),
        attempts="paused",
        ends=JobStatus.PAUSED,
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

MATRIX = (*CLAIMING, *FETCHING, *LOADING, *TRAINING, *CHECKPOINTING, *UPLOADING, *ENDING, *ASKED)


@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_the_job_comes_through(case: Case, local: LocalStage, scripted_curve: Curve) -> None:
    case.play(local, scripted_curve)
