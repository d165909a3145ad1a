"""Nobody forges a status, an event, a cost, a point, an attempt, a registration, an artifact, a quota or the imported mark.

Direct writes are in test_tables.py; here are the ways round: more keys in a document, another person's ids, paths into
another person's folder, the import.
"""

import uuid
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.supabase_sql.stage import hex_of, refused
from tests.supabase_sql.test_tasks import claimed
from tests.supabase_sql.workshop import Workshop, runner_of
from tests.supastub.rig import Person

PAST = "2026-03-01T12:00:00Z"


@pytest.fixture
def ben(shop: Workshop) -> Person:
    """Another person."""
    return shop.project.add_person(email="ben@studio.test")


def past_job(dataset: str, **changes: Any) -> dict[str, Any]:
    """Make a job as an import brings it."""
    job = {"id": str(uuid.uuid4()), "name": "Old", "dataset_id": dataset, "config": {}, "status": "cancelled"}
    return {**job, "created_at": PAST, "updated_at": PAST, **changes}


def row_of(shop: Workshop, table: str, row_id: str) -> dict[str, Any]:
    row: dict[str, Any] = shop.sql(f"select to_jsonb(t) as row from public.{table} t where id = %s", row_id)[
        0
    ]["row"]
    return row


# Documents with more in them than is asked for ---------------------------------------------------------------------------

DECIDED_HERE = {
    "status": "completed", "status_reason": "x", "requested_action": "cancel", "request_id": "x", "phase": "x",
    "progress": 1, "current_step": 7, "epoch": 7, "train_loss": 7, "eval_loss": 7, "best_eval_loss": 7, "best_step": 7,
    "checkpoint_step": 7, "tokens_per_second": 7, "elapsed_seconds": 7, "remaining_seconds": 7, "cost_usd": -7,
    "error": "x", "attempt": 7, "lost_attempts": 7, "imported": True, "started_at": PAST, "ended_at": PAST,
    "updated_at": PAST, "heartbeat_at": PAST, "archived_at": PAST, "resume_from": "00000000-0000-4000-8000-000000000001",
    "parent_job_id": "00000000-0000-4000-8000-000000000001", "retry_at": PAST,
}  # fmt: skip
ASKED_FOR = {
    "id", "name", "dataset_id", "dataset_name", "validation_dataset_id", "config", "target", "gpus", "gpu_memory_gb",
    "priority", "total_steps", "created_at", "not_before", "parent_artifact_id", "estimated_seconds",
}  # fmt: skip


def test_a_submitted_job_decides_nothing_about_its_state(shop: Workshop, ben: Person) -> None:
    columns = {row["column_name"] for row in shop.sql(
        "select column_name from information_schema.columns where table_schema = 'public' and table_name = 'training_jobs'"
    )}  # fmt: skip
    assert columns == {*DECIDED_HERE, *ASKED_FOR, "user_id"}, "a new column: who decides about it?"
    plain = row_of(shop, "training_jobs", shop.submit())
    forged = row_of(shop, "training_jobs", shop.submit(**DECIDED_HERE, user_id=ben.id))
    same = {*DECIDED_HERE, "user_id"} - {"updated_at"}
    assert {name: forged[name] for name in same} == {name: plain[name] for name in same}
    assert forged["updated_at"] > PAST


def test_a_job_starts_from_no_checkpoint_of_somebody_else(shop: Workshop, ben: Person) -> None:
    held = shop.running()
    artifact = held.put(held.artifact())["id"]
    with refused("PT404", "There is no such artifact (any more)."):
        shop.submit(ben, parent_artifact_id=artifact)
    mine = shop.submit(ben)
    shop.asked_by(ben, "move_job", job=mine, to="paused")
    with refused("PT404", "The job has no such checkpoint (any more)."):
        shop.asked_by(ben, "move_job", job=mine, to="queued", checkpoint=artifact)
    assert row_of(shop, "model_artifacts", artifact)["pinned"] is False


@pytest.mark.parametrize(("asked", "stored"), [(2**31 - 1, 100), (101, 100), (-(2**31), -100), (7, 7)])
def test_a_priority_has_its_bounds(shop: Workshop, asked: int, stored: int) -> None:
    assert row_of(shop, "training_jobs", shop.submit(priority=asked))["priority"] == stored


