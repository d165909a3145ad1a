"""Who may read and write which files: policies on storage.objects, asked as the storage service asks them."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from tests.supabase_sql.stage import refused
from tests.supabase_sql.test_tasks import Errand, claimed
from tests.supabase_sql.workshop import Workshop

ARTIFACTS, DATASETS, IMPORTS = "model-artifacts", "lora-datasets", "training-files"


class Files:
    """storage.objects as one caller sees it: with a token in a header, or signed in."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        connection.execute("select set_config('storage.allow_delete_query', 'true', false)")

    def seen(self) -> set[str]:
        rows = self._connection.execute("select bucket_id, name from storage.objects").fetchall()
        return {f"{row['bucket_id']}/{row['name']}" for row in rows}

    def write(self, key: str, bucket: str = ARTIFACTS) -> None:
        self._connection.execute(
            "insert into storage.objects (bucket_id, name) values (%s, %s)", (bucket, key)
        )

    def replace(self, key: str, bucket: str = ARTIFACTS) -> None:
        statement = "insert into storage.objects (bucket_id, name, version) values (%s, %s, '1') on conflict (name, bucket_id)"
        self._connection.execute(f"{statement} do update set version = '2' returning *", (bucket, key))

    def move(self, key: str, to: str, bucket: str = ARTIFACTS) -> int:
        statement = "update storage.objects set name = %s where bucket_id = %s and name = %s"
        return self._connection.execute(statement, (to, bucket, key)).rowcount

    def remove(self, key: str, bucket: str = ARTIFACTS) -> int:
        statement = "delete from storage.objects where bucket_id = %s and name = %s"
        return self._connection.execute(statement, (bucket, key)).rowcount


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def by_token(shop: Workshop, stack: ExitStack, token: str | None) -> Files:
    headers = {"X-Job-Token": token} if token is not None else {}
    return Files(stack.enter_context(shop.project.as_role("anon", headers=headers)))


def by_person(shop: Workshop, stack: ExitStack, person_id: str) -> Files:
    return Files(stack.enter_context(shop.project.as_role("authenticated", {"sub": person_id})))


def test_the_buckets_are_there_and_private(shop: Workshop) -> None:
    rows = shop.sql("select id, public from storage.buckets order by id")
    assert [tuple(row.values()) for row in rows] == [(DATASETS, False), (ARTIFACTS, False), (IMPORTS, False)]


def test_functions_of_policies_are_no_api(shop: Workshop) -> None:
    rows = shop.sql("select has_schema_privilege('authenticated', 'file_access', 'usage') as may")
    assert rows == [{"may": False}]
    with refused("42501"):
        shop.anon.execute("select private.job_of_header(true)")


# People -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bucket", [ARTIFACTS, DATASETS, IMPORTS])
def test_a_person_has_a_folder_in_each_bucket(shop: Workshop, stack: ExitStack, bucket: str) -> None:
    files, key = by_person(shop, stack, shop.anne.id), f"{shop.anne.id}/datasets/x/data"
    files.write(key, bucket)
    files.replace(key, bucket)
    assert files.seen() == {f"{bucket}/{key}"}
    assert files.remove(key, bucket) == 1


def test_a_person_has_no_other_folder(shop: Workshop, stack: ExitStack) -> None:
    shop.add_dataset()
    files = by_person(shop, stack, shop.project.add_person().id)
    assert files.seen() == set()
    (row,) = shop.sql("select name from storage.objects")
    assert files.remove(row["name"], DATASETS) == 0
    for key in (f"{shop.anne.id}/x", "x", "", f"x/{shop.anne.id}/y"):
        with refused("42501"):
            files.write(key, DATASETS)


def test_a_person_has_no_folder_in_buckets_of_others(shop: Workshop, stack: ExitStack) -> None:
    shop.sql("insert into storage.buckets (id, name) values ('other', 'other')")
    with refused("42501"):
        by_person(shop, stack, shop.anne.id).write(f"{shop.anne.id}/x", "other")


