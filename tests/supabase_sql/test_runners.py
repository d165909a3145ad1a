"""What runners may do with jobs: announce, claim, take, renew, end, and how long their tokens live."""

from typing import Any

import psycopg
import pytest

from tests.supabase_sql.stage import hex_of, refused
from tests.supabase_sql.workshop import START, Held, Json, Workshop, call, new_token, race, runner_of

FUNCTIONS = {
    "runner_announce",
    "runner_claim",
    "job_take",
    "job_renew",
    "job_end",
    "job_ship",
    "job_dataset",
    "job_artifact",
}
FUNCTIONS |= {
    "job_put_artifact",
    "job_drop_artifact",
    "task_claim",
    "task_progress",
    "task_end",
    "task_dataset",
}
FUNCTIONS |= {"task_save_dataset", "task_add_dataset"}


# Who may call -----------------------------------------------------------------------------------------------------------


def test_runners_functions_are_for_anon_alone(shop: Workshop) -> None:
    rows = shop.sql(
        "select p.proname as name, r.rolname as role from pg_proc p, pg_roles r"
        " where p.pronamespace = 'public'::regnamespace and p.proname = any(%s)"
        " and has_function_privilege(r.oid, p.oid, 'execute')"
        " and r.rolname in ('anon', 'authenticated', 'service_role')",
        sorted(FUNCTIONS),
    )
    assert {(row["name"], row["role"]) for row in rows} == {(name, "anon") for name in FUNCTIONS}


def test_a_runner_reads_no_table(shop: Workshop) -> None:
    for table in ("public.training_jobs", "public.runners", "private.job_tokens", "private.runner_tokens"):
        with refused("42501"):
            shop.anon.execute(f"select * from {table}")


# Runners ----------------------------------------------------------------------------------------------------------------


def test_an_announced_runner_is_as_it_last_was_and_seen_now(shop: Workshop) -> None:
    shop.ask("runner_announce", token=shop.token, runner=runner_of("box"))
    shop.ask(
        "runner_announce",
        token=shop.token,
        runner=runner_of("box", state="busy", gpus=["H100"], gpu_memory_gb=80),
    )
    (row,) = shop.sql("select *, now() - seen_at < interval '10 s' as fresh from public.runners")
    assert (row["state"], row["gpus"], row["gpu_memory_gb"], row["started_at"]) == (
        "busy",
        ["H100"],
        80,
        START,
    )
    assert (str(row["user_id"]), row["scope"], row["fresh"]) == (shop.anne.id, "mine", True)


def test_a_runner_id_belongs_to_one_registration(shop: Workshop) -> None:
    shop.ask("runner_announce", token=shop.token, runner=runner_of("box"))
    other = shop.register(shop.project.add_person())
    with refused("PT409", "another registration"):
        shop.ask("runner_announce", token=other, runner=runner_of("box", name="stolen"))
    assert shop.sql("select name from public.runners") == [{"name": "box"}]


@pytest.mark.parametrize("token", ["", "lsr_unknown", "x" * 100_000, None])
def test_an_unknown_runner_token_is_refused(shop: Workshop, token: str | None) -> None:
    with refused("PT401", "runner token"):
        shop.ask("runner_announce", token=token, runner=runner_of())
    with refused("PT401", "runner token"):
        shop.ask(
            "runner_claim", token=token, runner=runner_of(), lease_seconds=30, job_token_sha256=hex_of("x")
        )


def test_a_revoked_runner_token_is_refused(shop: Workshop) -> None:
    shop.submit()
    shop.asked_by(shop.anne, "revoke_runner", id=shop.registration(shop.token))
    with refused("PT401", "runner token"):
        shop.claim()


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "x" * 101},
        {"name": None},
        {"cpus": "many"},
        {"cpus": -1},
        {"memory_gb": "NaN"},
        {"gpus": "H100"},
        {"gpus": ["x"] * 65},
        {"roles": [1]},
        {"started_at": "infinity"},
        {"version": "x" * 101},
    ],
)
def test_a_runner_that_describes_itself_oddly_is_refused(shop: Workshop, changes: Json) -> None:
    with refused("PT422"):
        shop.ask("runner_announce", token=shop.token, runner=runner_of(**changes))


