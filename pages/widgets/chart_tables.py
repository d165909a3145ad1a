"""The rows of the charts of `chart_specs.py`, as Arrow tables: made at every refresh, so without pandas. No Streamlit here."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lora_core.schema.artifact import Artifact
from lora_core.schema.metrics import Series
from pages.widgets.chart_specs import VALIDATION

HOVER_ROWS = 200
HOVER_COLUMNS = ("epoch", "learning_rate", "elapsed_seconds")
Tables = dict[str, pa.Table]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def loss_tables(
    x: str, raw: Series, smooth: Series, evaluations: Series, checkpoints: Sequence[Artifact], *, log: bool
) -> Tables:
    """Return all data sets of `loss_spec`, empty where there is nothing to draw.

    Args:
        raw: loss, epoch, learning_rate, elapsed_seconds over x.
        smooth: loss over x, smoothed.
        evaluations: eval_loss over x.
        log: Leave out values at or below zero, which a logarithmic axis cannot show.
    """
    raw_x, raw_y = _line(raw, "loss", log=log)
    smooth_x, smooth_y = _line(smooth, "loss", log=log)
    eval_x, eval_y = _known(*_line(evaluations, "eval_loss", log=log))
    lone_x, lone_y = _known(smooth_x, smooth_y)
    lone = slice(0, 1 if len(lone_x) == 1 else 0)
    best = slice(0, 0)
    if len(eval_y):
        lowest = int(eval_y.argmin())
        best = slice(lowest, lowest + 1)
    return {
        "raw": _table({x: raw_x, "loss": raw_y}),
        "smooth": _table({x: smooth_x, "smooth": smooth_y}),
        "lone": _table({x: lone_x[lone], "smooth": lone_y[lone]}),
        "eval": _table(
            {x: eval_x, "eval_loss": eval_y, "series": pa.array([VALIDATION] * len(eval_x), pa.string())}
        ),
        "best": _table(
            {x: eval_x[best], "eval_loss": eval_y[best], "label": _texts("best {:.4f}", eval_y[best])}
        ),
        "checkpoints": _checkpoints(x, raw, evaluations, checkpoints),
        "hover": _hover(x, raw if raw.x else evaluations, (smooth_x, smooth_y), (eval_x, eval_y)),
    }


def line_table(x: str, series: Series, column: str) -> Tables:
    """Return the data set of `line_spec`."""
    xs, ys = _known(*_line(series, column, log=False))
    return {"points": _table({x: xs, column: ys})}


def _hover(x: str, series: Series, smooth: tuple[Floats, Floats], evals: tuple[Floats, Floats]) -> pa.Table:
    """At most 200 places along x with every value there is, for one tooltip."""
    xs = _floats(series.x)
    kept = np.unique(np.linspace(0, len(xs) - 1, min(HOVER_ROWS, len(xs))).astype(int))
    at = xs[kept]
    columns = {name: _column(series, name)[kept] for name in ("loss", *HOVER_COLUMNS)}
    columns |= {x: at, "step": _floats(series.steps)[kept], "smooth": _between(at, *_known(*smooth))}
    columns["eval_loss"] = _last_before(at, *evals)
    return _table(columns)


def _checkpoints(x: str, raw: Series, evaluations: Series, checkpoints: Sequence[Artifact]) -> pa.Table:
    """Where along x each checkpoint was made, read off the points around it."""
    steps = np.sort(_floats([artifact.step for artifact in checkpoints if artifact.step is not None]))
    series = raw if raw.x else evaluations
    order = np.argsort(_floats(series.steps))
    at = steps if x == "step" else _between(steps, _floats(series.steps)[order], _floats(series.x)[order])
    known = np.isfinite(at)
    return _table({x: at[known], "label": _texts("checkpoint {:.0f}", steps[known])})


def _between(at: Floats, xs: Floats, ys: Floats) -> Floats:
    """Values at some places along a line, which beyond its ends goes on level."""
    return np.interp(at, xs, ys) if len(xs) else np.full(len(at), math.nan)


def _last_before(at: Floats, xs: Floats, ys: Floats) -> Floats:
    """The last value at or before each place; NaN before the first."""
    return np.append(ys, math.nan)[np.searchsorted(xs, at, side="right") - 1]


def _line(series: Series, column: str, *, log: bool) -> tuple[Floats, Floats]:
    xs, ys = _floats(series.x), _column(series, column)
    shown = ~(ys <= 0) if log else slice(None)
    return xs[shown], ys[shown]


def _known(xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
    known = np.isfinite(ys)
    return xs[known], ys[known]


def _column(series: Series, column: str) -> Floats:
    """A column with NaN for what is missing; all of it where the series has no such column."""
    values = series.columns.get(column)
    return _floats(values) if values else np.full(len(series.x), math.nan)


def _table(columns: dict[str, Any]) -> pa.Table:
    """Numbers go as 32 bits: half the bytes, and far finer than a pixel."""
    return pa.table(
        {
            name: values.astype(np.float32) if isinstance(values, np.ndarray) else values
            for name, values in columns.items()
        }
    )


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array(values, dtype=np.float64)


def _texts(form: str, values: Floats) -> pa.Array:
    return pa.array([form.format(value) for value in values], pa.string())
