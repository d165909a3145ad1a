"""The log of a job: its newest lines, by words and by level."""

from collections.abc import Sequence

import streamlit as st

from lora_core.actions import jobs
from lora_core.actions.workspace import Workspace
from lora_core.schema.job import Job
from lora_core.schema.metrics import LogLine
from pages.widgets import downloads

LEVELS = {"Everything": "", "Warnings and errors": "warning", "Errors": "error"}


def draw_log(workspace: Workspace, job: Job) -> None:
    """Draw the newest log lines that match; while the job is live, new ones come by themselves."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="log_controls"):
        search = st.text_input(
            "Search the log",
            type="search",
            live=True,
            key="log_search",
            icon=":material/search:",
            placeholder="Search the log",
            label_visibility="collapsed",
            width=300,
        )
        level = st.selectbox("Level", list(LEVELS), key="log_level", label_visibility="collapsed", width=210)
        if jobs.is_over(job) and job.attempt:
            st.space("stretch")
            downloads.link("All logs", "logs", job.id, key="logs_zip")
    page = jobs.search_logs(workspace, job.id, search=(search or "").strip(), level=LEVELS[level])
    if not page.items:
        st.caption("No line matches." if search or LEVELS[level] else "Nothing has been written yet.")
        return
    with st.container(height=520, border=False, autoscroll=True, key="log_lines"):
        st.code(log_text(page.items), language=None, wrap_lines=True)
    st.caption(f"The newest {len(page.items)} lines, times in UTC." if page.cursor else "Times in UTC.")


def log_text(newest_first: Sequence[LogLine]) -> str:
    """Write log lines as text, oldest first; what is wrong says so, what is only told does not."""
    return "\n".join(
        f"{line.at:%H:%M:%S}  {'' if line.level == 'info' else f'{line.level.upper()}  '}{line.text}"
        for line in reversed(newest_first)
    )
