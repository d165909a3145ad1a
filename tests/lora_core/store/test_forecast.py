"""When a queued job is likely to start: the arithmetic that both stores share."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.schema.job import WaitReason
from lora_core.store.forecast import Ahead, Places, Queue, Seconds, place_in, seconds_to_start

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HELD = st.lists(st.none() | st.floats(0, 1e6), max_size=4).map(tuple)


def queue_of(*online: Places, ahead: tuple[Ahead, ...] = (), quota: Places | None = None) -> Queue:
    """Make the queue of a job that every runner can take."""
    places = tuple(range(len(online)))
    return Queue(
        now=NOW,
        online=online,
        wanted=len(online),
        runners=places,
        position=len(ahead),
        ahead=ahead,
        quota=quota,
    )


def held(*seconds: Seconds, limit: int = 1) -> Places:
    return Places(limit=limit, held=seconds)


@pytest.mark.parametrize(
    ("online", "expected"),
    [
        ((held(),), 0.0),
        ((held(50.0), held()), 0.0),
        ((held(None), held()), 0.0),
        ((held(50.0), held(20.0)), 20.0),
        ((held(50.0), held(None)), None),
        ((held(None, 30.0, limit=3),), 0.0),
        ((held(5.0, 30.0, limit=1),), 30.0),
        ((), None),
    ],
)
def test_a_job_takes_the_slot_that_is_free_first(online: tuple[Places, ...], expected: Seconds) -> None:
    assert seconds_to_start(queue_of(*online)) == expected


def test_each_job_before_it_takes_the_first_slot_it_can_use() -> None:
    before = (
        Ahead(runners=(0,), seconds=100.0),
        Ahead(runners=(0, 1), seconds=5.0),
        Ahead(runners=(0, 1), seconds=50.0),
    )
    assert seconds_to_start(queue_of(held(10.0), held(20.0), ahead=before)) == 75.0


def test_a_job_before_it_of_unknown_length_makes_the_start_unknown_only_if_it_is_in_the_way() -> None:
    before = (Ahead(runners=(0,), seconds=None),)
    assert seconds_to_start(queue_of(held(), held(), ahead=before)) == 0.0
    assert seconds_to_start(queue_of(held(), ahead=before)) is None


def test_jobs_that_are_not_listed_make_the_start_unknown() -> None:
    assert seconds_to_start(queue_of(held()).model_copy(update={"position": 1})) is None


def test_ones_own_jobs_count_against_the_limit_and_other_peoples_do_not() -> None:
    quota = Places(limit=2, held=(40.0,))
    mine, theirs = (Ahead(runners=(0,), seconds=30.0, mine=mine) for mine in (True, False))
    assert seconds_to_start(queue_of(held(limit=9), ahead=(mine,), quota=quota)) == 30.0
    assert seconds_to_start(queue_of(held(limit=9), ahead=(theirs, theirs), quota=quota)) == 0.0


def test_a_person_who_may_have_nothing_at_work_waits_for_ever() -> None:
    place = place_in(queue_of(held(), quota=Places(limit=0)))
    assert (place.reason, place.expected_start) == (WaitReason.LIMIT, None)


def test_the_later_of_two_times_is_what_a_job_waits_for() -> None:
    soon, late = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    for times, reason in (
        ((soon, late), WaitReason.RETRY),
        ((late, soon), WaitReason.NOT_BEFORE),
        ((NOW, soon), WaitReason.RETRY),
    ):
        queue = queue_of(held()).model_copy(update=dict(zip(("not_before", "retry_at"), times, strict=True)))
        place = place_in(queue)
        assert (place.reason, place.until, place.expected_start) == (reason, max(times), max(times))


def test_a_start_beyond_the_calendar_is_not_told() -> None:
    assert place_in(queue_of(held(1e300))).expected_start is None


@given(st.lists(st.builds(Places, limit=st.integers(1, 3), held=HELD), min_size=1, max_size=4), HELD)
def test_a_longer_queue_never_starts_earlier(online: list[Places], lengths: tuple[Seconds, ...]) -> None:
    runners = tuple(range(len(online)))
    waits = [
        seconds_to_start(
            queue_of(
                *online, ahead=tuple(Ahead(runners=runners, seconds=seconds) for seconds in lengths[:count])
            )
        )
        for count in range(len(lengths) + 1)
    ]
    known = [wait for wait in waits if wait is not None]
    assert known == sorted(known)
    assert waits[: len(known)] == known  # once it is unknown it stays so
