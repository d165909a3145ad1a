"""Smoothed curves are those that pandas would draw."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.monitor.smoothing import smooth

LOSSES = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), max_size=300)


@given(LOSSES, st.floats(0.0, 0.9999))
def test_it_equals_the_average_of_pandas(losses: list[float], weight: float) -> None:
    series = pd.Series(losses, dtype=float)
    expected = series.ewm(alpha=1 - weight, adjust=True, ignore_na=True).mean().where(series.notna())
    np.testing.assert_allclose(smooth(losses, weight), expected, rtol=1e-7, atol=1e-3)


@pytest.mark.parametrize("weight", [0.5, 0.9, 0.999])
def test_long_series_equal_it_too(weight: float) -> None:
    series = pd.Series(np.random.default_rng(0).normal(size=20_001))
    expected = series.ewm(alpha=1 - weight, adjust=True).mean()
    np.testing.assert_allclose(smooth(series, weight), expected, rtol=1e-9, atol=1e-12)


def test_weight_zero_changes_nothing() -> None:
    assert smooth([3.0, 1.0, 2.0], 0.0).tolist() == [3.0, 1.0, 2.0]


def test_a_constant_stays_constant() -> None:
    np.testing.assert_allclose(smooth(np.full(5000, 2.5), 0.99), 2.5)


@pytest.mark.parametrize("gap", [float("nan"), float("inf"), -float("inf")])
def test_a_gap_stays_a_gap_and_does_not_count(gap: float) -> None:
    smoothed = smooth([1.0, gap, 0.0], 0.5)
    np.testing.assert_equal(smoothed[1], gap)
    assert smoothed[2] == pytest.approx(1 / 3)


def test_nothing_stays_nothing() -> None:
    assert smooth([], 0.9).tolist() == []


def test_only_gaps_stay_gaps() -> None:
    assert np.isnan(smooth([float("nan")] * 3, 0.9)).all()


@pytest.mark.parametrize("weight", [-0.1, 1.0, 2.0, float("nan")])
def test_a_weight_out_of_bounds_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        smooth([1.0], weight)


def test_the_series_that_is_handed_in_stays_as_it_was() -> None:
    series = np.array([1.0, np.nan, 3.0])
    smooth(series, 0.5)
    np.testing.assert_equal(series, [1.0, np.nan, 3.0])
