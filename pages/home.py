"""Home: what is running now, what ran lately, what it came to, and what to do next."""

from collections.abc import Sequence

import streamlit as st

from lora_core.actions.jobs import is_connected
from lora_core.actions.overview import Overview, list_notifications, read_overview
from lora_core.actions.queue import waiting_reason
from lora_core.actions.samples import add_sample_dataset
from lora_core.schema.job import Job, JobStatus
from lora_core.schema.notification import Notification
from pages.widgets import formats, session
from pages.widgets.badges import status_badge
from pages.widgets.empty import empty_state
from pages.widgets.errors import shown
from pages.widgets.job_card import job_card
from pages.widgets.links import open_page
from pages.widgets.messages import first_line, message_icon
from pages.widgets.plain import plain
from pages.widgets.times import local_clock, local_time

LATEST_MESSAGES = 5
CARD_WIDTH = 330
NUMBER_WIDTH = 155


def render() -> None:
    """Draw the page; while a job is live, on a timer."""
    with shown():
        overview = read_overview(session.workspace())
        with st.container(horizontal=True, vertical_alignment="center", key="header"):
            st.title("Home", anchor=False, width="content")
            st.space("stretch")
            if overview.datasets and st.button(
                "New job", type="primary", icon=":material/add:", key="new_job"
            ):
                open_page("train")
        if not overview.datasets and not overview.counts:
            _welcome()
            return
        every = session.workspace().settings.refresh_seconds if overview.live else None
        st.fragment(_live, run_every=every, key="overview")(was_live=bool(overview.live))


def _welcome() -> None:
    with empty_state(
        ":material/model_training:",
        "Fine-tune your first model",
        "Bring examples of the answers you want. The studio checks every row, shows what will be learned, and trains.",
        key="welcome",
    ):
        if st.button("Upload a data set", type="primary", icon=":material/upload:", key="upload_first"):
            open_page("datasets")
        if st.button("Try it with sample data", icon=":material/science:", key="sample"):
            open_page("datasets", id=add_sample_dataset(session.workspace()).id)


def _live(*, was_live: bool) -> None:
    with shown():
        overview = read_overview(session.workspace())
        if was_live and not overview.live:
            st.rerun()
        _numbers(overview)
        if overview.live:
            st.subheader("Now", anchor=False)
            with st.grid(min_column_width=CARD_WIDTH, key="live_jobs"):
                for job in overview.live:
                    job_card(job, note=_note(job))
        elif not overview.recent:
            _no_jobs()
            return
        jobs, messages = st.columns([5, 3], gap="medium")
        with jobs:
            _recent(overview.recent)
        with messages:
            _messages(list_notifications(session.workspace()).items[:LATEST_MESSAGES])


def _note(job: Job) -> str:
    """What a live job waits for, or that its runner is silent."""
    if is_connected(job):
        return waiting_reason(session.workspace(), job, at=local_clock)
    return "Its runner has not been heard of for a while. The job is given back to the queue when its lease ends."


def _numbers(overview: Overview) -> None:
    counts = overview.counts
    running = counts.get(JobStatus.RUNNING, 0) + counts.get(JobStatus.INITIALIZING, 0)
    failed = counts.get(JobStatus.FAILED, 0)
    datasets = f"{overview.datasets}" if overview.datasets < 50 else "50 or more"
    runners = ", ".join(plain(runner.name) for runner in overview.runners[:2])
    cells = [
        ("Running", f"{running}", f"{counts.get(JobStatus.QUEUED, 0)} waiting", "play_circle"),
        ("Completed", f"{counts.get(JobStatus.COMPLETED, 0)}", f"{failed} failed", "check_circle"),
        ("Data sets", datasets, "in this studio", "dataset"),
        ("Runners online", f"{len(overview.runners)}", runners or "start one with `make start`", "memory"),
    ]
    with st.grid(len(cells), min_column_width=NUMBER_WIDTH, key="numbers"):
        for label, value, note, icon in cells:
            with st.container(border=True, height="stretch", gap="xxsmall"):
                st.metric(label, value, icon=f":material/{icon}:")
                st.caption(note)


def _no_jobs() -> None:
    with empty_state(
        ":material/rocket_launch:",
        "No jobs yet",
        "Your data is here. Choose a base model and a preset, and start the first job.",
        key="no_jobs",
    ):
        if st.button(
            "Start the first job", type="primary", icon=":material/model_training:", key="first_job"
        ):
            open_page("train")


def _recent(jobs: Sequence[Job]) -> None:
    st.subheader("Lately", anchor=False)
    if not jobs:
        st.caption("Jobs that have ended will be here.")
    for job in jobs:
        with st.container(border=True, key=f"recent_{job.id}"):
            with st.container(horizontal=True, vertical_alignment="center"):
                opened = st.button(f"**{plain(job.name)}**", type="tertiary", key=f"open_{job.id}")
                st.space("stretch")
                status_badge(job.status)
            facts = [
                plain(job.dataset_name),
                plain(job.config.model.base),
                formats.duration(job.elapsed_seconds),
            ]
            if job.train_loss is not None:
                facts.append(f"last loss {formats.loss(job.train_loss)}")
            st.caption(" · ".join(facts))
        if opened:
            open_page("job", id=job.id)


def _messages(messages: Sequence[Notification]) -> None:
    st.subheader("Messages", anchor=False)
    if not messages:
        st.caption("You will read here when a job starts, ends or needs you.")
    for message in messages:
        with st.container(gap=None, key=f"latest_{message.id}"):
            st.markdown(f"{message_icon(message)} {plain(message.title)}")
            st.caption(f"{plain(first_line(message.body))}  \n{local_time(message.created_at)}".strip())
