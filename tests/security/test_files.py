"""Every bucket x select, insert, update, delete x every kind of caller, in every kind of place, through storage.objects.

The storage service asks the database just so: with the caller's role, claims and headers. What it checks before (that a name
is a possible key) is not counted on.
"""

import uuid

import pytest

from tests.security.world import CALLERS, World

ARTIFACTS, DATASETS, IMPORTS = "model-artifacts", "lora-datasets", "training-files"
BUCKETS = (DATASETS, IMPORTS, ARTIFACTS)
OWNER = {"owner", "owner with a job token"}

# (bucket, place): what machines may do there, beside the owner of the folder, who may do everything.
# A place that is not named is closed to machines in that bucket.
MACHINES: dict[tuple[str, str], dict[str, set[str]]] = {
    (DATASETS, "the job's data set"): {"select": {"job token"}},
    (DATASETS, "the task's data set"): {"select": {"task token"}},
    (DATASETS, "issues of the task's data set"): {
        "select": {"task token"}, "insert": {"task token"}, "update": {"task token"},
    },
    (DATASETS, "a new data set"): {"select": {"task token"}, "insert": {"task token"}, "update": {"task token"}},
    (DATASETS, "Ben's data set"): {"select": {"foreign job token"}},
    (ARTIFACTS, "an artifact of the attempt"): {"select": {"job token"}, "insert": {"job token"}},
    (ARTIFACTS, "files of the attempt without a row"): {
        "select": {"job token"}, "insert": {"job token"}, "delete": {"job token"},
    },
    (ARTIFACTS, "another attempt of the job"): {"select": {"job token"}, "delete": {"job token"}},
    (ARTIFACTS, "another attempt of Ben's job"): {"select": {"foreign job token"}, "delete": {"foreign job token"}},
}  # fmt: skip


@pytest.fixture(scope="module")
def places(world: World) -> dict[str, str]:
    """A file in each kind of place; the same keys are there in every bucket."""
    anne, new, sql = world.anne.id, str(uuid.uuid4()), world.project.sql
    subject = sql("select subject_id from public.tasks where id = %s", world.task.task)[0]["subject_id"]
    unused = world.shop.add_dataset()
    made = {
        "Anne's folder": f"{anne}/notes",
        "a folder of hers": f"{anne}/x/y/z",
        "the job's data set": f"{anne}/datasets/{world.dataset}/data",
        "another data set": f"{anne}/datasets/{unused}/data",
        "the task's data set": f"{anne}/datasets/{subject}/data",
        "issues of the task's data set": f"{anne}/datasets/{subject}/issues.jsonl",
        "a new data set": f"{anne}/datasets/{new}/data",
        "an artifact of the attempt": f"{world.artifact['path']}/adapter.safetensors",
        "files of the attempt without a row": f"{world.stray['path']}/adapter.safetensors",
        "another attempt of the job": f"{anne}/jobs/{world.job.job}/2/{new}/a",
        "another job": f"{anne}/jobs/{world.queued}/1/{new}/a",
        "Ben's folder": f"{world.ben.id}/notes",
        "Ben's data set": f"{world.ben.id}/datasets/{world.bens_dataset}/data",
        "another attempt of Ben's job": f"{world.ben.id}/jobs/{world.foreign.job}/2/{new}/a",
    }
    world.objects({bucket: list(made.values()) for bucket in BUCKETS})
    return made


def allowed(bucket: str, place: str, verb: str) -> set[str]:
    """Who may do that there, by the table."""
    people = {"other person"} if "Ben's" in place else OWNER
    return people | MACHINES.get((bucket, place), {}).get(verb, set())


@pytest.mark.parametrize("verb", ["select", "update", "delete"])
def test_files_are_reached_by_whom_they_are_for(world: World, places: dict[str, str], verb: str) -> None:
    queries = {
        "select": "select 1 from storage.objects where bucket_id = %s and name = %s",
        "update": "update storage.objects set metadata = '{}' where bucket_id = %s and name = %s",
        "delete": "delete from storage.objects where bucket_id = %s and name = %s",
    }
    found, expected = {}, {}
    for bucket in BUCKETS:
        for place, key in places.items():
            for name in CALLERS:
                found[bucket, place, name] = world.callers[name].outcome(queries[verb], bucket, key)
                expected[bucket, place, name] = "done" if name in allowed(bucket, place, verb) else "nothing"
    assert found == expected


def test_files_are_stored_by_whom_they_are_for(world: World, places: dict[str, str]) -> None:
    found, expected = {}, {}
    for bucket in BUCKETS:
        for place, key in places.items():
            # The file itself is stored anew, as if it were not there yet.
            world.project.sql("set session_replication_role = replica")
            world.project.sql("delete from storage.objects where bucket_id = %s and name = %s", bucket, key)
            world.project.sql("set session_replication_role = origin")
            for name in CALLERS:
                found[bucket, place, name] = world.callers[name].outcome(
                    "insert into storage.objects (bucket_id, name) values (%s, %s)", bucket, key
                )
                expected[bucket, place, name] = (
                    "done" if name in allowed(bucket, place, "insert") else "refused"
                )
            world.objects({bucket: [key]})
    assert found == expected


@pytest.mark.parametrize("verb", ["select", "insert", "update", "delete"])
def test_buckets_are_nobodys_to_change(world: World, verb: str) -> None:
    """Without a policy, row-level security lets nobody see or change a bucket."""
    queries = {
        "select": ("select 1 from storage.buckets", "nothing"),
        "insert": ("insert into storage.buckets (id, name, public) values ('mine', 'mine', true)", "refused"),
        "update": ("update storage.buckets set public = true", "nothing"),
        "delete": ("delete from storage.buckets", "nothing"),
    }
    query, expected = queries[verb]
    assert {world.callers[name].outcome(query) for name in CALLERS} == {expected}