@pytest.mark.parametrize("priority", [2**31, 1e300, "high"])
def test_a_priority_is_a_number(shop: Workshop, priority: Any) -> None:
    with refused("22003" if priority != "high" else "22P02"):
        shop.submit(priority=priority)


@pytest.mark.parametrize(
    "changes",
    [
        {"created_at": "infinity"},
        {"created_at": "-infinity"},
        {"created_at": "0044-03-15 BC"},
        {"created_at": "9999-12-31"},
        {"gpu_memory_gb": "NaN"},
        {"gpu_memory_gb": "Infinity"},
    ],
)
def test_a_job_that_no_machine_could_read_is_refused(shop: Workshop, changes: dict[str, Any]) -> None:
    """It would stand at the head of everybody's queue."""
    dataset = shop.add_dataset()
    with refused("PT422"):
        shop.asked_by(
            shop.anne,
            "submit_job",
            job={"id": str(uuid.uuid4()), "name": "x", "dataset_id": dataset, "config": {}, **changes},
        )


@pytest.mark.parametrize(
    "changes", [{"created_at": "infinity"}, {"created_at": "0044-03-15 BC"}, {"arguments": [1]}]
)
def test_a_task_that_no_machine_could_read_is_refused(shop: Workshop, changes: dict[str, Any]) -> None:
    task = {"id": str(uuid.uuid4()), "kind": "check_dataset", "subject_id": "x", **changes}
    with refused("PT422"):
        shop.asked_by(shop.anne, "add_task", task=task)


@pytest.mark.parametrize(
    "changes",
    [
        {"created_at": "infinity"},
        {"created_at": "0044-03-15 BC"},
        {"sha256": "../../../etc/passwd"},
        {"sha256": "/etc/passwd"},
        {"sha256": "A" * 64},
        {"bytes": -1},
        {"storage_bucket": "model-artifacts"},
        {"storage_bucket": "other"},
        {"storage_path": "{ben}/datasets/x/data"},
        {"storage_path": "{anne}/../{ben}/datasets/x/data"},
        {"storage_path": "{anne}"},
        {"storage_path": "{anne}x/data"},
        {"storage_path": "{ANNE}/x/data"},
        {"storage_path": "{anne}/./data"},
        {"storage_path": "{anne}/x/.."},
        {"storage_path": " {anne}/x"},
        {"storage_path": ""},
    ],
)
def test_a_data_set_leads_nowhere_but_into_ones_own_folder(
    shop: Workshop, ben: Person, changes: dict[str, Any]
) -> None:
    """What machines may read follows from the row."""
    with shop.project.as_role("authenticated", {"sub": shop.anne.id}) as anne:
        row = {"id": str(uuid.uuid4()), "user_id": shop.anne.id, "name": "x", "bytes": 1}
        row |= {
            "storage_bucket": "lora-datasets",
            "storage_path": f"{shop.anne.id}/datasets/{row['id']}/data",
        }
        row |= {
            name: value.format(anne=shop.anne.id, ben=ben.id, ANNE=shop.anne.id.upper())
            if isinstance(value, str)
            else value
            for name, value in changes.items()
        }
        names = ", ".join(row)
        query = f"insert into public.datasets ({names}) select {names} from jsonb_populate_record(null::public.datasets, %s)"
        with refused("23514"):
            anne.execute(query, [Jsonb(row)])


def test_a_data_set_is_not_turned_to_another_file(shop: Workshop) -> None:
    dataset = shop.add_dataset()
    with shop.project.as_role("authenticated", {"sub": shop.anne.id}) as anne:
        for column in ("user_id", "storage_path", "storage_bucket", "bytes", "id", "parent_id", "created_at"):
            with refused("42501"):
                anne.execute(f"update public.datasets set {column} = {column} where id = %s", [dataset])
        with refused("23514"):
            anne.execute("update public.datasets set sha256 = '../../etc/passwd' where id = %s", [dataset])


# Runners ------------------------------------------------------------------------------------------------------------------


def test_a_runner_does_not_widen_its_scope_by_what_it_says(shop: Workshop, ben: Person) -> None:
    shop.submit(ben)
    said = runner_of(scope="team", user_id=ben.id, registration_id=str(uuid.uuid4()))
    shop.ask("runner_announce", token=shop.token, runner=said)
    row = shop.sql("select * from public.runners")[0]
    assert (row["scope"], str(row["user_id"]), str(row["registration_id"])) == (
        "mine", shop.anne.id, shop.registration(shop.token)
    )  # fmt: skip
    assert shop.claim(said) is None


