"""What holds for the embedded store beside the contract: triggers, processes, disks, files."""

import errno
import io
import itertools
import multiprocessing
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lora_core.errors import Conflict, DiskFull, Forbidden, NotFound, TooLarge, Unavailable
from lora_core.lifecycle import can_move
from lora_core.schema.job import JobFilter, JobStatus
from lora_core.schema.metrics import METRIC_COLUMNS, MetricKind, MetricPoint
from lora_core.schema.runner import Claim
from lora_core.settings import Settings
from lora_core.store.batch import Point
from lora_core.store.local import LocalStore, blocks, database
from lora_core.store.local.database import Database
from lora_core.store.local.files import FileTree
from tests.contracts.samples import ANNE, BEN, Events, Studio, artifact_of, folder_of, runner_of


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def local(settings: Settings) -> Iterator[LocalStore]:
    store = LocalStore(settings)
    yield store
    store.close()


@pytest.fixture
def studio(local: LocalStore) -> Studio:
    return Studio(local.for_user(ANNE), local.for_user(BEN), local.runner_port())


@pytest.fixture
def raw(settings: Settings, local: LocalStore) -> Iterator[sqlite3.Connection]:
    connection = database.connect(settings.database)
    yield connection
    connection.close()


@pytest.mark.parametrize(("before", "after"), list(itertools.product(JobStatus, JobStatus)))
def test_the_trigger_allows_what_the_life_cycle_allows(
    studio: Studio, raw: sqlite3.Connection, before: JobStatus, after: JobStatus
) -> None:
    job = studio.submit()
    for status in paths_to(before):
        raw.execute("UPDATE training_jobs SET status = ? WHERE id = ?", (status, job.id))
    change = ("UPDATE training_jobs SET status = ? WHERE id = ?", (after, job.id))
    if can_move(before, after) or before is after:
        raw.execute(*change)
    else:
        with pytest.raises(sqlite3.IntegrityError, match="transition"):
            raw.execute(*change)


def paths_to(status: JobStatus) -> list[JobStatus]:
    """Return transitions that lead from queued to a state."""
    started = [JobStatus.INITIALIZING, JobStatus.RUNNING]
    return {
        JobStatus.QUEUED: [],
        JobStatus.INITIALIZING: started[:1],
        JobStatus.RUNNING: started,
        JobStatus.COMPLETED: [*started, JobStatus.COMPLETED],
    }.get(status, [status])


def test_a_job_cannot_be_inserted_in_another_state(studio: Studio, raw: sqlite3.Connection) -> None:
    studio.submit()
    columns = "user_id, name, dataset_id, config, target, created_at, updated_at"
    with pytest.raises(sqlite3.IntegrityError, match="queued"):
        raw.execute(
            f"INSERT INTO training_jobs (id, status, {columns}) SELECT 'new', 'completed', {columns} FROM training_jobs"
        )


@pytest.mark.parametrize("change", ["UPDATE job_events SET reason = 'other'", "DELETE FROM job_events"])
def test_the_audit_trail_only_grows(studio: Studio, raw: sqlite3.Connection, change: str) -> None:
    studio.submit()
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute(change)


def test_the_audit_trail_outlives_its_job(studio: Studio, raw: sqlite3.Connection) -> None:
    job = studio.submit()
    studio.anne.jobs.move(job.id, JobStatus.CANCELLED)
    studio.anne.jobs.delete(job.id)
    actions = [
        row["action"] for row in raw.execute("SELECT action FROM job_events WHERE job_id = ?", (job.id,))
    ]
    assert actions == ["submitted", "cancelled", "deleted"]


def test_a_deleted_job_leaves_no_rows(studio: Studio, raw: sqlite3.Connection) -> None:
    claim, events = studio.running()
    studio.port.ship(claim.job.id, 1, [*events.curve([1.0] * 999)])
    studio.port.ship(claim.job.id, 1, [events.train(1000), events.log("x")])
    raw.execute("UPDATE training_jobs SET status = 'failed' WHERE id = ?", (claim.job.id,))
    assert raw.execute("SELECT count(*) FROM metrics_blocks").fetchone()[0] > 0
    studio.anne.jobs.delete(claim.job.id)
    for table in ("metrics_points", "metrics_blocks", "log_lines", "job_attempts"):
        assert raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0


