"""Pauses before something is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.backoff import FIRST_SECONDS, LONGEST_SECONDS, MAX_FAILURES, retry_pause

CHANCES = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10**9), CHANCES)
def test_a_pause_is_from_half_to_one_and_a_half_times_what_it_is_on_average(
    failures: int, chance: float
) -> None:
    usual = retry_pause(failures, 0.5)
    assert FIRST_SECONDS <= usual <= LONGEST_SECONDS
    assert usual / 2 <= retry_pause(failures, chance) <= usual * 1.5


@given(st.integers(1, 100), CHANCES)
def test_a_pause_never_gets_shorter_with_more_failures(failures: int, chance: float) -> None:
    assert retry_pause(failures, chance) <= retry_pause(failures + 1, chance)


@pytest.mark.parametrize("failures", range(1, MAX_FAILURES))
def test_pauses_double_as_long_as_a_job_is_tried(failures: int) -> None:
    assert retry_pause(failures + 1, 0.5) == 2 * retry_pause(failures, 0.5)