def test_machines_that_were_not_seen_for_a_month_make_room(shop: Workshop) -> None:
    for number in range(200):
        shop.ask("runner_announce", token=shop.token, runner=runner_of(f"box-{number}"))
    with refused("PT422", "200 machines"):
        shop.ask("runner_announce", token=shop.token, runner=runner_of("one more"))
    shop.wait(31 * 24 * 3600)
    shop.ask("runner_announce", token=shop.token, runner=runner_of("one more"))
    assert shop.sql("select id from public.runners") == [{"id": "one more"}]


# Claims -----------------------------------------------------------------------------------------------------------------


def test_a_claim_has_all_that_an_attempt_needs(shop: Workshop) -> None:
    validation = shop.add_dataset()
    job = shop.submit(validation_dataset_id=validation)
    claim = shop.claim()
    assert claim is not None
    assert (claim["job"]["id"], claim["attempt"], claim["job"]["status"]) == (job, 1, "initializing")
    assert (claim["dataset"]["id"], claim["validation"]["id"]) == (claim["job"]["dataset_id"], validation)
    assert claim["checkpoint"] is None
    attempt = shop.attempt(job, 1)
    assert (attempt["runner_id"], attempt["runner_name"], attempt["ended_at"]) == (
        "workstation",
        "workstation",
        None,
    )
    assert str(attempt["registration_id"]) == shop.registration(shop.token)
    assert shop.events(job) == ["submitted", "claimed"]


def test_an_empty_queue_gives_nothing(shop: Workshop) -> None:
    assert shop.claim() is None


def test_a_claim_with_the_same_job_token_is_the_same_claim(shop: Workshop) -> None:
    for _ in range(2):
        shop.submit()
    token = new_token()
    first, again = shop.claim(job_token=token), shop.claim(job_token=token)
    assert first is not None
    assert again is not None
    assert (again["job"]["id"], again["attempt"], again["dataset"]) == (
        first["job"]["id"],
        1,
        first["dataset"],
    )
    assert shop.sql("select count(*) from public.job_attempts") == [{"count": 1}]


def test_a_claim_that_is_answered_again_has_its_lease_anew(shop: Workshop) -> None:
    job, token = shop.submit(), new_token()
    shop.claim(job_token=token)
    shop.wait(20)
    shop.claim(job_token=token)
    shop.wait(20)
    shop.claim()
    assert shop.attempt(job, 1)["ended_at"] is None


def test_a_job_token_of_a_lost_attempt_gives_nothing_again(shop: Workshop) -> None:
    shop.submit()
    token = new_token()
    shop.claim(job_token=token)
    shop.wait(31)
    assert shop.claim() is not None
    assert shop.claim(job_token=token) is None


def test_a_job_token_is_of_one_machine(shop: Workshop) -> None:
    shop.submit()
    token = new_token()
    shop.claim(job_token=token)
    with refused("PT409", "in use already"):
        shop.claim(runner_of("other"), job_token=token)
    with refused("PT409", "in use already"):
        shop.claim(job_token=token, token=shop.register(shop.anne))


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64, "0" * 65])
def test_a_job_token_comes_as_sha256(shop: Workshop, sha256: str) -> None:
    with refused("PT422", "64 hexadecimal"):
        shop.ask(
            "runner_claim", token=shop.token, runner=runner_of(), lease_seconds=30, job_token_sha256=sha256
        )


