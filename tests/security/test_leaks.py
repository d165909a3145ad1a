"""What one person learns of another: of a shared runner its machine, as the operator sums, and nothing from errors."""

import json
import uuid
from typing import Any

import psycopg
import pytest

from tests.supabase_sql.stage import hex_of, refused
from tests.supabase_sql.workshop import Workshop, new_token, runner_of
from tests.supastub.rig import Person

SECRET = "Zebrafish"
"""In every name and text of Anne's: nothing that others are told may hold it."""


@pytest.fixture
def ben(shop: Workshop) -> Person:
    """Another person."""
    return shop.project.add_person(email="ben@studio.test")


@pytest.fixture
def olga(shop: Workshop) -> Person:
    """The operator."""
    return shop.project.add_person(email="olga@studio.test", operator=True)


def annes_life(shop: Workshop) -> dict[str, str]:
    """Let Anne have something of everything, all with the word in it; return the ids."""
    dataset = shop.add_dataset(name=f"{SECRET} data", file_name=f"{SECRET}.jsonl")
    held = shop.running(name=f"{SECRET} job", config={"note": SECRET}, dataset_id=dataset)
    held.ship(
        points=[held.point(1, loss=1.0, extra={"note": SECRET})],
        logs=[held.event(level="info", source="x", text=SECRET)],
        samples=[held.event(step=1, data={"text": SECRET})],
        alerts=[held.event(text=SECRET)],
    )
    artifact = held.put(held.artifact(name=f"{SECRET} adapter"))
    held.end("failed", error=SECRET)
    task = {
        "id": str(uuid.uuid4()),
        "kind": "check_dataset",
        "subject_id": dataset,
        "arguments": {"note": SECRET},
    }
    shop.asked_by(shop.anne, "add_task", task=task)
    queued = shop.submit(name=f"{SECRET} next", dataset_id=dataset)
    return {
        "dataset": dataset, "job": held.id, "artifact": artifact["id"], "task": task["id"], "queued": queued,
        "registration": shop.registration(shop.token),
    }  # fmt: skip


def visible(connection: psycopg.Connection[Any], shop: Workshop) -> str:
    """Return all that a person reads, as text."""
    rows = []
    for table in shop.sql("select tablename as name from pg_tables where schemaname = 'public' order by 1"):
        columns = shop.sql(
            "select attname as name from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
            " and has_column_privilege('authenticated', attrelid, attnum, 'select')",
            f"public.{table['name']}",
        )
        names = ", ".join(f'"{column["name"]}"' for column in columns)
        rows += connection.execute(f"select {names} from public.{table['name']}").fetchall()
    rows += connection.execute("select * from storage.objects").fetchall()
    return json.dumps(rows, default=str)


def test_nobody_reads_a_word_of_somebody_else(shop: Workshop, ben: Person, olga: Person) -> None:
    annes_life(shop)
    with shop.project.as_role("authenticated", {"sub": shop.anne.id}) as connection:
        assert SECRET in visible(connection, shop)
    for person in (ben, olga):
        with shop.project.as_role("authenticated", {"sub": person.id}) as connection:
            seen = visible(connection, shop)
        assert SECRET not in seen
        assert shop.anne.id not in seen


def test_the_operator_reads_sums_and_no_names(shop: Workshop, olga: Person) -> None:
    ids = annes_life(shop)
    totals = shop.asked_by(olga, "operator_totals")
    told = json.dumps(totals)
    assert SECRET not in told
    assert not [name for name, value in ids.items() if value in told]
    assert {key for person in totals for key in person} == {
        "user_id", "email", "operator", "created_at", "last_sign_in_at", "live_jobs", "jobs", "gpu_hours", "storage_bytes",
        "usd", "quota",
    }  # fmt: skip
    assert "invit" not in told
    shop.asked_by(
        olga,
        "operator_invite",
        id=str(uuid.uuid4()),
        email="new@x.test",
        code_sha256=hex_of("c"),
        valid_days=1,
    )
    invitations = shop.asked_by(olga, "operator_invitations")
    assert {key for row in invitations for key in row} == {
        "id",
        "email",
        "created_at",
        "expires_at",
        "accepted_at",
    }
    assert hex_of("c") not in json.dumps(invitations)


