"""A deleted job is gone at once, however long it was; what it left goes in slices, and nothing of another job with it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lora_core.errors import Conflict, NotFound
from lora_core.schema.job import EndOfAttempt, Job, JobFilter, Outcome
from lora_core.schema.metrics import MetricKind
from lora_core.schema.runner import Claim
from lora_core.settings import Settings
from lora_core.store.local import LocalStore, deletion
from lora_core.store.local.database import Database, connect
from tests.contracts.samples import ANNE, Events, runner_of, submitted


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStore]:
    monkeypatch.setattr(deletion, "SLICE_ROWS", 10)
    with closing(LocalStore(settings)) as opened:
        yield opened


def ended_job(store: LocalStore, points: int, lines: int = 0) -> tuple[Job, Claim]:
    job = submitted(store.for_user(ANNE), ANNE)
    port, events = store.runner_port(), Events()
    claim = port.claim(runner_of(), lease_seconds=60)
    assert claim is not None
    told = [events.phase("training", start_step=0, total_steps=points), *events.curve([1.0] * points)]
    port.ship(job.id, claim.attempt, [*told, *(events.log(f"line {number}") for number in range(lines))])
    port.end(job.id, claim.attempt, EndOfAttempt(outcome=Outcome.COMPLETED))
    return job, claim


def rows_left(settings: Settings) -> dict[str, int]:
    tables = ("training_jobs", "job_attempts", "metrics_points", "log_lines")
    with closing(connect(settings.database)) as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


@pytest.mark.parametrize(("points", "lines"), [(5, 0), (10, 10), (35, 0), (3, 35), (35, 35)])
def test_it_is_gone_for_its_owner_at_once_and_altogether_after_a_while(
    store: LocalStore, settings: Settings, points: int, lines: int
) -> None:
    kept, _ = ended_job(store, 12)
    job, _ = ended_job(store, points, lines)
    before = rows_left(settings)
    stores = store.for_user(ANNE)
    stores.jobs.delete(job.id)
    assert [each.id for each in stores.jobs.list(JobFilter(archived=None)).items] == [kept.id]
    for read in (
        lambda: stores.jobs.get(job.id),
        lambda: stores.metrics.series(job.id, MetricKind.TRAIN, ("loss",)),
    ):
        with pytest.raises(NotFound):
            read()
    for _ in range(20):  # every runner does a slice each time it makes itself known
        store.runner_port().announce(runner_of())
    after = rows_left(settings)
    assert after["training_jobs"] == after["job_attempts"] == 1
    assert before["metrics_points"] - after["metrics_points"] == points
    assert before["log_lines"] - after["log_lines"] == lines
    assert not deletion.sweep_deleted(Database(settings.database))


def test_no_slice_is_larger_than_it_may_be(store: LocalStore, settings: Settings) -> None:
    job, _ = ended_job(store, 35)
    store.for_user(ANNE).jobs.delete(job.id)
    left = []
    while deletion.sweep_deleted(Database(settings.database)):
        left.append(rows_left(settings)["metrics_points"])
    assert left == [25, 15, 5, 0]


def test_a_deleted_job_takes_nothing_more(store: LocalStore) -> None:
    job, claim = ended_job(store, 35)
    store.for_user(ANNE).jobs.delete(job.id)
    late = [Events(first=90).train(36)]
    with pytest.raises((Conflict, NotFound)):
        store.runner_port().ship(job.id, claim.attempt, late)
