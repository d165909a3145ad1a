"""A runner's ports over a project: lost replies, tokens that end, files that were cut off. Rules and services are real."""

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from lora_core.errors import (
    ConfigError,
    Conflict,
    Forbidden,
    NotFound,
    SignedOut,
    StoreError,
    StudioError,
    TooLarge,
    Unavailable,
)
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.job import EndOfAttempt, JobStatus, Outcome
from lora_core.schema.metrics import MetricKind
from lora_core.schema.run import EventKind
from lora_core.schema.runner import TaskKind
from lora_core.secrets import Secret, TokenKind, new_token, token_sha256
from lora_core.settings import Settings
from lora_core.store.keys import files_of
from lora_core.store.supabase import runner_port
from lora_core.store.supabase.runner_port import SupabaseRunnerPort
from lora_core.store.supabase.runner_ports import open_pod_port, open_runner_ports
from lora_core.store.supabase.task_port import SupabaseTaskPort
from tests.contracts.samples import (
    ANNE,
    ROWS,
    Events,
    Studio,
    artifact_of,
    dataset_of,
    folder_of,
    runner_of,
    task_of,
)
from tests.contracts.team import Team
from tests.supastub.rig import Project

ROOT = Path(__file__).resolve().parents[3]
CLAIM = "/rest/v1/rpc/runner_claim"