def test_a_registration_is_not_made_for_the_team_by_asking_again(shop: Workshop) -> None:
    registration, token = shop.registration(shop.token), hex_of(shop.token)
    with refused("PT403"):
        shop.asked_by(
            shop.anne, "register_runner", id=registration, name="Shed", scope="team", token_sha256=token
        )
    with refused("PT409"):
        shop.asked_by(
            shop.anne, "register_runner", id=registration, name="Shed 2", scope="mine", token_sha256=token
        )
    assert shop.sql("select scope from public.runner_registrations") == [{"scope": "mine"}]


def test_nobody_takes_over_anothers_registration_or_token(shop: Workshop, ben: Person) -> None:
    registration, token = shop.registration(shop.token), hex_of(shop.token)
    for changes in ({"id": registration}, {"token_sha256": token}):
        asked = {
            "id": str(uuid.uuid4()),
            "name": "Shed",
            "scope": "mine",
            "token_sha256": hex_of("x"),
            **changes,
        }
        with refused("PT409"):
            shop.asked_by(ben, "register_runner", **asked)
    assert shop.registration(shop.token) == registration


def test_nobody_makes_a_job_token_that_stands_for_anothers_attempt(shop: Workshop, ben: Person) -> None:
    held = shop.held()
    mine = shop.submit(ben)
    with refused("PT409", "This job token is in use already."):
        shop.asked_by(ben, "hand_out_job", job=mine, token_sha256=hex_of(held.token), wait_seconds=60)
    runner = shop.register(ben)
    with refused("PT409", "This job token is in use already."):
        shop.claim(runner_of("bens"), token=runner, job_token=held.token)


def test_a_runner_token_is_no_job_token_and_the_other_way_round(shop: Workshop) -> None:
    held = shop.held()
    with refused("PT401"):
        shop.ask("job_renew", token=shop.token, job=held.id, attempt=1, lease_seconds=30)
    with refused("PT401"):
        shop.claim(token=held.token)
    task = claimed(shop)
    with refused("PT401"):
        shop.ask("job_renew", token=task.token, job=held.id, attempt=1, lease_seconds=30)
    with refused("PT401"):
        shop.ask("task_end", token=held.token, task=task.row["id"], error="")


def test_a_hash_is_no_token(shop: Workshop) -> None:
    """Who reads the table of hashes, or the log of a claim, has nothing that opens anything."""
    held = shop.held()
    for token in (hex_of(shop.token), hex_of(held.token), "\\x" + hex_of(held.token)):
        with refused("PT401"):
            shop.claim(token=token)
        with refused("PT401"):
            shop.ask("job_renew", token=token, job=held.id, attempt=1, lease_seconds=30)


# With a job token ---------------------------------------------------------------------------------------------------------


def test_a_batch_writes_into_no_other_job_and_for_no_other_person(shop: Workshop, ben: Person) -> None:
    other, held = shop.submit(ben), shop.running()
    forged = {"job_id": other, "user_id": ben.id, "attempt": 99, "hidden": True, "cost_usd": 1}
    held.ship(
        points=[held.point(1, loss=1.0) | forged],
        logs=[held.event(level="info", source="x", text="x") | forged],
        samples=[held.event(step=1, data={}) | forged],
        alerts=[held.event(text="x") | forged],
        phases=[held.event(name="training", status="completed") | forged],
    )
    for table in ("metrics_points", "log_lines", "samples"):
        rows = shop.sql(f"select job_id::text, user_id::text, attempt from public.{table}")
        assert rows == [{"job_id": held.id, "user_id": shop.anne.id, "attempt": 1}], table
    assert {str(row["user_id"]) for row in shop.sql("select user_id from public.notifications")} == {
        shop.anne.id
    }
    assert held.points()[0]["hidden"] is False
    assert row_of(shop, "training_jobs", held.id)["cost_usd"] == 0


def test_an_end_says_nothing_but_how_it_ended(shop: Workshop, ben: Person) -> None:
    held = shop.running()
    held.end("released", status="completed", cost_usd=-5, user_id=ben.id, attempt=0)
    row = row_of(shop, "training_jobs", held.id)
    assert (row["status"], row["cost_usd"], row["user_id"], row["attempt"]) == ("queued", 0, shop.anne.id, 1)


