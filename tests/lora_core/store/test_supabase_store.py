"""Rows and files of a team's store: what the contract cannot ask of every store."""

import json
import os
import time
from datetime import timedelta

import httpx
import pytest

from lora_core.errors import Conflict, Forbidden, TooLarge
from lora_core.schema.base import new_id
from lora_core.schema.job import JobStatus
from lora_core.store.supabase import files
from lora_core.store.supabase.store import SupabaseUserStore
from tests.contracts.samples import (
    ANNE,
    BEN,
    START,
    dataset_of,
    submitted,
    task_of,
)
from tests.contracts.team import Team
from tests.supastub.rig import Project


def test_a_deleted_job_leaves_no_file_even_without_a_row(
    project: Project, anne: SupabaseUserStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LIST_AT_ONCE", 2)
    job_id = submitted(anne, ANNE).id
    folder = f"{ANNE}/jobs/{job_id}"
    kept = f"{ANNE}/jobs/{new_id()}/1/x/adapter"
    names = [f"{folder}/1/a/w{number}" for number in range(5)] + [f"{folder}/2/b/deep/er/x", kept]
    for name in names:
        anne.blobs.put("model-artifacts", name, iter([b"x"]))
    anne.jobs.move(job_id, JobStatus.CANCELLED)
    anne.jobs.delete(job_id)
    left = project.sql("select name from storage.objects order by name")
    assert [row["name"] for row in left] == [kept]


def test_a_signed_address_opens_a_file_without_a_session_until_it_ends(
    project: Project, anne: SupabaseUserStore
) -> None:
    key = f"{ANNE}/jobs/{new_id()}/1/{new_id()}/adapter-one.bin"
    anne.blobs.put("model-artifacts", key, iter([b"weights"]))
    address = anne.blobs.signed_url("model-artifacts", key, seconds=2)
    assert httpx.get(address).content == b"weights"
    assert httpx.get(address.replace("adapter-one", "adapter-two")).status_code == 400
    time.sleep(2.1)
    assert httpx.get(address).status_code == 400


def test_nobody_gets_an_address_of_somebody_elses_file(team: Team, anne: SupabaseUserStore) -> None:
    key = f"{BEN}/jobs/{new_id()}/1/{new_id()}/adapter"
    team.store_for(BEN).blobs.put("model-artifacts", key, iter([b"weights"]))
    with pytest.raises(Forbidden):
        anne.blobs.signed_url("model-artifacts", key, seconds=60)


def test_an_id_that_somebody_else_has_is_a_conflict(team: Team, anne: SupabaseUserStore) -> None:
    theirs = dataset_of(BEN)
    team.store_for(BEN).datasets.add(theirs)
    with pytest.raises(Conflict):
        anne.datasets.add(dataset_of(ANNE, id=theirs.id))


def test_nobody_writes_what_the_database_decides(project: Project, anne: SupabaseUserStore) -> None:
    """Rows are written by the stores' own calls alone; a client that tries more is refused by the database."""
    job_id = submitted(anne, ANNE).id
    client = anne.jobs._client
    for change in ({"status": "completed"}, {"cost_usd": 0}, {"name": "x"}):
        with pytest.raises(Forbidden):
            client.execute(client.table("training_jobs").update(change).eq("id", job_id))
    with pytest.raises(Forbidden):
        client.execute(client.table("quotas").insert({"user_id": ANNE, "max_live_jobs": 99}))


def test_times_and_documents_come_back_exactly(anne: SupabaseUserStore) -> None:
    moment = START + timedelta(microseconds=123_456)
    dataset = dataset_of(ANNE, name="Ä “x” \\ 🦙", created_at=moment)
    anne.datasets.add(dataset)
    assert anne.datasets.get(dataset.id) == dataset
    arguments = {"deep": {"list": [1, None, True, "ä"]}, "number": 0.1}
    task = anne.tasks.add(task_of(ANNE, dataset.id, arguments=json.loads(json.dumps(arguments))))
    assert anne.tasks.get(task.id).arguments == arguments


def test_a_file_above_the_limit_is_too_large(
    anne: SupabaseUserStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anne.artifacts._files, "max_object_bytes", 10)
    with pytest.raises(TooLarge, match=r"^The file is larger"):
        anne.blobs.put("lora-datasets", f"{ANNE}/datasets/x/data", iter([b"x" * 11]))


def test_a_file_above_the_projects_limit_is_not_called_by_the_name_it_has_on_its_way(
    project: Project, anne: SupabaseUserStore
) -> None:
    project.settings.object_bytes = 10
    with pytest.raises(TooLarge, match=r"^The file \(.* MB\) is larger than this Supabase project takes"):
        anne.blobs.put("lora-datasets", f"{ANNE}/datasets/x/data", iter([b"x" * 11]))


def test_the_limit_of_an_upload_is_that_of_its_bucket(project: Project, anne: SupabaseUserStore) -> None:
    project.sql("update storage.buckets set file_size_limit = 50000000 where id = 'lora-datasets'")
    assert anne.blobs.max_object_bytes == 50_000_000
    project.stop_gateway()
    assert anne.blobs.max_object_bytes == 50_000_000, "asked once"


def test_a_bucket_without_a_limit_takes_what_the_store_tries(anne: SupabaseUserStore) -> None:
    assert anne.blobs.max_object_bytes == files.MAX_OBJECT_BYTES


def test_while_the_project_is_away_no_limit_is_made_up(project: Project, anne: SupabaseUserStore) -> None:
    project.sql("update storage.buckets set file_size_limit = 50000000 where id = 'lora-datasets'")
    project.stop_gateway()
    assert anne.blobs.max_object_bytes == files.MAX_OBJECT_BYTES
    project.start_gateway()
    assert anne.blobs.max_object_bytes == 50_000_000


def test_what_a_crash_has_left_on_its_way_goes_with_a_later_upload(anne: SupabaseUserStore) -> None:
    spool = anne.blobs._spool
    spool.mkdir(parents=True, exist_ok=True)
    old, new = spool / "old", spool / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    anne.blobs.put("lora-datasets", f"{ANNE}/datasets/x/data", iter([b"x"]))
    assert [path.name for path in spool.iterdir()] == ["new"]
