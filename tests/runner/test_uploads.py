"""Checkpoints on their way into a store that is away: neither the queue nor the disk fills up, and the log stays short."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_core.errors import StoreError, TooLarge, Unavailable
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.config import TrainingConfig
from lora_core.schema.job import Job
from runner.run_folder import RunFolder
from runner.uploads import TRIES, Uploads
from tests.runner.agent.bench import Machine, wait_until


class Store:
    """As much of a RunnerPort as uploads need."""

    def __init__(self) -> None:
        self.away: StoreError | None = Unavailable("It is away.")
        self.stored: list[str] = []
        self.dropped: list[str] = []

    def put_artifact(self, attempt: int, artifact: Artifact, folder: Path) -> Artifact:
        if self.away is not None:
            raise self.away
        assert list(folder.iterdir())
        self.stored.append(artifact.name)
        return artifact

    def drop_artifact(self, job_id: str, attempt: int, artifact_id: str) -> None:
        self.dropped.append(artifact_id)


class Rig:
    """Uploads of one attempt, over a store that is away at first."""

    def __init__(self, root: Path) -> None:
        self.folder = RunFolder(root)
        self.machine = Machine()
        self.store = Store()
        now = utc_now()
        job = Job(
            id=new_id(),
            user_id="u",
            name="x",
            dataset_id="d",
            config=TrainingConfig(),
            created_at=now,
            updated_at=now,
        )
        self.uploads = Uploads(self.store, job, 1, self.folder, clock=self.machine.clocks.awake)  # type: ignore[arg-type]

    def save(self, step: int, *, keep: int) -> None:
        """Save a checkpoint as a trainer does, and rotate."""
        path = self.folder.checkpoints / f"step-{step:06d}"
        path.mkdir(parents=True)
        (path / "adapter_model.safetensors").write_bytes(b"x")
        self.uploads.put_checkpoint(path, step, best=False, eval_loss=None)
        for old in sorted(self.folder.checkpoints.iterdir())[:-keep]:
            if not old.name.endswith("000001"):  # the best one stays
                shutil.rmtree(old)
        self.uploads.drop_rotated()

    def tick_until(self, condition: Callable[[], object]) -> None:
        def turn() -> object:
            self.machine.wait(10)
            self.uploads.tick()
            return condition()

        wait_until(turn)


def test_what_waits_is_no_more_than_what_is_kept(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for step in range(1, 101):
        rig.save(step, keep=2)
        rig.machine.wait(60)
        rig.uploads.tick()
        assert len(list((tmp_path / "staging").iterdir())) <= 4
    rig.store.away = None
    rig.tick_until(lambda: rig.uploads.idle)
    assert rig.store.stored == ["checkpoint-000001", "checkpoint-000099", "checkpoint-000100"]
    assert not list((tmp_path / "staging").iterdir())


def test_a_checkpoint_waits_until_the_points_before_it_are_in_the_store(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.store.away = None
    path = rig.folder.checkpoints / "step-000005"
    path.mkdir(parents=True)
    (path / "adapter_model.safetensors").write_bytes(b"x")
    rig.uploads.put_checkpoint(path, 5, best=False, eval_loss=None, after=100)
    rig.uploads.tick(confirmed=99)
    rig.uploads.tick(confirmed=99)
    assert not rig.store.stored
    wait_until(lambda: rig.uploads.tick(confirmed=100) or rig.store.stored)
    assert rig.store.stored == ["checkpoint-000005"]


def test_a_checkpoint_that_waits_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(tmp_path)
    rig.save(5, keep=1)
    with caplog.at_level(logging.WARNING):
        rig.tick_until(lambda: rig.uploads._backoff.failures > 10)
    assert [record.getMessage() for record in caplog.records] == [
        "The store does not answer; checkpoint-000005 waits: It is away."
    ]
    assert not rig.uploads.failed


@pytest.mark.parametrize(("error", "for_good"), [(StoreError("odd"), False), (TooLarge("big"), True)])
def test_what_cannot_be_stored_is_told_with_whether_it_may_work_later(
    tmp_path: Path, error: StoreError, for_good: bool
) -> None:
    rig = Rig(tmp_path)
    rig.store.away = error
    rig.folder.adapter.mkdir()
    (rig.folder.adapter / "x").write_bytes(b"x")
    rig.uploads.put(ArtifactKind.ADAPTER, "adapter", lambda: rig.folder.adapter)
    rig.tick_until(lambda: rig.uploads.idle)
    assert rig.uploads.failed == {"adapter": f"adapter could not be stored: {error}"}
    assert rig.uploads.failed_for_good is for_good
    assert TRIES > 1


def test_after_a_checkpoint_that_could_not_be_stored_a_newer_one_lets_old_ones_go(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.store.away = None
    rig.save(5, keep=2)
    rig.tick_until(lambda: rig.uploads.idle)
    rig.store.away = StoreError("odd")
    rig.save(10, keep=2)
    rig.tick_until(lambda: rig.uploads.failed)
    rig.store.away = None
    rig.save(15, keep=1)
    rig.tick_until(lambda: rig.store.stored[-1] == "checkpoint-000015")
    rig.tick_until(lambda: rig.uploads.idle)
    rig.uploads.drop_rotated()
    rig.tick_until(lambda: rig.uploads.idle)
    assert not rig.uploads.failed
    assert len(rig.store.dropped) == 1


def test_a_checkpoint_whose_files_are_going_is_passed_over(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.store.away = None
    path = rig.folder.checkpoints / "step-000005"
    path.mkdir(parents=True)
    rig.uploads.put_checkpoint(path, 5, best=False, eval_loss=None)
    assert rig.uploads.idle


def test_a_damaged_note_of_what_is_stored_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "uploads.json").write_bytes(b"{")
    assert Rig(tmp_path).uploads.idle
