"""Fewer points, the same extremes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.monitor.downsampling import min_max_indices

VALUES = st.lists(st.one_of(st.floats(-1e9, 1e9), st.just(float("nan")), st.just(float("inf"))), max_size=400)
POINTS = st.integers(2, 120)


@given(VALUES, POINTS)
def test_the_extremes_always_survive(values: list[float], points: int) -> None:
    finite = [value for value in values if np.isfinite(value)]
    kept = [values[index] for index in min_max_indices(values, points)]
    if finite:
        assert max(finite) in kept
        assert min(finite) in kept


@given(VALUES, POINTS)
def test_indices_rise_and_hold_both_ends(values: list[float], points: int) -> None:
    indices = min_max_indices(values, points).tolist()
    assert indices == sorted(set(indices))
    if values:
        assert (indices[0], indices[-1]) == (0, len(values) - 1)


@given(VALUES, POINTS)
def test_no_more_are_kept_than_asked_for(values: list[float], points: int) -> None:
    assert len(min_max_indices(values, points)) <= max(points, 4)


def test_a_short_series_is_kept_whole() -> None:
    assert min_max_indices([5.0, 1.0, 3.0], 3).tolist() == [0, 1, 2]


def test_an_empty_series_gives_nothing() -> None:
    assert min_max_indices([], 600).tolist() == []


def test_a_series_of_gaps_keeps_one_of_each_bucket() -> None:
    indices = min_max_indices(np.full(1000, np.nan), 100)
    assert 40 <= len(indices) <= 100


@pytest.mark.parametrize("points", [-1, 0, 1, 2, 3])
def test_very_few_points_still_hold_both_ends(points: int) -> None:
    indices = min_max_indices(range(100), points)
    assert (indices[0], indices[-1]) == (0, 99)