def test_an_echo_writes_no_words_of_its_own_into_the_audit_trail(shop: Workshop) -> None:
    held = shop.running()
    before = shop.events(held.id)
    held.ship(
        phases=[held.event(name="request", id="x", action="completed by the operator") for _ in range(1000)]
    )
    assert shop.events(held.id) == before


ARTIFACT_FORGERIES = [
    {"user_id": "{ben}"},
    {"job_id": "{other}"},
    {"path": "{ben}/jobs/{job}/1/{id}"},
    {"path": "{anne}/jobs/{other}/1/{id}"},
    {"path": "{anne}/jobs/{job}/2/{id}"},
    {"path": "{anne}/jobs/{job}/1/{id}/"},
    {"path": "{anne}/jobs/{job}/1/../1/{id}"},
    {"bucket": "lora-datasets"},
    {"files": [{"name": "../../../x", "bytes": 10, "sha256": "0" * 64}]},
    {"files": [{"name": "a//b", "bytes": 10, "sha256": "0" * 64}]},
    {"files": [{"name": "", "bytes": 10, "sha256": "0" * 64}]},
    {"files": []},
]


@pytest.mark.parametrize("changes", ARTIFACT_FORGERIES, ids=str)
def test_an_artifact_is_that_of_its_attempt(shop: Workshop, ben: Person, changes: dict[str, Any]) -> None:
    held = shop.running()
    other = shop.submit()
    artifact = held.artifact()
    names = {"ben": ben.id, "anne": shop.anne.id, "other": other, "job": held.id, "id": artifact["id"]}
    forged = {
        name: value.format(**names) if isinstance(value, str) else value for name, value in changes.items()
    }
    for key in (forged.get("path", ""), f"{forged.get('path', artifact['path'])}/adapter.safetensors"):
        shop.sql(
            "insert into storage.objects (bucket_id, name, metadata) values (%s, %s, '{\"size\": 10}') on conflict do nothing",
            forged.get("bucket", "model-artifacts"),
            key,
        )
    with pytest.raises(psycopg.Error) as caught:
        held.put(artifact | forged)
    assert caught.value.sqlstate in ("PT403", "PT422")
    assert shop.sql("select 1 from public.model_artifacts") == []


# With a task token --------------------------------------------------------------------------------------------------------


def test_a_task_saves_nothing_but_what_it_found(shop: Workshop, ben: Person) -> None:
    task = claimed(shop)
    before = task.dataset()
    forged = {
        "user_id": ben.id, "storage_path": f"{ben.id}/x", "storage_bucket": "training-files", "bytes": 0,
        "parent_id": str(uuid.uuid4()), "created_at": PAST,
    }  # fmt: skip
    after = task.save(before | forged | {"name": "Found"})
    assert after == before | {"name": "Found"}


def test_a_task_saves_no_other_data_set(shop: Workshop, ben: Person) -> None:
    task, of_ben = claimed(shop), shop.add_dataset(ben)
    for other in (shop.add_dataset(), of_ben):
        with refused("PT403"):
            task.save(task.dataset() | {"id": other})
    with refused("PT403"):
        task.add(task.version() | {"user_id": ben.id, "storage_path": f"{ben.id}/datasets/x/data"})


def test_a_task_about_anothers_data_set_gets_nothing_of_it(shop: Workshop, ben: Person) -> None:
    """A person may name any subject; the database looks for it among the person's own."""
    task = claimed(shop, shop.add_dataset(ben))
    row = row_of(shop, "datasets", task.row["subject_id"])
    with refused("PT404"):
        task.dataset()
    with refused("PT404"):
        task.save(row | {"name": "mine now"})
    assert row_of(shop, "datasets", task.row["subject_id"]) == row


# The import ---------------------------------------------------------------------------------------------------------------


