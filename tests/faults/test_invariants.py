"""The checks of the fault matrix can fail: each kind of damage to a job that has come through is noticed."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_core.errors import NotFound
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.job import Job
from tests.faults.invariants import CHECKS, Curve, check_all
from tests.faults.matrix import SCRIPT
from tests.faults.stage import LocalStage

pytestmark = pytest.mark.slow

DAMAGES = {
    "a value is not the trainer's": (
        "UPDATE metrics_points SET loss = loss + 1e-9 WHERE kind = 'train' AND step = 7",
        {"check_points"},
    ),
    "a step is missing": (
        "UPDATE metrics_points SET hidden = 1 WHERE kind = 'train' AND step = 7",
        {"check_points"},
    ),
    "an older attempt's point stands behind a newer one's": (
        "UPDATE metrics_points SET attempt = 2 WHERE step = 3",
        {"check_points"},
    ),
    "a printed line stands twice": (
        "INSERT INTO log_lines SELECT job_id, attempt, 999, at, level, source, text FROM log_lines"
        " WHERE text = 'scripted line 1'",
        {"check_logs"},
    ),
    "an attempt is open": ("UPDATE job_attempts SET ended_at = NULL", {"check_one_owner"}),
    "two attempts were at work at once": (
        "INSERT INTO job_attempts (job_id, number, runner_id, started_at, ended_at, outcome)"
        " SELECT job_id, 2, runner_id, started_at, ended_at, outcome FROM job_attempts;"
        "UPDATE training_jobs SET attempt = 2;"
        "INSERT INTO job_events (job_id, user_id, at, actor, action)"
        " SELECT id, user_id, updated_at, 'runner', 'claimed' FROM training_jobs",
        {"check_one_owner"},
    ),
    "the row says a step too few": (
        "UPDATE training_jobs SET current_step = 19",
        {"check_points", "check_status"},
    ),
    "the attempt says how it did not end": ("UPDATE job_attempts SET outcome = 'lost'", {"check_status"}),
    "the row names a checkpoint that is not there": (
        "UPDATE training_jobs SET checkpoint_step = 18",
        {"check_artifacts"},
    ),
    "the adapter is gone": ("DELETE FROM model_artifacts WHERE kind = 'adapter'", {"check_artifacts"}),
    "the trail has a move that the table does not": (
        "INSERT INTO job_events (job_id, user_id, at, actor, action, from_status, to_status)"
        " SELECT id, user_id, updated_at, 'x', 'x', 'completed', 'queued' FROM training_jobs",
        {"check_audit_trail"},
    ),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, scripted_curve: Curve) -> tuple[Path, Job]:
    """The home of a studio with a job that nothing went wrong with."""
    stage = LocalStage(tmp_path_factory.mktemp("sound") / "home")
    job = stage.submit()
    stage.bring_to_an_end(job, script=SCRIPT)
    check_all(stage, job, scripted_curve)
    stage.close()
    return stage.home, job


@pytest.fixture
def local(tmp_path: Path, sound: tuple[Path, Job]) -> Iterator[LocalStage]:
    """A copy of that studio."""
    shutil.copytree(sound[0], tmp_path / "home")
    stage = LocalStage(tmp_path / "home")
    yield stage
    stage.close()


@pytest.fixture
def done(sound: tuple[Path, Job]) -> Job:
    """Its job."""
    return sound[1]


def noticed(stage: LocalStage, job: Job, curve: Curve) -> set[str]:
    """Return the names of the checks that fail."""
    failing, now = set(), stage.job(job)
    for check in CHECKS:
        try:
            check(stage, now, curve)
        except AssertionError:
            failing.add(check.__name__)
    return failing


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_in_the_database_is_noticed(
    damage: str, local: LocalStage, done: Job, scripted_curve: Curve
) -> None:
    statement, checks = DAMAGES[damage]
    local.execute(statement)
    assert noticed(local, done, scripted_curve) == checks


@pytest.mark.parametrize("content", [b"{}", b'{"step": 21}', None], ids=["short", "other", "gone"])
def test_damage_on_the_disk_is_noticed(
    content: bytes | None, local: LocalStage, done: Job, scripted_curve: Curve
) -> None:
    (checkpoint, *_) = local.user.artifacts.list(done.id, ArtifactKind.CHECKPOINT)
    file = local.settings.files / checkpoint.bucket / checkpoint.path / "trainer_state.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content.ljust(checkpoint.bytes))
    with pytest.raises(NotFound) if content is None else pytest.raises(AssertionError):
        check_all(local, done, scripted_curve)


def test_what_is_left_behind_is_noticed(local: LocalStage, done: Job, scripted_curve: Curve) -> None:
    folder = local.run_folder(done)
    folder.mkdir(parents=True)
    (folder / "claim.json").touch()
    assert noticed(local, done, scripted_curve) == {"check_nothing_is_left"}
    (folder / "claim.json").unlink()
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", str(folder)])
    try:
        assert noticed(local, done, scripted_curve) == {"check_nothing_is_left"}
    finally:
        sleeper.kill()
        sleeper.wait()
    assert noticed(local, done, scripted_curve) == set()
