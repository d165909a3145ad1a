"""How a job's status looks: always an icon and a word, never colour alone."""

from typing import Literal

import streamlit as st

from lora_core.schema.job import JobStatus

Colour = Literal["gray", "blue", "green", "orange", "red", "violet"]

STATUS: dict[JobStatus, tuple[str, str, Colour]] = {
    JobStatus.QUEUED: ("Queued", ":material/schedule:", "gray"),
    JobStatus.INITIALIZING: ("Starting", ":material/hourglass_top:", "violet"),
    JobStatus.RUNNING: ("Running", ":material/play_circle:", "blue"),
    JobStatus.PAUSED: ("Paused", ":material/pause_circle:", "orange"),
    JobStatus.COMPLETED: ("Completed", ":material/check_circle:", "green"),
    JobStatus.FAILED: ("Failed", ":material/error:", "red"),
    JobStatus.CANCELLED: ("Cancelled", ":material/cancel:", "gray"),
}
"""Word, icon and colour of each status."""


def status_badge(status: JobStatus) -> None:
    """Draw a job's status."""
    word, icon, colour = STATUS[status]
    st.badge(word, icon=icon, color=colour)


def status_word(status: JobStatus) -> str:
    """Return the word for a status."""
    return STATUS[status][0]