def test_of_a_shared_runner_the_team_sees_the_machine(shop: Workshop, ben: Person, olga: Person) -> None:
    """And not whose job it works on: its state says that it trains, and no more."""
    annes_life(shop)
    token = shop.register(olga, "team")
    shop.ask("runner_announce", token=token, runner=runner_of("big"))
    claim = shop.claim(runner_of("big"), token=token)
    assert claim is not None
    shop.ask("runner_announce", token=token, runner=runner_of("big", state="training"))
    shop.ask("runner_announce", token=shop.token, runner=runner_of("annes"))
    with shop.project.as_role("authenticated", {"sub": ben.id}) as connection:
        rows = connection.execute("select * from public.runners").fetchall()
        assert [row["id"] for row in rows] == ["big"]
        assert set(rows[0]) == {
            "id", "registration_id", "user_id", "scope", "name", "version", "roles", "cpus", "memory_gb", "gpus",
            "gpu_memory_gb", "state", "started_at", "seen_at", "slots",
        }  # fmt: skip
        assert connection.execute("select 1 from public.runner_registrations").fetchall() == []
        seen = visible(connection, shop)
    assert SECRET not in seen
    assert shop.anne.id not in seen
    assert claim["job"]["id"] not in seen


def test_of_the_queue_one_learns_how_many_are_before_and_how_long_they_take(
    shop: Workshop, ben: Person, olga: Person
) -> None:
    """Numbers of jobs and of slots; nothing that says whose or which."""
    annes_life(shop)
    token = shop.register(olga, "team")
    shop.ask("runner_announce", token=token, runner={**runner_of("big"), "state": "training"})
    place = shop.asked_by(ben, "queue_place", job=shop.submit(ben, created_at="2026-06-01"))
    assert set(place) == {
        "now", "not_before", "retry_at", "online", "wanted", "runners", "position", "ahead", "quota",
    }  # fmt: skip
    assert (place["position"], place["quota"], place["online"]) == (1, None, [{"limit": 1, "held": []}])
    assert place["ahead"] == [{"seconds": None, "mine": False, "runners": [0]}]
    assert shop.anne.id not in json.dumps(place)


def test_nothing_that_anybody_may_ask_tells_of_people(shop: Workshop) -> None:
    annes_life(shop)
    for function in ("studio_about", "sign_up_is_open"):
        told = json.dumps(shop.ask(function))
        assert SECRET not in told
        assert shop.anne.id not in told
        assert shop.project.url not in told
    about = shop.ask("runner_about", token=shop.token)
    assert set(about) == {"id", "name", "scope"}


def test_errors_quote_nothing_of_somebody_else(shop: Workshop, ben: Person, olga: Person) -> None:
    ids = annes_life(shop)
    fresh, runner = str(uuid.uuid4()), shop.register(ben)
    own = shop.submit(ben)
    claim = shop.claim(runner_of("bens"), token=runner)
    assert claim is not None
    assert claim["job"]["id"] == own
    key = {"token": claim["token"], "job": own, "attempt": 1}
    past = "2026-03-01T12:00:00Z"
    calls: list[tuple[str, dict[str, Any]]] = [
        ("submit_job", {"job": {"id": ids["job"], "name": "x", "config": {}, "dataset_id": ids["dataset"]}}),
        ("submit_job", {"job": {"id": fresh, "name": "x", "config": {}, "dataset_id": ids["dataset"]}}),
        ("submit_job", {"job": {"id": fresh, "name": "x", "config": {}, "dataset_id": fresh,
                                "parent_artifact_id": ids["artifact"]}}),
        ("request_job", {"job": ids["job"], "action": "cancel", "request_id": "r"}),
        ("move_job", {"job": ids["job"], "to": "queued"}),
        ("rename_job", {"job": ids["job"], "name": "x"}),
        ("delete_job", {"job": ids["job"]}),
        ("hand_out_job", {"job": ids["queued"], "token_sha256": hex_of("x"), "wait_seconds": 60}),
        ("job_series", {"job": ids["job"], "kind": "train", "columns": "{loss}"}),
        ("pin_artifact", {"artifact": ids["artifact"], "pinned": True}),
        ("delete_artifact", {"artifact": ids["artifact"]}),
        ("add_task", {"task": {"id": ids["task"], "kind": "check_dataset", "subject_id": ids["dataset"]}}),
        ("register_runner", {"id": ids["registration"], "name": "x", "scope": "mine", "token_sha256": hex_of("y")}),
        ("register_runner", {"id": fresh, "name": "x", "scope": "mine", "token_sha256": hex_of(shop.token)}),
        ("revoke_runner", {"id": ids["registration"]}),
        ("import_job", {"job": {"id": ids["job"], "name": "x", "dataset_id": fresh, "config": {}, "status": "failed",
                                "created_at": past, "updated_at": past}}),
        ("import_notifications", {"rows": [{"id": fresh, "job_id": ids["job"], "kind": "x", "title": "x", "created_at": past}]}),
        ("finish_import", {"job": ids["job"], "expected": {}}),
        ("operator_totals", {}),
    ]  # fmt: skip
    machine_calls: list[tuple[str, dict[str, Any]]] = [
        ("runner_announce", {"token": runner, "runner": runner_of()}),
        ("job_dataset", {**key, "dataset": ids["dataset"]}),
        ("job_artifact", {**key, "artifact": ids["artifact"]}),
        ("job_put_artifact", {**key, "artifact": {"id": ids["artifact"], "job_id": own}}),
        ("job_renew", {**key, "job": ids["job"], "lease_seconds": 30}),
    ]
    shop.ask("runner_announce", token=shop.token, runner=runner_of())
    told = []
    for function, parameters in calls:
        with pytest.raises(psycopg.Error) as caught:
            shop.asked_by(ben, function, **parameters)
        told.append(
            f"{function}: {caught.value} {caught.value.diag.message_hint} {caught.value.diag.message_detail}"
        )
    for function, parameters in machine_calls:
        with pytest.raises(psycopg.Error) as caught:
            shop.ask(function, **parameters)
        told.append(
            f"{function}: {caught.value} {caught.value.diag.message_hint} {caught.value.diag.message_detail}"
        )
    for words in told:
        assert SECRET not in words, words
        assert shop.anne.id not in words, words
        assert shop.anne.email not in words, words


