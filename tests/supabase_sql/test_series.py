"""A job's curves in SQL are those of lora_core/monitor: smoothed, then down-sampled, spikes and gaps kept."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_core.monitor.downsampling import min_max_indices
from lora_core.monitor.smoothing import smooth
from lora_core.schema.base import new_id
from lora_core.schema.metrics import METRIC_COLUMNS
from tests.supabase_sql.stage import Asker, Row, refused
from tests.supastub.rig import Project

Values = Sequence[float | None]
NUMBERS = st.lists(st.one_of(st.floats(-1e9, 1e9), st.none()), max_size=200)
on_one_project = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


def holes(values: Values) -> list[float]:
    """Write gaps as the domain's functions do."""
    return [float("nan") if value is None else value for value in values]


def expected(
    steps: Sequence[int], columns: dict[str, Values], *, points: int, smoothing: float, x: str
) -> dict[str, Any]:
    """Return what the domain makes of a series, as the local store does."""
    shown = {name: smooth(holes(values), smoothing) for name, values in columns.items()}
    xs = np.array(holes(columns[x])) if x != "step" else np.array(steps, dtype=float)
    known = np.flatnonzero(~np.isnan(xs))
    known = known[np.argsort(xs[known], kind="stable")]
    kept = known[min_max_indices(next(iter(shown.values()))[known], points)]
    return {
        "x": xs[kept].tolist(),
        "steps": [steps[place] for place in kept],
        "columns": {name: [None if np.isnan(v) else v for v in shown[name][kept].tolist()] for name in shown},
        "total": len(steps),
        "last_step": steps[-1],
    }


