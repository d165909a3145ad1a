"""What a batch of events makes of the database: points, logs, samples, alerts, and the job's row that follows from them."""

import threading
from typing import Any

import pytest

from lora_core.schema.metrics import METRIC_COLUMNS
from tests.supabase_sql.stage import refused
from tests.supabase_sql.workshop import START, Held, Json, Workshop, call, race

# Points -----------------------------------------------------------------------------------------------------------------


def test_every_value_of_a_point_is_stored(shop: Workshop) -> None:
    held = shop.running()
    values: Json = {name: float(place) for place, name in enumerate(METRIC_COLUMNS, start=1)}
    values["tokens_seen"] = 2**40
    held.ship(points=[held.point(7, **values, extra={"reward": 0.5}, nonfinite={"loss": "inf"})])
    (row,) = held.points()
    assert {name: row[name] for name in METRIC_COLUMNS} == values
    assert (row["step"], row["attempt"], row["seq"], row["hidden"]) == (7, 1, 2, False)
    assert (row["extra"], row["nonfinite"], str(row["user_id"])) == (
        {"reward": 0.5},
        {"loss": "inf"},
        shop.anne.id,
    )
    assert (row["recorded_at"] - START).total_seconds() == 2


def test_empty_documents_of_a_point_are_left_out(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(1, extra={}, nonfinite={}), held.point(2, extra=None, nonfinite=None)])
    assert {(row["extra"], row["nonfinite"]) for row in held.points()} == {(None, None)}


def test_the_newest_of_a_step_in_one_batch_wins(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(1, loss=3.0), held.point(1, loss=2.0), held.point(1, "eval", eval_loss=9.0)])
    assert [row["loss"] for row in held.points()] == [2.0]
    assert [row["eval_loss"] for row in held.points("eval")] == [9.0]


def test_a_point_that_is_logged_again_takes_the_new_value(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(1, loss=3.0, epoch=0.5)])
    held.ship(points=[held.point(1, loss=2.0)])
    assert [(row["loss"], row["epoch"]) for row in held.points()] == [(2.0, None)]


def test_an_older_event_does_not_replace_a_newer_one(shop: Workshop) -> None:
    held = shop.running()
    older, newer = held.batch(points=[held.point(1, loss=3.0)]), held.batch(points=[held.point(1, loss=2.0)])
    held.send(newer)
    held.send(older)
    assert [row["loss"] for row in held.points()] == [2.0]


def test_points_of_the_newest_attempt_win(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(step, loss=float(step)) for step in (1, 2, 3)])
    again = held.again()
    again.ship(points=[again.point(2, loss=9.0)])
    assert [(row["loss"], row["attempt"]) for row in again.points()] == [(1.0, 1), (9.0, 2), (3.0, 1)]


def test_a_new_attempt_hides_points_beyond_its_start(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(step) for step in range(1, 6)] + [held.evaluation(4, 1.0)])
    again = held.again()
    again.ship(phases=[again.event(name="training", start_step=2)])
    assert [row["step"] for row in again.points()] == [1, 2]
    assert again.points("eval") == []
    again.ship(points=[again.point(3, loss=0.5)])
    assert [(row["step"], row["attempt"]) for row in again.points()] == [(1, 1), (2, 1), (3, 2)]
    assert len(again.points(hidden=True)) == 5


def test_a_new_attempt_from_the_start_hides_all_points(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(0), held.point(1)])
    again = held.again()
    again.ship(phases=[again.event(name="training", start_step=0)])
    assert [row["step"] for row in again.points()] == [0]


def test_a_later_start_of_the_same_attempt_hides_more(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(step) for step in range(1, 6)])
    again = held.again()
    for start in (4, 2):
        again.ship(phases=[again.event(name="training", start_step=start)])
    assert [row["step"] for row in again.points()] == [1, 2]


def test_points_of_a_long_job_are_hidden_by_and_by(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.evaluation(45_000, 1.0)])
    shop.sql(
        "insert into public.metrics_points (job_id, kind, step, user_id, attempt, seq, recorded_at)"
        " select %s, 'train', step, %s, 1, 9, now() from generate_series(1, 45000) step",
        held.id,
        shop.anne.id,
    )
    again = held.again()
    left = []
    for _ in range(4):
        again.ship(phases=[again.event(name="training", start_step=5000)])
        left.append(len(again.points()) + len(again.points("eval")))
    assert left == [25_001, 5001, 5000, 5000]
    assert (again.row()["best_step"], shop.attempt(again.id, 2)["hiding"]) == (None, False)


