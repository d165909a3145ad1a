"""A studio that an older version left is opened by this one with everything in it. Samples are databases as they were then."""

import gzip
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.job import JobFilter, JobStatus
from lora_core.settings import Settings
from lora_core.store.local import LocalStore
from lora_core.store.local.migrations import newest_schema
from tests.contracts.samples import runner_of

SAMPLES = Path(__file__).parent / "samples"
PERSON = "00000000-0000-4000-8000-000000000001"
FAILED = "00000000-0000-4000-8000-0000000000a3"
RUNNING = "00000000-0000-4000-8000-0000000000a2"


@pytest.fixture(params=sorted(SAMPLES.glob("*.gz")), ids=lambda path: path.name.split(".")[0])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalStore]:
    settings = Settings(home=tmp_path / "home")
    settings.database.parent.mkdir()
    settings.database.write_bytes(gzip.decompress(request.param.read_bytes()))
    opened = LocalStore(settings)
    yield opened
    opened.close()


def test_it_has_the_newest_schema_and_a_copy_of_the_old_one(store: LocalStore, tmp_path: Path) -> None:
    newest = newest_schema()
    for file, version in (("studio.sqlite3", newest), (f"studio.sqlite3.before-{newest:04d}", 1)):
        with closing(sqlite3.connect(tmp_path / "home" / file)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone()[0] == version
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_every_job_is_there_as_it_was(store: LocalStore) -> None:
    jobs = store.for_user(PERSON).jobs
    listed = {job.name: job for job in jobs.list(JobFilter()).items}
    assert {name: job.status.value for name, job in listed.items()} == {
        "queued": "queued", "urgent": "queued", "running": "running", "failed": "failed", "completed": "completed",
    }  # fmt: skip
    assert (listed["queued"].priority, listed["urgent"].priority) == (3, 100)
    assert {(job.archived_at, job.not_before, job.parent_job_id) for job in listed.values()} == {
        (None, None, None)
    }
    assert len(jobs.events(RUNNING).items) == 3


def test_old_jobs_take_new_actions(store: LocalStore) -> None:
    stores, port = store.for_user(PERSON), store.runner_port()
    assert stores.jobs.archive(FAILED, archived=True).archived_at is not None
    first = port.claim(runner_of(), lease_seconds=30)
    assert first is not None
    assert first.job.name == "urgent"
    # The runner of the old job is long gone: it went back to the queue, and goes on from what it kept.
    assert stores.jobs.get(RUNNING).status is JobStatus.QUEUED
    (checkpoint,) = stores.artifacts.list(RUNNING, ArtifactKind.CHECKPOINT)
    stores.jobs.move(RUNNING, JobStatus.PAUSED)
    assert (
        stores.jobs.move(RUNNING, JobStatus.QUEUED, checkpoint_id=checkpoint.id).resume_from == checkpoint.id
    )
