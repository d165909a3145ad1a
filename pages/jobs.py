"""All jobs of the person: found by name and status; a click leads to a job, ticks choose several. Live while a job on it is."""

import zlib
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from lora_core.actions import jobs, queue
from lora_core.schema.base import Page
from lora_core.schema.job import Job, JobFilter, JobStatus, RequestedAction
from pages.widgets import formats, session
from pages.widgets.badges import STATUS, status_word
from pages.widgets.empty import empty_state
from pages.widgets.errors import shown
from pages.widgets.jobs_bulk import draw_bar, draw_question
from pages.widgets.links import open_page
from pages.widgets.messages import first_line, show_word
from pages.widgets.times import local_clock

PAGE_ROWS = 50
ASKED: dict[RequestedAction | None, str] = {
    RequestedAction.PAUSE: "Pausing",
    RequestedAction.CANCEL: "Cancelling",
}
"""Words for a job that was asked and has not done it yet."""

BY_OWNER = ("by its owner", "by request.")
"""How reasons end that tell the person nothing new."""

WORDS = {status_word(status): status for status in JobStatus}


def render() -> None:
    """Draw the list."""
    show_word()
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        st.title("Jobs", anchor=False, width="content")
        st.space("stretch")
        if st.button("New job", icon=":material/add:", type="primary", key="new_job"):
            open_page("train")
    with shown():
        _draw_list()


def _draw_list() -> None:
    workspace = session.workspace()
    if not jobs.list_jobs(workspace, JobFilter(archived=None), limit=1).items:
        _draw_empty()
        return
    job_filter = _draw_filter()
    cursor = session.list_cursor(job_filter)
    page = jobs.list_jobs(workspace, job_filter, limit=PAGE_ROWS, cursor=cursor)
    if not page.items:
        st.info(
            "Clear the search, choose another status, or look into the archive.",
            title="No job matches",
            icon=":material/filter_alt_off:",
        )
        return
    draw_question(workspace, _table_key(page.items))
    every = workspace.settings.refresh_seconds if any(map(jobs.is_live, page.items)) else None
    st.fragment(_draw_table, run_every=every, key="rows")(job_filter, cursor, live=every is not None)
    _draw_paging(job_filter, cursor, page)


def _draw_filter() -> JobFilter:
    with st.container(horizontal=True, vertical_alignment="center", key="filter"):
        search = st.text_input(
            "Search jobs",
            type="search",
            live=True,
            key="search",
            bind="query-params",
            placeholder="Search by name",
            label_visibility="collapsed",
            width=160,
        )
        chosen = st.pills(
            "Status",
            list(WORDS),
            selection_mode="multi",
            key="status",
            bind="query-params",
            label_visibility="collapsed",
            width="content",
        )
        archived = st.toggle("Archived", key="archived", bind="query-params")
    return JobFilter(
        search=(search or "").strip(), statuses=tuple(WORDS[word] for word in chosen), archived=archived
    )


def _draw_table(job_filter: JobFilter, cursor: str | None, *, live: bool) -> None:
    """Draw one page of the list. While a job on it is live, this runs on a timer and alone."""
    with shown():
        items = jobs.list_jobs(session.workspace(), job_filter, limit=PAGE_ROWS, cursor=cursor).items
        if live and not any(map(jobs.is_live, items)):
            st.rerun()
        bar = st.container(key="bar")
        st.caption("Click a job to open it, a heading to sort.")
        with st.container(key="table"):
            picked = st.dataframe(
                _table(items),
                hide_index=True,
                key=_table_key(items),
                on_select="rerun",
                selection_mode=["multi-row", "single-cell"],
                height="content",
                placeholder=formats.UNKNOWN,
                column_config=_columns(),
            )
        cells = [row for row, _ in picked.selection.cells if row < len(items)]
        if cells:
            open_page("job", id=items[cells[0]].id)
        with bar:
            draw_bar([items[row] for row in picked.selection.rows if row < len(items)])


def _table_key(items: Sequence[Job]) -> str:
    """Return a key for these rows in this order: a tick is a row's number, and must not slip to another job."""
    return f"table_{zlib.crc32(' '.join(job.id for job in items).encode()):08x}"


def _draw_paging(job_filter: JobFilter, cursor: str | None, page: Page[Job]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="paging"):
        st.space("stretch")
        if cursor is not None and st.button("Newest", icon=":material/first_page:", key="first"):
            session.go_to_cursor(job_filter, None)
            st.rerun()
        if page.cursor is not None and st.button("Older", icon=":material/chevron_right:", key="older"):
            session.go_to_cursor(job_filter, page.cursor)
            st.rerun()


def _draw_empty() -> None:
    with empty_state(
        ":material/model_training:",
        "No jobs yet",
        "A job fine-tunes a base model on one of your data sets.",
        key="no_jobs",
    ):
        if st.button("Start the first job", type="primary", icon=":material/add:", key="first_job"):
            open_page("train")


def _table(items: Sequence[Job]) -> pd.DataFrame:
    table = pd.DataFrame([_row(job) for job in items])
    return table.astype({"Last loss": float, "Validation": float, "Started": "datetime64[s, UTC]"})


def _columns() -> dict[str, Any]:
    column = st.column_config
    return {
        "Name": column.TextColumn(width=170),
        "Status": column.MultiselectColumn(
            options=[*WORDS, *ASKED.values()],
            color=[STATUS[status][2] for status in WORDS.values()] + ["orange"] * len(ASKED),
            width=105,
        ),
        "Progress": column.ProgressColumn(min_value=0.0, max_value=100.0, format="%d%%", width=90),
        "Last loss": column.NumberColumn(
            format="%.4f", width=75, help="Of the last step alone; the job's page shows it smoothed."
        ),
        "Validation": column.NumberColumn(
            format="%.4f", width=80, help="Loss on rows kept back from training."
        ),
        "Data set": column.TextColumn(width=110),
        "Ran": column.TextColumn(width=70, help="Hours, minutes, seconds."),
        "Note": column.TextColumn(width=200, help="Why it waits, has stopped or has failed."),
        "Started": column.DatetimeColumn(format="D MMM YYYY, HH:mm", timezone=st.context.timezone, width=130),
        "Base model": column.TextColumn(width=150),
    }


def _row(job: Job) -> dict[str, object]:
    return {
        "Name": job.name,
        "Status": [ASKED.get(job.requested_action) or status_word(job.status)],
        "Progress": round(job.progress * 100, 1),
        "Last loss": job.train_loss,
        "Validation": job.eval_loss,
        "Data set": job.dataset_name,
        "Ran": formats.duration(job.elapsed_seconds),
        "Note": _note(job),
        "Started": job.started_at,
        "Base model": job.config.model.base,
    }


def _note(job: Job) -> str:
    """Say in one line what the state alone does not: what a job waits for, or why it stopped. Asks no store."""
    if job.status is JobStatus.QUEUED:
        return queue.known_wait(job, at=local_clock) or (f"Priority {job.priority}" if job.priority else "")
    if job.status is JobStatus.FAILED:
        return first_line(job.error or job.status_reason)
    if jobs.is_held(job):
        return "" if jobs.is_connected(job) else "Its runner is not heard of."
    reason = first_line(job.status_reason)
    return "" if reason.endswith(BY_OWNER) else reason[:1].upper() + reason[1:]
