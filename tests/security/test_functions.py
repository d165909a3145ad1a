"""Every function of schema public x every kind of caller, and every token function x every kind of token.

Functions come from the database's catalogue: a new one fails here until the tables below say who calls it with what.
"""

import uuid
from typing import Any

import pytest

from tests.security.world import CALLERS, PEOPLE, World
from tests.supabase_sql.stage import hex_of
from tests.supabase_sql.workshop import runner_of

FUNCTIONS = """
select p.proname as name, pg_get_function_identity_arguments(p.oid) as arguments, p.proargnames as names, array(
    select format_type(t, null) from unnest(p.proargtypes) with ordinality u (t, place) order by place
) as types
from pg_proc p where p.pronamespace = 'public'::regnamespace order by 1
"""
NEW = object()
"""Stands for an id that was never used."""

# name: (parameters with Anne's things, what another person gets, what the operator gets). Anne gets what she asks for.
OF_PEOPLE: dict[str, tuple[dict[str, Any], str, str]] = {
    "submit_job": (
        {"p_job": {"id": NEW, "name": "x", "config": {}, "dataset_id": "dataset"}},
        "PT404",
        "PT404",
    ),
    "request_job": ({"p_job": "job", "p_action": "cancel", "p_request_id": "r"}, "PT404", "PT404"),
    "move_job": ({"p_job": "queued", "p_to": "cancelled"}, "PT404", "PT404"),
    "rename_job": ({"p_job": "job", "p_name": "x"}, "PT404", "PT404"),
    "delete_job": ({"p_job": "ended"}, "PT404", "PT404"),
    "hand_out_job": ({"p_job": "queued", "p_token_sha256": "hash", "p_wait_seconds": 60}, "PT404", "PT404"),
    "prioritise_job": ({"p_job": "queued", "p_priority": 100}, "PT404", "PT404"),
    "start_job_after": ({"p_job": "queued", "p_moment": None}, "PT404", "PT404"),
    "archive_job": ({"p_job": "ended", "p_archived": True}, "PT404", "PT404"),
    "queue_place": ({"p_job": "queued"}, "PT404", "PT404"),
    "job_counts": ({}, "done", "done"),
    "jobs_at_work": ({}, "done", "done"),
    "end_lost_attempts": ({}, "done", "done"),
    "job_series": ({"p_job": "job", "p_kind": "train", "p_columns": ["loss"]}, "PT404", "PT404"),
    "pin_artifact": ({"p_artifact": "artifact", "p_pinned": True}, "PT404", "PT404"),
    "delete_artifact": ({"p_artifact": "old artifact"}, "PT404", "PT404"),
    # A task may name anything; it is done with what its own person has (tests/supabase_sql/test_tasks.py).
    "add_task": ({"p_task": {"id": NEW, "kind": "check_dataset", "subject_id": "dataset"}}, "done", "done"),
    "register_runner": (
        {"p_id": NEW, "p_name": "x", "p_scope": "mine", "p_token_sha256": "hash"},
        "done",
        "done",
    ),
    "revoke_runner": ({"p_id": "registration"}, "PT404", "PT404"),
    "add_notification_route": ({"p_route": "new route"}, "done", "done"),
    "set_route_events": ({"p_route": "route", "p_events": []}, "PT404", "PT404"),
    "notification_routes_now": ({}, "done", "done"),
    "test_notification_route": ({"p_route": "route", "p_notification": NEW}, "PT404", "PT404"),
    "import_job": ({"p_job": "imported job"}, "PT409", "PT409"),
    "import_attempts": ({"p_job": "importing", "p_rows": []}, "PT404", "PT404"),
    "import_events": ({"p_job": "importing", "p_first": 0, "p_rows": []}, "PT404", "PT404"),
    "import_points": ({"p_job": "importing", "p_rows": []}, "PT404", "PT404"),
    "import_logs": ({"p_job": "importing", "p_rows": []}, "PT404", "PT404"),
    "import_samples": ({"p_job": "importing", "p_rows": []}, "PT404", "PT404"),
    "import_artifact": ({"p_artifact": "artifact document"}, "PT404", "PT404"),
    "import_notifications": ({"p_rows": "notice of the job"}, "PT409", "PT409"),
    "finish_import": ({"p_job": "importing", "p_expected": "counts"}, "PT404", "PT404"),
}
# name: parameters. The operator alone gets an answer.
OF_OPERATOR: dict[str, dict[str, Any]] = {
    "operator_totals": {},
    "operator_set_quota": {"p_quota": {"user_id": "anne"}},
    "operator_invitations": {},
    "operator_invite": {"p_id": NEW, "p_email": "new@studio.test", "p_code_sha256": "hash"},
    "operator_withdraw": {"p_id": NEW},
    "operator_sign_up_is_open": {},
    "operator_open_sign_up": {"p_open": True},
}
FOR_ALL: dict[str, dict[str, Any]] = {"sign_up_is_open": {}, "studio_about": {}}
OF_SET_UP = {"setup_invite"}

