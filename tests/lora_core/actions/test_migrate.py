"""A studio that moves to a team is the same there, whatever happens on the way, and nobody else's."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lora_core.actions import migrate
from lora_core.actions.migrate import Migration, migrate_studio, plan_migration
from lora_core.errors import Unavailable
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.base import new_id
from lora_core.schema.dataset import CheckReport, Dataset, DatasetFormat, DatasetStatus, FileKind
from lora_core.schema.job import EndOfAttempt, Job, JobFilter, JobStatus, Outcome, RequestedAction
from lora_core.schema.metrics import METRIC_COLUMNS, MetricKind
from lora_core.schema.run import EventKind
from lora_core.schema.runner import RunnerScope
from lora_core.secrets import TokenKind, new_token, token_sha256
from lora_core.settings import Settings
from lora_core.store.local import LocalStore
from lora_core.store.local.database import connect
from lora_core.store.local.history import LocalHistory
from lora_core.store.supabase import importer
from lora_core.store.supabase.client import PersonClient
from lora_core.store.supabase.files import StorageFiles
from lora_core.store.supabase.importer import SupabaseHistory, open_history
from lora_core.store.supabase.retry import ONCE
from lora_core.store.supabase.runner_ports import open_runner_ports
from lora_core.store.supabase.store import open_user_store
from tests.contracts.samples import (
    ANNE,
    ROWS,
    START,
    Events,
    Studio,
    UserStore,
    artifact_of,
    folder_of,
    runner_of,
)
from tests.supastub.fixtures import project, rig
from tests.supastub.rig import Person, Project

__all__ = ["project", "rig"]

POINTS = 2500
BIG_BYTES = 7 * 2**20


# -- the studio that moves


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    opened = LocalStore(Settings(home=tmp_path / "home"), lambda: START + timedelta(hours=2))
    yield opened
    opened.close()


@pytest.fixture
def studio(store: LocalStore) -> Studio:
    return Studio(store.for_user(ANNE), store.for_user("ben"), store.runner_port())


@pytest.fixture
def source(store: LocalStore, studio: Studio) -> Iterator[Callable[[], LocalHistory]]:
    """Opens the studio as it is at the time of the call."""
    opened: list[LocalHistory] = []

    def open_source() -> LocalHistory:
        opened.append(store.history(ANNE))
        return opened[-1]

    yield open_source
    for history in opened:
        history.close()


def completed(
    studio: Studio, folder: Path, *, points: int = 5, weights: bytes = b"weights", name: str = "done"
) -> Job:
    """A job with every kind of row, a pinned checkpoint and an adapter."""
    claim, events = studio.running(name=name)
    job_id, port = claim.job.id, studio.port
    for first in range(1, points + 1, 900):
        steps = range(first, min(first + 900, points + 1))
        port.ship(
            job_id, 1, [events.train(step, 3.0 / step, grad_norm=0.1, tokens_seen=step * 7) for step in steps]
        )
    strange = [
        events.train(points + 1, float("nan"), reward=0.25),
        events.evaluation(points, 1.25),
        events.make(EventKind.METRICS, kind="system", step=1_700_000_000, gpu_utilization=0.5),
        events.log("a\x00b “Grüße” 😀 \\u0000", level="warning"),
        events.make(EventKind.SAMPLE, step=3, prompt="hi\x00", answers=[{"text": "hello", "score": 0.5}]),
        events.make(EventKind.ALERT, message="loss spike"),
    ]
    port.ship(job_id, 1, strange)
    checkpoint = port.put_artifact(1, artifact_of(claim, step=points), folder_of(folder))
    studio.anne.artifacts.pin(checkpoint.id, pinned=True)
    files = {"adapter.safetensors": weights, "nested/config.json": b"{}"}
    port.put_artifact(
        1, artifact_of(claim, ArtifactKind.ADAPTER, best=True, eval_loss=1.25), folder_of(folder, files)
    )
    port.end(job_id, 1, EndOfAttempt(outcome=Outcome.COMPLETED, result={"adapter": "x", "step": points}))
    return studio.job(claim)


def paused(studio: Studio, folder: Path, **changes: Any) -> Job:
    """A job of two attempts; the second began before the end of the first and hides what was beyond."""
    claim, events = studio.running(name="paused", estimated_seconds=90.5, **changes)
    studio.port.ship(claim.job.id, 1, events.curve([3.0, 2.5, 2.0, 1.5]))
    studio.port.put_artifact(1, artifact_of(claim, step=2), folder_of(folder))
    studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.RELEASED, reason="reboot"))
    again, more = studio.claim(), Events()
    assert again.attempt == 2
    studio.port.ship(
        claim.job.id, 2, [more.phase("training", start_step=2, total_steps=9), more.train(3, 1.9)]
    )
    studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE, reason="lunch")
    studio.port.end(claim.job.id, 2, EndOfAttempt(outcome=Outcome.PAUSED))
    return studio.anne.jobs.start_after(claim.job.id, START + timedelta(hours=1))


def failed(studio: Studio) -> Job:
    claim, events = studio.running(name="failed")
    studio.port.ship(claim.job.id, 1, [events.train(1)])
    studio.port.end(
        claim.job.id, 1, EndOfAttempt(outcome=Outcome.FAILED, error="out of memory: " + "x" * 2000)
    )
    return studio.job(claim)


def checked_dataset(studio: Studio) -> Dataset:
    """A data set with a mapping, a report and a list of issues, as the person named it."""
    report = CheckReport(
        rows=3,
        good_rows=2,
        error_rows=1,
        format=DatasetFormat.MESSAGES,
        file_kind=FileKind.JSONL,
        confidence=0.9,
    )
    dataset = studio.add_dataset(name="Grüße 😀")
    found = {"status": DatasetStatus.HAS_ERRORS, "rows": 3, "report": report, "sha256": ""}
    saved = studio.anne.datasets.save(dataset.model_copy(update=found))
    key = f"{dataset.storage_path.rsplit('/', 1)[0]}/issues.jsonl"
    studio.anne.blobs.put(dataset.storage_bucket, key, iter([b'{"line":2}\n']))
    return saved


def saved_config(store: LocalStore, name: str = "mine") -> str:
    """A draft of another version: it is moved as it is."""
    config_id = new_id()
    moment = "2026-03-01T12:00:00.000000Z"
    with closing(connect(store._database.path)) as connection:
        connection.execute(
            "INSERT INTO training_configs (id, user_id, name, draft, config, created_at, updated_at)"
            " VALUES (?, ?, ?, 1, '{\"schema_version\": 1}', ?, ?)",
            (config_id, ANNE, name, moment, moment),
        )
    return config_id


def seed(studio: Studio, store: LocalStore, folder: Path) -> dict[str, Job]:
    """Jobs in every state but the live ones, and what else there is."""
    checked_dataset(studio)
    studio.add_dataset(name="in the other bucket", storage_bucket="training-files")
    saved_config(store)
    done = completed(studio, folder, points=POINTS, weights=os.urandom(BIG_BYTES))
    (checkpoint,) = studio.anne.artifacts.list(done.id, ArtifactKind.CHECKPOINT)
    jobs = {
        "completed": done,
        "paused": paused(studio, folder, parent_artifact_id=checkpoint.id),
        "failed": failed(studio),
    }
    cancelled = studio.submit(name="cancelled")
    studio.anne.jobs.move(cancelled.id, JobStatus.CANCELLED, reason="a mistake")
    jobs["cancelled"] = studio.anne.jobs.archive(cancelled.id, archived=True)
    jobs["queued"] = studio.submit(name="queued")
    studio.anne.notifications.mark_read([studio.anne.notifications.list().items[0].id])
    return jobs


# -- the team


@pytest.fixture
def person(project: Project) -> Person:
    return project.add_person(email="anne@studio.test")


def target_of(project: Project, person: Person) -> SupabaseHistory:
    return open_history(project.url, project.publishable_key, person.id, lambda: person.token)


@pytest.fixture
def target(project: Project, person: Person) -> Iterator[SupabaseHistory]:
    opened = target_of(project, person)
    yield opened
    opened.close()


@pytest.fixture
def stores_of(project: Project, tmp_path: Path) -> Iterator[Callable[[Person], UserStore]]:
    opened = []

    def open_stores(person: Person) -> UserStore:
        stores = open_user_store(
            project.url, project.publishable_key, person.id, lambda: person.token, spool=tmp_path / "spool"
        )
        opened.append(stores)
        return stores

    yield open_stores
    for stores in opened:
        stores.close()


Seen = dict[str, Any]


def seen_by(stores: UserStore, user_id: str) -> Seen:
    """All that a person sees, without what is meant to differ: owner, paths, and the words that mark an import."""
    seen: Seen = {}
    for dataset in stores.datasets.list(limit=500).items:
        with stores.blobs.open(dataset.storage_bucket, dataset.storage_path) as file:
            content = file.read()
        assert dataset.storage_path.startswith(f"{user_id}/")
        seen[dataset.id] = (dataset.model_copy(update={"user_id": "", "storage_path": ""}), content)
    seen["bell"] = [
        note.model_copy(update={"user_id": ""}) for note in stores.notifications.list(limit=500).items
    ]
    for job in stores.jobs.list(JobFilter(archived=None), limit=500).items:
        seen[job.id] = job.model_copy(update={"user_id": ""})
        seen[f"{job.id} attempts"] = stores.jobs.attempts(job.id)
        for kind in MetricKind:
            seen[f"{job.id} {kind}"] = all_points(stores, job.id, kind)
            for smoothing in (0.0, 0.6):
                series = stores.metrics.series(
                    job.id, kind, METRIC_COLUMNS, points=100, smoothing=smoothing, x="recorded_at"
                )
                columns = {name: approximately(values) for name, values in series.columns.items()}
                seen[f"{job.id} {kind} {smoothing}"] = (series.steps, series.total, series.last_step, columns)
        seen[f"{job.id} logs"] = [
            line.model_copy(update={"text": line.text.replace("\x00", "\ufffd")})
            for line in stores.metrics.logs(job.id, limit=500).items
        ]
        for artifact in stores.artifacts.list(job.id):
            assert artifact.path.startswith(f"{user_id}/")
            contents = {}
            for name in (file.name for file in artifact.files):
                with stores.artifacts.open(artifact.id, name) as stream:
                    contents[name] = stream.read()
            seen[artifact.id] = (artifact.model_copy(update={"user_id": "", "path": ""}), contents)
    return seen


def approximately(values: tuple[float | None, ...]) -> list[Any]:
    return [None if value is None else pytest.approx(value, rel=1e-9) for value in values]


def all_points(stores: UserStore, job_id: str, kind: MetricKind) -> list[Any]:
    points: list[Any] = []
    cursor: str | None = None
    while True:
        page = stores.metrics.points(job_id, kind, limit=500, cursor=cursor)
        points += page.items
        cursor = page.cursor
        if cursor is None:
            return points


def events_of(stores: UserStore, job_id: str) -> list[tuple[Any, ...]]:
    """The audit trail, oldest first."""
    found = stores.jobs.events(job_id, limit=500).items
    return [(e.at, e.actor, e.action, e.from_status, e.to_status, e.reason) for e in reversed(found)]


TABLES = (
    "datasets",
    "training_configs",
    "training_jobs",
    "job_attempts",
    "job_events",
    "metrics_points",
    "log_lines",
    "samples",
    "model_artifacts",
    "notifications",
    "cost_records",
)


def rows_of(project: Project) -> dict[str, Any]:
    """Every row of the team's tables, and every file."""
    found = {
        name: sorted(
            (
                row["row"]
                for row in project.sql(f"select to_jsonb(t) - 'seq' || '{{}}' as row from public.{name} t")
            ),
            key=repr,
        )
        for name in TABLES
    }
    found["files"] = project.sql(
        "select bucket_id, name, metadata ->> 'size' as size from storage.objects order by 1, 2"
    )
    return found


