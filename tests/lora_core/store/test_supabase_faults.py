"""What a team's store makes of answers that are lost, sessions that end, and projects that go away."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lora_core.errors import Forbidden, NotFound, SignedOut, Unavailable
from lora_core.schema.job import EndOfAttempt, JobFilter, JobStatus, Outcome, RequestedAction
from lora_core.store.supabase.store import SupabaseUserStore, open_user_store
from tests.contracts.samples import (
    ANNE,
    BEN,
    Studio,
    artifact_of,
    dataset_of,
    folder_of,
    job_of,
    submitted,
    task_of,
)
from tests.supastub.rig import Person, Project


def test_a_call_whose_answer_was_lost_is_as_good_as_done(
    project: Project, team_studio: Studio, tmp_path: Path
) -> None:
    anne, lose = team_studio.anne, project.faults.lose_reply
    dataset = dataset_of(ANNE)
    lose("/rest/v1/datasets", method="POST")
    anne.datasets.add(dataset)
    job = job_of(ANNE, dataset.id)
    lose("/rest/v1/rpc/submit_job")
    assert anne.jobs.submit(job).status is JobStatus.QUEUED
    lose("/rest/v1/rpc/move_job")
    assert anne.jobs.move(job.id, JobStatus.PAUSED).status is JobStatus.PAUSED
    anne.jobs.move(job.id, JobStatus.QUEUED)
    lose("/rest/v1/rpc/request_job")
    assert anne.jobs.request(job.id, RequestedAction.CANCEL).status is JobStatus.CANCELLED
    lose("/rest/v1/datasets", method="DELETE")
    anne.datasets.delete(dataset.id)
    lose("/rest/v1/rpc/delete_job")
    anne.jobs.delete(job.id)
    assert not anne.jobs.list(JobFilter()).items
    lose("/rest/v1/rpc/add_task")
    assert anne.tasks.add(task_of(ANNE, "subject")).subject_id == "subject"
    claim, _ = team_studio.running()
    artifact = team_studio.port.put_artifact(claim.attempt, artifact_of(claim), folder_of(tmp_path))
    team_studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.COMPLETED))
    lose("/rest/v1/rpc/delete_artifact")
    anne.artifacts.delete(artifact.id)
    with pytest.raises(NotFound):
        anne.blobs.open(artifact.bucket, f"{artifact.path}/{artifact.files[0].name}")


def test_a_busy_project_is_asked_again(project: Project, anne: SupabaseUserStore) -> None:
    project.faults.answer("/rest/v1/", times=2)
    assert anne.jobs.counts() == {}


def test_a_project_that_went_away_and_came_back(project: Project, anne: SupabaseUserStore) -> None:
    job_id = submitted(anne, ANNE).id
    project.stop_gateway()
    with pytest.raises(Unavailable) as caught:
        anne.jobs.get(job_id)
    assert "Try again" in caught.value.next_step
    project.start_gateway()
    assert anne.jobs.get(job_id).id == job_id


def test_a_statement_that_takes_too_long_is_unavailable(project: Project, anne: SupabaseUserStore) -> None:
    job_id = submitted(anne, ANNE).id
    project.sql("alter role authenticated set statement_timeout = '80ms'")
    project.reload_schema()
    try:
        project.sql("begin")
        project.sql("select 1 from training_jobs where id = %s for update", job_id)
        with pytest.raises(Unavailable):
            anne.jobs.rename(job_id, "Later")
    finally:
        project.sql("rollback")
        project.sql("alter role authenticated set statement_timeout = '8s'")
        project.reload_schema()


def test_an_ended_session_is_signed_out_until_it_is_refreshed(
    project: Project, people: dict[str, Person], tokens: dict[str, str], anne: SupabaseUserStore
) -> None:
    dataset = dataset_of(ANNE)
    anne.datasets.add(dataset)
    anne.blobs.put(dataset.storage_bucket, dataset.storage_path, iter([b"x"]))
    tokens[ANNE] = project.token(people[ANNE], -120)
    calls: list[Callable[[], object]] = [
        lambda: anne.datasets.list(),
        lambda: anne.jobs.counts(),
        lambda: anne.notifications.unread(),
        lambda: anne.blobs.open(dataset.storage_bucket, dataset.storage_path),
    ]
    for call in calls:
        with pytest.raises(SignedOut):
            call()
    tokens[ANNE] = project.token(people[ANNE])
    assert anne.datasets.list().items == [dataset]
    with anne.blobs.open(dataset.storage_bucket, dataset.storage_path) as stream:
        assert stream.read() == b"x"


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
def test_what_is_no_token_is_signed_out(tokens: dict[str, str], anne: SupabaseUserStore, token: str) -> None:
    tokens[ANNE] = token
    with pytest.raises(SignedOut):
        anne.datasets.list()


def test_a_session_of_another_person_shows_nothing(tokens: dict[str, str], anne: SupabaseUserStore) -> None:
    anne.datasets.add(dataset_of(ANNE))
    tokens[ANNE] = tokens[BEN]
    assert not anne.datasets.list().items
    with pytest.raises(Forbidden):
        anne.datasets.add(dataset_of(ANNE))


def test_a_key_that_is_not_the_projects_says_so(
    project: Project, tokens: dict[str, str], tmp_path: Path
) -> None:
    stores = open_user_store(project.url, "sb_publishable_other", ANNE, lambda: tokens[ANNE], spool=tmp_path)
    with pytest.raises(Exception, match="SUPABASE_PUBLISHABLE_KEY"):
        stores.datasets.list()
    stores.close()


def test_one_client_serves_several_threads(anne: SupabaseUserStore) -> None:
    jobs = [submitted(anne, ANNE).id for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda job_id: anne.jobs.get(job_id).id, jobs * 10))
    assert found == jobs * 10