def test_an_attempt_hides_none_of_its_own_points(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(5)], phases=[held.event(name="training", start_step=0)])
    assert len(held.points()) == 1


def test_system_points_of_earlier_attempts_stay(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(1_745_000_000, "system", gpu_utilization=0.5)])
    again = held.again()
    again.ship(phases=[again.event(name="training", start_step=0)])
    assert len(again.points("system")) == 1


def test_elapsed_seconds_add_up_over_attempts(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(1, elapsed_seconds=100.0)])
    again = held.again()
    again.ship(points=[again.point(2), again.point(3, elapsed_seconds=5.0)])
    assert again.row()["elapsed_seconds"] == 105.0
    assert [row["elapsed_seconds"] for row in again.points()] == [100.0, None, 105.0]


@pytest.mark.parametrize(
    "values",
    [
        {"loss": "NaN"},
        {"loss": "Infinity"},
        {"gpu_power_w": "-Infinity"},
        {"loss": "high"},
        {"kind": "test"},
        {"kind": None},
        {"step": -1},
        {"step": 2**53},
        {"step": None},
        {"seq": None},
        {"recorded_at": None},
        {"recorded_at": "infinity"},
        {"recorded_at": "yesterday evening"},
    ],
)
def test_a_batch_with_a_point_that_is_none_is_refused_whole(shop: Workshop, values: Json) -> None:
    held = shop.running()
    good, bad = held.point(1, loss=1.0), held.point(2)
    batch = held.batch(points=[good, bad], logs=[held.event(text="hello", level="info", source="trainer")])
    bad.update(values)
    with refused("PT422"):
        held.send(batch)
    assert held.points() == []
    assert shop.sql("select * from public.log_lines") == []


def test_values_near_the_largest_number_are_points(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(1, loss=1.7e308, grad_norm=1.7e308)])
    assert [row["loss"] for row in held.points()] == [1.7e308]


# Logs, samples, alerts --------------------------------------------------------------------------------------------------


def test_log_lines_are_stored_with_their_keys(shop: Workshop) -> None:
    held = shop.running()
    held.ship(
        logs=[
            held.event(level="error", source="runner", text="bad"),
            held.event(level="loud", source=None, text=None),
        ]
    )
    rows = shop.sql(
        "select attempt, seq, level, source, text, user_id::text from public.log_lines order by seq"
    )
    assert [tuple(row.values()) for row in rows] == [
        (1, 2, "error", "runner", "bad", shop.anne.id),
        (1, 3, "info", "trainer", "", shop.anne.id),
    ]


def test_a_long_log_line_is_cut(shop: Workshop) -> None:
    held = shop.running()
    held.ship(logs=[held.event(level="info", source="s" * 500, text="ä" * 20_000)])
    assert shop.sql("select length(text) as text, length(source) as source from public.log_lines") == [
        {"text": 16_000, "source": 100}
    ]


def test_logs_of_all_attempts_stay(shop: Workshop) -> None:
    held = shop.running()
    held.ship(logs=[held.event(level="info", source="trainer", text="one")])
    again = held.again()
    again.seq = 1
    again.ship(logs=[again.event(level="info", source="trainer", text="two")])
    assert [row["text"] for row in shop.sql("select text from public.log_lines order by attempt")] == [
        "one",
        "two",
    ]


def test_samples_are_stored(shop: Workshop) -> None:
    held = shop.running()
    held.ship(samples=[held.event(step=50, data={"text": "hello"}), held.event(step=None, data={})])
    rows = shop.sql("select seq, step, data from public.samples order by seq")
    assert [tuple(row.values()) for row in rows] == [(2, 50, {"text": "hello"}), (3, 0, {})]


def test_an_alert_is_told_once(shop: Workshop) -> None:
    held = shop.running(name="Tickets")
    batch = held.batch(alerts=[held.event(text="The loss is not finite.")])
    for _ in range(2):
        held.send(batch)
    (told,) = [told for told in shop.told() if told["kind"] == "alert"]
    assert (told["kind"], told["title"], told["body"]) == (
        "alert",
        "“Tickets” needs a look",
        "The loss is not finite.",
    )
    assert ((told["created_at"] - START).total_seconds(), str(told["job_id"])) == (2, held.id)


def test_a_long_alert_is_cut(shop: Workshop) -> None:
    held = shop.held()
    held.ship(alerts=[held.event(text="x" * 5000)])
    assert len(shop.told()[0]["body"]) == 1000


# The job's row ----------------------------------------------------------------------------------------------------------


