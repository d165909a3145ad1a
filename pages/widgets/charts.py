"""The one way live charts are drawn: a cached spec without data, and data sets of stable names."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lora_core.schema.artifact import Artifact
from lora_core.schema.metrics import Series
from pages.widgets.chart_specs import line_spec, loss_spec
from pages.widgets.chart_tables import Tables, line_table, loss_tables


@st.cache_data(max_entries=64, show_spinner=False)
def _loss_spec(x: str, log: bool) -> dict[str, Any]:
    return loss_spec(x, log=log)


@st.cache_data(max_entries=64, show_spinner=False)
def _line_spec(x: str, column: str, title: str, number_format: str) -> dict[str, Any]:
    return line_spec(x, column, title, number_format=number_format)


def draw_loss(
    x: str,
    raw: Series,
    smooth: Series,
    evaluations: Series,
    checkpoints: Sequence[Artifact],
    *,
    log: bool,
    key: str,
) -> None:
    """Draw the loss chart over `x`; zoom and pan survive a refresh."""
    tables = loss_tables(x, raw, smooth, evaluations, checkpoints, log=log)
    draw_live(_loss_spec(x, log), tables, key=f"{key}_{x}_{'log' if log else 'linear'}")


def draw_line(
    x: str, series: Series, column: str, title: str, *, key: str, number_format: str = "~g"
) -> None:
    """Draw one column as a small chart."""
    spec = _line_spec(x, column, title, number_format)
    draw_live(spec, line_table(x, series, column), key=f"{key}_{x}")


def draw_live(spec: dict[str, Any], tables: Tables, *, key: str) -> None:
    """Draw a spec with its data sets so that the browser swaps the rows in place."""
    st.vega_lite_chart(
        {**spec, "datasets": tables}, key=key, on_select="rerun", selection_mode=["zoom"], width="stretch"
    )
