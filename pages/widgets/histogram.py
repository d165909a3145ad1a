"""A histogram of row lengths. The counts come ready from the check; this only draws them."""

import altair as alt
import pandas as pd
import streamlit as st

from lora_core.schema.dataset import LengthStats

HEIGHT = 220
SERIES = ["Rows", "Median"]
"""Order of the legend and of the theme's colours."""


def draw_histogram(lengths: LengthStats, unit: str, *, key: str) -> None:
    """Draw how many rows have which length, with the median marked.

    Args:
        unit: What is counted, such as "tokens".
    """
    color = alt.Color("series:N", scale=alt.Scale(domain=SERIES), legend=alt.Legend(title=None, orient="top"))
    edges, counts = lengths.histogram.edges, lengths.histogram.counts
    bins = pd.DataFrame(
        {"start": edges[:-1], "end": edges[1:], "rows": counts, "zero": 0, "series": SERIES[0]}
    )
    bars = (
        alt.Chart(bins)
        .mark_rect(cornerRadius=2, stroke=None)
        .encode(
            x=alt.X(
                "start:Q",
                title=f"{unit.capitalize()} a row",
                scale=alt.Scale(nice=False, zero=False),
                axis=alt.Axis(grid=False, tickCount=6),
            ),
            x2="end:Q",
            y=alt.Y("rows:Q", title="Rows", axis=alt.Axis(tickMinStep=1, tickCount=4)),
            y2="zero:Q",
            color=color,
            tooltip=[
                alt.Tooltip("start:Q", title="From", format=",.0f"),
                alt.Tooltip("end:Q", title="to under", format=",.0f"),
                alt.Tooltip("rows:Q", title="Rows", format=","),
            ],
        )
    )
    median = pd.DataFrame({"median": [lengths.median], "series": SERIES[1]})
    rule = (
        alt.Chart(median)
        .mark_rule(strokeDash=[5, 3], strokeWidth=2)
        .encode(x="median:Q", color=color, tooltip=[alt.Tooltip("median:Q", title="Median", format=",.0f")])
    )
    with st.container(key=key):
        st.altair_chart(
            (bars + rule).properties(height=HEIGHT),
            key=f"{key}_vega",
            alt=f"Histogram: {unit} a row, median {lengths.median:,.0f}, longest {lengths.maximum:,.0f}",
        )
