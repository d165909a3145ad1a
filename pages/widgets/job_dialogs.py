"""Dialogs about one job: what throws work away asks first, and what needs a choice is chosen here.

What they do happens in their own body or in callbacks that draw nothing; the next run of the page says what came of it.
"""

from collections.abc import Callable

import streamlit as st

from lora_core.actions import forks, jobs, queue, results
from lora_core.actions.workspace import Workspace
from lora_core.errors import StudioError
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.job import MAX_PRIORITY, MIN_PRIORITY, Job
from pages.widgets import formats, session
from pages.widgets.links import open_page
from pages.widgets.plain import plain
from pages.widgets.times import from_local, local_time, to_local


def act(action: Callable[[], object], done: str) -> None:
    """Act, and leave word of it; an action that came too late says why."""
    try:
        action()
    except StudioError as error:
        session.leave_word(plain(str(error)), ":material/error:")
    else:
        session.leave_word(done, ":material/check:")


@st.dialog("Cancel this job?", on_dismiss=session.close_dialog)
def confirm_cancel(workspace: Workspace, job: Job) -> None:
    """Ask before a job is stopped, and say what of it stays."""
    held = jobs.is_held(job)
    st.markdown(f"**{plain(job.name)}** {'stops at once' if held else 'is taken out of the queue'}.")
    st.markdown(_what_stays(job))
    if held and job.checkpoint_step is None:
        st.caption("To keep what it has learned so far, pause it instead: that saves a checkpoint first.")
    with st.container(horizontal=True, horizontal_alignment="right", key="cancel_buttons"):
        if st.button("Keep it running" if held else "Keep it", key="keep", on_click=session.close_dialog):
            st.rerun()
        if st.button(
            "Cancel the job",
            type="primary",
            icon=":material/stop_circle:",
            key="confirm_cancel",
            on_click=act,
            args=(lambda: jobs.cancel_job(workspace, job.id), "Cancelling." if held else "Cancelled."),
        ):
            session.close_dialog()
            st.rerun()


def _what_stays(job: Job) -> str:
    if job.attempt == 0:
        return "It has not run yet. It can be queued again later."
    if job.checkpoint_step is None:
        return (
            "Its curve and log are kept. No checkpoint was saved yet: queued again, it begins from the start."
        )
    return (
        f"Its curve, log and saved checkpoints are kept. Queued again later, it goes on from step {job.checkpoint_step:,}: "
        "what it learned after that is lost."
    )


@st.dialog("Delete this job?", on_dismiss=session.close_dialog)
def confirm_delete(workspace: Workspace, job: Job) -> None:
    """Ask before a job is removed."""
    st.markdown(
        f"**{plain(job.name)}** is removed with its curve, log, checkpoints and adapter. This cannot be undone."
    )
    st.caption("Its data set and the lines of the audit trail are kept. To hide it only, archive it.")
    with st.container(horizontal=True, horizontal_alignment="right", key="delete_buttons"):
        if st.button("Keep it", key="keep_job"):
            session.close_dialog()
            st.rerun()
        if st.button(
            "Delete for good",
            type="primary",
            icon=":material/delete:",
            key="confirm_delete",
            on_click=act,
            args=(lambda: jobs.delete_job(workspace, job.id), "Deleted."),
        ):
            session.close_dialog()
            open_page("jobs")


@st.dialog("Resume from a checkpoint", on_dismiss=session.close_dialog)
def choose_checkpoint(workspace: Workspace, job: Job) -> None:
    """Queue a job again from a checkpoint of the person's choice."""
    chosen = _checkpoint(workspace, job)
    if chosen is None:
        return
    st.caption("Steps after it are trained again; their points are replaced in the curve.")
    with st.container(horizontal=True, horizontal_alignment="right", key="resume_buttons"):
        if st.button(
            f"Resume from step {chosen.step}",
            type="primary",
            icon=":material/play_arrow:",
            key="confirm_resume",
        ):
            words = f"Back in the queue, from step {chosen.step}."
            act(lambda: jobs.resume_job(workspace, job.id, checkpoint_id=chosen.id), words)
            session.close_dialog()
            st.rerun()