def test_the_highest_priority_goes_first_then_the_oldest(shop: Workshop) -> None:
    made = [
        shop.submit(priority=priority, created_at=f"2026-03-0{day}T00:00:00Z")
        for priority, day in ((0, 2), (0, 1), (5, 4), (5, 3))
    ]
    claimed = [shop.claim() for _ in made]
    assert [claim["job"]["id"] for claim in claimed if claim] == [made[place] for place in (3, 2, 1, 0)]


def test_a_machine_only_gets_what_it_can_run(shop: Workshop) -> None:
    shop.submit(gpus=2, gpu_memory_gb=40)
    for machine in (
        runner_of("none"),
        runner_of("one", gpus=["A100"], gpu_memory_gb=80),
        runner_of("small", gpus=["T4", "T4"], gpu_memory_gb=16),
    ):
        assert shop.claim(machine) is None
    assert shop.claim(runner_of("two", gpus=["A100", "A100"], gpu_memory_gb=80)) is not None


def test_a_job_for_another_target_is_left(shop: Workshop) -> None:
    shop.submit(target="workshop")
    assert shop.claim(runner_of("laptop")) is None
    assert shop.claim(runner_of("workshop")) is not None


def test_a_runner_that_does_not_train_claims_nothing(shop: Workshop) -> None:
    shop.submit()
    assert shop.claim(runner_of(roles=["dispatch"])) is None


def test_a_runner_of_ones_own_gets_nobody_elses_jobs(shop: Workshop) -> None:
    job = shop.submit()
    ben = shop.project.add_person()
    assert shop.claim(token=shop.register(ben)) is None
    assert shop.job(job)["status"] == "queued"


def test_a_runner_of_the_team_gets_anybodys_jobs(shop: Workshop) -> None:
    job = shop.submit()
    claim = shop.claim(token=shop.register(shop.project.add_person(operator=True), "team"))
    assert claim is not None
    assert claim["job"]["id"] == job


def test_a_job_whose_data_set_is_gone_fails_and_the_next_is_taken(shop: Workshop) -> None:
    gone = shop.submit()
    job = shop.submit(created_at="2026-04-01T00:00:00Z")
    shop.sql("set session_replication_role = replica")
    shop.sql("delete from public.datasets where id = %s", shop.job(gone)["dataset_id"])
    shop.sql("set session_replication_role = origin")
    claim = shop.claim()
    assert claim is not None
    assert claim["job"]["id"] == job
    failed = shop.job(gone)
    assert (failed["status"], failed["error"], failed["attempt"]) == (
        "failed",
        "The data set of this job has been deleted.",
        0,
    )


def test_racing_runners_get_a_job_once(shop: Workshop) -> None:
    connections = shop.connections(4)
    for _ in range(5):
        shop.submit()
        answers = race(connections, lambda connection: shop.claim(by=connection))
        assert len([answer for answer in answers if answer is not None]) == 1


def test_racing_runners_empty_a_queue_without_taking_a_job_twice(shop: Workshop) -> None:
    jobs = {shop.submit() for _ in range(12)}
    claimed: list[str] = []

    def work(connection: psycopg.Connection[Any]) -> None:
        while (claim := shop.claim(by=connection)) is not None:
            claimed.append(claim["job"]["id"])

    race(shop.connections(4), work)
    assert len(claimed) == 12
    assert set(claimed) == jobs


def test_a_claim_that_is_sent_twice_at_once_is_one_claim(shop: Workshop) -> None:
    connections = shop.connections(4)
    for _ in range(5):
        shop.submit()
        shop.submit()
        token = new_token()
        answers = race(
            connections, lambda connection, token=token: shop.claim(by=connection, job_token=token)
        )
        assert len({answer["job"]["id"] for answer in answers}) == 1


def test_a_lost_job_is_ended_once_by_racing_runners(shop: Workshop) -> None:
    job = shop.submit()
    shop.claim()
    shop.wait(31)
    answers = race(shop.connections(4), lambda connection: shop.claim(by=connection))
    assert [answer["attempt"] for answer in answers if answer] == [2]
    assert shop.events(job).count("lease lost") == 1