def test_nothing_is_imported_into_a_job_that_was_made_here(shop: Workshop) -> None:
    held = shop.running()
    for function, more in (
        ("import_attempts", {"rows": []}),
        ("import_events", {"first": 0, "rows": []}),
        ("import_points", {"rows": []}),
        ("import_logs", {"rows": []}),
        ("import_samples", {"rows": []}),
        ("finish_import", {"expected": {}}),
    ):
        with refused("PT409"):
            shop.asked_by(shop.anne, function, job=held.id, **more)
    with refused("PT409"):
        shop.asked_by(shop.anne, "import_job", job=past_job(shop.add_dataset(), id=held.id))
    with refused("PT409"):
        shop.asked_by(
            shop.anne, "import_artifact", artifact=held.artifact() | {"created_at": PAST, "attempt": 1}
        )


def test_what_is_imported_is_marked_and_costs_nothing(shop: Workshop, ben: Person) -> None:
    job = past_job(shop.add_dataset(), priority=2**31 - 1)
    shop.asked_by(shop.anne, "import_job", job=job)
    attempt = {
        "number": 1, "imported": False, "outcome": "completed", "started_at": PAST, "ended_at": PAST,
    }  # fmt: skip
    for more in ({"user_id": ben.id}, {"registration_id": str(uuid.uuid4())}, {"lease_until": "2036-03-01"}):
        with refused("PT422"):
            shop.asked_by(shop.anne, "import_attempts", job=job["id"], rows=[attempt | more])
    shop.asked_by(shop.anne, "import_attempts", job=job["id"], rows=[attempt])
    event = {
        "at": PAST,
        "actor": "runner x",
        "action": "completed",
        "user_id": ben.id,
        "job_id": shop.submit(ben),
    }
    shop.asked_by(shop.anne, "import_events", job=job["id"], first=0, rows=[event])
    counts = {"attempts": 1, "events": 1, "points": 0, "logs": 0, "samples": 0, "artifacts": 0}
    shop.asked_by(shop.anne, "finish_import", job=job["id"], expected=counts)
    row = row_of(shop, "training_jobs", job["id"])
    assert (row["imported"], row["cost_usd"], row["priority"], row["user_id"]) == (True, 0, 100, shop.anne.id)
    stored = shop.attempt(job["id"], 1)
    assert (stored["imported"], str(stored["user_id"]), stored["registration_id"], stored["lease_until"]) == (
        True, shop.anne.id, None, None
    )  # fmt: skip
    assert "imported: completed" in shop.events(job["id"])
    assert "completed" not in shop.events(job["id"])
    assert (
        shop.sql("select 1 from public.job_events where user_id = %s and action like 'imported%%'", ben.id)
        == []
    )


@pytest.mark.parametrize(
    "key", ["cost_usd", "imported", "user_id", "attempt", "requested_action", "registration_id", "x"]
)
def test_a_job_is_imported_with_nothing_that_is_decided_here(shop: Workshop, key: str) -> None:
    with refused("PT422", f"{key} is not imported."):
        shop.asked_by(shop.anne, "import_job", job=past_job(shop.add_dataset(), **{key: 1}))


@pytest.mark.parametrize("status", ["queued", "initializing", "running"])
def test_no_live_job_is_imported(shop: Workshop, status: str) -> None:
    with refused("PT422"):
        shop.asked_by(shop.anne, "import_job", job=past_job(shop.add_dataset(), status=status))


def test_an_import_takes_no_data_set_job_or_file_of_others(shop: Workshop, ben: Person) -> None:
    of_ben, job_of_ben = shop.add_dataset(ben), shop.submit(ben)
    with refused("PT409"):
        shop.asked_by(shop.anne, "import_job", job=past_job(of_ben))
    with refused("PT409"):
        shop.asked_by(shop.anne, "import_job", job=past_job(shop.add_dataset(), id=job_of_ben))
    job = past_job(shop.add_dataset())
    shop.asked_by(shop.anne, "import_job", job=job)
    shop.asked_by(shop.anne, "import_attempts", job=job["id"], rows=[
        {"number": 1, "outcome": "completed", "started_at": PAST, "ended_at": PAST}
    ])  # fmt: skip
    artifact = {
        "id": str(uuid.uuid4()), "job_id": job["id"], "attempt": 1, "kind": "adapter", "name": "x", "created_at": PAST,
        "files": [{"name": "a", "bytes": 10, "sha256": "0" * 64}], "user_id": ben.id, "bucket": "lora-datasets",
    }  # fmt: skip
    shop.store(f"{ben.id}/jobs/{job['id']}/1/{artifact['id']}/a")
    with refused("PT409", "has not arrived"):
        shop.asked_by(
            shop.anne,
            "import_artifact",
            artifact=artifact | {"path": f"{ben.id}/jobs/{job['id']}/1/{artifact['id']}"},
        )
    with refused("PT409", "There is another job with this id."):
        shop.asked_by(shop.anne, "import_notifications", rows=[
            {"id": str(uuid.uuid4()), "job_id": job_of_ben, "kind": "x", "title": "x", "created_at": PAST, "user_id": ben.id}
        ])  # fmt: skip


