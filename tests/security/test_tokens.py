"""How long a token lives, and what ends it. Asked is every door it opens: the functions, and the files."""

import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.supabase_sql.stage import hex_of
from tests.supabase_sql.test_tasks import Errand, claimed
from tests.supabase_sql.workshop import Held, Workshop, new_token, runner_of
from tests.supastub.rig import Person

HOUR = 3600.0


def code_of(work: Callable[[], Any]) -> str:
    """Return 'done', or the code of the refusal."""
    try:
        work()
    except psycopg.Error as error:
        return error.sqlstate or ""
    return "done"


def files_seen(shop: Workshop, token: str) -> int:
    with shop.project.as_role("anon", headers={"x-job-token": token}) as connection:
        return len(connection.execute("select 1 from storage.objects").fetchall())


def stores(shop: Workshop, held: Held) -> str:
    key = f"{shop.anne.id}/jobs/{held.id}/{held.number}/{uuid.uuid4()}/a"
    with shop.project.as_role("anon", headers={"x-job-token": held.token}) as connection:
        return code_of(
            lambda: connection.execute(
                "insert into storage.objects (bucket_id, name) values ('model-artifacts', %s)", [key]
            )
        )


def doors(shop: Workshop, held: Held) -> dict[str, str]:
    """What a job token opens: (keeping the job, telling of it, its data, its files, storing files)."""
    return {
        "renew": code_of(held.renew),
        "ship": code_of(lambda: held.ship(logs=[held.event(level="info", source="x", text="x")])),
        "data": code_of(lambda: shop.ask("job_dataset", **held.key, dataset=held.claim["dataset"]["id"])),
        "files": "done" if files_seen(shop, held.token) else "nothing",
        "store": stores(shop, held),
    }


OPEN = {"renew": "done", "ship": "done", "data": "done", "files": "done", "store": "done"}
TAIL = {"renew": "PT409", "ship": "done", "data": "PT409", "files": "done", "store": "done"}
OVER = {"renew": "PT409", "ship": "PT409", "data": "PT409", "files": "nothing", "store": "42501"}
GONE = {"renew": "PT401", "ship": "PT401", "data": "PT401", "files": "nothing", "store": "42501"}


def test_an_open_attempt_has_all_its_doors(shop: Workshop) -> None:
    assert doors(shop, shop.running()) == OPEN


def test_the_tail_lasts_ten_minutes(shop: Workshop) -> None:
    held = shop.running()
    held.put(held.artifact())
    held.end("completed")
    assert doors(shop, held) == TAIL
    shop.wait(595)
    assert doors(shop, held) == TAIL
    shop.wait(10)
    assert doors(shop, held) == OVER


def test_a_newer_attempt_ends_the_tail_at_once(shop: Workshop) -> None:
    held = shop.running()
    held.put(held.artifact())
    again = held.again()
    assert doors(shop, held) == OVER
    assert doors(shop, again) == OPEN


def test_a_lost_attempt_that_nobody_took_over_has_its_tail(shop: Workshop) -> None:
    held = shop.running()
    held.put(held.artifact())
    shop.wait(31)
    assert (
        shop.claim(runner_of(roles=["train"], id="other"), token=shop.register(shop.project.add_person()))
        is None
    )
    assert doors(shop, held) == TAIL


def test_a_job_token_lasts_three_days_without_a_word(shop: Workshop) -> None:
    held = shop.running()
    shop.wait(72 * HOUR + 1)
    assert doors(shop, held) == GONE


def test_a_runner_that_works_on_keeps_its_job_token(shop: Workshop) -> None:
    held = shop.running()
    for _ in range(3):
        shop.wait(70 * HOUR)
        held.renew()
    assert doors(shop, held) == OPEN


def pod(shop: Workshop) -> Held:
    job, token = shop.submit(), new_token()
    shop.asked_by(shop.anne, "hand_out_job", job=job, token_sha256=hex_of(token), wait_seconds=60)
    claim = shop.ask("job_take", token=token, runner=runner_of("pod-1"), lease_seconds=600)
    return Held(shop, {**claim, "token": token})


def test_a_pod_that_works_on_has_an_end_all_the_same(shop: Workshop) -> None:
    held = pod(shop)
    for _ in range(2):
        shop.wait(35 * HOUR)
        held.renew()
    shop.wait(3 * HOUR)
    assert doors(shop, held) == GONE


def test_a_pod_that_does_not_obey_a_cancel_loses_its_token_within_the_hour(shop: Workshop) -> None:
    """There is no runner to revoke: the person's cancel is what takes a stolen pod token out of use."""
    held = pod(shop)
    held.request("pause")
    shop.wait(HOUR + 1)
    assert doors(shop, held) == OPEN
    held.request("cancel")
    shop.wait(HOUR - 60)
    assert doors(shop, held) == OPEN
    shop.wait(61)
    assert doors(shop, held) == GONE
    shop.wait(HOUR)
    assert shop.claim() is None
    assert held.row()["status"] == "cancelled"


def test_a_cancel_takes_no_token_from_a_registered_runner(shop: Workshop) -> None:
    held = shop.running()
    held.request("cancel")
    shop.wait(HOUR + 1)
    assert doors(shop, held) == OPEN


def test_a_token_ends_with_its_job(shop: Workshop) -> None:
    held = shop.running()
    held.put(held.artifact())
    held.end("completed")
    assert doors(shop, held) == TAIL
    shop.asked_by(shop.anne, "delete_job", job=held.id)
    assert doors(shop, held) == GONE
    assert shop.sql("select 1 from private.job_tokens") == []