@st.dialog("Fork from a checkpoint", on_dismiss=session.close_dialog)
def fork(workspace: Workspace, job: Job) -> None:
    """Queue a new job that starts from a checkpoint of this one."""
    chosen = _checkpoint(workspace, job)
    if chosen is None:
        return
    name = st.text_input(
        "Name",
        f"{job.name} from step {chosen.step}"[: jobs.MAX_NAME],
        max_chars=jobs.MAX_NAME,
        key="fork_name",
    )
    changes = st.text_area(
        "Changes of the config",
        key="fork_changes",
        placeholder="optimisation.learning_rate=0.00005",
        help="One key=value a line. Base model, adapter, data and effective batch stay: the checkpoint depends on them.",
    )
    st.caption(f"**{plain(job.name)}** stays as it is, and keeps the checkpoint.")
    with st.container(horizontal=True, horizontal_alignment="right", key="fork_buttons"):
        if st.button("Start the fork", type="primary", icon=":material/fork_right:", key="confirm_fork"):
            lines = [line.strip() for line in (changes or "").splitlines() if line.strip()]
            try:
                made = forks.fork_job(workspace, chosen.id, overrides=lines, name=name)
            except StudioError as error:
                st.error(plain(str(error)), icon=":material/error:")
            else:
                session.close_dialog()
                open_page("job", id=made.id)


@st.dialog("Place in the queue", on_dismiss=session.close_dialog)
def place_in_queue(workspace: Workspace, job: Job) -> None:
    """Change the priority and the earliest start of a job that waits."""
    priority = st.number_input(
        "Priority",
        MIN_PRIORITY,
        MAX_PRIORITY,
        job.priority,
        key="priority",
        help="Higher goes first; 0 is usual. Within one priority the oldest job goes first.",
    )
    now = to_local(job.not_before) if job.not_before is not None else None
    moment = st.datetime_input(
        "Earliest start", now, key="not_before", help="Your time. Empty: as soon as a runner is free."
    )

    def change() -> None:
        if priority != job.priority:
            queue.prioritise_job(workspace, job.id, priority)
        if moment != now:
            queue.start_job_after(workspace, job.id, from_local(moment) if moment is not None else None)

    with st.container(horizontal=True, horizontal_alignment="right", key="queue_buttons"):
        if st.button("Save", type="primary", icon=":material/check:", key="save_place"):
            act(change, "Changed.")
            session.close_dialog()
            st.rerun()


FORMS: dict[str, Callable[[Workspace, Job], None]] = {
    "cancel": confirm_cancel,
    "resume_from": choose_checkpoint,
    "fork": fork,
    "place": place_in_queue,
    "delete": confirm_delete,
}
"""Dialogs by the key of the button that opens them; they stay open through runs of the page."""


def open_form(name: str, job: Job) -> None:
    """Open a dialog of the menu at the next run of the page."""
    session.open_dialog(f"{name} {job.id}")


def form_is_open(job: Job) -> bool:
    """Say whether a dialog of the menu stands open."""
    return any(session.dialog_is_open(f"{name} {job.id}") for name in FORMS)


def draw_form(workspace: Workspace, job: Job) -> None:
    """Draw the dialog that stands open, if there is one of this job."""
    for name, draw in FORMS.items():
        if session.dialog_is_open(f"{name} {job.id}"):
            draw(workspace, job)


def _checkpoint(workspace: Workspace, job: Job) -> Artifact | None:
    kept = results.list_artifacts(workspace, job.id, ArtifactKind.CHECKPOINT)
    if not kept:
        st.caption("The job keeps no checkpoint.")
        return None
    by_id = {checkpoint.id: checkpoint for checkpoint in kept}
    chosen = st.selectbox(
        "Checkpoint",
        list(by_id),
        format_func=lambda checkpoint_id: _checkpoint_words(by_id[checkpoint_id]),
        key="chosen_checkpoint",
    )
    return by_id[chosen]


def _checkpoint_words(checkpoint: Artifact) -> str:
    best = " · best" if checkpoint.best else ""
    loss = (
        f" · validation loss {formats.loss(checkpoint.eval_loss)}" if checkpoint.eval_loss is not None else ""
    )
    return f"Step {checkpoint.step}{best}{loss} · {local_time(checkpoint.created_at)}"
