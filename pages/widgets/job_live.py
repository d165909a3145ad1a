"""The tab that is watched while a job runs: state, progress, numbers, charts, the last words of the log."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from lora_core.actions import jobs
from lora_core.actions.jobs import ChartView, JobSnapshot
from lora_core.actions.workspace import Workspace
from lora_core.schema.job import Job, JobStatus
from lora_core.schema.metrics import Series
from pages.widgets import formats
from pages.widgets.chart_specs import X_TITLES
from pages.widgets.charts import draw_line, draw_loss
from pages.widgets.job_card import progress_words
from pages.widgets.job_log import log_text
from pages.widgets.plain import plain
from pages.widgets.times import local_clock, local_time

TITLES = {title: column for column, title in X_TITLES.items()}
SPARKLINE_POINTS = 60
LOG_LINES = 6
SMALL_CHARTS = {
    "learning_rate": ("Learning rate", "~e"),
    "grad_norm": ("Gradient norm", "~g"),
    "tokens_per_second": ("Tokens per second", "~s"),
}
"""Column to title and number format."""
BY_ALERT = "Paused by an alert"
"""How the reason of a job begins that has stopped itself."""


@dataclass(frozen=True)
class ChartChoice:
    """How the person looks at the charts."""

    view: ChartView
    log: bool


def draw_watch(workspace: Workspace, job: Job) -> None:
    """Draw the tab from one snapshot. The numbers stand above the controls that they depend on."""
    above = st.container(key="numbers")
    with st.container(border=True, key="loss_card"):
        choice = _draw_controls()
        chart = st.container(key="loss_chart")
    snapshot = jobs.read_job_page(workspace, job.id, choice.view, log_lines=LOG_LINES, at=local_clock)
    with above:
        _draw_state(snapshot)
        st.progress(snapshot.job.progress, text=progress_words(snapshot.job))
        _draw_numbers(snapshot)
    with chart:
        _draw_loss(snapshot, choice)
    if snapshot.raw.x:
        _draw_small_charts(snapshot.raw, choice.view.x)
    if snapshot.logs:
        with st.container(border=True, key="log_tail"):
            st.markdown("**Newest log lines**")
            st.code(log_text(snapshot.logs), language=None, wrap_lines=True)


def _draw_controls() -> ChartChoice:
    """Draw the controls of the charts, left of the chart's own toolbar; the address keeps what they say."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="chart_controls"):
        st.markdown("**Loss**", width="content")
        title = st.segmented_control(
            "Charts over",
            list(TITLES),
            default="Step",
            required=True,
            key="x",
            bind="query-params",
            label_visibility="collapsed",
            width="content",
        )
        smoothing = st.slider(
            "Smoothing",
            0.0,
            0.99,
            0.9,
            0.01,
            format="smoothing %.2f",
            key="smoothing",
            bind="query-params",
            label_visibility="collapsed",
            width=180,
        )
        log = st.toggle("Log scale", key="log", bind="query-params")
    return ChartChoice(ChartView(x=TITLES[title or "Step"], smoothing=smoothing), log)


def _draw_state(snapshot: JobSnapshot) -> None:
    """Say whether what is shown is live, and if not, why."""
    job = snapshot.job
    if snapshot.waiting_for:
        st.info(plain(snapshot.waiting_for), icon=":material/schedule:")
        if job.error:
            _draw_error(job, "What went wrong before")
    elif job.status is JobStatus.FAILED:
        _draw_error(job, "This job failed")
    elif not snapshot.connected and job.heartbeat_at is not None:
        st.warning(
            f"The runner was last heard of on {local_time(job.heartbeat_at)}; shown is the last it sent. "
            "If it stays away, the job goes back to the queue and on from its last checkpoint.",
            title="Disconnected",
            icon=":material/cloud_off:",
        )
    elif jobs.is_held(job):
        phase = plain(job.phase.replace("_", " ") or "starting")
        st.caption(f":green[:material/sensors:] Live · {phase}")
    elif job.status is JobStatus.PAUSED and job.status_reason.startswith(BY_ALERT):
        st.warning(plain(_sentence(job.status_reason)), title="Paused", icon=":material/pause_circle:")
    elif job.status_reason:
        st.caption(plain(_sentence(job.status_reason)))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _draw_error(job: Job, title: str) -> None:
    """Draw what went wrong: its first line in words, the last lines of the log as they were written."""
    words, _, log = (job.error or job.status_reason).strip().partition("\n")
    draw = st.error if job.status is JobStatus.FAILED else st.warning
    draw(plain(words), title=title, icon=":material/error:")
    if log.strip():
        st.code(log.strip("\n"), language=None, wrap_lines=True)


