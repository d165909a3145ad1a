"""Vega-Lite specs without data; `chart_tables.py` makes the rows. Pure functions: no Streamlit.

A spec has no rows in it, so it is the same text at every refresh: the browser keeps the drawn view (no flicker, the zoom
survives) and only swaps the data sets, whose names never change.
"""

from typing import Any

import altair as alt

X_TITLES = {"step": "Step", "epoch": "Epoch", "tokens_seen": "Tokens", "elapsed_seconds": "Elapsed"}
"""What a chart can be drawn over: a column of the points, and its title."""

TRAINING, VALIDATION, BEST = "Training", "Validation", "Best"
GREY = "#868da0"
THOUSANDS = "datum.value >= 1000 ? format(datum.value / 1000, '~g') + 'k' : format(datum.value, '~g')"
AXIS_LABELS = {
    "step": THOUSANDS,
    "tokens_seen": "format(datum.value, '~s')",
    "epoch": "format(datum.value, '~g')",
    "elapsed_seconds": "datum.value >= 7200 ? format(datum.value / 3600, '.1f') + ' h' : "
    "datum.value >= 120 ? format(datum.value / 60, '.0f') + ' min' : format(datum.value, '.0f') + ' s'",
}


def loss_spec(x: str, *, log: bool, height: int = 340) -> dict[str, Any]:
    """Return the loss chart: raw and smoothed training loss, evaluations, checkpoints, the best, and a crosshair.

    Data sets (see `loss_tables`): raw, smooth, lone, eval, best, checkpoints, hover.
    """
    across = _x_axis(x)
    up = alt.Scale(type="log", nice=False) if log else alt.Scale(zero=False, nice=True)
    axis = alt.Axis(title="Loss, logarithmic" if log else "Loss", tickCount=6, format="~g")

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", scale=up, axis=axis)

    def rows(name: str) -> alt.Chart:
        return alt.Chart(alt.NamedData(name=name))

    legend = alt.Legend(
        orient="top",
        direction="horizontal",
        symbolType="stroke",
        symbolStrokeWidth=3,
        symbolOpacity=1,
        values=[TRAINING, VALIDATION],
    )
    colour = alt.Color(
        "series:N", title=None, scale=alt.Scale(domain=[TRAINING, VALIDATION, BEST]), legend=legend
    )  # one layer brings scale and legend, the others name their colour: no text in every row
    hover = alt.selection_point(
        name="hover", nearest=True, on="pointermove", clear="pointerout", fields=[x], empty=False
    )
    zoom = alt.selection_interval(
        name="zoom", bind="scales", encodings=["x"], zoom="wheel![event.shiftKey]"
    )  # the plain wheel keeps scrolling the page
    checkpoint_rules = (
        rows("checkpoints").mark_rule(color=GREY, strokeDash=[3, 4], opacity=0.7).encode(across)
    )
    checkpoint_names = (
        rows("checkpoints")
        .mark_text(color=GREY, angle=270, align="right", baseline="bottom", dx=-6, dy=-4, fontSize=11)
        .encode(across, y=alt.value(0), text="label:N")
    )
    raw = (
        rows("raw")
        .mark_line(strokeWidth=1, strokeOpacity=0.28)
        .encode(across, y("loss"), color=alt.datum(TRAINING))
    )
    smooth = rows("smooth").mark_line(strokeWidth=2.4).encode(across, y("smooth"), color=alt.datum(TRAINING))
    lone = (
        rows("lone").mark_point(size=60, filled=True).encode(across, y("smooth"), color=alt.datum(TRAINING))
    )
    evaluations = (
        rows("eval")
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=46, filled=True))
        .encode(across, y("eval_loss"), color=colour)
    )
    best = (
        rows("best")
        .mark_point(shape="diamond", size=170, filled=True, opacity=1)
        .encode(across, y("eval_loss"), color=alt.datum(BEST))
    )
    best_name = (
        rows("best")
        .mark_text(align="right", dx=8, dy=18, fontSize=12, fontWeight=600)
        .encode(across, y("eval_loss"), text="label:N", color=alt.datum(BEST))
    )
    crosshair = (
        rows("hover")
        .mark_rule(color=GREY)
        .encode(across, opacity=alt.condition(hover, alt.value(0.9), alt.value(0)), tooltip=_tooltips())
        .add_params(hover, zoom)
    )
    dots = [
        rows("hover")
        .mark_point(size=60, filled=True, opacity=1)
        .encode(across, y(field), color=alt.datum(name))
        .transform_filter(hover)
        for field, name in (("smooth", TRAINING), ("eval_loss", VALIDATION))
    ]
    lines = [checkpoint_rules, checkpoint_names, raw, smooth, lone, evaluations, best, best_name]
    description = f"Training and validation loss by {X_TITLES[x].lower()}"
    return _finished(alt.layer(*lines, crosshair, *dots), height, description)


def line_spec(
    x: str, column: str, title: str, *, number_format: str = "~g", height: int = 170
) -> dict[str, Any]:
    """Return a small chart of one column. Data set: points (x, column)."""
    y = alt.Y(
        f"{column}:Q",
        title=None,
        scale=alt.Scale(zero=False),
        axis=alt.Axis(tickCount=4, format=number_format),
    )
    tooltip = [
        alt.Tooltip(f"{x}:Q", title=X_TITLES[x], format=",.4~f"),
        alt.Tooltip(f"{column}:Q", title=title, format=number_format),
    ]
    zoom = alt.selection_interval(name="zoom", bind="scales", encodings=["x"], zoom="wheel![event.shiftKey]")
    line = (
        alt.Chart(alt.NamedData(name="points"))
        .mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=1, opacity=0.01))
        .encode(_x_axis(x, ticks=5), y, tooltip=tooltip)
        .add_params(zoom)
    )
    return _finished(line, height, f"{title} by {X_TITLES[x].lower()}")


def _x_axis(x: str, *, ticks: int = 8) -> alt.X:
    axis = alt.Axis(
        title=X_TITLES[x], grid=False, tickCount=ticks, labelExpr=AXIS_LABELS[x], labelFlush=False
    )
    return alt.X(f"{x}:Q", axis=axis, scale=alt.Scale(nice=False, zero=False, padding=6))


def _tooltips() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("step:Q", title="Step", format=",.0f"),
        alt.Tooltip("epoch:Q", title="Epoch", format=".2f"),
        alt.Tooltip("smooth:Q", title="Training, smoothed", format=".4f"),
        alt.Tooltip("loss:Q", title="Training, raw", format=".4f"),
        alt.Tooltip("eval_loss:Q", title="Validation, last", format=".4f"),
        alt.Tooltip("learning_rate:Q", title="Learning rate", format=".2e"),
        alt.Tooltip("elapsed_seconds:Q", title="Elapsed (s)", format=",.0f"),
    ]


def _finished(chart: Any, height: int, description: str) -> dict[str, Any]:
    padding = {"left": 4, "right": 12, "top": 4, "bottom": 6}
    shaped = chart.properties(height=height, description=description, padding=padding)
    styled = shaped.configure_view(stroke=None).configure_axis(
        labelFontSize=12, titleFontSize=12, titleFontWeight="normal"
    )
    spec: dict[str, Any] = styled.to_dict()
    return spec
