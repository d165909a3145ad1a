"""Failures that may pass by themselves, the limit of jobs at work, and what the queue tells a person, in the database itself."""

import json
from typing import Any

import psycopg
import pytest

from lora_core.backoff import MAX_FAILURES, retry_pause
from lora_core.store.forecast import MAX_AHEAD, Queue
from tests.supabase_sql.stage import hex_of, refused
from tests.supabase_sql.workshop import Held, Workshop, call, new_token, race, runner_of


def limit(shop: Workshop, running_jobs: int) -> None:
    shop.sql("insert into public.quotas (user_id, running_jobs) values (%s, %s)", shop.anne.id, running_jobs)


def test_pauses_are_those_of_the_embedded_store(shop: Workshop) -> None:
    asked = [(failures, chance) for failures in (0, 1, 2, 3, 6, 7, 8, 5000) for chance in (0.0, 0.5, 0.999)]
    query = "select private.retry_pause(%s, %s) as pause"
    given = [shop.sql(query, *values)[0]["pause"] for values in asked]
    assert given == pytest.approx([retry_pause(*values) for values in asked])
    assert shop.sql("select private.max_failures() as most") == [{"most": MAX_FAILURES}]


@pytest.mark.parametrize("transient", [None, "true", 1, [], {}])
def test_only_a_plain_yes_makes_a_failure_one_that_passes(shop: Workshop, transient: Any) -> None:
    held = shop.running()
    held.end("failed", reason="No network.", transient=transient)
    assert held.row()["status"] == "failed"


def test_the_time_of_the_next_try_goes_with_every_transition(shop: Workshop) -> None:
    held = shop.running()
    held.end("failed", reason="No network!", transient=True)
    row = held.row()
    assert row["retry_at"] is not None
    assert row["status_reason"].startswith("No network! It is tried again at ")
    shop.asked_by(shop.anne, "move_job", job=held.id, to="cancelled")
    assert held.row()["retry_at"] is None


def test_two_claims_at_the_same_time_do_not_both_take_the_last_place(shop: Workshop) -> None:
    limit(shop, 1)
    for _ in range(4):
        shop.submit()
    answers = race(
        shop.connections(4),
        lambda connection: call(
            connection,
            "runner_claim",
            token=shop.token,
            runner=runner_of(),
            lease_seconds=30,
            job_token_sha256=hex_of(new_token()),
        ),
    )
    assert not [answer for answer in answers if isinstance(answer, psycopg.Error)]
    assert len([answer for answer in answers if answer]) == 1


def test_a_person_who_may_have_nothing_at_work_starts_nothing(shop: Workshop) -> None:
    job = shop.submit()
    limit(shop, 0)
    assert shop.claim() is None
    with refused("PT422", "As many of your jobs are at work as you may have at the same time: 0."):
        shop.asked_by(shop.anne, "hand_out_job", job=job, token_sha256=hex_of("t"), wait_seconds=60)


def test_a_place_tells_numbers_of_other_peoples_jobs_and_nothing_else(shop: Workshop) -> None:
    olga, ben = shop.project.add_person(operator=True), shop.project.add_person()
    token = shop.register(olga, "team")
    shop.ask("runner_announce", token=token, runner=runner_of("hall"))
    secret = shop.submit(name="Anne's secret")
    taken = Held(shop, shop.claim(runner_of("hall"), token=token) or {})
    shop.submit(name="Anne's other secret", estimated_seconds=77)
    theirs = shop.submit(ben, created_at="2026-03-01T13:00:00Z")
    told = shop.asked_by(ben, "queue_place", job=theirs)
    assert taken.id == secret
    queue = Queue.model_validate_json(json.dumps(told))
    assert (queue.position, queue.online[0].held, queue.ahead[0].mine) == (1, (None,), False)
    assert (queue.ahead[0].runners, queue.ahead[0].seconds) == ((0,), 77)
    assert "secret" not in json.dumps(told)
    assert shop.anne.id not in json.dumps(told)


def test_a_place_lists_no_more_jobs_than_it_counts_with(shop: Workshop) -> None:
    shop.ask("runner_announce", token=shop.token, runner=runner_of())
    job = shop.submit()
    shop.sql(
        "insert into public.training_jobs (id, user_id, name, dataset_id, config, priority)"
        " select gen_random_uuid(), user_id, name, dataset_id, config, 1 from public.training_jobs, generate_series(1, %s)",
        MAX_AHEAD + 5,
    )
    told = Queue.model_validate(shop.asked_by(shop.anne, "queue_place", job=job))
    assert (told.position, len(told.ahead)) == (MAX_AHEAD + 5, MAX_AHEAD)


def test_a_person_ends_lost_attempts_of_ones_own_jobs_only(shop: Workshop) -> None:
    held, ben = shop.running(), shop.project.add_person()
    shop.wait(45)
    assert shop.asked_by(shop.anne, "end_lost_attempts") == 0  # half a minute after the lease, not before
    shop.wait(45)
    assert shop.asked_by(ben, "end_lost_attempts") == 0
    assert held.row()["status"] == "running"
    assert shop.asked_by(shop.anne, "end_lost_attempts") == 1
    assert held.row()["status"] == "queued"


@pytest.mark.parametrize("slots", [0, -1, 1001, "many"])
def test_a_runner_that_trains_no_number_of_jobs_is_refused(shop: Workshop, slots: Any) -> None:
    with refused("PT422", "The runner's description cannot be read"):
        shop.ask("runner_announce", token=shop.token, runner=runner_of(slots=slots))


@pytest.mark.parametrize("seconds", [-1, 1e300])
def test_an_estimate_beyond_all_measure_is_refused(shop: Workshop, seconds: float) -> None:
    with refused("PT422", "A job is expected to take some seconds"):
        shop.submit(estimated_seconds=seconds)