def without_times(rows: dict[str, Any]) -> dict[str, Any]:
    """The same without when the import itself happened."""
    events = [
        {name: value for name, value in row.items() if name != "at" or row["action"].startswith("imported: ")}
        for row in rows["job_events"]
    ]
    return rows | {"job_events": sorted(events, key=repr)}


# -- what arrives


def test_the_studio_is_the_same_there(
    studio: Studio,
    store: LocalStore,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    stores_of: Callable[[Person], UserStore],
    person: Person,
    project: Project,
    tmp_path: Path,
) -> None:
    jobs = seed(studio, store, tmp_path / "runs")
    result = migrate_studio(source(), target)
    assert (result.left, result.notes) == ([], [])
    assert {line.what: line.here for line in result.lines} == {line.what: line.there for line in result.lines}
    assert {line.what: line.here for line in result.lines} == {
        "data sets": 7,
        "saved configs": 1,
        "jobs": 5,
        "attempts": 4,
        "events": 21,
        "points": POINTS + 8,
        "logs": 2,
        "samples": 1,
        "artifacts": 3,
        "notifications": 8,
        "files": 11,
    }
    here, there = seen_by(studio.anne, ANNE), seen_by(stores_of(person), person.id)
    queued = jobs["queued"].id
    held = {"status": JobStatus.PAUSED, "status_reason": migrate.HELD}
    here[queued] = here[queued].model_copy(update=held)
    assert here.keys() == there.keys()
    for name, value in here.items():
        assert there[name] == value, name
    # what ports do not show
    (sample,) = project.sql("select data from public.samples")
    assert sample["data"] == {"step": 3, "prompt": "hi\ufffd", "answers": [{"text": "hello", "score": 0.5}]}
    hidden = project.sql("select step, attempt from public.metrics_points where hidden")
    assert hidden == [{"step": 4, "attempt": 1}]
    assert project.sql(
        "select sum(cost_usd) as usd, bool_and(imported) as marked from public.training_jobs"
    ) == [{"usd": 0, "marked": True}]
    (config,) = project.sql("select user_id::text, draft, config from public.training_configs")
    assert config == {"user_id": person.id, "draft": True, "config": {"schema_version": 1}}
    issues = project.sql("select name from storage.objects where name like '%%/issues.jsonl'")
    assert len(issues) == 1
    # the trail is marked, in order, and says who brought it
    for job in jobs.values():
        old, new = events_of(studio.anne, job.id), events_of(stores_of(person), job.id)
        assert new[0][2] == "import begun"
        assert new[-1][2] == "import finished"
        assert new[1:-1] == [
            (at, person.id if actor == ANNE else actor, f"imported: {action}", *rest)
            for at, actor, action, *rest in old
        ]