def test_the_training_phase_makes_a_job_running(shop: Workshop) -> None:
    held = shop.held()
    held.ship(phases=[held.event(name="loading model", progress=0.5)])
    row = held.row()
    assert (row["status"], row["phase"], row["progress"]) == ("initializing", "loading model", 0.5)
    held.ship(phases=[held.event(name="training", start_step=0, total_steps=50)])
    row = held.row()
    assert (row["status"], row["phase"], row["progress"], row["total_steps"]) == (
        "running",
        "training",
        0,
        50,
    )
    assert shop.events(held.id) == ["submitted", "claimed", "started"]
    assert shop.sql("select actor from public.job_events where action = 'started'") == [
        {"actor": "runner workstation"}
    ]


@pytest.mark.parametrize(("told", "shown"), [(-1, 0), (2, 1), (0.25, 0.25), ("much", 0), (None, 0)])
def test_progress_before_training_is_a_share(shop: Workshop, told: object, shown: float) -> None:
    held = shop.held()
    held.ship(phases=[held.event(name="fetching", progress=told)])
    assert held.row()["progress"] == shown


def test_progress_of_phases_counts_before_training_only(shop: Workshop) -> None:
    held = shop.held()
    held.ship(
        phases=[held.event(name="training", total_steps=100), held.event(name="evaluating", progress=0.9)]
    )
    assert (held.row()["phase"], held.row()["progress"]) == ("evaluating", 0)
    held.ship(phases=[held.event(name="evaluating", progress=0.7)])
    assert held.row()["progress"] == 0


def test_a_resumed_job_shows_where_it_starts(shop: Workshop) -> None:
    held = shop.held()
    held.ship(phases=[held.event(name="training", start_step=40, total_steps=100)])
    row = held.row()
    assert (row["current_step"], row["progress"], shop.attempt(held.id, 1)["start_step"]) == (40, 0.4, 40)


def test_a_phase_that_repeats_the_start_does_not_set_the_step_back(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(40)], phases=[held.event(name="training", start_step=0)])
    held.ship(phases=[held.event(name="training", start_step=0)])
    assert held.row()["current_step"] == 40


@pytest.mark.parametrize("count", [-1, 1.5, "7", True, None, 2**60])
def test_a_count_that_is_none_is_passed_over(shop: Workshop, count: object) -> None:
    held = shop.running()
    held.ship(phases=[held.event(name="training", total_steps=count, start_step=count)])
    assert (held.row()["total_steps"], held.row()["phase"]) == (1000, "training")


def test_the_jobs_row_follows_from_its_events(shop: Workshop) -> None:
    held = shop.running()
    values = {"epoch": 0.5, "tokens_per_second": 900.0, "elapsed_seconds": 60.0, "remaining_seconds": 180.0}
    held.ship(
        points=[held.point(250, loss=1.5, **values), held.evaluation(200, 1.2), held.evaluation(250, 1.4)],
        checkpoints=[held.event(step=250, dropped=False)],
    )
    row = held.row()
    assert (row["current_step"], row["progress"], row["epoch"], row["train_loss"]) == (250, 0.25, 0.5, 1.5)
    assert (row["eval_loss"], row["best_eval_loss"], row["best_step"], row["checkpoint_step"]) == (
        1.4,
        1.2,
        200,
        250,
    )
    assert (row["tokens_per_second"], row["elapsed_seconds"], row["remaining_seconds"]) == (900, 60, 180)
    assert (row["heartbeat_at"], row["updated_at"]) == (row["updated_at"], row["heartbeat_at"])


def test_values_that_a_point_lacks_stay_but_a_loss_that_was_not_finite_is_a_gap(shop: Workshop) -> None:
    held = shop.running()
    held.ship(
        points=[
            held.point(1, loss=2.0, epoch=0.1, tokens_per_second=9.0, remaining_seconds=5.0),
            held.evaluation(1, 3.0),
        ]
    )
    held.ship(points=[held.point(2, nonfinite={"loss": "nan"}), held.evaluation(2, None)])
    row = held.row()
    assert (row["current_step"], row["train_loss"], row["eval_loss"]) == (2, None, None)
    assert (row["epoch"], row["tokens_per_second"], row["remaining_seconds"], row["best_eval_loss"]) == (
        0.1,
        9.0,
        5.0,
        3.0,
    )


def test_the_longest_time_of_the_newest_points_counts(shop: Workshop) -> None:
    held = shop.running()
    held.ship(
        points=[
            held.point(1, elapsed_seconds=10.0),
            held.point(1, "eval", eval_loss=1.0, elapsed_seconds=12.0),
        ]
    )
    assert held.row()["elapsed_seconds"] == 12.0


