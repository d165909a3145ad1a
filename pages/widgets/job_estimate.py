"""What was expected of a job beside what it took so far: memory, time, and whether it had to go on smaller."""

import pandas as pd
import streamlit as st

from lora_core.actions import estimates, jobs
from lora_core.actions.estimates import Span, memory_words, time_words
from lora_core.actions.workspace import Workspace
from lora_core.errors import StudioError
from lora_core.schema.job import Job
from pages.widgets import formats
from pages.widgets.plain import plain

TRIED_SMALLER = "Trying once more"
"""How the runner's word begins that a job goes on with half the micro-batch."""


def draw_expectations(workspace: Workspace, job: Job) -> None:
    """Draw the table, and below it the change after a lack of memory, if there was one."""
    rows = [*_memory(workspace, job), *_time(job)]
    told = jobs.search_logs(workspace, job.id, search=TRIED_SMALLER).items
    if not rows and not told:
        return
    st.subheader("Expected and measured", anchor=False)
    if rows:
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="expectations")
    for line in told:
        st.caption(f":material/memory: {plain(line.text)}")


def _memory(workspace: Workspace, job: Job) -> list[dict[str, str]]:
    try:
        found = estimates.compare_memory(workspace, job)
    except StudioError:  # the data set or the model's folder is gone: there is nothing to compare with
        return []
    if found is None:
        return []
    measured = (
        formats.UNKNOWN
        if found.measured is None
        else f"{memory_words(Span.exactly(found.measured))} {found.what}"
    )
    return [{"What": "Memory", "Expected": memory_words(found.estimated), "Measured": measured}]


def _time(job: Job) -> list[dict[str, str]]:
    if job.estimated_seconds is None:
        return []
    left = (
        f", {formats.duration(job.remaining_seconds)} left by its recent steps" if jobs.is_live(job) else ""
    )
    return [
        {
            "What": "Time",
            "Expected": f"about {time_words(Span.exactly(job.estimated_seconds))}",
            "Measured": f"{formats.duration(job.elapsed_seconds)} so far{left}"
            if left
            else formats.duration(job.elapsed_seconds),
        }
    ]