def test_notifications_are_imported_for_oneself_alone(shop: Workshop, ben: Person) -> None:
    note = {"id": str(uuid.uuid4()), "kind": "x", "title": "x", "created_at": PAST, "user_id": ben.id}
    shop.asked_by(shop.anne, "import_notifications", rows=[note])
    assert [str(row["user_id"]) for row in shop.sql("select user_id from public.notifications")] == [
        shop.anne.id
    ]
    with refused("PT409"):
        shop.asked_by(ben, "import_notifications", rows=[note])


# Quotas -------------------------------------------------------------------------------------------------------------------


def limit(shop: Workshop, **limits: float) -> None:
    names, marks = ", ".join(limits), ", ".join(["%s"] * len(limits))
    shop.sql(
        f"insert into public.quotas (user_id, {names}) values (%s, {marks})", shop.anne.id, *limits.values()
    )


def add_row(shop: Workshop, path: str, size: int) -> None:
    """Enter a data set as a person does."""
    with shop.project.as_role("authenticated", {"sub": shop.anne.id}) as anne:
        anne.execute(
            "insert into public.datasets (id, user_id, name, storage_bucket, storage_path, bytes)"
            " values (gen_random_uuid(), %s, 'x', 'lora-datasets', %s, %s)",
            [shop.anne.id, path, size],
        )


def upload(shop: Workshop, key: str) -> None:
    """Store a file as a person does: the service asks before it knows the size."""
    with shop.project.as_role("authenticated", {"sub": shop.anne.id}) as anne:
        anne.execute("insert into storage.objects (bucket_id, name) values ('lora-datasets', %s)", [key])


def test_a_data_set_that_is_larger_than_it_says_counts_as_it_is(shop: Workshop) -> None:
    limit(shop, storage_bytes=1000)
    path = f"{shop.anne.id}/datasets/x/data"
    shop.store(path, size=2000, bucket="lora-datasets")
    with refused("PT422", "The storage limit is"):
        add_row(shop, path, 1)


def test_files_without_a_row_count_too(shop: Workshop) -> None:
    limit(shop, storage_bytes=1000)
    for number in range(11):
        shop.store(f"{shop.anne.id}/hoard/{number}", size=100, bucket="training-files")
    with refused("PT422", "The storage limit is"):
        shop.submit()


def test_a_file_and_its_row_count_once(shop: Workshop) -> None:
    limit(shop, storage_bytes=1000)
    path = f"{shop.anne.id}/datasets/x/data"
    shop.store(path, size=1000, bucket="lora-datasets")
    add_row(shop, path, 1000)
    assert shop.sql("select private.stored_bytes(%s) as n", shop.anne.id) == [{"n": 1000}]


def test_files_of_others_do_not_count(shop: Workshop, ben: Person) -> None:
    for person in (ben.id, shop.anne.id + "x"):
        shop.store(f"{person}/x", size=10**6, bucket="lora-datasets")
    assert shop.sql("select private.stored_bytes(%s) as n", shop.anne.id) == [{"n": 0}]


def test_beyond_the_limit_no_more_files_are_taken(shop: Workshop) -> None:
    limit(shop, storage_bytes=1000)
    upload(shop, f"{shop.anne.id}/a")
    shop.store(f"{shop.anne.id}/b", size=1001, bucket="lora-datasets")
    with refused("42501"):
        upload(shop, f"{shop.anne.id}/c")
    shop.sql("update public.quotas set storage_bytes = null")
    upload(shop, f"{shop.anne.id}/c")


def test_a_job_token_is_not_kept_from_saving_by_the_limit(shop: Workshop) -> None:
    """A checkpoint that cannot be stored would cost the work of hours; what is full is told before a job begins."""
    held = shop.running()
    limit(shop, storage_bytes=1)
    held.put(held.artifact())
