"""What three clocks tell of a machine: that it slept, or that somebody set its clock, and neither for the other."""

import pytest

from runner.clocks import GapWatch
from tests.runner.agent.bench import Machine


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_time_that_passes_is_no_gap(machine: Machine) -> None:
    watch = GapWatch(machine.clocks)
    machine.wait(36_000)
    assert watch.look() is None


def test_a_sleep_is_told_once(machine: Machine) -> None:
    watch = GapWatch(machine.clocks)
    machine.sleep(7_200)
    assert str(watch.look()) == "The machine slept for 2 hours."
    assert watch.look() is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(7_200, "went forward by 2 hours"), (-7_200, "back by 2 hours")]
)
def test_a_clock_that_was_set_is_no_sleep(machine: Machine, seconds: float, words: str) -> None:
    watch = GapWatch(machine.clocks)
    machine.set_clock(seconds)
    gap = watch.look()
    assert gap is not None
    assert gap.slept_seconds == 0
    assert words in str(gap)


def test_a_sleep_with_a_clock_set_meanwhile_is_both(machine: Machine) -> None:
    watch = GapWatch(machine.clocks)
    machine.sleep(600)
    machine.set_clock(-3_600)
    assert (
        str(watch.look()) == "The machine slept for 10 minutes. The machine's clock was set back by 1 hour."
    )


@pytest.mark.parametrize("seconds", [-59.0, 59.0])
def test_a_small_correction_is_no_news(machine: Machine, seconds: float) -> None:
    watch = GapWatch(machine.clocks)
    machine.set_clock(seconds)
    assert watch.look() is None