# Leases -----------------------------------------------------------------------------------------------------------------


def test_a_renewed_lease_keeps_the_job(shop: Workshop) -> None:
    held = shop.held()
    for _ in range(3):
        shop.wait(20)
        held.renew()
    assert shop.claim(runner_of("other")) is None


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 1), (1e9, 3600), (float("nan"), 1), (60, 60), (float("inf"), 3600)]
)
def test_a_lease_is_between_a_second_and_an_hour(shop: Workshop, asked: float, given: float) -> None:
    held = shop.held()
    held.renew(asked)
    query = (
        "select round(extract(epoch from lease_until - %s::timestamptz)) as seconds from public.job_attempts"
    )
    heard = held.row()["heartbeat_at"]
    assert shop.sql(query, heard) == [{"seconds": given}]


def test_a_renewal_tells_what_the_person_wants(shop: Workshop) -> None:
    held = shop.running()
    assert held.renew() == {"requested_action": None, "request_id": ""}
    request = held.request("pause")
    assert held.renew() == {"requested_action": "pause", "request_id": request}


def test_a_lost_job_goes_back_to_the_queue(shop: Workshop) -> None:
    held = shop.running()
    shop.wait(31)
    again = shop.claim(runner_of("other"))
    assert again is not None
    assert (again["job"]["id"], again["attempt"], held.row()["lost_attempts"]) == (held.id, 2, 1)
    first = shop.attempt(held.id, 1)
    assert (first["outcome"], first["reason"], first["lease_until"]) == ("lost", "The runner was lost.", None)
    query = "select actor, from_status, to_status, reason from public.job_events where action = 'lease lost'"
    assert shop.sql(query) == [
        {"actor": "system", "from_status": "running", "to_status": "queued", "reason": "The runner was lost."}
    ]