RUNNER = {"p_runner": runner_of(), "p_lease_seconds": 30}
# name: (which credential opens it, its other parameters)
OF_TOKENS: dict[str, tuple[str, dict[str, Any]]] = {
    "runner_about": ("runner", {}),
    "runner_announce": ("runner", {"p_runner": runner_of()}),
    "runner_claim": ("runner", {**RUNNER, "p_job_token_sha256": "hash"}),
    "task_claim": ("runner", {**RUNNER, "p_task_token_sha256": "hash"}),
    "delivery_claim": ("runner", {"p_claim": NEW, "p_key_ids": "{k}", "p_lease_seconds": 30}),
    "delivery_end": ("runner", {"p_claim": "claim", "p_state": "sent", "p_error": "", "p_wait_seconds": 0}),
    "job_take": ("job", RUNNER),
    "job_renew": ("job", {"p_job": "job", "p_attempt": 1, "p_lease_seconds": 30}),
    "job_ship": ("job", {"p_job": "job", "p_attempt": 1, "p_batch": {"count": 0}}),
    "job_dataset": ("job", {"p_job": "job", "p_attempt": 1, "p_dataset": "dataset"}),
    "job_artifact": ("job", {"p_job": "job", "p_attempt": 1, "p_artifact": "artifact"}),
    "job_put_artifact": ("job", {"p_job": "job", "p_attempt": 1, "p_artifact": "artifact document"}),
    "job_drop_artifact": ("job", {"p_job": "job", "p_attempt": 1, "p_artifact": "artifact"}),
    "job_end": ("job", {"p_job": "job", "p_attempt": 1, "p_end": {"outcome": "completed"}}),
    "task_progress": ("task", {"p_task": "task", "p_progress": 0.5, "p_message": "", "p_lease_seconds": 30}),
    "task_end": ("task", {"p_task": "task", "p_error": ""}),
    "task_dataset": ("task", {"p_task": "task"}),
    "task_peer": ("task", {"p_task": "task"}),
    "task_save_dataset": ("task", {"p_task": "task", "p_dataset": "task's data set"}),
    "task_add_dataset": ("task", {"p_task": "task", "p_dataset": "task's new version"}),
}
# What each credential gets of the functions that another opens.
TOKEN_ANSWERS = {
    "runner": {
        "runner": "done",
        "job": "PT401",
        "foreign job": "PT401",
        "task": "PT401",
        "foreign task": "PT401",
    },
    "job": {
        "runner": "PT401",
        "job": "done",
        "foreign job": "PT409",
        "task": "PT401",
        "foreign task": "PT401",
    },
    "task": {
        "runner": "PT401",
        "job": "PT401",
        "foreign job": "PT401",
        "task": "done",
        "foreign task": "PT404",
    },
}
NO_TOKENS = ["", " ", "lsr_", "lsj_unknown", "x" * 201, "x" * 1_000_000, "ÄÖÜ€🙂", "' or true --", None]


