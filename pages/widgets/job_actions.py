"""The buttons that act on a job. What throws work away asks first, naming the job and saying what is kept.

Actions are callbacks: a click that comes when the job has just ended is still carried out, and told why it came too late. What
they say is shown by the next run of the page, because the callback of a dialog may draw nothing.
"""

from collections.abc import Callable

import streamlit as st

from lora_core.actions import jobs
from lora_core.actions.workspace import Workspace
from lora_core.errors import StudioError
from lora_core.schema.job import Job, JobStatus, RequestedAction
from pages.widgets import session
from pages.widgets.links import open_page
from pages.widgets.messages import show_word
from pages.widgets.plain import plain


def action_buttons(workspace: Workspace, job: Job) -> None:
    """Draw what can be done with the job in its present state, and what came of the last click."""
    show_word()
    asked = job.requested_action is not None
    if jobs.is_live(job):
        st.button(
            "Pause",
            icon=":material/pause:",
            key="pause",
            disabled=asked,
            on_click=_act,
            args=(lambda: jobs.pause_job(workspace, job.id), "Pausing."),
        )
    elif job.status is not JobStatus.COMPLETED:
        st.button(
            "Resume" if job.status is JobStatus.PAUSED else "Try again",
            icon=":material/play_arrow:",
            key="resume",
            type="primary",
            on_click=_act,
            args=(lambda: jobs.resume_job(workspace, job.id), "Back in the queue."),
        )
    cancelling = job.requested_action is RequestedAction.CANCEL
    if not jobs.is_over(job) and st.button(
        "Cancel", icon=":material/stop_circle:", key="cancel", disabled=cancelling
    ):
        _confirm_cancel(workspace, job)
    with st.popover("More", icon=":material/more_horiz:", key="more"):
        _draw_more(workspace, job)


def _draw_more(workspace: Workspace, job: Job) -> None:
    name = st.text_input("Name", job.name, max_chars=jobs.MAX_NAME, key="job_name")
    if st.button("Rename", icon=":material/edit:", key="rename", disabled=name.strip() in ("", job.name)):
        _act(lambda: jobs.rename_job(workspace, job.id, name), "Renamed.")
        st.rerun()
    if job.status is JobStatus.RUNNING:
        st.button(
            "Save a checkpoint now",
            icon=":material/save:",
            key="checkpoint",
            disabled=job.requested_action is not None,
            on_click=_act,
            args=(lambda: jobs.save_checkpoint(workspace, job.id), "A checkpoint follows after this step."),
        )
    if st.button("New job from this one", icon=":material/content_copy:", key="copy"):
        session.start_draft(job.config, job.dataset_id)
        open_page("train")
    if jobs.is_over(job) and st.button("Delete job", icon=":material/delete:", key="delete"):
        _confirm_delete(workspace, job)


@st.dialog("Cancel this job?")
def _confirm_cancel(workspace: Workspace, job: Job) -> None:
    st.markdown(f"**{plain(job.name)}** stops at once.")
    st.markdown(
        "Its curve, log and saved checkpoints are kept, and it can be queued again later from the last checkpoint."
    )
    with st.container(horizontal=True, horizontal_alignment="right", key="cancel_buttons"):
        if st.button("Keep it running", key="keep"):
            st.rerun()
        if st.button(
            "Cancel the job",
            type="primary",
            icon=":material/stop_circle:",
            key="confirm_cancel",
            on_click=_act,
            args=(lambda: jobs.cancel_job(workspace, job.id), "Cancelling."),
        ):
            st.rerun()


@st.dialog("Delete this job?")
def _confirm_delete(workspace: Workspace, job: Job) -> None:
    st.markdown(
        f"**{plain(job.name)}** is removed with its curve, log, checkpoints and adapter. This cannot be undone."
    )
    with st.container(horizontal=True, horizontal_alignment="right", key="delete_buttons"):
        if st.button("Keep it", key="keep_job"):
            st.rerun()
        if st.button(
            "Delete for good",
            type="primary",
            icon=":material/delete:",
            key="confirm_delete",
            on_click=_act,
            args=(lambda: jobs.delete_job(workspace, job.id), "Deleted."),
        ):
            open_page("jobs")


def _act(action: Callable[[], object], done: str) -> None:
    """Act, and leave word of it; an action that came too late says why."""
    try:
        action()
    except StudioError as error:
        session.leave_word(plain(str(error)), ":material/error:")
    else:
        session.leave_word(done, ":material/check:")