@pytest.mark.parametrize(("action", "status"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_lost_job_that_was_asked_to_stop_stops(shop: Workshop, action: str, status: str) -> None:
    held = shop.held()
    held.request(action)
    shop.wait(31)
    assert shop.claim() is None
    assert held.row()["status"] == status


def test_a_job_that_is_lost_three_times_in_a_row_fails(shop: Workshop) -> None:
    job = shop.submit(name="Fragile")
    for _ in range(3):
        assert shop.claim() is not None
        shop.wait(31)
        shop.sql("select private.end_expired()")
        shop.wait(31)
    row = shop.job(job)
    reason = "It was tried 3 times in a row without a new checkpoint."
    error = f"{reason} The last time: The runner was lost."
    assert (row["status"], row["error"], row["status_reason"], row["attempt"]) == ("failed", error, reason, 3)
    told = {told["kind"]: (told["title"], told["body"]) for told in shop.told()}
    assert told["job_failed"] == ("“Fragile” has failed", error)


def test_a_checkpoint_ends_the_count_of_lost_attempts(shop: Workshop) -> None:
    held = shop.held()
    shop.wait(31)
    again = Held(shop, shop.claim() or {})
    again.put(again.artifact())
    assert held.row()["lost_attempts"] == 0


def test_an_expired_attempt_that_is_not_the_jobs_newest_holds_nobody_up(shop: Workshop) -> None:
    shop.sql(
        "insert into public.job_attempts (job_id, number, user_id, runner_id, lease_until)"
        " values (%s, 7, %s, '', now() - interval '1 day')",
        shop.submit(),
        shop.anne.id,
    )
    assert shop.claim() is not None


# Fencing and tokens -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "lsj_unknown", None, "x" * 100_000])
def test_an_unknown_job_token_is_refused(shop: Workshop, token: str | None) -> None:
    held = shop.held()
    held.token = token or ""
    with refused("PT401", "job token"):
        held.renew()
    with refused("PT401", "job token"):
        shop.ask("job_take", token=token, runner=runner_of(), lease_seconds=30)


def test_a_runner_token_is_no_job_token(shop: Workshop) -> None:
    held = shop.held()
    held.token = shop.token
    with refused("PT401", "job token"):
        held.renew()


def test_a_job_token_ends_when_its_runner_is_revoked(shop: Workshop) -> None:
    held = shop.held()
    shop.asked_by(shop.anne, "revoke_runner", id=shop.registration(shop.token))
    with refused("PT401", "job token"):
        held.renew()


def test_a_job_token_ends_after_three_days_without_a_renewal(shop: Workshop) -> None:
    held = shop.held()
    shop.wait(73 * 3600)
    with refused("PT401", "job token"):
        held.renew()


def test_a_job_token_of_a_runner_lives_on_with_its_lease(shop: Workshop) -> None:
    held = shop.held()
    shop.wait(71 * 3600)
    held.renew()
    shop.wait(71 * 3600)
    held.renew()


def test_a_job_token_stands_for_one_attempt_of_one_job(shop: Workshop) -> None:
    held, other = shop.held(), shop.held()
    for job, attempt in ((other.id, 1), (held.id, 2), (held.id, None), (None, 1)):
        with refused("PT409", "There is no such attempt of this job (any more)."):
            shop.ask("job_renew", token=held.token, job=job, attempt=attempt, lease_seconds=30)


def test_an_old_attempt_is_fenced(shop: Workshop) -> None:
    held = shop.running()
    shop.wait(31)
    shop.claim(runner_of("other"))
    words = "Attempt 2 owns the job now; attempt 1 has to stop."
    for call_it in (
        held.renew,
        lambda: held.ship(points=[held.point(1)]),
        lambda: held.put(held.artifact()),
        lambda: held.drop(held.id),
        lambda: held.end("completed"),
        lambda: shop.ask("job_dataset", **held.key, dataset=held.claim["dataset"]["id"]),
        lambda: shop.ask("job_artifact", **held.key, artifact=held.id),
        lambda: shop.ask("job_take", token=held.token, runner=runner_of(), lease_seconds=30),
    ):
        with refused("PT409", words):
            call_it()


def test_an_ended_attempt_cannot_renew(shop: Workshop) -> None:
    held = shop.running()
    held.end("paused")
    with refused("PT409", "Attempt 1 of the job has ended (paused)."):
        held.renew()


def test_a_tail_is_accepted_for_ten_minutes(shop: Workshop) -> None:
    held = shop.running()
    held.end("completed")
    shop.wait(595)
    held.ship(points=[held.point(7)])
    held.put(held.artifact(kind="adapter"))
    shop.wait(10)
    for call_it in (
        lambda: held.ship(points=[held.point(8)]),
        lambda: held.put(held.artifact()),
        lambda: held.drop(held.id),
    ):
        with refused("PT409", "Attempt 1 of the job has ended (completed)."):
            call_it()


def test_a_tail_is_refused_once_a_newer_attempt_began(shop: Workshop) -> None:
    held = shop.running()
    held.again()
    with refused("PT409", "Attempt 2 owns the job now"):
        held.ship(points=[held.point(7)])


def test_the_token_of_a_deleted_job_is_refused(shop: Workshop) -> None:
    held = shop.running()
    held.end("failed")
    shop.asked_by(shop.anne, "delete_job", job=held.id)
    with refused("PT401", "job token"):
        held.ship()


# Pods -------------------------------------------------------------------------------------------------------------------


def hand_out(shop: Workshop, job: str, wait_seconds: float = 600) -> str:
    token = new_token()
    shop.asked_by(shop.anne, "hand_out_job", job=job, token_sha256=hex_of(token), wait_seconds=wait_seconds)
    return token


def take(shop: Workshop, token: str, runner: Json | None = None) -> Json:
    answer: Json = shop.ask("job_take", token=token, runner=runner or runner_of("pod-1"), lease_seconds=30)
    return answer


def test_a_pod_takes_the_attempt_of_its_token(shop: Workshop) -> None:
    job = shop.submit()
    token = hand_out(shop, job)
    answer = take(shop, token)
    assert (answer["job"]["id"], answer["attempt"], answer["dataset"]["id"]) == (
        job,
        1,
        answer["job"]["dataset_id"],
    )
    attempt = shop.attempt(job, 1)
    assert (attempt["runner_id"], attempt["runner_name"], attempt["registration_id"]) == (
        "pod-1",
        "pod-1",
        None,
    )
    assert shop.events(job) == ["submitted", "handed out", "taken"]


def test_a_pod_may_take_again_and_another_may_not(shop: Workshop) -> None:
    job = shop.submit()
    token = hand_out(shop, job)
    assert take(shop, token)["attempt"] == take(shop, token)["attempt"] == 1
    with refused("PT409", "Another machine has taken this attempt."):
        take(shop, token, runner_of("pod-2"))
    assert shop.events(job).count("taken") == 1


def test_racing_pods_take_an_attempt_once(shop: Workshop) -> None:
    token = hand_out(shop, shop.submit())
    names = iter("abcd")
    answers = race(
        shop.connections(4),
        lambda connection: call(
            connection, "job_take", token=token, runner=runner_of(next(names)), lease_seconds=30
        ),
    )
    assert len([answer for answer in answers if not isinstance(answer, psycopg.Error)]) == 1


def test_a_taken_job_has_the_lease_of_its_pod(shop: Workshop) -> None:
    job = shop.submit()
    take(shop, hand_out(shop, job))
    shop.wait(31)
    assert shop.claim() is not None
    assert shop.attempt(job, 1)["outcome"] == "lost"


def test_a_pod_that_never_shows_up_gives_the_job_back(shop: Workshop) -> None:
    job = shop.submit()
    token = hand_out(shop, job, wait_seconds=300)
    shop.wait(301)
    claim = shop.claim()
    assert claim is not None
    assert claim["attempt"] == 2
    with refused("PT409", "Attempt 2 owns the job now"):
        take(shop, token)


def test_the_token_of_a_pod_has_an_absolute_end(shop: Workshop) -> None:
    job = shop.submit()
    token = hand_out(shop, job)
    held = Held(shop, {**take(shop, token), "token": token})
    shop.wait(71 * 3600)
    held.renew()
    shop.wait(2 * 3600)
    with refused("PT401", "job token"):
        held.renew()


def test_a_claimed_attempt_can_be_taken_up_by_its_machine(shop: Workshop) -> None:
    held = shop.running()
    assert take(shop, held.token, runner_of())["job"]["id"] == held.id
    with refused("PT409", "Another machine"):
        take(shop, held.token, runner_of("other"))


def test_an_ended_attempt_cannot_be_taken(shop: Workshop) -> None:
    held = shop.running()
    held.end("paused")
    with refused("PT409", "has ended (paused)"):
        take(shop, held.token, runner_of())


# Ends -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("completed", "completed"),
        ("paused", "paused"),
        ("released", "queued"),
        ("cancelled", "cancelled"),
        ("failed", "failed"),
        ("lost", "queued"),
    ],
)
def test_an_outcome_decides_the_state(shop: Workshop, outcome: str, status: str) -> None:
    held = shop.running()
    held.request("checkpoint")
    error = "oops" if outcome == "failed" else ""
    held.end(outcome, reason="Why.", error=error, result={"step": 7})
    row = held.row()
    assert (row["status"], row["requested_action"], row["request_id"], row["phase"]) == (status, None, "", "")
    assert (row["status_reason"], row["error"], row["remaining_seconds"]) == ("Why.", error, None)
    assert (row["ended_at"] is not None) == (status in {"completed", "failed", "cancelled"})
    attempt = shop.attempt(held.id, 1)
    assert (attempt["outcome"], attempt["reason"], attempt["result"], attempt["lease_until"]) == (
        outcome,
        "Why.",
        {"step": 7},
        None,
    )