def _draw_numbers(snapshot: JobSnapshot) -> None:
    job = snapshot.job
    losses, evaluations = _known(snapshot.smooth, "loss"), _known(snapshot.evaluations, "eval_loss")
    training, validation, speed, time = st.columns(4)
    training.metric(
        "Smoothed loss",
        formats.loss(losses[-1] if losses else job.train_loss),
        formats.change(losses, back=max(1, len(losses) // 10)),
        delta_color="inverse",
        border=True,
        height="stretch",
        icon=":material/trending_down:",
        chart_data=_thinned(losses),
        help=f"Training loss, smoothed as in the chart; the last step's own loss is {formats.loss(job.train_loss)}. "
        "The change is over the last tenth of the run.",
    )
    best = f"best {formats.loss(job.best_eval_loss)}" if job.best_eval_loss is not None else None
    validation.metric(
        "Validation loss",
        formats.loss(job.eval_loss),
        formats.change(evaluations, back=1),
        delta_color="inverse",
        delta_description=best,
        border=True,
        height="stretch",
        icon=":material/fact_check:",
        chart_data=_thinned(evaluations),
        help="On rows kept back from training, and its change since the evaluation before. "
        "Where it rises while the training loss falls, the model learns by heart.",
    )
    speed.metric(
        "Speed",
        formats.rate(job.tokens_per_second, "tokens/s"),
        f"epoch {job.epoch:.2f} of {job.config.optimisation.epochs:g}",
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        icon=":material/speed:",
        chart_data=_thinned(_known(snapshot.raw, "tokens_per_second")),
    )
    cost = formats.cost(job.cost_usd)
    so_far = formats.duration(job.elapsed_seconds)
    live = jobs.is_live(job)
    time.metric(
        "Time left" if live else "Ran for",
        formats.duration(job.remaining_seconds) if live else so_far,
        f"{so_far} so far · {cost}" if live else cost,
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        icon=":material/timer:",
        help="From recent steps only. A job on this machine costs nothing.",
    )


def _draw_loss(snapshot: JobSnapshot, choice: ChartChoice) -> None:
    if not snapshot.raw.x and not snapshot.evaluations.x:
        coming = jobs.is_live(snapshot.job)
        st.caption("The curve begins with the first step." if coming else "This job made no step.")
        return
    draw_loss(
        choice.view.x,
        snapshot.raw,
        snapshot.smooth,
        snapshot.evaluations,
        snapshot.checkpoints,
        log=choice.log,
        key="loss",
    )
    st.caption(
        "Shift and wheel zooms, drag pans, double-click resets. Faint: the loss of each step; strong: smoothed."
    )


def _draw_small_charts(raw: Series, x: str) -> None:
    for place, (column, (title, number_format)) in zip(st.columns(3), SMALL_CHARTS.items(), strict=True):
        with place, st.container(border=True, height="stretch", key=f"card_{column}"):
            st.markdown(f"**{title}**")
            draw_line(x, raw, column, title, key=column, number_format=number_format)


def _known(series: Series, column: str) -> list[float]:
    return [value for value in series.columns.get(column, ()) if value is not None]


def _thinned(values: Sequence[float]) -> list[float] | None:
    """At most about 60 values for the small line in a card; none where there is no line to draw."""
    if len(values) < 2:
        return None
    return [round(value, 4) for value in values[:: max(1, len(values) // SPARKLINE_POINTS)]]