def assert_same(series: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Compare an answer with what the domain gives; numbers to nine digits."""
    assert {name: series[name] for name in ("steps", "total", "last_step")} == {
        name: wanted[name] for name in ("steps", "total", "last_step")
    }
    assert series["columns"].keys() == wanted["columns"].keys()
    for values, other in zip(
        (series["x"], *series["columns"].values()),
        (wanted["x"], *(wanted["columns"][name] for name in series["columns"])),
        strict=True,
    ):
        np.testing.assert_allclose(holes(values), holes(other), rtol=1e-9, atol=1e-12)


class Curves:
    """A job of Anne's and its points."""

    def __init__(self, project: Project, anne: Asker) -> None:
        self.project = project
        self.anne = anne
        self.job = anne.submit()

    def add(self, steps: Sequence[int], kind: str = "train", **columns: Values) -> None:
        """Insert points: one list of values for each column."""
        names = list(columns)
        arrays = ", ".join("%s::float8[]" for _ in names)
        self.project.sql(
            f"insert into public.metrics_points (job_id, user_id, attempt, seq, recorded_at, kind, step, {', '.join(names)})"
            " select %s, %s, 1, u.step, to_timestamp(1.7e9 + u.step), %s, u.*"
            f" from unnest(%s::bigint[], {arrays}) u (step, {', '.join(names)})",
            self.job["id"],
            self.job["user_id"],
            kind,
            list(steps),
            *(list(values) for values in columns.values()),
        )

    def read(self, columns: Sequence[str] = ("loss",), kind: str = "train", **more: Any) -> dict[str, Any]:
        """Ask for the series as Anne."""
        series: Row = self.anne.call(
            "job_series", p_job=self.job["id"], p_kind=kind, p_columns=list(columns), **more
        )
        return series


@pytest.fixture
def curves(project: Project, anne: Asker) -> Curves:
    return Curves(project, anne)


class TestTheSameSums:
    @on_one_project
    @given(values=NUMBERS, weight=st.floats(0.0, 0.9999))
    def test_smoothing(self, project: Project, values: Values, weight: float) -> None:
        row = project.sql("select private.smooth(%s::float8[], %s) as smoothed", list(values), weight)[0]
        scale = max((abs(value) for value in values if value is not None), default=0.0)
        np.testing.assert_allclose(
            holes(row["smoothed"]), smooth(holes(values), weight), rtol=1e-9, atol=1e-12 * scale
        )

    @on_one_project
    @given(
        values=st.lists(st.one_of(st.integers(-3, 3).map(float), st.floats(-9, 9), st.none()), max_size=120),
        points=st.integers(0, 130),
    )
    def test_down_sampling(self, project: Project, values: Values, points: int) -> None:
        row = project.sql("select private.min_max_places(%s::float8[], %s) as places", list(values), points)[
            0
        ]
        assert [place - 1 for place in row["places"]] == min_max_indices(holes(values), points).tolist()

    def test_the_columns_are_those_of_the_domain(self, project: Project) -> None:
        assert project.sql("select private.metric_columns() as names")[0]["names"] == list(METRIC_COLUMNS)

    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize("x", ["step", "epoch", "tokens_seen", "elapsed_seconds"])
    def test_whole_series(self, curves: Curves, seed: int, x: str) -> None:
        chance = random.Random(seed)
        count = chance.choice([1, 2, 3, 50, 1000, 3000])
        steps = sorted(chance.sample(range(10 * count), count))

        def column(gaps: float) -> Values:
            spikes = [chance.gauss(2, 1) * chance.choice([1, 1, 1, 1e6]) for _ in range(count)]
            return [None if chance.random() < gaps else value for value in spikes]

        columns = {"loss": column(chance.choice([0, 0.3, 1.0])), "grad_norm": column(0.1)}
        if x != "step":
            rising = [float(step * 3) for step in steps]
            if seed % 2:
                chance.shuffle(rising)
            columns[x] = [None if chance.random() < seed / 10 else value for value in rising]
        curves.add(steps, **columns)
        for smoothing in (0.0, 0.9):
            series = curves.read(list(columns), p_points=60, p_smoothing=smoothing, p_x=x)
            assert_same(series, expected(steps, columns, points=60, smoothing=smoothing, x=x))


class TestEdges:
    def test_a_job_without_points_has_an_empty_series(self, curves: Curves) -> None:
        empty = {"x": [], "steps": [], "columns": {"loss": [], "epoch": []}, "total": 0, "last_step": -1}
        assert curves.read(("loss", "epoch"), p_x="elapsed_seconds", p_smoothing=0.9) == empty

    def test_one_point_comes_back(self, curves: Curves) -> None:
        curves.add([7], loss=[2.5])
        one = {"x": [7], "steps": [7], "columns": {"loss": [2.5]}, "total": 1, "last_step": 7}
        assert curves.read() == curves.read(p_smoothing=0.9) == one

    def test_a_column_without_values_is_all_gaps(self, curves: Curves) -> None:
        curves.add(range(100), loss=[None] * 100)
        series = curves.read(p_points=10, p_smoothing=0.5)
        assert set(series["columns"]["loss"]) == {None}
        assert len(series["x"]) == len(series["columns"]["loss"]) < 12

    @pytest.mark.parametrize("smoothing", [0.0, 0.5])
    def test_without_any_x_nothing_is_shown(self, curves: Curves, smoothing: float) -> None:
        curves.add([1, 2], loss=[1, 2])
        series = curves.read(p_x="epoch", p_smoothing=smoothing)
        assert series == {"x": [], "steps": [], "columns": {"loss": []}, "total": 2, "last_step": 2}

    def test_without_columns_x_alone_is_down_sampled(self, curves: Curves) -> None:
        curves.add(range(100), loss=[1] * 100)
        series = curves.read((), p_points=10)
        assert (series["columns"], series["x"][0], series["x"][-1]) == ({}, 0, 99)
        assert len(series["x"]) <= 10

    def test_a_spike_survives(self, curves: Curves) -> None:
        losses = [1.0] * 3500
        losses[2718], losses[31] = 99.0, -99.0
        curves.add(range(3500), loss=losses)
        series = curves.read(p_points=100)
        shown = dict(zip(series["steps"], series["columns"]["loss"], strict=True))
        assert (shown[2718], shown[31], len(shown) <= 100) == (99.0, -99.0, True)

    def test_hidden_points_are_left_out(self, curves: Curves, project: Project) -> None:
        curves.add(range(5), loss=[1, 2, 3, 4, 5])
        project.sql("update public.metrics_points set hidden = step > 2")
        series = curves.read()
        assert (series["x"], series["total"], series["last_step"]) == ([0, 1, 2], 3, 2)

    def test_kinds_are_apart(self, curves: Curves) -> None:
        curves.add([1], loss=[1])
        curves.add([2], kind="eval", eval_loss=[3])
        assert curves.read(("eval_loss",), kind="eval")["columns"] == {"eval_loss": [3]}

    def test_time_is_in_seconds_since_1970(self, curves: Curves) -> None:
        curves.add([1, 2], loss=[1, 2])
        assert curves.read(p_x="recorded_at")["x"] == [1.7e9 + 1, 1.7e9 + 2]

    def test_a_step_after_2038_and_a_fraction_of_a_second_stay_exact(
        self, curves: Curves, project: Project
    ) -> None:
        curves.add([2**40], loss=[0.1])
        project.sql("update public.metrics_points set recorded_at = '2040-01-01 00:00:00.123456Z'")
        series = curves.read(p_x="recorded_at")
        assert (series["steps"], series["x"], series["columns"]["loss"]) == (
            [2**40],
            [2208988800.123456],
            [0.1],
        )

    def test_values_that_are_not_finite_are_gaps(self, curves: Curves) -> None:
        curves.add([1, 2, 3, 4], loss=[1.0, float("nan"), float("inf"), 3.0])
        assert curves.read()["columns"]["loss"] == [1.0, None, None, 3.0]
        assert curves.read(p_smoothing=0.5)["columns"]["loss"] == [1.0, None, None, pytest.approx(7 / 3)]

    def test_long_decays_and_huge_values_are_no_error(self, curves: Curves) -> None:
        curves.add(range(3000), loss=[1e308, 1e300, -1e300, 5e-324, *[0.0] * 2996])
        assert curves.read(p_smoothing=0.3)["columns"]["loss"][-1] == pytest.approx(0, abs=1e-280)

    def test_a_repeated_column_is_one(self, curves: Curves) -> None:
        curves.add([1], loss=[1])
        assert curves.read(("loss", "loss"))["columns"] == {"loss": [1]}

    def test_it_keeps_to_the_most_points_of_an_answer(self, curves: Curves) -> None:
        curves.add(range(25_000), loss=[step % 7 for step in range(25_000)])
        assert len(curves.read(p_points=1_000_000)["x"]) <= 20_002


class TestRefusals:
    def test_a_job_of_somebody_else_is_not_found(self, curves: Curves, ben: Asker) -> None:
        for job_id in (curves.job["id"], new_id(), None):
            with refused("PT404", "There is no such job (any more)."):
                ben.call("job_series", p_job=job_id, p_kind="train", p_columns=["loss"])

    @pytest.mark.parametrize("columns", [["loss", "password"], ["loss; select 1"], ["step"], ["loss", None]])
    def test_an_unknown_column_is_not_found(self, curves: Curves, columns: list[str]) -> None:
        with refused("PT404", "There is no metric called"):
            curves.read(columns)

    @pytest.mark.parametrize("x", ["loss", "", None])
    def test_an_unknown_x_is_not_found(self, curves: Curves, x: str | None) -> None:
        with refused("PT404", "There is no metric called"):
            curves.read(p_x=x)

    def test_an_unknown_kind_is_not_found(self, curves: Curves) -> None:
        with refused("PT404", "There are no points of the kind gpu."):
            curves.read(kind="gpu")

    @pytest.mark.parametrize("smoothing", [-0.1, 1.0, 2.0, float("nan")])
    def test_the_weight_lies_between_0_and_1(self, curves: Curves, smoothing: float) -> None:
        with refused("PT422", "The smoothing weight lies between 0 and 1"):
            curves.read(p_smoothing=smoothing)

    def test_too_many_columns_are_refused(self, curves: Curves) -> None:
        with refused("PT422", "A chart reads at most 32 columns at once."):
            curves.read(["loss"] * 33)

    def test_nobody_reads_without_a_session(self, curves: Curves, project: Project) -> None:
        with project.as_role("anon") as connection, refused("42501"):
            connection.execute("select public.job_series(%s, 'train', '{loss}')", (curves.job["id"],))