class Stage:
    """Anne, her registered runner, and a second process of the same machine on request."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project = project
        self._folder = folder
        token = project.add_person(ANNE, "anne@studio.test").token
        self.team = Team(project.url, project.publishable_key, lambda _: token, folder)
        self.anne = self.team.store_for(ANNE)
        self.registration, self.token = self.team.register(ANNE)
        self._open: list[SupabaseRunnerPort] = []
        self.port, self.tasks = self.ports()
        self.studio = Studio(self.anne, self.anne, self.port)

    def settings(self, **changes: object) -> Settings:
        return Settings(
            home=self._folder / "runner",
            supabase_url=self.project.url,
            supabase_key=self.project.publishable_key,
        ).model_copy(update=changes)

    def ports(self) -> tuple[SupabaseRunnerPort, SupabaseTaskPort]:
        """A process of the machine."""
        settings = self.settings(runner_token=SecretStr(self.token.reveal()))
        port, tasks = open_runner_ports(settings)
        self._open.append(port)
        return port, tasks

    def pod(self, token: Secret) -> SupabaseRunnerPort:
        """A process that holds a job token only."""
        port = open_pod_port(self.settings(job_token=SecretStr(token.reveal())))
        self._open.append(port)
        return port

    def handed_out(self) -> tuple[str, Secret]:
        """A job that waits for the holder of a token."""
        job, token = self.studio.submit(), new_token(TokenKind.JOB)
        self.anne.handout.hand_out(job.id, token_sha256(token.reveal()), wait_seconds=60)
        return job.id, token

    def objects(self, bucket: str = "model-artifacts") -> list[str]:
        rows = self.project.sql("select name from storage.objects where bucket_id = %s order by name", bucket)
        return [row["name"].split("/", 5)[-1] for row in rows]

    def close(self) -> None:
        for port in self._open:
            port.close()
        self.team.close()


@pytest.fixture
def stage(project: Project, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(project, tmp_path / "stage")
    yield stage
    stage.close()


# Claims


def test_a_claim_whose_answer_was_lost_is_answered_again(stage: Stage) -> None:
    job = stage.studio.submit()
    stage.project.faults.lose_reply(CLAIM, times=2)
    with pytest.raises(Unavailable):
        stage.port.claim(runner_of(), lease_seconds=30)
    assert stage.anne.jobs.get(job.id).attempt == 1
    claim = stage.studio.claim()
    assert (claim.job.id, claim.attempt) == (job.id, 1)
    assert stage.port.renew(job.id, 1, lease_seconds=30).requested_action is None
    assert stage.port.claim(runner_of(), lease_seconds=30) is None


def test_a_claim_that_the_gateway_repeats_by_itself_takes_one_job(stage: Stage) -> None:
    jobs = [stage.studio.submit() for _ in range(2)]
    stage.project.faults.lose_reply(CLAIM)
    assert stage.studio.claim().job.id in {job.id for job in jobs}
    assert sorted(stage.anne.jobs.get(job.id).attempt for job in jobs) == [0, 1]


def test_a_lost_claim_whose_lease_ran_out_meanwhile_gives_the_next_attempt(stage: Stage) -> None:
    job = stage.studio.submit()
    stage.project.faults.lose_reply(CLAIM, times=2)
    with pytest.raises(Unavailable):
        stage.port.claim(runner_of(), lease_seconds=30)
    stage.project.pass_time(31)
    claims = [stage.port.claim(runner_of(), lease_seconds=30) for _ in range(2)]
    claim = next(claim for claim in claims if claim is not None)
    stage.port.renew(job.id, claim.attempt, lease_seconds=30)


def test_the_next_process_of_a_machine_goes_on_with_a_claim(stage: Stage) -> None:
    claim = stage.studio.claimed()
    second, _ = stage.ports()
    with pytest.raises(Conflict):
        second.renew(claim.job.id, 1, lease_seconds=30)
    second.take_up(claim)
    second.ship(claim.job.id, 1, [Events().log("hello")])
    assert [line.text for line in stage.anne.metrics.logs(claim.job.id).items] == ["hello"]


def test_a_claim_of_the_embedded_mode_is_left_alone(stage: Stage) -> None:
    claim = stage.studio.claimed().model_copy(update={"job_token": ""})
    with pytest.raises(Conflict):
        stage.port.take_up(claim)


# Tokens


def test_a_revoked_runner_is_told_so_and_what_it_holds_is_lost(stage: Stage, tmp_path: Path) -> None:
    claim = stage.studio.claimed()
    stage.anne.registry.revoke(stage.registration)
    for call in (
        lambda: stage.port.announce(runner_of()),
        lambda: stage.port.claim(runner_of(), lease_seconds=30),
        lambda: stage.tasks.claim_task(runner_of(), lease_seconds=30),
    ):
        with pytest.raises(SignedOut, match=r"not valid.*Register"):
            call()
    for call in (
        lambda: stage.port.renew(claim.job.id, 1, lease_seconds=30),
        lambda: stage.port.ship(claim.job.id, 1, [Events().log("hello")]),
        lambda: stage.port.open_dataset(claim.job.id, 1, claim.dataset.id),
        lambda: stage.port.put_artifact(1, artifact_of(claim), folder_of(tmp_path)),
        lambda: stage.port.drop_artifact(claim.job.id, 1, claim.dataset.id),
        lambda: stage.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.COMPLETED)),
    ):
        with pytest.raises(Conflict, match="token of attempt 1 has ended"):
            call()


def test_no_error_shows_a_token(stage: Stage, tmp_path: Path) -> None:
    claim = stage.studio.claimed()
    stage.anne.registry.revoke(stage.registration)
    texts = [repr(claim), repr(stage.token)]
    for call in (
        lambda: stage.port.claim(runner_of(), lease_seconds=30),
        lambda: stage.port.renew(claim.job.id, 1, lease_seconds=30),
        lambda: stage.port.put_artifact(1, artifact_of(claim), folder_of(tmp_path)),
    ):
        try:
            call()
        except StudioError as error:
            texts += [repr(error), "".join(traceback.format_exception(error))]
    stage.project.stop_gateway()
    try:
        stage.port.claim(runner_of(), lease_seconds=30)
    except Unavailable as error:
        texts += [repr(error), "".join(traceback.format_exception(error))]
    assert len(texts) == 10
    assert not [text for text in texts if "lsr_" in text or "lsj_" in text]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "LORA_STUDIO_RUNNER_TOKEN"),
        ({"runner_token": SecretStr("lsj_x")}, "begins with lsr_"),
    ],
)
def test_a_runner_without_its_token_says_how_to_get_one(
    stage: Stage, values: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        open_runner_ports(stage.settings(**values))


def test_run_folders_of_different_stores_lie_apart(stage: Stage) -> None:
    embedded = stage.settings(supabase_url="", supabase_key="")
    hosted = stage.settings(supabase_url="https://abc.supabase.co")
    names = {settings.runs.name for settings in (embedded, hosted, stage.settings())}
    assert {"runs", "runs-abc.supabase.co"} < names
    assert len(names) == 3


def test_a_runners_process_never_loads_the_clients_of_people(tmp_path: Path) -> None:
    code = (
        "import sys; from lora_core.settings import Settings; from runner.ports import open_ports; import runner.__main__\n"
        "open_ports(Settings()).close()\n"
        "print([name for name in ('supabase', 'postgrest', 'storage3', 'supabase_auth', 'realtime') if name in sys.modules])"
    )
    environment = {
        **os.environ,
        "LORA_STUDIO_HOME": str(tmp_path),
        "SUPABASE_URL": "http://127.0.0.1:1",
        "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x",
        "LORA_STUDIO_RUNNER_TOKEN": "lsr_x",
    }
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    assert loaded.stdout.strip() == "[]"


# What is shipped


def test_whatever_a_trainer_prints_is_stored(stage: Stage) -> None:
    claim, events = stage.studio.running()
    batch = [
        events.log("a\0b"),
        events.make(EventKind.SAMPLE, step=1, samples=[{"prompt": "\0", "text": "x\0y"}]),
        events.phase("loading \0 model"),
        events.make(EventKind.ALERT, message="loss is \0 strange"),
        events.train(1, float("nan"), reward=float("inf"), oddity="\0"),
    ]
    stage.port.ship(claim.job.id, 1, batch)
    texts = [line.text for line in reversed(stage.anne.metrics.logs(claim.job.id).items)]
    assert texts == ["a�b", "loss is � strange"]
    point = stage.anne.metrics.latest(claim.job.id, MetricKind.TRAIN)
    assert point is not None
    assert (point.loss, point.nonfinite["loss"]) == (None, "nan")
    assert sorted(told.kind for told in stage.anne.notifications.list().items) == ["alert", "job_started"]


def test_a_batch_above_the_limit_makes_no_call(stage: Stage) -> None:
    claim, events = stage.studio.running()
    before = stage.project.faults.count("/rest/v1/rpc/")
    with pytest.raises(TooLarge):
        stage.port.ship(claim.job.id, 1, events.curve([1.0] * 1001))
    assert stage.project.faults.count("/rest/v1/rpc/") == before


# Files


def test_an_artifact_that_was_cut_off_is_stored_at_the_next_try(stage: Stage, tmp_path: Path) -> None:
    claim = stage.studio.claimed()
    artifact, folder = artifact_of(claim), folder_of(tmp_path, {"a.bin": b"abc", "sub/b.bin": b"defg"})
    stage.project.faults.lose_reply("/rest/v1/rpc/job_put_artifact", times=2)
    with pytest.raises(Unavailable):
        stage.port.put_artifact(1, artifact, folder)
    stored = stage.port.put_artifact(1, artifact, folder)
    assert [(file.name, file.bytes) for file in stored.files] == [("a.bin", 3), ("sub/b.bin", 4)]
    assert stage.objects() == ["a.bin", "sub/b.bin"]


def test_what_an_earlier_try_left_half_is_replaced(stage: Stage, tmp_path: Path) -> None:
    claim = stage.studio.claimed()
    artifact = artifact_of(claim)
    stage.project.faults.answer("/rest/v1/rpc/job_put_artifact", 503, times=2)
    with pytest.raises(Unavailable):
        stage.port.put_artifact(1, artifact, folder_of(tmp_path, {"a.bin": b"ab"}))
    stage.port.put_artifact(1, artifact, folder_of(tmp_path, {"a.bin": b"abc"}))
    with stage.anne.artifacts.open(artifact.id, "a.bin") as stream:
        assert stream.read() == b"abc"


def test_an_artifact_with_a_file_too_large_leaves_nothing(stage: Stage, tmp_path: Path) -> None:
    claim = stage.studio.claimed()
    stage.project.settings.object_bytes = 1000
    with pytest.raises(TooLarge, match="weights"):
        stage.port.put_artifact(
            1, artifact_of(claim), folder_of(tmp_path, {"a.json": b"{}", "weights": b"x" * 1001})
        )
    assert not stage.objects()


REFUSED = (
    '{"statusCode": "403", "error": "Unauthorized", "message": "new row violates row-level security policy"}'
)


def test_a_storage_that_refuses_a_file_of_a_live_attempt_costs_the_file_not_the_job(
    stage: Stage, tmp_path: Path
) -> None:
    claim = stage.studio.claimed()
    stage.project.faults.answer("/storage/v1/object/", 400, method="POST", body=REFUSED, times=9)
    with pytest.raises(StoreError, match=r"refuses adapter\.safetensors") as caught:
        stage.port.put_artifact(1, artifact_of(claim), folder_of(tmp_path))
    assert not isinstance(caught.value, Conflict | Forbidden)
    stage.port.renew(claim.job.id, 1, lease_seconds=30)


def test_a_storage_that_refuses_a_file_because_the_attempt_was_lost_meanwhile_says_so(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = stage.studio.claimed()

    def lost_meanwhile(folder: Path) -> Iterator[Path]:
        stage.project.pass_time(31)
        assert stage.port.claim(runner_of("other"), lease_seconds=30) is not None
        yield from files_of(folder)

    monkeypatch.setattr(runner_port, "files_of", lost_meanwhile)
    with pytest.raises(Conflict, match="Attempt 2 owns the job now"):
        stage.port.put_artifact(1, artifact_of(claim), folder_of(tmp_path))


def test_a_data_set_without_its_file_is_named(stage: Stage) -> None:
    claim = stage.studio.claimed()
    stage.anne.blobs.delete(claim.dataset.storage_bucket, claim.dataset.storage_path)
    with pytest.raises(NotFound, match=claim.dataset.name):
        stage.port.open_dataset(claim.job.id, 1, claim.dataset.id)


def test_a_dropped_checkpoint_takes_its_files_with_it_even_if_the_network_fails_between(
    stage: Stage, tmp_path: Path
) -> None:
    claim = stage.studio.claimed()
    artifact = stage.port.put_artifact(1, artifact_of(claim), folder_of(tmp_path))
    stage.project.faults.answer("/storage/v1/object/", 503, method="DELETE", times=4)
    with pytest.raises(Unavailable):
        stage.port.drop_artifact(claim.job.id, 1, artifact.id)
    assert stage.objects()
    stage.port.drop_artifact(claim.job.id, 1, artifact.id)
    assert not stage.objects()


def test_a_tail_stores_its_artifacts_once(stage: Stage, tmp_path: Path) -> None:
    claim, _ = stage.studio.running()
    stage.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.CANCELLED))
    artifact, folder = artifact_of(claim, ArtifactKind.LOGS), folder_of(tmp_path)
    first = stage.port.put_artifact(1, artifact, folder)
    assert stage.port.put_artifact(1, artifact, folder) == first


# Pods


def test_a_pod_takes_its_job_and_nothing_else(stage: Stage) -> None:
    other = stage.studio.submit(priority=5)
    job_id, token = stage.handed_out()
    pod = stage.pod(token)
    claim = pod.claim(runner_of("pod-1"), lease_seconds=30)
    assert claim is not None
    assert (claim.job.id, claim.attempt, claim.job_token) == (job_id, 1, token.reveal())
    assert pod.claim(runner_of("pod-1"), lease_seconds=30) is None
    pod.announce(runner_of("pod-1"))
    assert not stage.anne.runners.list()
    with pod.open_dataset(job_id, 1, claim.dataset.id) as stream:
        assert stream.read() == ROWS
    pod.ship(job_id, 1, [Events().phase("training", start_step=0, total_steps=3)])
    assert stage.anne.jobs.get(job_id).status is JobStatus.RUNNING
    assert stage.anne.jobs.attempts(job_id)[0].runner_name == "pod-1"
    with pytest.raises(Conflict):
        pod.renew(other.id, 1, lease_seconds=30)


def test_a_pod_may_take_its_job_again_and_another_machine_may_not(stage: Stage) -> None:
    _, token = stage.handed_out()
    stage.project.faults.lose_reply("/rest/v1/rpc/job_take", times=2)
    pod = stage.pod(token)
    with pytest.raises(Unavailable):
        pod.claim(runner_of("pod-1"), lease_seconds=30)
    for process in (pod, stage.pod(token)):
        assert process.claim(runner_of("pod-1"), lease_seconds=30) is not None
    with pytest.raises(Conflict, match="Another machine"):
        stage.pod(token).claim(runner_of("pod-2"), lease_seconds=30)


def test_a_job_that_a_pod_cannot_read_goes_back_to_the_queue_and_says_so(stage: Stage) -> None:
    job_id, token = stage.handed_out()
    stage.project.sql("update public.training_jobs set config = '{\"unheard\": 1}' where id = %s", job_id)
    assert stage.pod(token).claim(runner_of("pod-1"), lease_seconds=30) is None
    (row,) = stage.project.sql(
        "select status, error, retry_at from public.training_jobs where id = %s", job_id
    )
    assert (row["status"], bool(row["retry_at"])) == ("queued", True)
    assert row["error"].startswith("The runner cannot read this job")


def test_a_pod_goes_on_with_its_own_claim_only(stage: Stage) -> None:
    _, token = stage.handed_out()
    claim = stage.pod(token).claim(runner_of("pod-1"), lease_seconds=30)
    assert claim is not None
    restarted = stage.pod(token)
    restarted.take_up(claim)
    assert restarted.claim(runner_of("pod-1"), lease_seconds=30) is None
    restarted.renew(claim.job.id, 1, lease_seconds=30)
    _, other = stage.handed_out()
    with pytest.raises(Conflict):
        stage.pod(other).take_up(claim)


def test_a_pods_token_ends(stage: Stage) -> None:
    job_id, token = stage.handed_out()
    pod = stage.pod(token)
    assert pod.claim(runner_of("pod-1"), lease_seconds=30) is not None
    stage.project.pass_time(71 * 3600)
    pod.renew(job_id, 1, lease_seconds=30)
    stage.project.pass_time(2 * 3600)
    with pytest.raises(Conflict, match="token of attempt 1 has ended"):
        pod.renew(job_id, 1, lease_seconds=30)
    with pytest.raises(SignedOut):
        stage.pod(token).claim(runner_of("pod-1"), lease_seconds=30)


# Tasks


def test_a_task_whose_claim_was_not_answered_is_answered_again(stage: Stage) -> None:
    task = stage.anne.tasks.add(task_of(ANNE, stage.studio.add_dataset().id))
    stage.project.faults.lose_reply("/rest/v1/rpc/task_claim", times=2)
    with pytest.raises(Unavailable):
        stage.tasks.claim_task(runner_of(), lease_seconds=30)
    claimed = stage.tasks.claim_task(runner_of(), lease_seconds=30)
    assert claimed is not None
    assert claimed.id == task.id
    stage.tasks.progress_task(task.id, progress=2.0, message="a\0b", lease_seconds=30)
    assert stage.anne.tasks.get(task.id).progress == 1.0


def test_what_a_task_stores_may_be_stored_again(stage: Stage, tmp_path: Path) -> None:
    dataset = stage.studio.add_dataset()
    task = stage.anne.tasks.add(task_of(ANNE, dataset.id, TaskKind.DROP_BAD_ROWS))
    assert stage.tasks.claim_task(runner_of(), lease_seconds=30) is not None
    content = tmp_path / "good"
    version = dataset_of(ANNE, parent_id=dataset.id)
    content.write_bytes(b"half")
    stage.project.faults.answer("/rest/v1/rpc/task_add_dataset", 503, times=2)
    with pytest.raises(Unavailable):
        stage.tasks.save_task_dataset(task.id, version, content)
    content.write_bytes(ROWS)
    for _ in range(2):
        stage.tasks.save_task_issues(task.id, content)
    stored = stage.tasks.save_task_dataset(task.id, version, content)
    assert stage.tasks.save_task_dataset(task.id, version, content) == stored
    with stage.anne.blobs.open(stored.storage_bucket, stored.storage_path) as stream:
        assert stream.read() == ROWS


def test_a_task_that_another_runner_has_is_a_conflict(stage: Stage, tmp_path: Path) -> None:
    dataset = stage.studio.add_dataset()
    task = stage.anne.tasks.add(task_of(ANNE, dataset.id))
    assert stage.tasks.claim_task(runner_of(), lease_seconds=30) is not None
    stage.project.pass_time(31)
    _, other = stage.ports()
    assert other.claim_task(runner_of("other"), lease_seconds=30) is not None
    issues = folder_of(tmp_path) / "adapter.safetensors"
    for call in (
        lambda: stage.tasks.progress_task(task.id, progress=0.5, message="", lease_seconds=30),
        lambda: stage.tasks.open_task_dataset(task.id),
        lambda: stage.tasks.save_task_issues(task.id, issues),
        lambda: stage.tasks.save_task_dataset(task.id, dataset),
        lambda: stage.tasks.end_task(task.id),
    ):
        with pytest.raises(Conflict):
            call()
