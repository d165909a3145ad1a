"""The buttons that act on a job: what its state allows stands in the bar, what is rarer in the menu beside it.

Actions are callbacks: a click that comes when the job has just ended is still carried out, and told why it came too late. What
they say is shown by the next run of the page, because the callback of a dialog may draw nothing.
"""

import streamlit as st

from lora_core.actions import jobs, queue
from lora_core.actions.requests import describe_request, read_request
from lora_core.actions.workspace import Workspace
from lora_core.schema.base import utc_now
from lora_core.schema.job import Job, JobStatus, RequestedAction
from pages.widgets import job_dialogs, session
from pages.widgets.job_dialogs import act
from pages.widgets.links import open_page
from pages.widgets.messages import show_word
from pages.widgets.plain import plain
from pages.widgets.times import local_clock

RESUMABLE = frozenset({JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED})
WAITING = frozenset({JobStatus.QUEUED, JobStatus.PAUSED})


def action_buttons(workspace: Workspace, job: Job) -> None:
    """Draw what can be done with the job in its present state, and what came of the last click."""
    show_word()
    if jobs.is_held(job):
        st.button(
            "Pause",
            icon=":material/pause:",
            key="pause",
            disabled=job.requested_action in (RequestedAction.PAUSE, RequestedAction.CANCEL),
            on_click=act,
            args=(lambda: jobs.pause_job(workspace, job.id), "Pausing."),
        )
    elif job.status is JobStatus.QUEUED:
        _draw_start_now(workspace, job)
        st.button(
            "Hold",
            icon=":material/pause:",
            key="hold",
            help="No runner takes it until you resume it.",
            on_click=act,
            args=(lambda: jobs.hold_job(workspace, job.id), "Held."),
        )
    elif job.status in RESUMABLE:
        st.button(
            "Resume" if job.status is JobStatus.PAUSED else "Try again",
            icon=":material/play_arrow:",
            key="resume",
            type="primary",
            help=_goes_on(job),
            on_click=act,
            args=(lambda: jobs.resume_job(workspace, job.id), "Back in the queue."),
        )
    if not jobs.is_over(job):
        st.button(
            "Cancel",
            icon=":material/stop_circle:",
            key="cancel",
            disabled=job.requested_action is RequestedAction.CANCEL,
            on_click=job_dialogs.open_form,
            args=("cancel", job),
        )
    # Another key is another popover, which is closed: it would lie over its dialog.
    behind = job_dialogs.form_is_open(job)
    with st.popover("More", icon=":material/more_horiz:", key="more_behind" if behind else "more"):
        _draw_more(workspace, job)
    job_dialogs.draw_form(workspace, job)


def draw_request(workspace: Workspace, job: Job) -> None:
    """Say how far the person's open request to the runner is, if there is one; drawn again and again while it is open."""
    request = read_request(workspace, job)
    if request is not None:
        icon = ":material/check:" if request.answered else ":material/hourglass_top:"
        st.info(plain(describe_request(request, at=local_clock)), icon=icon)


def _draw_start_now(workspace: Workspace, job: Job) -> None:
    """Offer to start a job at once that waits for a time: its next try, or its earliest start."""
    now = utc_now()
    if queue.starts_after(job, now) == now:
        return
    retried = job.retry_at is not None and job.retry_at > now
    st.button(
        "Try now" if retried else "Start now",
        icon=":material/play_arrow:",
        key="start_now",
        type="primary",
        help="The pause before the next try is left out." if retried else "Its earliest start is taken away.",
        on_click=act,
        args=(
            lambda: queue.start_job_after(workspace, job.id, None),
            "It is tried as soon as a runner is free."
            if retried
            else "It starts as soon as a runner is free.",
        ),
    )


def _goes_on(job: Job) -> str:
    if job.checkpoint_step is None:
        return "It keeps no checkpoint: it begins again."
    return f"It goes on from its newest checkpoint, step {job.checkpoint_step:,}."


def _draw_more(workspace: Workspace, job: Job) -> None:
    name = st.text_input("Name", job.name, max_chars=jobs.MAX_NAME, key="job_name")
    if st.button("Rename", icon=":material/edit:", key="rename", disabled=name.strip() in ("", job.name)):
        act(lambda: jobs.rename_job(workspace, job.id, name), "Renamed.")
        st.rerun()
    if job.status is JobStatus.RUNNING:
        st.button(
            "Save a checkpoint now",
            icon=":material/save:",
            key="checkpoint",
            disabled=job.requested_action is not None,
            on_click=act,
            args=(lambda: jobs.save_checkpoint(workspace, job.id), "A checkpoint follows after this step."),
        )
    for name, (label, icon) in _forms(job).items():
        st.button(label, icon=icon, key=name, on_click=job_dialogs.open_form, args=(name, job))
    if st.button("New job from this one", icon=":material/content_copy:", key="copy"):
        session.start_draft(job.config, job.dataset_id)
        open_page("train")
    if jobs.is_over(job):
        _draw_archive(workspace, job)
        st.button(
            "Delete job",
            icon=":material/delete:",
            key="delete",
            on_click=job_dialogs.open_form,
            args=("delete", job),
        )


def _forms(job: Job) -> dict[str, tuple[str, str]]:
    """Return the dialogs with a form that make sense for the job: by name, label and icon."""
    forms = {}
    if job.status in WAITING:
        forms["place"] = ("Place in the queue", ":material/low_priority:")
    if job.checkpoint_step is not None:
        if job.status in RESUMABLE:
            forms["resume_from"] = ("Resume from a checkpoint", ":material/history:")
        forms["fork"] = ("Fork from a checkpoint", ":material/fork_right:")
    return forms


def _draw_archive(workspace: Workspace, job: Job) -> None:
    away = job.archived_at is not None
    st.button(
        "Take out of the archive" if away else "Archive",
        icon=":material/unarchive:" if away else ":material/archive:",
        key="archive",
        help=None if away else "The list of jobs leaves it out; nothing of it is removed.",
        on_click=act,
        args=(
            lambda: jobs.archive_job(workspace, job.id, archived=not away),
            "Taken back." if away else "Archived.",
        ),
    )