def claim_all(home: Path, name: str, taken: Any) -> None:
    store = LocalStore(Settings(home=home))
    port = store.runner_port()
    while (claim := port.claim(runner_of(name), lease_seconds=60)) is not None:
        taken.put(claim.job.id)
    store.close()


def test_two_processes_never_claim_one_job(studio: Studio, settings: Settings) -> None:
    dataset = studio.add_dataset()
    for _ in range(30):
        studio.submit(dataset_id=dataset.id)
    context = multiprocessing.get_context("spawn")
    taken = context.Queue()
    workers = [context.Process(target=claim_all, args=(settings.root, f"r{n}", taken)) for n in range(2)]
    for worker in workers:
        worker.start()
    claimed = [taken.get(timeout=60) for _ in range(30)]
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(set(claimed)) == 30
    assert taken.empty()


def test_readers_are_not_kept_waiting_by_a_writer(studio: Studio, settings: Settings) -> None:
    job = studio.submit()
    with Database(settings.database).write() as connection:
        connection.execute("UPDATE training_jobs SET name = 'changing'")
        assert studio.anne.jobs.get(job.id).name == job.name


def test_a_writer_that_waits_too_long_says_so(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = studio.submit()
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    other = LocalStore(settings)
    with Database(settings.database).write(), pytest.raises(Unavailable):
        other.for_user(ANNE).jobs.rename(job.id, "new")
    other.close()


def test_a_thread_that_ends_gives_its_connection_back(local: LocalStore, studio: Studio) -> None:
    studio.submit()
    before = open_files()
    for _ in range(20):
        thread = threading.Thread(target=lambda: local.for_user(ANNE).jobs.list(JobFilter()))
        thread.start()
        thread.join(30)
    assert open_files() <= before + 3


def open_files() -> int:
    descriptors = Path("/proc/self/fd")
    return len(list(descriptors.iterdir())) if descriptors.exists() else 0


def test_a_failed_transaction_leaves_nothing(settings: Settings, studio: Studio) -> None:
    job = studio.submit()

    def fails() -> None:
        with Database(settings.database).write() as connection:
            connection.execute("UPDATE training_jobs SET name = 'half'")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert studio.anne.jobs.get(job.id).name == job.name


def test_the_home_folder_is_private(settings: Settings, local: LocalStore) -> None:
    assert settings.root.stat().st_mode & 0o077 == 0


def test_a_person_with_a_path_for_an_id_is_refused(local: LocalStore) -> None:
    for user_id in ("..", "a/b", "", "-x", "ä"):
        with pytest.raises(Forbidden):
            local.for_user(user_id)


def test_a_full_disk_is_seen_before_writing(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DiskFull):
        studio.anne.blobs.put("lora-datasets", f"{ANNE}/x", iter([b"x" * 2000]))


def test_a_disk_that_fills_up_while_writing_is_disk_full_and_leaves_nothing(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullFile(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    real = Path.open

    def open_full(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if mode == "xb":
            real(path, mode).close()
            return FullFile()
        return real(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(DiskFull):
        studio.anne.blobs.put("lora-datasets", f"{ANNE}/x", iter([b"x"]))
    assert not list((settings.files / ".incoming").iterdir())
    with pytest.raises(NotFound):
        studio.anne.blobs.open("lora-datasets", f"{ANNE}/x")


def test_a_file_above_the_limit_is_too_large_and_leaves_nothing(tmp_path: Path) -> None:
    files = FileTree(tmp_path, max_object_bytes=10)
    with pytest.raises(TooLarge):
        files.put("bucket", "a/b", iter([b"123456", b"789012"]))
    assert not (tmp_path / "bucket").exists()
    assert not list((tmp_path / ".incoming").iterdir())


def test_a_file_of_an_artifact_above_the_limit_leaves_nothing(tmp_path: Path) -> None:
    store = LocalStore(Settings(home=tmp_path / "home", max_upload_bytes=100))
    studio = Studio(store.for_user(ANNE), store.for_user(BEN), store.runner_port())
    claim = studio.claimed()
    folder = folder_of(tmp_path, {"a.bin": b"small", "z.bin": b"x" * 101})
    with pytest.raises(TooLarge):
        studio.port.put_artifact(1, artifact_of(claim), folder)
    assert not studio.anne.artifacts.list(claim.job.id)
    assert not list((tmp_path / "home" / "files" / "model-artifacts").rglob("*.bin"))
    store.close()


def test_an_artifact_whose_attempt_was_fenced_while_copying_leaves_nothing(
    studio: Studio, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = studio.claimed()
    real = FileTree.put_folder

    def slow_copy(files: FileTree, *args: Any) -> Any:
        copied = real(files, *args)
        connection = database.connect(settings.database)
        connection.execute("UPDATE training_jobs SET attempt = 2")
        connection.close()
        return copied

    monkeypatch.setattr(FileTree, "put_folder", slow_copy)
    with pytest.raises(Conflict):
        studio.port.put_artifact(1, artifact_of(claim), folder_of(tmp_path))
    assert not list((settings.files / "model-artifacts").rglob("*.safetensors"))


def test_half_written_files_of_an_earlier_day_are_swept(settings: Settings, local: LocalStore) -> None:
    incoming = settings.files / ".incoming"
    for name, age in (("old", 100_000), ("new", 10)):
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, times=(incoming.stat().st_mtime - age,) * 2)
    LocalStore(settings).close()
    assert [path.name for path in incoming.iterdir()] == ["new"]


def test_the_fast_point_has_the_fields_of_a_metric_point() -> None:
    fields = [name for name in MetricPoint.model_fields if name not in {"attempt", "recorded_at"}]
    assert list(Point.__struct_fields__) == fields
    assert tuple(fields[2:-2]) == METRIC_COLUMNS


def rows_of(raw: sqlite3.Connection, claim: Claim) -> dict[str, Any]:
    names = ("step", "loss", "epoch", "recorded_at")
    return blocks.read_rows(raw, claim.job.id, MetricKind.TRAIN, names, 0, 2**62)


def assert_blocks_equal_rows(raw: sqlite3.Connection, claim: Claim) -> None:
    """Compare what charts read with the rows, which are the truth."""
    rows = rows_of(raw, claim)
    reader = blocks.SeriesReader(raw, claim.job.id, MetricKind.TRAIN, ("loss", "epoch", "recorded_at"))
    assert len(reader) == len(rows["step"])
    places = np.random.default_rng(0).integers(-1, len(reader), 50 if len(reader) else 0)
    some = reader.at(places, tuple(rows))
    for name, values in rows.items():
        np.testing.assert_array_equal(reader.whole(name), values)
        np.testing.assert_array_equal(some[name], values[places])


def test_blocks_equal_rows_after_any_order_of_writes(studio: Studio, raw: sqlite3.Connection) -> None:
    random = np.random.default_rng(7)
    claim, events = studio.running()
    for _ in range(25):
        first, count = int(random.integers(0, 6000)), int(random.integers(1, 900))
        stride = int(random.integers(1, 4))
        batch = [events.train(first + stride * place, float(random.normal())) for place in range(count)]
        studio.port.ship(claim.job.id, 1, batch)
        assert_blocks_equal_rows(raw, claim)


def test_blocks_equal_rows_over_attempts(studio: Studio, raw: sqlite3.Connection) -> None:
    claim, events = studio.running()
    for start in range(1, 5001, 1000):
        studio.port.ship(claim.job.id, 1, events.curve([1.0] * 1000, first=start))
    for attempt, start in ((2, 3500), (3, 999), (4, 1000), (5, 0)):
        raw.execute("UPDATE job_attempts SET lease_until = '2000' WHERE ended_at IS NULL")
        raw.execute("UPDATE training_jobs SET lost_attempts = 0")
        studio.claim()
        events = Events()
        studio.port.ship(claim.job.id, attempt, [events.phase("training", start_step=start)])
        assert_blocks_equal_rows(raw, claim)
        studio.port.ship(claim.job.id, attempt, events.curve([float(attempt)] * 900, first=start + 1))
        assert_blocks_equal_rows(raw, claim)


def test_complete_blocks_are_rolled(studio: Studio, raw: sqlite3.Connection) -> None:
    claim, events = studio.running()
    for start in range(1, 2501, 500):
        studio.port.ship(claim.job.id, 1, events.curve([1.0] * 500, first=start))
    found = raw.execute(
        "SELECT name, from_step, to_step, points FROM metrics_blocks ORDER BY name, from_step"
    )
    expected = [(0, 1001, 1000), (1001, 2001, 1000)]
    assert [tuple(row) for row in found] == [
        (name, *block) for name in ("loss", "recorded_at", "step") for block in expected
    ]