@pytest.mark.parametrize("table", ["datasets", "training_configs"])
def test_a_key_that_is_taken_tells_only_that_it_is(shop: Workshop, ben: Person, table: str) -> None:
    taken = shop.add_dataset(name=SECRET)
    rows = {
        "datasets": f"'{ben.id}', 'x', '', 'lora-datasets', '{ben.id}/x/data', 1",
        "training_configs": f"'{ben.id}', 'x', false, '{{}}'",
    }
    if table == "training_configs":
        shop.sql(
            "insert into public.training_configs (id, user_id, name, config) values (%s, %s, %s, '{}')",
            taken,
            shop.anne.id,
            SECRET,
        )
    with (
        shop.project.as_role("authenticated", {"sub": ben.id}) as connection,
        pytest.raises(psycopg.errors.UniqueViolation) as caught,
    ):
        connection.execute(f"insert into public.{table} values ('{taken}', {rows[table]})")
    assert SECRET not in str(caught.value)
    assert shop.anne.id not in str(caught.value)


def test_how_much_room_somebody_has_is_not_told(shop: Workshop, ben: Person) -> None:
    """The check of the limit comes before the policy does."""
    shop.sql("insert into public.quotas (user_id, storage_bytes) values (%s, 12345678)", shop.anne.id)
    with shop.project.as_role("authenticated", {"sub": ben.id}) as connection, refused("42501"):
        connection.execute(
            "insert into public.datasets (id, user_id, name, storage_bucket, storage_path, bytes)"
            " values (gen_random_uuid(), %s, 'x', 'lora-datasets', %s || '/x', 100000000000)",
            [shop.anne.id, shop.anne.id],
        )


def test_an_invitation_tells_nobody_who_is_here(shop: Workshop, ben: Person) -> None:
    """Only the operator may ask about addresses, and only an address with its code lets somebody in."""
    with refused("PT403"):
        shop.asked_by(
            ben,
            "operator_invite",
            id=str(uuid.uuid4()),
            email=shop.anne.email,
            code_sha256=hex_of("x"),
            valid_days=1,
        )
    for email, code in ((shop.anne.email, "x"), ("nobody@x.test", new_token())):
        with pytest.raises(psycopg.Error) as caught:
            shop.sql(
                "insert into auth.users (id, email, raw_user_meta_data) values (gen_random_uuid(), %s, %s)",
                f"x{email}", json.dumps({"invitation": code}),
            )  # fmt: skip
        assert caught.value.diag.message_primary == "This studio is by invitation."