def test_a_second_run_changes_nothing(
    studio: Studio,
    store: LocalStore,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    project: Project,
    tmp_path: Path,
) -> None:
    small_seed(studio, store, tmp_path)
    first = migrate_studio(source(), target)
    rows = rows_of(project)
    project.faults.clear()
    again = migrate_studio(source(), target)
    assert rows_of(project) == rows
    assert (again.lines, again.left, again.notes) == (first.lines, [], [])
    assert (
        project.faults.count("/storage/v1/object", "POST") == project.faults.count("/storage/v1/upload") == 0
    )


def small_seed(studio: Studio, store: LocalStore, folder: Path) -> tuple[Job, Job]:
    saved_config(store)
    return completed(studio, folder / "runs", weights=os.urandom(50_000)), paused(studio, folder / "runs")


class Interrupted(BaseException):
    """What Ctrl-C and a power cut have in common."""


class Cuts:
    """Lets so many calls pass, and ends the process, so to speak, at the next: before it is made or after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.after = False
        for owner, names in {
            PersonClient: ("execute", "rpc"),
            StorageFiles: ("put", "remove", "open", "size"),
        }.items():
            for name in names:
                monkeypatch.setattr(owner, name, self._cutting(getattr(owner, name)))

    def _cutting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def cutting(*arguments: Any, **named: Any) -> Any:
            last = self.left == 0
            if self.left is not None:
                self.left -= 1
            if last and not self.after:
                raise Interrupted
            answer = call(*arguments, **named)
            if last:
                raise Interrupted
            return answer

        return cutting


def moved_at_last(run: Callable[[], Migration], cuts: Cuts, *, after: bool) -> tuple[Migration, int]:
    """Run again and again, each time cut off one call later, until a run gets through."""
    for calls in range(200):
        cuts.left, cuts.after = calls, after
        try:
            return run(), calls
        except Interrupted:
            continue
    raise AssertionError("It never got through.")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_interrupted_again_and_again_it_gets_to_the_same_end(
    studio: Studio,
    store: LocalStore,
    source: Callable[[], LocalHistory],
    project: Project,
    person: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: bool,
) -> None:
    small_seed(studio, store, tmp_path)
    cuts = Cuts(monkeypatch)

    def run() -> Migration:
        with closing(target_of(project, person)) as fresh:
            return migrate_studio(source(), fresh)

    result, calls = moved_at_last(run, cuts, after=after)
    assert calls > 15
    assert (result.left, result.notes) == ([], [])
    cut_off = without_times(rows_of(project))
    wipe(project)
    cuts.left = None
    assert run().lines == result.lines
    assert without_times(rows_of(project)) == cut_off


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_interrupted_once_at_any_call_it_gets_to_the_same_end(
    studio: Studio,
    store: LocalStore,
    source: Callable[[], LocalHistory],
    project: Project,
    person: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: bool,
) -> None:
    saved_config(store)
    completed(studio, tmp_path / "runs")
    cuts = Cuts(monkeypatch)

    def run() -> Migration:
        with closing(target_of(project, person)) as fresh:
            return migrate_studio(source(), fresh)

    expected = run().lines, without_times(rows_of(project))
    for calls in range(200):
        wipe(project)
        cuts.left, cuts.after = calls, after
        try:
            run()
        except Interrupted:
            cuts.left = None
            assert (run().lines, without_times(rows_of(project))) == expected, calls
        else:
            assert calls > 20
            return


def wipe(project: Project) -> None:
    """Take everything away again, as if nothing had been brought."""
    project.sql("set session_replication_role = replica")
    for table in (
        *(f"public.{name}" for name in (*TABLES, "tasks")),
        "private.job_imports",
        "storage.objects",
    ):
        project.sql(f"delete from {table}")
    project.sql("set session_replication_role = origin")


def test_a_lost_answer_is_asked_for_again(
    studio: Studio,
    store: LocalStore,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    project: Project,
    tmp_path: Path,
) -> None:
    small_seed(studio, store, tmp_path)
    for prefix in (
        "/rest/v1/rpc/",
        "/rest/v1/training_configs",
        "/rest/v1/datasets",
        "/storage/v1/object/lora-datasets",
    ):
        project.faults.lose_reply(prefix, method="POST")
        project.faults.answer(prefix, 503, method="POST")
    assert migrate_studio(source(), target).complete


def test_an_outage_ends_the_run_and_says_so(
    studio: Studio,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    studio.add_dataset()
    monkeypatch.setattr(target._client, "_patience", ONCE)
    project.stop_gateway()
    with pytest.raises(Unavailable):
        migrate_studio(source(), target)
    project.start_gateway()
    assert migrate_studio(source(), target).complete


# -- what does not


def test_a_live_job_is_left_and_the_rest_moves(
    studio: Studio,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    project: Project,
    tmp_path: Path,
) -> None:
    completed(studio, tmp_path)
    live, _ = studio.running(name="live")
    result = migrate_studio(source(), target)
    assert [(left.what, left.why) for left in result.left] == [
        ("job “live”", "It is running. Pause it, or wait for its end, and run this again.")
    ]
    assert plan_migration(source()).left == result.left
    assert project.sql("select name from public.training_jobs") == [{"name": "done"}]
    studio.port.end(live.job.id, 1, EndOfAttempt(outcome=Outcome.PAUSED))
    assert migrate_studio(source(), target).complete
    assert len(project.sql("select 1 from public.training_jobs")) == 2


def test_a_queued_job_is_held_and_starts_nothing(
    studio: Studio, source: Callable[[], LocalHistory], target: SupabaseHistory, project: Project
) -> None:
    studio.submit(name="queued", target="the old machine")
    migrate_studio(source(), target)
    assert project.sql("select status, target, imported from public.training_jobs") == [
        {"status": "paused", "target": "local", "imported": True}
    ]


def test_a_file_above_the_limit_is_named_and_the_rest_moves_and_it_may_follow(
    studio: Studio,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    project: Project,
    tmp_path: Path,
) -> None:
    completed(studio, tmp_path / "runs", weights=os.urandom(300_000))
    big = Dataset(**(studio.add_dataset(name="big").model_dump()))
    studio.anne.blobs.put(big.storage_bucket, big.storage_path, iter([os.urandom(300_000)]))
    project.sql("update storage.buckets set file_size_limit = 200000")
    result = migrate_studio(source(), target)
    assert [left.what for left in result.left] == ["data set “big”", "adapter of job “done”"]
    assert all("larger than this Supabase project takes" in left.why for left in result.left)
    assert "adapter.safetensors (0.3 MB)" in result.left[1].why
    assert project.sql("select status from public.training_jobs") == [{"status": "completed"}]
    lines = {line.what: (line.here, line.there) for line in result.lines}
    assert (lines["artifacts"], lines["data sets"]) == ((2, 1), (2, 1))
    assert len(project.sql("select 1 from storage.objects")) == 2  # nothing of what was left out
    project.sql("update storage.buckets set file_size_limit = null")
    again = migrate_studio(source(), target)
    assert again.complete
    assert {line.what: line.there for line in again.lines}["artifacts"] == 2


def test_a_full_quota_is_named_and_the_rest_moves(
    studio: Studio,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    project: Project,
    person: Person,
    tmp_path: Path,
) -> None:
    completed(studio, tmp_path)
    project.sql("insert into public.quotas (user_id, storage_bytes) values (%s, 20)", person.id)
    result = migrate_studio(source(), target)
    assert {left.what for left in result.left} >= {"data set “Support tickets”"}
    assert all("storage limit" in left.why for left in result.left)
    assert {line.what: line.there for line in result.lines}["jobs"] == 1
    stored = project.sql("select coalesce(sum((metadata ->> 'size')::int), 0) as n from storage.objects")
    assert stored[0]["n"] <= 20


def test_files_that_are_lost_or_damaged_here_are_named(
    studio: Studio,
    store: LocalStore,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    tmp_path: Path,
) -> None:
    job = completed(studio, tmp_path)
    lost = studio.add_dataset(name="lost")
    files = store._files
    files.path(lost.storage_bucket, lost.storage_path).unlink()
    for artifact in studio.anne.artifacts.list(job.id):
        file = files.path(artifact.bucket, f"{artifact.path}/adapter.safetensors")
        if artifact.kind is ArtifactKind.CHECKPOINT:
            file.unlink()
        else:
            file.write_bytes(b"rotten!")
    assert {(left.what, left.why) for left in migrate_studio(source(), target).left} == {
        ("data set “lost”", "Its file is lost on this machine."),
        ("checkpoint of job “done”", "Its file adapter.safetensors is lost on this machine."),
        ("adapter of job “done”", "Its file adapter.safetensors is damaged on this machine."),
    }


def test_a_file_that_arrived_damaged_or_was_lost_is_sent_again(
    studio: Studio,
    store: LocalStore,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    stores_of: Callable[[Person], UserStore],
    person: Person,
    tmp_path: Path,
) -> None:
    small_seed(studio, store, tmp_path)
    migrate_studio(source(), target)
    before = seen_by(stores_of(person), person.id)
    for dataset in stores_of(person).datasets.list().items[:1]:
        stores_of(person).blobs.put(dataset.storage_bucket, dataset.storage_path, iter([b"rotten"]))
    for dataset in stores_of(person).datasets.list().items[1:]:
        stores_of(person).blobs.delete(dataset.storage_bucket, dataset.storage_path)
    assert migrate_studio(source(), target).complete
    assert seen_by(stores_of(person), person.id) == before


def test_an_unchecked_data_set_is_checked_there(
    studio: Studio, source: Callable[[], LocalHistory], target: SupabaseHistory, project: Project
) -> None:
    dataset = studio.add_dataset()
    studio.anne.datasets.save(dataset.model_copy(update={"status": DatasetStatus.CHECKING}))
    for _ in range(2):
        assert migrate_studio(source(), target).complete
    assert project.sql("select status from public.datasets") == [{"status": "uploaded"}]
    assert project.sql("select kind, subject_id, status from public.tasks") == [
        {"kind": "check_dataset", "subject_id": dataset.id, "status": "waiting"}
    ]


def test_a_job_that_went_on_here_is_not_brought_again_and_that_is_told(
    studio: Studio,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    project: Project,
    tmp_path: Path,
) -> None:
    job = paused(studio, tmp_path)
    migrate_studio(source(), target)
    rows = rows_of(project)
    studio.anne.jobs.move(job.id, JobStatus.CANCELLED)
    result = migrate_studio(source(), target)
    assert result.complete
    assert [note.what for note in result.notes] == ["job “paused”"]
    assert "changed here since" in result.notes[0].why
    assert rows_of(project) == rows


def test_what_was_deleted_there_of_a_job_is_not_brought_back(
    studio: Studio,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    stores_of: Callable[[Person], UserStore],
    person: Person,
    tmp_path: Path,
) -> None:
    job = completed(studio, tmp_path)
    migrate_studio(source(), target)
    stores = stores_of(person)
    stores.artifacts.delete(stores.artifacts.list(job.id, ArtifactKind.ADAPTER)[0].id)
    result = migrate_studio(source(), target)
    assert result.complete
    assert "deleted there" in result.notes[0].why
    assert not stores.artifacts.list(job.id, ArtifactKind.ADAPTER)


def test_a_job_in_use_there_before_its_import_was_whole_is_left_alone(
    studio: Studio,
    source: Callable[[], LocalHistory],
    project: Project,
    person: Person,
    stores_of: Callable[[Person], UserStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = paused(studio, tmp_path)
    with monkeypatch.context() as patch, closing(target_of(project, person)) as target:
        patch.setattr(SupabaseHistory, "finish_job", lambda *_: (_ for _ in ()).throw(Interrupted))
        with pytest.raises(Interrupted):
            migrate_studio(source(), target)
    stores_of(person).jobs.move(job.id, JobStatus.QUEUED)
    with closing(target_of(project, person)) as target:
        (left,) = migrate_studio(source(), target).left
    assert left.why == (
        "The job has been used here, so its import cannot go on."
        " To import the job again, cancel and delete it here first."
    )


def test_a_paused_job_goes_on_there_from_its_checkpoint(
    studio: Studio,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    project: Project,
    person: Person,
    stores_of: Callable[[Person], UserStore],
    tmp_path: Path,
) -> None:
    job = paused(studio, tmp_path)
    (checkpoint,) = studio.anne.artifacts.list(job.id)
    assert migrate_studio(source(), target).complete
    token = new_token(TokenKind.RUNNER)
    stores = stores_of(person)
    stores.registry.register(new_id(), "box", RunnerScope.MINE, token_sha256(token.reveal()))
    stores.jobs.move(job.id, JobStatus.QUEUED)
    port, _ = open_runner_ports(
        Settings(
            home=tmp_path / "runner",
            supabase_url=project.url,
            supabase_key=project.publishable_key,
            runner_token=SecretStr(token.reveal()),
        )
    )
    with closing(port):
        claim = port.claim(runner_of(new_id()), lease_seconds=30)
        assert claim is not None
        assert (claim.job.id, claim.attempt) == (job.id, 3)
        assert claim.checkpoint is not None
        assert claim.checkpoint.id == checkpoint.id
        with port.open_artifact(job.id, 3, checkpoint.id, "adapter.safetensors") as file:
            assert file.read() == b"weights"
        with port.open_dataset(job.id, 3, job.dataset_id) as file:
            assert file.read() == ROWS
        events = Events()
        port.ship(job.id, 3, [events.phase("training", start_step=2, total_steps=9), events.train(3, 1.0)])
    assert [point.loss for point in all_points(stores, job.id, MetricKind.TRAIN)] == [3.0, 2.5, 1.0]


# -- whose it is


def test_a_second_person_sees_nothing_and_cannot_bring_the_same_studio(
    studio: Studio,
    store: LocalStore,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    project: Project,
    stores_of: Callable[[Person], UserStore],
    tmp_path: Path,
) -> None:
    small_seed(studio, store, tmp_path)
    migrate_studio(source(), target)
    rows = rows_of(project)
    ben = project.add_person(email="ben@studio.test")
    assert seen_by(stores_of(ben), ben.id) == {"bell": []}
    with closing(target_of(project, ben)) as other:
        result = migrate_studio(source(), other)
    assert rows_of(project) | {"files": []} == rows | {"files": []}
    assert {line.there for line in result.lines} == {0}
    assert {left.what for left in result.left} == {
        "data set “Support tickets”",
        "saved configs",
        "job “done”",
        "job “paused”",
    }
    assert all("There is another" in left.why for left in result.left)
    assert {row["name"].split("/")[0] for row in rows_of(project)["files"]} == {target.user_id}
    assert seen_by(stores_of(ben), ben.id) == {"bell": []}


# -- before it begins


def test_a_plan_counts_and_touches_nothing(
    studio: Studio, store: LocalStore, source: Callable[[], LocalHistory], tmp_path: Path
) -> None:
    small_seed(studio, store, tmp_path)
    plan = plan_migration(source())
    assert {line.what: line.here for line in plan.lines}["points"] == (5 + 3) + 4
    assert plan.file_bytes > 50_000
    assert plan.complete


def test_the_source_is_of_one_moment(
    studio: Studio,
    store: LocalStore,
    source: Callable[[], LocalHistory],
    target: SupabaseHistory,
    tmp_path: Path,
) -> None:
    job = completed(studio, tmp_path)
    history = source()
    studio.submit(name="later")
    studio.anne.jobs.rename(job.id, "renamed")
    result = migrate_studio(history, target)
    assert result.complete
    assert {line.what: line.there for line in result.lines}["jobs"] == 1


def test_progress_goes_from_nothing_to_all(
    studio: Studio, source: Callable[[], LocalHistory], target: SupabaseHistory, tmp_path: Path
) -> None:
    completed(studio, tmp_path)
    told: list[tuple[str, float]] = []
    migrate_studio(source(), target, tell=lambda what, share: told.append((what, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert any("job “done”" in what for what, _ in told)


def test_rows_are_cut_by_number_and_by_size() -> None:
    rows = [{"text": "x" * 100}] * 10
    assert [len(some) for some in importer.batches(iter(rows), most_rows=4)] == [4, 4, 2]
    assert [len(some) for some in importer.batches(iter(rows), most_bytes=350)] == [3, 3, 3, 1]
    assert [len(some) for some in importer.batches(iter(rows), most_bytes=1)] == [1] * 10
    assert list(importer.batches(iter([]))) == []


def test_a_line_of_the_table_tells_both_sides() -> None:
    result = Migration()
    result.count("jobs", 2, 1)
    assert [replace(line) for line in result.lines] == [migrate.Line("jobs", 2, 1)]