def test_a_file_cannot_be_moved_into_somebody_elses_folder(shop: Workshop, stack: ExitStack) -> None:
    files = by_person(shop, stack, shop.anne.id)
    files.write(f"{shop.anne.id}/x")
    with refused("42501"):
        files.move(f"{shop.anne.id}/x", f"{uuid.uuid4()}/x")


# Nobody -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "lsj_unknown", "x" * 100_000])
def test_without_a_good_token_there_is_nothing(shop: Workshop, stack: ExitStack, token: str | None) -> None:
    held = shop.held()
    held.put(held.artifact())
    files = by_token(shop, stack, token)
    assert files.seen() == set()
    with refused("42501"):
        files.write(f"{shop.anne.id}/jobs/{held.id}/1/{uuid.uuid4()}/a")


def test_a_runner_token_opens_no_file(shop: Workshop, stack: ExitStack) -> None:
    shop.held()
    assert by_token(shop, stack, shop.token).seen() == set()


# Job tokens -------------------------------------------------------------------------------------------------------------


def test_an_attempt_reads_the_data_sets_of_its_job_and_no_other_file(
    shop: Workshop, stack: ExitStack
) -> None:
    validation = shop.add_dataset(storage_bucket=IMPORTS, storage_path=f"{shop.anne.id}/data")
    shop.add_dataset(storage_bucket=IMPORTS, storage_path=f"{shop.anne.id}/data2")
    shop.store(f"{shop.anne.id}/data", bucket=DATASETS)
    held = shop.held(validation_dataset_id=validation)
    shop.held()
    expected = {f"{DATASETS}/{held.claim['dataset']['storage_path']}", f"{IMPORTS}/{shop.anne.id}/data"}
    assert by_token(shop, stack, held.token).seen() == expected


def test_an_attempt_reads_the_artifacts_of_all_attempts_of_its_job(shop: Workshop, stack: ExitStack) -> None:
    held, other = shop.running(), shop.running()
    mine = held.put(held.artifact())
    other.put(other.artifact())
    again = held.again()
    seen = by_token(shop, stack, again.token).seen()
    assert {key for key in seen if key.startswith(ARTIFACTS)} == {
        f"{ARTIFACTS}/{mine['path']}/adapter.safetensors"
    }


def test_an_attempt_stores_files_of_its_artifacts_once(shop: Workshop, stack: ExitStack) -> None:
    held = shop.held()
    files, key = (
        by_token(shop, stack, held.token),
        f"{shop.anne.id}/jobs/{held.id}/1/{uuid.uuid4()}/sub/a.bin",
    )
    files.write(key)
    assert f"{ARTIFACTS}/{key}" in files.seen()
    with refused("23505"):
        files.write(key)
    with refused("42501"):
        files.replace(key)
    assert files.move(key, key + "2") == 0


@pytest.mark.parametrize(
    "key",
    [
        "{user}/jobs/{job}/2/{new}/a",
        "{user}/jobs/{job}/11/{new}/a",
        "{user}/jobs/{new}/1/{new}/a",
        "{new}/jobs/{job}/1/{new}/a",
        "{user}/jobs/{job}/1/a",
        "{user}/jobs/{job}/1/../1/a",
        "{user}/jobs/{job}/1/{new}/../a",
        "{user}/jobs/{job}/1/{new}//a",
        "{user}/jobs/{job}/1/{new}/",
        "{user}/datasets/{new}/data",
        "x",
    ],
)
def test_an_attempt_stores_files_in_its_own_folder_only(shop: Workshop, stack: ExitStack, key: str) -> None:
    held = shop.held()
    files = by_token(shop, stack, held.token)
    name = key.format(user=shop.anne.id, job=held.id, new=uuid.uuid4())
    for bucket in (ARTIFACTS, DATASETS, IMPORTS):
        with refused("42501"):
            files.write(name, bucket)