TRICKS = [
    "{anne}/../{ben}/x",
    "{anne}/./x",
    "{anne}//x",
    "{anne}/",
    "{anne}/x/",
    "{anne}/x/..",
    "{anne}",
    "{anne}x/y",
    "{anne}0",
    "/{anne}/x",
    "//{anne}/x",
    "./{anne}/x",
    "../{anne}/x",
    "{ANNE}/x",
    " {anne}/x",
    "{anne} /x",
    "{anne}\\x",
    "{anne}%2Fx",
    "{anne}\u2215x",
    "{short}/x",
    "x/{anne}/x",
    "{ben}/../{anne}/x",
    "",
    "/",
    "//",
    ".",
    "..",
    "x",
]


@pytest.mark.parametrize("bucket", BUCKETS)
def test_path_tricks_store_nothing(world: World, bucket: str) -> None:
    """Names that begin like one's own folder but are none, or lead out of it. Ben's folder is Ben's, by whatever way."""
    found = {}
    for trick in TRICKS:
        anne, ben = world.anne.id, world.ben.id
        key = trick.format(anne=anne, ben=ben, ANNE=anne.upper(), short=anne[:8])
        assert key != f"{anne}/x"
        for name in CALLERS:
            query = "insert into storage.objects (bucket_id, name) values (%s, %s)"
            found[trick, name] = world.callers[name].outcome(query, bucket, key)
    assert {key: answer for key, answer in found.items() if answer != "refused"} == {}


JOB_TRICKS = [
    "{folder}/{new}/../../../../{other}/x",
    "{folder}/{new}/./x",
    "{folder}/{new}//x",
    "{folder}//{new}/x",
    "{folder}/{new}/",
    "{folder}/{new}",
    "{folder}0/{new}/x",
    "{FOLDER}/{new}/x",
    "/{folder}/{new}/x",
    "{folder}/../2/{new}/x",
]


def test_path_tricks_of_an_attempt_store_nothing(world: World) -> None:
    folder = f"{world.anne.id}/jobs/{world.job.job}/1"
    for trick in JOB_TRICKS:
        new = str(uuid.uuid4())
        key = trick.format(folder=folder, FOLDER=folder.upper(), new=new, other=world.ben.id)
        for bucket in BUCKETS:
            query = "insert into storage.objects (bucket_id, name) values (%s, %s)"
            for name in ("job token", "foreign job token", "task token", "runner token", "anonymous"):
                assert world.callers[name].outcome(query, bucket, key) == "refused", (trick, bucket, name)


@pytest.mark.parametrize("to", ["{ben}/x", "{anne}/../{ben}/x", "{anne}//x", "{anne}", "x", ""])
def test_a_file_is_not_moved_out_of_ones_folder(world: World, places: dict[str, str], to: str) -> None:
    key = to.format(anne=world.anne.id, ben=world.ben.id)
    query = "update storage.objects set name = %s where name = %s"
    assert world.callers["owner"].outcome(query, key, places["Anne's folder"]) == "refused"


def test_a_file_is_not_moved_into_another_bucket_of_the_project(world: World, places: dict[str, str]) -> None:
    world.project.sql(
        "insert into storage.buckets (id, name) values ('other', 'other') on conflict do nothing"
    )
    for name in CALLERS:
        query = "update storage.objects set bucket_id = 'other' where name = %s"
        assert world.callers[name].outcome(query, places["Anne's folder"]) in ("refused", "nothing"), name


@pytest.mark.parametrize(
    "headers",
    [
        {"x-job-token": "{upper}"},
        {"x-job-token": "{token}, {token}"},
        {"x-job-token": " {token}"},
        {"x-job-token": "Bearer {token}"},
        {"x-job-token": "{token}{token}"},
        {"x-job-token": "x" * 1_000_000},
        {"x-job-token": ""},
        {"x-job-token": "ÄÖÜ€🙂\u0301"},
        {"x-job-token": "' or true or '"},
        {"x-job-tokens": "{token}"},
        {"x_job_token": "{token}"},
        {"authorization": "Bearer {token}"},
        {"cookie": "x-job-token={token}"},
    ],
    ids=lambda headers: str(headers)[:40],
)
def test_a_header_that_is_not_the_token_opens_nothing(world: World, headers: dict[str, str]) -> None:
    token = world.job.value
    sent = {
        name: value.format(token=token, upper=token.upper()) if "{" in value else value
        for name, value in headers.items()
    }
    with world.project.as_role("anon", headers=sent) as connection:
        assert connection.execute("select 1 from storage.objects").fetchall() == []


@pytest.mark.parametrize(
    "headers", ["", "{}", "null", "[]", '"x"', '{"x-job-token": null}', '{"x-job-token": {"a": 1}}']
)
def test_headers_of_any_form_open_nothing(world: World, headers: str) -> None:
    with world.project.as_role("anon") as connection:
        connection.execute("select set_config('request.headers', %s, false)", (headers,))
        assert connection.execute("select 1 from storage.objects").fetchall() == []


def test_a_name_of_a_header_is_written_in_any_case(world: World) -> None:
    """HTTP knows no case of names: the service hands them over in small letters."""
    with world.project.as_role("anon", headers={"X-JOB-TOKEN": world.job.value}) as connection:
        assert connection.execute("select 1 from storage.objects").fetchall() != []