def test_progress_never_exceeds_one(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(2000)])
    assert held.row()["progress"] == 1


def test_a_worse_evaluation_is_not_the_best(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.evaluation(10, 1.0)])
    held.ship(points=[held.evaluation(20, 2.0)])
    held.ship(points=[held.evaluation(30, 1.0)])
    assert (held.row()["best_eval_loss"], held.row()["best_step"], held.row()["eval_loss"]) == (1.0, 10, 1.0)


def test_a_better_evaluation_that_was_lost_is_forgotten(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.evaluation(10, 2.0), held.evaluation(20, 1.0)])
    again = held.again()
    again.ship(phases=[again.event(name="training", start_step=15)])
    assert (again.row()["best_eval_loss"], again.row()["best_step"]) == (2.0, 10)


def test_an_only_evaluation_that_was_lost_is_forgotten(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.evaluation(20, 1.0)])
    again = held.again()
    again.ship(phases=[again.event(name="training", start_step=0)])
    assert (again.row()["best_eval_loss"], again.row()["best_step"]) == (None, None)


def test_a_rotated_checkpoint_is_not_the_newest(shop: Workshop) -> None:
    held = shop.running()
    held.ship(
        checkpoints=[
            held.event(step=40, dropped=False),
            held.event(step=20, dropped=True),
            held.event(step=None),
        ]
    )
    assert held.row()["checkpoint_step"] == 40


def test_the_attempt_remembers_how_far_its_events_came(shop: Workshop) -> None:
    held = shop.running()
    held.send({"count": 1, "last_seq": 9})
    held.send({"count": 1, "last_seq": 3})
    attempt = shop.attempt(held.id, 1)
    assert (attempt["last_seq"], attempt["phase"]) == (9, "training")


def test_a_replayed_batch_changes_nothing(shop: Workshop) -> None:
    held = shop.running()
    first = held.batch(
        points=[
            held.point(1, loss=3.0),
            held.point(2, loss=2.0),
            held.evaluation(2, 1.0),
            held.point(2, loss=1.9),
        ],
        logs=[held.event(level="info", source="trainer", text="hello")],
        checkpoints=[held.event(step=2)],
        samples=[held.event(step=2, data={"text": "x"})],
        alerts=[held.event(text="look")],
    )
    second = held.batch(
        points=[held.point(3, loss=0.5)], phases=[held.event(name="evaluating", total_steps=900)]
    )

    def state() -> object:
        job = {
            name: value for name, value in held.row().items() if name not in ("updated_at", "heartbeat_at")
        }
        tables = ("metrics_points", "log_lines", "samples", "notifications", "job_attempts", "job_events")
        return job, [sorted(map(str, shop.sql(f"select * from public.{table}"))) for table in tables]

    for batch in (first, second):
        held.send(batch)
    before = state()
    for batch in (first, second, first):
        held.send(batch)
    assert state() == before


def test_a_replayed_start_does_not_come_back_as_the_phase(shop: Workshop) -> None:
    held = shop.held()
    first = held.batch(phases=[held.event(name="fetching", progress=0.5)])
    held.send(first)
    held.ship(phases=[held.event(name="preparing", progress=0.1)])
    held.send(first)
    assert (held.row()["phase"], held.row()["progress"]) == ("preparing", 0.1)


# Requests ---------------------------------------------------------------------------------------------------------------


def test_an_acknowledged_checkpoint_request_is_done(shop: Workshop) -> None:
    held = shop.running()
    request = held.request("checkpoint")
    batch = held.batch(phases=[held.event(name="request", id=request, action="checkpoint")])
    for _ in range(2):
        held.send(batch)
    row = held.row()
    assert (row["requested_action"], row["request_id"], row["phase"]) == (None, "", "training")
    assert shop.events(held.id) == [
        "submitted",
        "claimed",
        "started",
        "requested checkpoint",
        "acknowledged checkpoint",
    ]


@pytest.mark.parametrize("action", ["pause", "cancel"])
def test_an_acknowledged_pause_or_cancel_stays_asked_for(shop: Workshop, action: str) -> None:
    held = shop.running()
    request = held.request(action)
    held.ship(phases=[held.event(name="request", id=request, action=action)])
    assert (held.row()["requested_action"], held.row()["request_id"]) == (action, request)
    assert shop.events(held.id)[-1] == f"acknowledged {action}"


