"""One job: watched live, stopped on purpose, and its results taken home."""

from collections.abc import Callable
from uuid import UUID

import streamlit as st

from lora_core.actions import jobs
from lora_core.actions.workspace import Workspace
from lora_core.errors import NotFound
from lora_core.schema.job import Job
from pages.widgets import session
from pages.widgets.badges import status_badge
from pages.widgets.empty import empty_state
from pages.widgets.errors import shown
from pages.widgets.job_actions import action_buttons, draw_request
from pages.widgets.job_details import draw_config, draw_files, draw_history
from pages.widgets.job_live import draw_watch
from pages.widgets.job_log import draw_log
from pages.widgets.links import open_page
from pages.widgets.plain import plain
from pages.widgets.times import local_time

Part = Callable[[Workspace, Job], None]

PARTS: dict[str, Part] = {
    "Watch": draw_watch,
    "Log": draw_log,
    "Files": draw_files,
    "Config": draw_config,
    "History": draw_history,
}
"""The tabs; only the open one is computed."""


def render() -> None:
    """Draw the job that the address names."""
    with shown():
        try:
            job = jobs.get_job(session.workspace(), _id_in_address())
        except NotFound:
            _draw_unknown()
        else:
            _draw(session.workspace(), job)


def _id_in_address() -> str:
    given = st.query_params.get("id", "")
    try:
        return str(UUID(given))
    except ValueError:
        raise NotFound("The address names no job.") from None


def _draw(workspace: Workspace, job: Job) -> None:
    if st.button("All jobs", type="tertiary", icon=":material/arrow_back:", key="back"):
        open_page("jobs")
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        st.title(plain(job.name), anchor=False, width="content")
        status_badge(job.status)
        st.space("stretch")
        action_buttons(workspace, job)
    adapter = job.config.adapter
    facts = [
        plain(job.config.model.base),
        f"LoRA rank {adapter.rank}, alpha {adapter.alpha}",
        plain(job.dataset_name),
        f"submitted {local_time(job.created_at)}",
    ]
    st.caption(" · ".join(facts))
    tabs = st.tabs(list(PARTS), key="tab", on_change="rerun", bind="query-params")
    for tab, draw in zip(tabs, PARTS.values(), strict=True):
        if tab.open:
            with tab:
                _draw_live(workspace, job, draw)


def _draw_live(workspace: Workspace, job: Job, draw: Part) -> None:
    """Draw one tab, on a timer while the job is live. When its state changes, the whole page is drawn anew.

    Args:
        job: As the rest of the page shows it.
    """
    every = workspace.settings.refresh_seconds if jobs.is_live(job) else None

    @st.fragment(run_every=every, key="live")
    def live() -> None:
        with shown():
            now = jobs.get_job(workspace, job.id)
            if _around(now) != _around(job):
                st.rerun()
            draw_request(workspace, now)
            draw(workspace, now)

    live()


def _around(job: Job) -> tuple[object, ...]:
    """What the page shows of a job outside its live part: name, badge, and which buttons there are."""
    return (
        job.status,
        job.requested_action,
        job.name,
        job.retry_at,
        job.not_before,
        job.checkpoint_step is None,
    )


def _draw_unknown() -> None:
    with empty_state(
        ":material/search_off:",
        "No such job",
        "There is no job at this address. It may have been deleted, or the link is incomplete.",
        key="unknown_job",
    ):
        if st.button("All jobs", type="primary", icon=":material/list_alt:", key="all_jobs"):
            open_page("jobs")