@pytest.mark.parametrize(
    ("outcome", "title"),
    [
        ("completed", "“First try” is completed"),
        ("paused", "“First try” is paused"),
        ("failed", "“First try” has failed"),
        ("cancelled", "“First try” is cancelled"),
    ],
)
def test_an_end_is_told_once(shop: Workshop, outcome: str, title: str) -> None:
    held = shop.held()
    for _ in range(2):
        held.end(outcome, reason="Because.")
    (told,) = shop.told()
    assert (told["title"], told["body"], told["kind"], str(told["job_id"])) == (
        title,
        "Because.",
        f"job_{outcome}",
        held.id,
    )


def test_a_job_that_is_released_is_told_to_be_queued_again(shop: Workshop) -> None:
    shop.held().end("released", reason="Shut down.")
    (told,) = shop.told()
    assert (told["kind"], told["title"], told["body"]) == (
        "job_queued_again",
        "“First try” is queued again",
        "Shut down.",
    )


def test_the_first_start_is_told_and_no_other(shop: Workshop) -> None:
    held = shop.running().again()
    held.ship(phases=[held.event(name="training", start_step=0)])
    started = [told for told in shop.told() if told["kind"] == "job_started"]
    assert [(told["title"], told["body"]) for told in started] == [
        ("“First try” has started", "workstation trains it.")
    ]