def test_an_attempt_stores_nothing_in_another_bucket(shop: Workshop, stack: ExitStack) -> None:
    held = shop.held()
    with refused("42501"):
        by_token(shop, stack, held.token).write(f"{shop.anne.id}/jobs/{held.id}/1/{uuid.uuid4()}/a", DATASETS)


def test_an_attempt_removes_files_without_a_row_only(shop: Workshop, stack: ExitStack) -> None:
    held = shop.running()
    kept, dropped = held.put(held.artifact()), held.put(held.artifact())
    again = held.again()
    again.drop(dropped["id"])
    files = by_token(shop, stack, again.token)
    assert files.remove(f"{kept['path']}/adapter.safetensors") == 0
    assert files.remove(f"{dropped['path']}/adapter.safetensors") == 1
    assert files.remove(held.claim["dataset"]["storage_path"], DATASETS) == 0


def test_an_attempt_removes_nothing_of_another_job(shop: Workshop, stack: ExitStack) -> None:
    held, other = shop.held(), shop.held()
    path = other.artifact()["path"]
    assert by_token(shop, stack, held.token).remove(f"{path}/adapter.safetensors") == 0


def test_a_tail_stores_files_but_reads_no_data_set(shop: Workshop, stack: ExitStack) -> None:
    held = shop.running()
    held.end("completed")
    files, key = by_token(shop, stack, held.token), f"{shop.anne.id}/jobs/{held.id}/1/{uuid.uuid4()}/a"
    files.write(key)
    assert files.seen() == {f"{ARTIFACTS}/{key}"}


def test_after_the_tail_there_is_nothing(shop: Workshop, stack: ExitStack) -> None:
    held = shop.running()
    held.put(held.artifact())
    held.end("completed")
    shop.wait(605)
    files = by_token(shop, stack, held.token)
    assert files.seen() == set()
    with refused("42501"):
        files.write(f"{shop.anne.id}/jobs/{held.id}/1/{uuid.uuid4()}/a")


def test_an_old_attempt_has_nothing(shop: Workshop, stack: ExitStack) -> None:
    held = shop.running()
    held.put(held.artifact())
    held.again()
    files = by_token(shop, stack, held.token)
    assert files.seen() == set()
    with refused("42501"):
        files.write(f"{shop.anne.id}/jobs/{held.id}/1/{uuid.uuid4()}/a")


def test_a_job_token_that_has_ended_opens_nothing(shop: Workshop, stack: ExitStack) -> None:
    held = shop.held()
    shop.wait(73 * 3600)
    assert by_token(shop, stack, held.token).seen() == set()


def test_a_job_token_of_a_revoked_runner_opens_nothing(shop: Workshop, stack: ExitStack) -> None:
    held = shop.held()
    shop.asked_by(shop.anne, "revoke_runner", id=shop.registration(shop.token))
    assert by_token(shop, stack, held.token).seen() == set()


# Task tokens ------------------------------------------------------------------------------------------------------------


def subject(errand: Errand) -> tuple[str, str]:
    """Return key and folder of the data set that a task is about."""
    key = errand.dataset()["storage_path"]
    return key, key.rsplit("/", 1)[0]


def test_a_task_reads_its_data_set_and_its_issues_only(shop: Workshop, stack: ExitStack) -> None:
    errand = claimed(shop)
    key, folder = subject(errand)
    for name in ("issues.jsonl", "data2", "other"):
        shop.store(f"{folder}/{name}", bucket=DATASETS)
    shop.add_dataset()
    assert by_token(shop, stack, errand.token).seen() == {
        f"{DATASETS}/{key}",
        f"{DATASETS}/{folder}/issues.jsonl",
    }


def test_a_task_stores_its_issues_and_replaces_them(shop: Workshop, stack: ExitStack) -> None:
    errand = claimed(shop)
    _, folder = subject(errand)
    files = by_token(shop, stack, errand.token)
    for _ in range(2):
        files.replace(f"{folder}/issues.jsonl", DATASETS)
    with refused("42501"):
        files.move(f"{folder}/issues.jsonl", f"{folder}/other", DATASETS)


