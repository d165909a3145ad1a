"""A studio that an older version left behind is opened by this one: everything is read, every action works, runs go on."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lora_core.actions import bulk, forks, jobs, notification_routes, overview, queue, results, runners
from lora_core.actions.workspace import Workspace
from lora_core.errors import NotFound, StoreError
from lora_core.notify import route_seal
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.base import utc_now
from lora_core.schema.job import Job, JobFilter, JobStatus, Outcome, RequestedAction
from lora_core.schema.metrics import MetricKind
from lora_core.schema.notification import NotificationKind
from lora_core.settings import Settings
from lora_core.store.local.migrations import newest_schema
from lora_core.studio import Studio
from lora_core.vault import Sealed, open_vault
from tests.contracts.samples import runner_of
from tests.runner.agent.bench import Bench, wait_until
from tests.upgrades.make_samples import KEY
from tests.upgrades.samples_of import STUDIOS, lay_out_studio

STATES = {
    "queued": JobStatus.QUEUED,
    "starting": JobStatus.INITIALIZING,
    "cut off": JobStatus.RUNNING,
    "ended unwatched": JobStatus.RUNNING,
    "paused": JobStatus.PAUSED,
    "failed": JobStatus.FAILED,
    "completed": JobStatus.COMPLETED,
    "cancelled": JobStatus.CANCELLED,
}


@pytest.fixture(params=STUDIOS)
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORA_STUDIO_ENCRYPTION_KEY", KEY)
    lay_out_studio(request.param, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    with closing(Studio(Settings(home=home))) as studio:
        yield studio.workspace()


@pytest.fixture
def bench(home: Path) -> Iterator[Bench]:
    bench = Bench(home)
    yield bench
    bench.close()


def named(workspace: Workspace, name: str) -> Job:
    found = jobs.list_jobs(workspace, JobFilter(archived=None), limit=100).items
    return next(job for job in found if job.name == name)


class TestReading:
    def test_every_job_is_in_the_state_that_it_had(self, workspace: Workspace) -> None:
        found = jobs.list_jobs(workspace, JobFilter(archived=None)).items
        assert {job.name: job.status for job in found} == STATES
        assert {job.name for job in found if job.archived_at} == {"cancelled"}
        queued = named(workspace, "queued")
        assert queued.not_before is not None
        assert (queued.priority, queued.not_before.year) == (7, 2990)

    def test_attempts_events_points_and_logs_are_there(self, workspace: Workspace) -> None:
        completed = named(workspace, "completed")
        (attempt,) = jobs.list_attempts(workspace, completed.id)
        assert (attempt.number, attempt.outcome) == (1, Outcome.COMPLETED)
        told = [event.action for event in jobs.list_events(workspace, completed.id).items]
        assert (told[-1], told[0]) == ("submitted", "completed")
        points = workspace.metrics.points(completed.id, MetricKind.TRAIN).items
        assert [point.step for point in points] == list(range(1, 13))
        assert (points[6].loss, points[6].nonfinite) == (None, {"loss": "nan"})
        assert jobs.search_logs(workspace, completed.id, search="completed").items
        assert "The rows are too long." in named(workspace, "failed").error

    def test_every_page_of_every_job_can_be_read(self, workspace: Workspace) -> None:
        for name, status in STATES.items():
            page = jobs.read_job_page(workspace, named(workspace, name).id, jobs.ChartView())
            assert page.job.status is status
            assert bool(page.waiting_for) == (status is JobStatus.QUEUED)
            assert page.raw.total == page.job.current_step
        seen = overview.read_overview(workspace)
        assert sum(seen.counts.values()) == len(STATES) - 1
        assert runners.read_runners(workspace).machines

    def test_artifacts_are_what_their_sums_say(self, workspace: Workspace) -> None:
        for name in ("completed", "paused", "cut off"):
            stored = workspace.artifacts.list(named(workspace, name).id)
            assert stored
            for artifact in stored:
                for file in artifact.files:
                    with workspace.blobs.open(artifact.bucket, f"{artifact.path}/{file.name}") as stream:
                        assert hashlib.sha256(stream.read()).hexdigest() == file.sha256
        assert b"".join(results.download_metrics(workspace, named(workspace, "completed").id)[1])

    def test_messages_and_routes_are_there_and_the_address_still_opens(
        self, workspace: Workspace, home: Path
    ) -> None:
        titles = {message.title for message in overview.list_notifications(workspace).items}
        assert {"“completed” is completed", "“failed” has failed", "“paused” is paused"} <= titles
        (route,) = notification_routes.read_routes(workspace).routes
        assert (route.name, route.events) == (
            "My hook",
            (NotificationKind.JOB_COMPLETED, NotificationKind.ALERT),
        )
        with closing(sqlite3.connect(home / "studio.sqlite3")) as connection:
            sealed = connection.execute("SELECT ciphertext, key_id FROM notification_routes").fetchone()
        address = open_vault(workspace.settings).open(
            Sealed(*sealed), route_seal(workspace.user_id, route.id)
        )
        assert address.reveal().startswith("json://192.0.2.1/")


class TestActing:
    def test_every_action_works_on_the_job_that_it_is_for(self, workspace: Workspace) -> None:
        def act(name: str, action: Callable[..., Job], *arguments: object, **named_ones: object) -> Job:
            return action(workspace, named(workspace, name).id, *arguments, **named_ones)

        assert act("queued", queue.prioritise_job, 3).priority == 3
        assert act("queued", queue.start_job_after, None).not_before is None
        assert act("queued", jobs.hold_job).status is JobStatus.PAUSED
        assert act("queued", jobs.resume_job).status is JobStatus.QUEUED
        assert act("queued", jobs.cancel_job).status is JobStatus.CANCELLED
        assert act("cut off", jobs.save_checkpoint).requested_action is RequestedAction.CHECKPOINT
        assert act("cut off", jobs.pause_job).requested_action is RequestedAction.PAUSE
        assert act("starting", jobs.cancel_job).requested_action is RequestedAction.CANCEL
        assert act("failed", jobs.retry_job).status is JobStatus.QUEUED
        assert act("cancelled", jobs.archive_job, archived=False).archived_at is None
        assert act("completed", jobs.rename_job, "renamed").name == "renamed"
        assert act("renamed", jobs.archive_job).archived_at is not None

    def test_a_paused_job_goes_on_from_a_chosen_checkpoint_and_can_be_forked(
        self, workspace: Workspace
    ) -> None:
        paused = named(workspace, "paused")
        checkpoint = forks.find_checkpoint(workspace, paused.id, 20)
        fork = forks.fork_job(workspace, checkpoint.id, overrides=["optimisation.learning_rate=0.0001"])
        assert (fork.parent_job_id, fork.status) == (paused.id, JobStatus.QUEUED)
        resumed = jobs.resume_job(workspace, paused.id, checkpoint_id=checkpoint.id)
        assert (resumed.status, resumed.resume_from) == (JobStatus.QUEUED, checkpoint.id)

    def test_a_job_is_deleted_with_its_files(self, workspace: Workspace, home: Path) -> None:
        completed = named(workspace, "completed")
        folder = home / "files" / "model-artifacts" / workspace.user_id / "jobs" / completed.id
        assert folder.is_dir()
        assert bulk.act_on_jobs(workspace, [completed.id], bulk.Verb.DELETE).summary == "1 deleted."
        assert not any(path.is_file() for path in folder.rglob("*"))
        with pytest.raises(NotFound):
            jobs.get_job(workspace, completed.id)

    def test_the_route_takes_the_new_events(self, workspace: Workspace) -> None:
        (route,) = notification_routes.read_routes(workspace).routes
        notification_routes.choose_events(workspace, route.id, list(NotificationKind))
        (changed,) = notification_routes.read_routes(workspace).routes
        assert changed.events == tuple(NotificationKind)


class TestRunning:
    def test_a_runner_takes_up_old_runs_and_brings_every_job_to_its_end(self, bench: Bench) -> None:
        found = bench.user.jobs.list(JobFilter()).items
        ids = {job.name: job for job in found}
        bench.user.jobs.move(ids["paused"].id, JobStatus.QUEUED)
        bench.start(script={"steps": 30, "step_seconds": 0.01, "checkpoint_every": 10}, slots=2)
        # Its trainer had ended: what it left is delivered, without a second attempt.
        unwatched = bench.wait_for(ids["ended unwatched"])
        assert [each.outcome for each in bench.user.jobs.attempts(unwatched.id)] == [Outcome.COMPLETED]
        for name in ("ended unwatched", "paused"):
            bench.wait_for(ids[name])
            assert bench.steps(ids[name]) == list(range(1, 31))
            assert bench.user.artifacts.list(ids[name].id, ArtifactKind.ADAPTER)
        assert bench.user.jobs.attempts(ids["paused"].id)[-1].start_step >= 12

    def test_a_run_whose_trainer_was_killed_goes_on_from_its_old_checkpoint(self, bench: Bench) -> None:
        (cut,) = bench.user.jobs.list(JobFilter(search="cut off")).items
        agent = bench.start(script={"steps": 30, "step_seconds": 0.01, "checkpoint_every": 10}, slots=2)
        over = (JobStatus.COMPLETED, JobStatus.FAILED)
        wait_until(lambda: bench.job(cut).status in over, "the cut-off job to end")
        if bench.job(cut).status is JobStatus.FAILED:  # a killed trainer is a failure; a person tries again
            bench.user.jobs.move(cut.id, JobStatus.QUEUED)
            wait_until(lambda: bench.job(cut).status is JobStatus.COMPLETED, "its second attempt")
        last = bench.user.jobs.attempts(cut.id)[-1]
        assert (last.outcome, last.start_step) == (Outcome.COMPLETED, 10)
        assert bench.steps(cut) == list(range(1, 31))
        wait_until(lambda: not agent.runs, "the agent to let go")

    def test_the_job_that_was_starting_goes_back_to_the_queue_when_its_lease_has_ended(
        self, bench: Bench
    ) -> None:
        (starting,) = bench.user.jobs.list(JobFilter(search="starting")).items
        with closing(sqlite3.connect(bench.settings.database)) as connection, connection:
            connection.execute(
                "UPDATE job_attempts SET lease_until = '2026-01-01T00:00:00.000000Z' WHERE job_id = ?",
                (starting.id,),
            )
        bench.store.runner_port().claim(runner_of(seen_at=utc_now()), lease_seconds=30)
        assert bench.user.jobs.attempts(starting.id)[0].outcome is Outcome.LOST


class TestTheFuture:
    def test_a_database_of_a_later_version_is_refused_and_left_as_it_is(self, home: Path) -> None:
        database = home / "studio.sqlite3"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(f"PRAGMA user_version = {newest_schema() + 1}")
            connection.execute("PRAGMA journal_mode = WAL")  # as every version of ours leaves it
        before = database.read_bytes()
        with pytest.raises(StoreError, match=r"knows \d+ at most.*Update LoRA Studio"):
            Studio(Settings(home=home))
        assert database.read_bytes() == before
        assert not list(home.glob("*.before-*"))

    def test_a_claim_of_a_later_version_is_left_alone(self, bench: Bench, home: Path) -> None:
        (unwatched,) = bench.user.jobs.list(JobFilter(search="unwatched")).items
        claim = bench.run_folder(unwatched) / "claim.json"
        later = json.dumps({**json.loads(claim.read_text()), "from_the_future": 1})
        claim.write_text(later)
        agent = bench.agent(script={})
        agent.take_up()
        assert unwatched.id not in [run.claim.job.id for run in agent.runs]
        assert claim.read_text() == later
        for run in agent.runs:
            run.abandon()