def test_a_revoked_runner_loses_all_its_tokens_at_once(shop: Workshop) -> None:
    held, task = shop.running(), claimed(shop)
    assert doors(shop, held) == OPEN
    shop.asked_by(shop.anne, "revoke_runner", id=shop.registration(shop.token))
    assert doors(shop, held) == GONE
    assert task_doors(shop, task) == TASK_GONE
    for function, more in runner_calls():
        assert code_of(lambda f=function, m=more: shop.ask(f, token=shop.token, **m)) == "PT401", function
    assert shop.sql("select 1 from public.runners") == []


def test_a_revoked_runner_leaves_the_tokens_of_others(shop: Workshop) -> None:
    held, other = shop.running(), shop.register(shop.anne)
    shop.asked_by(shop.anne, "revoke_runner", id=shop.registration(other))
    assert doors(shop, held) == OPEN


def test_what_is_revoked_cannot_be_registered_again(shop: Workshop) -> None:
    registration = shop.registration(shop.token)
    shop.asked_by(shop.anne, "revoke_runner", id=registration)
    place = {"id": registration, "name": "Shed", "scope": "mine", "token_sha256": hex_of(shop.token)}
    assert code_of(lambda: shop.asked_by(shop.anne, "register_runner", **place)) == "PT409"
    assert code_of(shop.claim) == "PT401"


def runner_calls() -> list[tuple[str, dict[str, Any]]]:
    work = {"runner": runner_of(), "lease_seconds": 30}
    return [
        ("runner_about", {}),
        ("runner_announce", {"runner": runner_of()}),
        ("runner_claim", {**work, "job_token_sha256": hex_of("new")}),
        ("task_claim", {**work, "task_token_sha256": hex_of("new")}),
    ]


def test_all_tokens_of_a_person_end_with_the_person(shop: Workshop) -> None:
    held, task, handed = shop.running(), claimed(shop), pod(shop)
    held.put(held.artifact())
    shop.sql("delete from auth.users where id = %s", shop.anne.id)
    assert doors(shop, held) == GONE
    assert doors(shop, handed) == GONE
    assert task_doors(shop, task) == TASK_GONE
    for function, more in runner_calls():
        assert code_of(lambda f=function, m=more: shop.ask(f, token=shop.token, **m)) == "PT401", function


def test_a_shared_runner_ends_with_the_operator_who_registered_it(shop: Workshop) -> None:
    operator = shop.project.add_person(email="olga@studio.test", operator=True)
    token = shop.register(operator, "team")
    shop.submit()
    claim = shop.claim(runner_of("big"), token=token)
    assert claim is not None
    held = Held(shop, claim)
    assert doors(shop, held)["renew"] == "done"
    shop.sql("delete from auth.users where id = %s", operator.id)
    assert doors(shop, held) == GONE
    assert held.row()["status"] == "initializing", (
        "it is Anne's, and goes on elsewhere when the lease has run out"
    )


def test_the_access_token_of_a_removed_person_writes_nothing(shop: Workshop) -> None:
    """It lasts until its end (an hour at most), since nobody asks whether the person is still there; but there is nothing."""
    shop.running()
    anne: Person = shop.anne
    with shop.project.as_role("authenticated", {"sub": anne.id}) as connection:
        shop.sql("delete from auth.users where id = %s", anne.id)
        tables = [
            row["tablename"]
            for row in shop.sql("select tablename from pg_tables where schemaname = 'public'")
        ]
        left = {t for t in tables if connection.execute(f"select user_id from public.{t}").fetchall()}
        assert left <= {"job_events"}, "the audit trail outlives the person"
        code = code_of(lambda: connection.execute(
            "insert into public.training_configs (id, user_id, name, config) values (gen_random_uuid(), %s, 'x', '{}')",
            [anne.id],
        ))  # fmt: skip
        assert code == "23503"
        for call in (
            f"select public.register_runner(gen_random_uuid(), 'x', 'mine', '{'0' * 64}')",
            "select public.add_task(jsonb_build_object('id', gen_random_uuid(), 'kind', 'fetch_model', 'subject_id', 'x'))",
        ):
            assert code_of(lambda c=call: connection.execute(c)) == "23503"


# Task tokens --------------------------------------------------------------------------------------------------------------

TASK_OPEN = {"progress": "done", "data": "done", "files": "done"}
TASK_OVER = {"progress": "PT409", "data": "PT409", "files": "nothing"}
TASK_GONE = {"progress": "PT401", "data": "PT401", "files": "nothing"}


def task_doors(shop: Workshop, task: Errand) -> dict[str, str]:
    return {
        "progress": code_of(task.progress),
        "data": code_of(task.dataset),
        "files": "done" if files_seen(shop, task.token) else "nothing",
    }


@pytest.mark.parametrize("error", ["", "It did not work."])
def test_a_task_token_ends_with_its_task(shop: Workshop, error: str) -> None:
    task = claimed(shop)
    assert task_doors(shop, task) == TASK_OPEN
    task.end(error)
    assert task_doors(shop, task) == TASK_OVER


def test_a_task_that_another_runner_has_taken_is_closed_to_the_first(shop: Workshop) -> None:
    task = claimed(shop)
    shop.wait(31)
    token = new_token()
    again = shop.ask(
        "task_claim",
        token=shop.token,
        runner=runner_of("b"),
        lease_seconds=30,
        task_token_sha256=hex_of(token),
    )
    assert task_doors(shop, task) == TASK_OVER
    assert task_doors(shop, Errand(shop, again, token)) == TASK_OPEN


def test_a_task_token_lasts_three_days(shop: Workshop) -> None:
    task = claimed(shop)
    shop.wait(72 * HOUR + 1)
    assert task_doors(shop, task) == TASK_GONE