@pytest.fixture(scope="module")
def things(world: World) -> dict[str, Any]:
    """What the names in the tables above stand for."""
    shop, anne = world.shop, world.anne
    ended = shop.submit()
    shop.asked_by(anne, "move_job", job=ended, to="cancelled")
    importing = str(uuid.uuid4())
    times = {"created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z"}
    imported = {
        "id": importing, "name": "Old", "dataset_id": world.dataset, "config": {}, "status": "cancelled", **times
    }  # fmt: skip
    shop.asked_by(anne, "import_job", job=imported)
    row = world.project.sql("select to_jsonb(d) as row from public.datasets d where id = %s", world.dataset)
    subject = world.project.sql("select subject_id from public.tasks where id = %s", world.task.task)[0][
        "subject_id"
    ]
    of_task = row[0]["row"] | {"id": subject}
    version = str(uuid.uuid4())
    path = f"{anne.id}/datasets/{version}/data"
    shop.store(path, bucket="lora-datasets")
    old = world.held.put(world.held.artifact(step=50))
    world.project.sql(
        "update public.model_artifacts set created_at = created_at - interval '1 day' where id = %s",
        old["id"],
    )
    route = world.row("notification_routes")["id"]
    claim = str(uuid.uuid4())
    world.project.sql(
        "insert into private.notification_deliveries (notification_id, route_id, user_id, state, claim_id)"
        " select n.id, %s, n.user_id, 'sending', %s from public.notifications n where n.user_id = %s limit 1",
        route,
        claim,
        anne.id,
    )
    return {
        "route": route,
        "claim": claim,
        "new route": {"id": str(uuid.uuid4()), "name": "x", "ciphertext": "x", "key_id": "k", "events": []},
        "dataset": world.dataset,
        "job": world.job.job,
        "queued": world.queued,
        "ended": ended,
        "importing": importing,
        "imported job": imported,
        "artifact": world.artifact["id"],
        "old artifact": old["id"],
        "artifact document": {**world.artifact, "created_at": "2026-03-01T12:00:00Z"},
        "registration": shop.registration(world.runner_token),
        "notice of the job": [
            {"id": str(uuid.uuid4()), "job_id": world.job.job, "kind": "x", "title": "x", **times}
        ],
        "counts": dict.fromkeys(("attempts", "events", "points", "logs", "samples", "artifacts"), 0),
        "hash": hex_of(str(uuid.uuid4())),
        "anne": anne.id,
        "task": world.task.task,
        "task's data set": of_task,
        "task's new version": of_task | {"id": version, "parent_id": subject, "storage_path": path},
    }


def filled(parameters: dict[str, Any], things: dict[str, Any]) -> dict[str, Any]:
    """Put ids and documents in the place of their names."""

    def fill(value: Any) -> Any:
        if value is NEW:
            return str(uuid.uuid4())
        if isinstance(value, dict):
            return {key: fill(inner) for key, inner in value.items()}
        return things.get(value, value) if isinstance(value, str) else value

    return {name: fill(value) for name, value in parameters.items()}


def test_every_function_has_its_entry(world: World) -> None:
    tables = [*OF_PEOPLE, *OF_OPERATOR, *FOR_ALL, *OF_SET_UP, *OF_TOKENS]
    assert sorted(tables) == [row["name"] for row in world.project.sql(FUNCTIONS)]


def test_each_kind_of_caller_may_call_its_own_functions_alone(world: World) -> None:
    """Asked with nothing but nulls: what counts is whether the database lets the caller in at all."""
    found, expected = {}, {}
    for row in world.project.sql(FUNCTIONS):
        marks = ", ".join(f"null::{kind}" for kind in row["types"])
        for name in CALLERS:
            answer = world.callers[name].outcome(f"select public.{row['name']}({marks})")
            found[row["name"], name] = answer == "refused"
            by_people = row["name"] in {*OF_PEOPLE, *OF_OPERATOR, *FOR_ALL}
            by_machines = row["name"] in {*OF_TOKENS, *FOR_ALL}
            expected[row["name"], name] = not (by_people if name in PEOPLE else by_machines)
    assert found == expected


