"""The person's own jobs that wait, in the order in which runners take them, each with its reason."""

import streamlit as st

from lora_core.actions.queue import Queue, QueuedJob, describe_place, why_again
from lora_core.schema.job import WaitReason
from pages.widgets.links import page_link
from pages.widgets.plain import plain
from pages.widgets.times import local_clock

ICONS = {
    WaitReason.NOT_BEFORE: ":material/event:",
    WaitReason.RETRY: ":material/autorenew:",
    WaitReason.LIMIT: ":material/speed:",
    WaitReason.NO_RUNNER: ":material/power_off:",
    WaitReason.TOO_SMALL: ":material/memory_alt:",
    WaitReason.BUSY: ":material/schedule:",
    WaitReason.NEXT: ":material/play_arrow:",
}


def draw_queue(queue: Queue) -> None:
    """Draw the first jobs of the queue."""
    with st.container(horizontal=True, vertical_alignment="center", key="queue_header"):
        st.subheader("Queue", anchor=False, width="content")
        st.caption(f"{queue.total} of your jobs wait" if queue.total != 1 else "One of your jobs waits")
    if not queue.total:
        st.caption("Nothing waits. A job that is started while all runners are busy stands here.")
        return
    for waiting in queue.first:
        _row(waiting)
    if queue.total > len(queue.first):
        more = f"{queue.total - len(queue.first)} more, on" if queue.first else "They are on"
        page_link(
            f"{more} the list of jobs",
            "jobs",
            icon=":material/list_alt:",
            status="Queued",
        )


def _row(waiting: QueuedJob) -> None:
    job, place = waiting.job, waiting.place
    icon = ICONS[place.reason] if place is not None else ":material/hourglass_top:"
    with st.container(border=True, gap="xxsmall", key=f"waiting_{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            page_link(plain(job.name), "job", icon=icon, id=job.id)
            if job.priority:
                st.badge(f"Priority {job.priority}", icon=":material/low_priority:", color="gray")
        words = (
            describe_place(place, why=why_again(job), at=local_clock, brief=True)
            if place is not None
            else "A runner is taking it."
        )
        st.caption(plain(words))