def test_an_error_is_told_rather_than_the_reason(shop: Workshop) -> None:
    shop.held().end("failed", reason="Out of memory.", error="CUDA out of memory")
    assert shop.told()[0]["body"] == "CUDA out of memory"


def test_a_failure_without_an_error_has_its_reason_as_error(shop: Workshop) -> None:
    held = shop.running()
    held.end("failed", reason="Stalled.")
    assert held.row()["error"] == "Stalled."


def test_an_end_that_comes_twice_changes_nothing(shop: Workshop) -> None:
    held = shop.running()
    for _ in range(2):
        held.end("released")
    assert shop.events(held.id).count("released") == 1
    with refused("PT409", "Attempt 1 of the job has ended (released)."):
        held.end("completed")


def test_an_end_that_comes_again_after_the_next_claim_changes_nothing(shop: Workshop) -> None:
    held = shop.running()
    held.again()
    held.end("released")
    assert held.row()["status"] == "initializing"


def test_a_job_that_never_trained_can_complete(shop: Workshop) -> None:
    held = shop.held()
    held.end("completed")
    assert (held.row()["status"], held.row()["progress"]) == ("completed", 1)
    assert shop.events(held.id) == ["submitted", "claimed", "started", "completed"]


@pytest.mark.parametrize(("action", "status"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_released_job_that_was_asked_to_stop_stops(shop: Workshop, action: str, status: str) -> None:
    held = shop.running()
    held.request(action)
    held.end("released")
    assert held.row()["status"] == status


def test_a_release_ends_the_count_of_lost_attempts(shop: Workshop) -> None:
    held = shop.running()
    shop.wait(31)
    again = Held(shop, shop.claim() or {})
    assert held.row()["lost_attempts"] == 1
    again.end("released")
    assert held.row()["lost_attempts"] == 0


@pytest.mark.parametrize("end", [{}, {"outcome": "won"}, {"outcome": None}, []])
def test_an_end_that_does_not_exist_is_refused(shop: Workshop, end: Any) -> None:
    held = shop.running()
    with refused("PT422"):
        shop.ask("job_end", **held.key, end=end)


def test_a_result_beyond_all_measure_does_not_keep_a_job_from_its_end(shop: Workshop) -> None:
    held = shop.running()
    held.end("completed", result={"text": "x" * 2_000_000}, reason="y" * 5000, error="z" * 50_000)
    attempt = shop.attempt(held.id, 1)
    assert (attempt["result"], len(attempt["reason"]), len(held.row()["error"])) == ({}, 1000, 16_000)
