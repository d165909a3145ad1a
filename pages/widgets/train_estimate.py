"""What the job of the form will need: memory with its parts, whether it fits, time, money; ranges, with what they rest on."""

from dataclasses import replace

import altair as alt
import pandas as pd
import streamlit as st

from lora_core.actions import estimates
from lora_core.actions.estimates import GIB, Estimate, Machine, Span, Verdict, memory_words, time_words
from lora_core.actions.workspace import Workspace
from lora_core.errors import StudioError
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import Dataset
from pages.widgets import formats, session
from pages.widgets.plain import plain
from pages.widgets.session import Draft

BADGES = {
    Verdict.FITS: ("Fits", ":material/check:", "green"),
    Verdict.TIGHT: ("Tight: may not fit", ":material/warning:", "orange"),
    Verdict.TOO_LARGE: ("Does not fit", ":material/block:", "red"),
    Verdict.UNKNOWN: ("Memory of the machine unknown", ":material/help:", "gray"),
}
BAR_HEIGHT, CHART_HEIGHT = 28, 130
"""Pixels; the chart's with axis and legend."""
WITH_THE_ADAPTER = ("Adapter", "Gradients", "Optimizer")
TOGETHER = "Adapter, optimizer"
"""Small parts, drawn as one."""


def draw_estimate(
    workspace: Workspace, draft: Draft, dataset: Dataset, config: TrainingConfig
) -> float | None:
    """Draw the panel.

    Returns:
        Seconds that the job is expected to take: the middle of the range; None where nothing can be told.
    """
    with st.container(border=True, key="estimate"):
        machine = _choose_machine(estimates.list_machines(workspace))
        if machine is None:
            st.caption("Memory and time can be estimated once a runner has been online.")
            return None
        try:
            estimate = estimates.estimate_job(workspace, config, dataset, machine)
        except StudioError:  # the model's own field says what is wrong with it
            return None
        if estimate is None:
            st.caption(
                "The sizes of this base model are known once its weights are here: no estimate of memory and time yet."
            )
            return None
        _draw_verdict(estimate)
        _draw_bar(estimate)
        _draw_change(draft, estimate)
        _draw_basis(estimate)
        return estimate.time.seconds.middle


def _choose_machine(machines: list[Machine]) -> Machine | None:
    st.markdown("**What it will need**")
    if len(machines) < 2:
        return machines[0] if machines else None
    names = [machine.name for machine in machines]
    chosen = st.selectbox("On", names, key="estimate_machine", width=320)
    return machines[names.index(chosen)]


def _draw_verdict(estimate: Estimate) -> None:
    label, icon, color = BADGES[estimate.verdict]
    kind = "GPU memory" if estimate.machine.gpu else "RAM (it trains on the CPU)"
    limit = "" if estimate.limit_bytes is None else f"{memory_words(Span.exactly(estimate.limit_bytes))} "
    money = _dollars(estimate.usd) if estimate.usd else "no charge (electricity not counted)"
    with st.container(horizontal=True, vertical_alignment="center", key="estimate_words"):
        st.badge(label, icon=icon, color=color)
        st.markdown(
            f"**{memory_words(estimate.memory.total)}** of {limit}{kind} · "
            f"**{time_words(estimate.time.seconds)}** · {money}",
            width="content",
        )


def _draw_bar(estimate: Estimate) -> None:
    """Draw the middle of each part, one after the other, and where the limit is."""
    shown: dict[str, float] = {}
    for part in estimate.memory.parts:
        name = TOGETHER if part.name in WITH_THE_ADAPTER else part.name
        shown[name] = shown.get(name, 0.0) + part.size.middle / GIB
    rows = pd.DataFrame(
        {"part": list(shown), "order": range(len(shown)), "GB": [round(size, 2) for size in shown.values()]}
    )
    limit = (estimate.limit_bytes or 0) / GIB
    most = max(rows["GB"].sum(), min(limit, 4 * rows["GB"].sum())) * 1.02
    bar = (
        alt.Chart(rows)
        .mark_bar(size=BAR_HEIGHT)
        .encode(
            x=alt.X(
                "sum(GB):Q",
                title=None,
                axis=alt.Axis(tickCount=5, format="~g"),
                scale=alt.Scale(domain=[0, most], nice=False),
            ),
            color=alt.Color(
                "part:N",
                sort=list(shown),
                legend=alt.Legend(orient="bottom", title=None, columns=3, symbolLimit=0),
            ),
            order="order:O",
            tooltip=["part", "GB"],
        )
    )
    layers: list[alt.Chart] = [bar]
    if 0 < limit <= most:
        rule = alt.Chart(pd.DataFrame({"limit": [limit]})).mark_rule(strokeWidth=2, color="#d4380d")
        layers.append(
            rule.encode(x="limit:Q", tooltip=[alt.Tooltip("limit:Q", title="It may take (GB)", format=".1f")])
        )
    st.altair_chart(alt.layer(*layers).properties(height=CHART_HEIGHT), key="memory_bar")


def _draw_change(draft: Draft, estimate: Estimate) -> None:
    if estimate.verdict in (Verdict.FITS, Verdict.UNKNOWN):
        return
    change = estimate.change
    if change is None:
        st.caption(
            "No single setting makes it fit here: take a smaller base model or a machine with more memory."
        )
        return
    with st.container(horizontal=True, vertical_alignment="center", key="memory_change"):
        st.caption(f":material/lightbulb: Smallest change that fits: {plain(change.text)}.", width="content")
        if st.button("Make this change", key="use_change"):
            session.keep_draft(replace(draft, config=change.config, revision=draft.revision + 1))
            st.rerun()


def _draw_basis(estimate: Estimate) -> None:
    with st.expander("What this is based on", icon=":material/functions:", key="estimate_basis"):
        rows = [
            {"Part": part.name, "Memory": memory_words(part.size), "Counted from": part.basis}
            for part in estimate.memory.parts
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="estimate_parts")
        time = estimate.time
        st.caption(
            f"Rows: {plain(estimate.rows_basis)}. Time: {time.updates:,} updates on about {time.tokens.middle:,.0f} tokens; "
            f"speed {plain(time.basis)}. Fetching the base model is not in it. GB are 2^30 bytes."
        )
        if not time.measured:
            st.caption(
                "The range of the time is wide because nothing was measured yet: once a job of this model has finished on this "
                "machine, its speed is taken. While a job runs, its time left comes from its own recent steps."
            )


def _dollars(span: Span) -> str:
    return f"{formats.cost(span.low)} to {formats.cost(span.high)}"
