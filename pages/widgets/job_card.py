"""A live job as a card: what it is, how far it is, and how it does."""

import streamlit as st

from lora_core.schema.job import Job
from pages.widgets import formats
from pages.widgets.badges import status_badge
from pages.widgets.links import page_link
from pages.widgets.plain import plain


def job_card(job: Job, *, note: str = "") -> None:
    """Draw one job; `note` says what it waits for, or that its runner is not heard of."""
    with st.container(border=True, height="stretch", key=f"card_{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{plain(job.name)}**", width="content")
            status_badge(job.status)
            st.space("stretch")
            page_link("Open", "job", icon=":material/open_in_new:", id=job.id)
        st.caption(f"{plain(job.config.model.base)} · {plain(job.dataset_name)}")
        st.progress(job.progress, text=progress_words(job))
        with st.grid(2, min_column_width=120, key=f"numbers_{job.id}"):
            for label, value in card_values(job):
                st.metric(label, value)
        if note:
            st.caption(note)


def progress_words(job: Job) -> str:
    """Say how far a job is: its phase before the first step, then steps."""
    if job.total_steps and job.current_step:
        return f"Step {job.current_step:,} of {job.total_steps:,}"
    return (job.phase or job.status.value).replace("_", " ").capitalize()


def card_values(job: Job) -> list[tuple[str, str]]:
    """The few numbers of a card, by label."""
    return [
        ("Last loss", formats.loss(job.train_loss)),
        ("Validation", formats.loss(job.eval_loss)),
        ("Elapsed", formats.duration(job.elapsed_seconds)),
        ("Remaining", formats.duration(job.remaining_seconds)),
    ]