def test_a_function_for_people_serves_the_owner_and_nobody_else(world: World, things: dict[str, Any]) -> None:
    found, expected = {}, {}
    for function, (parameters, other, operator) in OF_PEOPLE.items():
        answers = {
            "owner": "done",
            "owner with a job token": "done",
            "other person": other,
            "operator": operator,
        }
        for name in CALLERS:
            found[function, name] = world.callers[name].outcome_of_call(function, filled(parameters, things))
            expected[function, name] = answers.get(name, "refused")
    assert found == expected


def test_a_function_for_the_operator_serves_nobody_else(world: World, things: dict[str, Any]) -> None:
    found, expected = {}, {}
    for function, parameters in OF_OPERATOR.items():
        for name in CALLERS:
            found[function, name] = world.callers[name].outcome_of_call(function, filled(parameters, things))
            kind = "refused" if name not in PEOPLE else "PT403"
            expected[function, name] = "done" if name == "operator" else kind
    assert found == expected


def test_people_without_a_session_are_told_so(world: World, things: dict[str, Any]) -> None:
    calls = {name: parameters for name, (parameters, _, _) in OF_PEOPLE.items()} | OF_OPERATOR
    with world.project.as_role("authenticated") as connection:
        nobody = type(world.callers["owner"])("nobody", connection)
        found = {name: nobody.outcome_of_call(name, filled(given, things)) for name, given in calls.items()}
    # Of nobody there is no route to be found.
    nothing = {
        "set_route_events": "PT404",
        "test_notification_route": "PT404",
        "notification_routes_now": "done",
    }
    assert found == {name: nothing.get(name, "PT401") for name in calls}


def test_each_token_opens_its_own_functions_alone(world: World, things: dict[str, Any]) -> None:
    tokens = {
        "runner": world.runner_token,
        "job": world.job.value,
        "foreign job": world.foreign.value,
        "task": world.task.value,
        "foreign task": world.foreign_task.value,
    }
    anonymous = world.callers["anonymous"]
    found, expected = {}, {}
    for function, (kind, parameters) in OF_TOKENS.items():
        for name, token in tokens.items():
            answer = anonymous.outcome_of_call(function, {"p_token": token, **filled(parameters, things)})
            found[function, name] = answer
            expected[function, name] = TOKEN_ANSWERS[kind][name]
    # A job token takes up the attempt it stands for and no other, whoever holds it: there Ben gets his own job.
    expected["job_take", "foreign job"] = "PT409"
    assert found == expected


@pytest.mark.parametrize("token", NO_TOKENS, ids=lambda token: repr(token)[:20])
def test_what_is_no_token_opens_nothing(world: World, things: dict[str, Any], token: str | None) -> None:
    for function, (_, parameters) in OF_TOKENS.items():
        given = {"p_token": token, **filled(parameters, things)}
        assert world.callers["anonymous"].outcome_of_call(function, given) == "PT401", function


def test_a_header_adds_nothing_to_a_call(world: World, things: dict[str, Any]) -> None:
    """The token of a call is its parameter; what a header says counts for files alone."""
    for function, (_, parameters) in OF_TOKENS.items():
        given = {"p_token": "lsj_unknown", **filled(parameters, things)}
        for name in ("job token", "task token", "runner token"):
            assert world.callers[name].outcome_of_call(function, given) == "PT401", (function, name)


def test_a_signed_in_person_cannot_use_a_job_token(world: World, things: dict[str, Any]) -> None:
    for function, (_, parameters) in OF_TOKENS.items():
        given = {"p_token": world.job.value, **filled(parameters, things)}
        for name in PEOPLE:
            assert world.callers[name].outcome_of_call(function, given) == "refused", (function, name)