def test_a_task_does_not_replace_its_data(shop: Workshop, stack: ExitStack) -> None:
    errand = claimed(shop)
    key, _ = subject(errand)
    files = by_token(shop, stack, errand.token)
    with refused("42501"):
        files.replace(key, DATASETS)
    assert files.move(key, key + "2", DATASETS) == 0
    assert files.remove(key, DATASETS) == 0


def test_a_task_stores_a_new_version_and_may_try_again(shop: Workshop, stack: ExitStack) -> None:
    errand = claimed(shop)
    files, key = by_token(shop, stack, errand.token), f"{shop.anne.id}/datasets/{uuid.uuid4()}/data.jsonl"
    files.write(key, DATASETS)
    files.replace(key, DATASETS)
    assert f"{DATASETS}/{key}" in files.seen()


def test_a_stored_version_is_not_replaced_any_more(shop: Workshop, stack: ExitStack) -> None:
    errand = claimed(shop)
    version = errand.add(errand.version())
    files = by_token(shop, stack, errand.token)
    assert f"{DATASETS}/{version['storage_path']}" not in files.seen()
    with refused("42501"):
        files.replace(version["storage_path"], DATASETS)


@pytest.mark.parametrize(
    ("key", "bucket"),
    [
        ("{user}/datasets/{new}/data", IMPORTS),
        ("{user}/datasets/{new}/data", ARTIFACTS),
        ("{user}/datasets/{new}/other", DATASETS),
        ("{user}/datasets/{new}/x/data", DATASETS),
        ("{user}/datasets/name/data", DATASETS),
        ("{new}/datasets/{new}/data", DATASETS),
        ("{user}/jobs/{new}/1/{new}/a", ARTIFACTS),
        ("{user}/datasets/{taken}/data3", DATASETS),
    ],
)
def test_a_task_stores_no_other_file(shop: Workshop, stack: ExitStack, key: str, bucket: str) -> None:
    errand = claimed(shop)
    name = key.format(user=shop.anne.id, new=uuid.uuid4(), taken=errand.row["subject_id"])
    with refused("42501"):
        by_token(shop, stack, errand.token).write(name, bucket)


def test_a_task_about_an_imported_file_stores_versions_beside_it(shop: Workshop, stack: ExitStack) -> None:
    dataset = shop.add_dataset(storage_bucket=IMPORTS, storage_path=f"{shop.anne.id}/old/data")
    files = by_token(shop, stack, claimed(shop, dataset).token)
    files.write(f"{shop.anne.id}/datasets/{uuid.uuid4()}/data", IMPORTS)
    files.write(f"{shop.anne.id}/old/issues.jsonl", IMPORTS)


def test_a_task_about_a_model_opens_no_file(shop: Workshop, stack: ExitStack) -> None:
    shop.add_dataset()
    assert by_token(shop, stack, claimed(shop, "Qwen/Qwen3-0.6B").token).seen() == set()


def test_a_task_about_somebody_elses_data_set_opens_no_file(shop: Workshop, stack: ExitStack) -> None:
    errand = claimed(shop, shop.add_dataset(shop.project.add_person()))
    assert by_token(shop, stack, errand.token).seen() == set()


def test_an_ended_task_opens_no_file(shop: Workshop, stack: ExitStack) -> None:
    errand = claimed(shop)
    errand.end()
    files = by_token(shop, stack, errand.token)
    assert files.seen() == set()
    with refused("42501"):
        files.write(f"{shop.anne.id}/datasets/{uuid.uuid4()}/data", DATASETS)


def test_an_earlier_try_of_a_task_opens_no_file(shop: Workshop, stack: ExitStack) -> None:
    errand = claimed(shop)
    shop.wait(31)
    again = shop.ask(
        "task_claim",
        token=shop.token,
        runner={"id": "b", "name": "b"},
        lease_seconds=30,
        task_token_sha256="a" * 64,
    )
    assert again["id"] == errand.row["id"]
    assert by_token(shop, stack, errand.token).seen() == set()
