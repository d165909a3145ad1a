"""The charts: specs without rows, and rows for jobs with much, little or odd data."""

import math
from datetime import UTC, datetime

import pytest

from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.metrics import Series
from pages.widgets.chart_specs import X_TITLES, line_spec, loss_spec
from pages.widgets.chart_tables import HOVER_ROWS, Tables, line_table, loss_tables

EMPTY = Series(columns={"loss": (), "eval_loss": ()})


def curve(*losses: float | None, column: str = "loss") -> Series:
    steps = tuple(range(1, len(losses) + 1))
    epochs = tuple(step / 10 for step in steps)
    return Series(x=tuple(map(float, steps)), steps=steps, columns={column: losses, "epoch": epochs})


def checkpoint(step: int) -> Artifact:
    return Artifact(
        id=str(step), user_id="u", job_id="j", attempt=1, kind=ArtifactKind.CHECKPOINT, name="c", step=step,
        path="p", created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )  # fmt: skip


def tables(
    raw: Series = EMPTY,
    evaluations: Series = EMPTY,
    *checkpoints: Artifact,
    x: str = "step",
    log: bool = False,
) -> Tables:
    return loss_tables(x, raw, raw, evaluations, checkpoints, log=log)


@pytest.mark.parametrize("x", X_TITLES)
@pytest.mark.parametrize("log", [True, False])
def test_a_spec_names_its_data_sets_and_holds_no_row(x: str, log: bool) -> None:
    spec = loss_spec(x, log=log)
    named = {layer["data"]["name"] for layer in spec["layer"]}
    assert named == set(tables(x=x))
    assert "datasets" not in spec
    assert spec == loss_spec(x, log=log)


@pytest.mark.parametrize("x", X_TITLES)
def test_every_field_of_a_spec_is_a_column_of_its_table(x: str) -> None:
    rows = tables(curve(2.0, 1.0), curve(1.5, column="eval_loss"), checkpoint(1), x=x)
    for layer in loss_spec(x, log=False)["layer"]:
        encoding = layer["encoding"]
        used = [channel for channel in encoding.values() if isinstance(channel, dict)] + encoding.get(
            "tooltip", []
        )
        fields = {channel["field"] for channel in used if "field" in channel}
        assert fields <= set(rows[layer["data"]["name"]].column_names), layer["data"]["name"]


def test_a_job_without_points_has_empty_tables() -> None:
    assert {name: table.num_rows for name, table in tables().items()} == dict.fromkeys(tables(), 0)


def test_one_point_is_drawn_as_a_point() -> None:
    assert tables(curve(2.0))["lone"].to_pylist() == [{"step": 1.0, "smooth": 2.0}]
    assert tables(curve(2.0, 1.0))["lone"].num_rows == 0


def test_evaluations_alone_can_be_pointed_at() -> None:
    rows = tables(EMPTY, curve(1.5, 1.25, column="eval_loss"))
    assert rows["hover"].column("eval_loss").to_pylist() == [1.5, 1.25]
    assert math.isnan(rows["hover"].column("loss")[0].as_py())


def test_a_gap_stays_a_gap_in_the_raw_line() -> None:
    raw = tables(curve(2.0, None, 1.0))["raw"].column("loss").to_pylist()
    assert [math.isnan(value) for value in raw] == [False, True, False]


def test_the_best_is_the_lowest_evaluation() -> None:
    (best,) = tables(EMPTY, curve(1.5, 1.25, 1.4, column="eval_loss"))["best"].to_pylist()
    assert best == {"step": 2.0, "eval_loss": 1.25, "label": "best 1.2500"}


def test_a_logarithmic_axis_gets_only_what_it_can_show() -> None:
    rows = tables(curve(2.0, 0.0, -1.0, None), curve(0.0, 1.0, column="eval_loss"), log=True)
    assert rows["raw"].column("step").to_pylist() == [1.0, 4.0]
    assert rows["eval"].column("eval_loss").to_pylist() == [1.0]


def test_a_checkpoint_stands_where_its_step_is() -> None:
    rows = tables(curve(2.0, 1.5, 1.0), EMPTY, checkpoint(3), checkpoint(2))
    assert rows["checkpoints"].to_pylist() == [
        {"step": 2.0, "label": "checkpoint 2"},
        {"step": 3.0, "label": "checkpoint 3"},
    ]


def test_a_checkpoint_between_points_is_placed_between_them() -> None:
    raw = Series(x=(0.1, 0.3), steps=(10, 30), columns={"loss": (2.0, 1.0)})
    (row,) = tables(raw, EMPTY, checkpoint(20), x="epoch")["checkpoints"].to_pylist()
    assert row["epoch"] == pytest.approx(0.2)


def test_a_checkpoint_has_no_place_over_epochs_before_the_first_point() -> None:
    assert tables(EMPTY, EMPTY, checkpoint(5), x="epoch")["checkpoints"].num_rows == 0


def test_the_tooltip_tells_the_last_evaluation_before() -> None:
    evaluations = Series(x=(2.0,), steps=(2,), columns={"eval_loss": (1.25,)})
    told = tables(curve(2.0, 1.5, 1.0), evaluations)["hover"].column("eval_loss").to_pylist()
    assert math.isnan(told[0])
    assert told[1:] == [1.25, 1.25]


def test_the_tooltip_has_few_places_on_a_long_curve() -> None:
    assert tables(curve(*[1.0] * 600))["hover"].num_rows <= HOVER_ROWS


def test_the_same_points_make_the_same_tables() -> None:
    raw, evaluations = curve(2.0, None, 1.0), curve(1.5, column="eval_loss")
    assert str(tables(raw, evaluations, checkpoint(2))) == str(tables(raw, evaluations, checkpoint(2)))


def test_a_small_chart_leaves_out_what_is_missing() -> None:
    rows = line_table("step", curve(2.0, None, 1.0), "loss")
    assert rows["points"].to_pylist() == [{"step": 1.0, "loss": 2.0}, {"step": 3.0, "loss": 1.0}]
    assert line_table("step", curve(2.0), "grad_norm")["points"].num_rows == 0
    assert line_spec("step", "loss", "Loss")["data"] == {"name": "points"}