def test_an_echo_of_an_earlier_request_does_not_end_the_open_one(shop: Workshop) -> None:
    held = shop.running()
    request = held.request("checkpoint")
    held.ship(phases=[held.event(name="request", id="another", action="checkpoint")])
    assert held.row()["request_id"] == request


# Tails ------------------------------------------------------------------------------------------------------------------


def test_a_late_tail_does_not_touch_what_shows_life(shop: Workshop) -> None:
    held = shop.running()
    held.ship(points=[held.point(5, remaining_seconds=7.0)])
    held.end("released")
    before = held.row()
    shop.wait(60)
    held.ship(
        points=[held.point(7, loss=0.5, remaining_seconds=3.0)],
        phases=[held.event(name="training", start_step=0)],
    )
    row = held.row()
    assert (row["status"], row["phase"], row["remaining_seconds"], row["progress"]) == (
        "queued",
        "",
        None,
        before["progress"],
    )
    assert row["heartbeat_at"] < before["heartbeat_at"]  # moved back by the time that passed, and not renewed
    assert (row["current_step"], row["train_loss"], len(held.points())) == (7, 0.5, 2)


def test_a_late_tail_that_says_training_does_not_start_the_job_again(shop: Workshop) -> None:
    held = shop.held()
    held.end("released")
    held.ship(phases=[held.event(name="training", start_step=0)])
    assert held.row()["status"] == "queued"


def test_ships_and_an_end_at_once_leave_the_job_ended(shop: Workshop) -> None:
    held = shop.running()
    batches = [
        held.batch(points=[held.point(step)], phases=[held.event(name="training")]) for step in range(1, 9)
    ]
    ships, ends = shop.connections(2)

    def ship() -> None:
        for batch in batches:
            call(ships, "job_ship", **held.key, batch=batch)

    thread = threading.Thread(target=ship)
    thread.start()
    call(ends, "job_end", **held.key, end={"outcome": "completed"})
    thread.join(30)
    assert (held.row()["status"], held.row()["progress"], held.row()["phase"]) == ("completed", 1, "")
    assert len(held.points()) == 8


# Limits -----------------------------------------------------------------------------------------------------------------


def test_a_batch_above_the_limit_is_too_large(shop: Workshop) -> None:
    held = shop.running()
    with refused("PT413", "A batch holds at most 1000 events; this one has 1001."):
        held.send({"count": 1001, "last_seq": 1})
    with refused("PT413", "this one has 1002"):
        held.send({"count": 1, "last_seq": 1, "logs": [{}] * 1002})


def test_a_batch_above_the_limit_is_refused_before_its_token_is_read(shop: Workshop) -> None:
    with refused("PT413"):
        shop.ask("job_ship", token="x", job=None, attempt=1, batch={"count": 5000})


@pytest.mark.parametrize(
    "batch", [[], None, {"points": {}}, {"last_seq": "x"}, {"logs": [{"seq": 1}]}, {"samples": ["x"]}]
)
def test_what_is_no_batch_is_refused(shop: Workshop, batch: Any) -> None:
    held = shop.running()
    with refused("PT422"):
        held.send(batch)


def test_an_empty_batch_shows_that_the_runner_lives(shop: Workshop) -> None:
    held = shop.running()
    shop.wait(60)
    before = held.row()["heartbeat_at"]
    held.send({"count": 0, "last_seq": 0})
    assert held.row()["heartbeat_at"] > before


def test_a_full_batch_is_stored_well_below_the_time_limit(shop: Workshop) -> None:
    held = shop.running()
    values = {name: 0.5 for name in METRIC_COLUMNS if name != "tokens_seen"}
    batch = held.batch(points=[held.point(step, tokens_seen=step, **values) for step in range(1, 1001)])
    shop.anon.execute("set statement_timeout = '1s'")
    held.send(batch)
    assert len(held.points()) == 1000


def test_racing_replays_of_a_batch_store_it_once(shop: Workshop) -> None:
    held = shop.running()
    batch = held.batch(
        points=[held.point(step) for step in range(200)],
        logs=[held.event(level="info", source="x", text="y")],
    )
    answers = race(
        shop.connections(4), lambda connection: call(connection, "job_ship", **held.key, batch=batch)
    )
    assert not any(answers)
    assert (len(held.points()), len(shop.sql("select 1 from public.log_lines"))) == (200, 1)


def test_a_job_of_another_person_gets_nothing_of_it(shop: Workshop) -> None:
    held = shop.running()
    other = Held(shop, {**held.claim, "token": held.token})
    other.id = shop.submit(shop.project.add_person())
    with refused("PT409", "There is no such attempt"):
        other.ship(points=[other.point(1)])
