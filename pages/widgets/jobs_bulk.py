"""Several jobs of the list at once: the bar that appears with a selection, and the one question before anything is done.

The bar stands in the list's live fragment, which may open no dialog: it leaves the question for the next run of the page.
"""

from collections.abc import Sequence

import streamlit as st

from lora_core.actions import bulk, jobs
from lora_core.actions.bulk import Verb
from lora_core.actions.workspace import Workspace
from lora_core.errors import NotFound
from lora_core.schema.job import MAX_PRIORITY, MIN_PRIORITY, Job, JobStatus
from pages.widgets import session
from pages.widgets.plain import plain

NAMED = 8
"""Most names in the question; the rest are counted."""

_LIVE = frozenset({JobStatus.QUEUED, JobStatus.INITIALIZING, JobStatus.RUNNING})
_ENDED = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})
BUTTONS: dict[Verb, tuple[str, str, frozenset[JobStatus]]] = {
    Verb.PAUSE: ("Pause", "pause", _LIVE),
    Verb.RESUME: (
        "Resume",
        "play_arrow",
        frozenset({JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED}),
    ),
    Verb.CANCEL: ("Cancel", "stop_circle", _LIVE | {JobStatus.PAUSED}),
    Verb.PRIORITISE: (
        "Priority",
        "low_priority",
        frozenset({JobStatus.QUEUED, JobStatus.PAUSED}),
    ),
    Verb.CHECKPOINT: ("Save checkpoint", "save", frozenset({JobStatus.RUNNING})),
    Verb.ARCHIVE: ("Archive", "archive", _ENDED),
    Verb.UNARCHIVE: ("Take back", "unarchive", _ENDED),
    Verb.DELETE: ("Delete", "delete", _ENDED),
}
"""Word, icon, and the states in which it does something."""

QUESTIONS = {
    Verb.PRIORITISE: "Change the priority of",
    Verb.CHECKPOINT: "Save a checkpoint of",
}
"""How the question begins where the button's word does not do."""

KEPT = {
    Verb.PAUSE: "Those that run save a checkpoint first; the others are held.",
    Verb.RESUME: "They go on from their newest checkpoint, if they have one.",
    Verb.CANCEL: "Curves, logs and saved checkpoints are kept; each can be queued again.",
    Verb.PRIORITISE: "Higher goes first; 0 is usual. Within one priority the oldest job goes first.",
    Verb.CHECKPOINT: "Each saves one after the step it is at, and goes on.",
    Verb.ARCHIVE: "The list leaves them out; nothing of them is removed.",
    Verb.UNARCHIVE: "The list shows them again.",
    Verb.DELETE: "Curves, logs, checkpoints and adapters are removed. This cannot be undone. Data sets are kept.",
}
_MARK = "bulk"


def draw_bar(chosen: Sequence[Job]) -> None:
    """Draw what can be done with the jobs that are ticked; each button is about those whose state allows it."""
    with st.container(horizontal=True, vertical_alignment="center", key="bulk"):
        if (
            not chosen
        ):  # something stands here before the first tick too, so that the rows hardly move under the pointer
            st.caption("Tick rows to act on several jobs at once.")
            return
        st.markdown(f"**{len(chosen)} selected**", width="content")
        for verb, (label, icon, states) in BUTTONS.items():
            fitting = [job for job in chosen if job.status in states]
            if verb in (Verb.ARCHIVE, Verb.UNARCHIVE):
                fitting = [
                    job for job in fitting if (job.archived_at is not None) is (verb is Verb.UNARCHIVE)
                ]
            if fitting and st.button(label, icon=f":material/{icon}:", key=f"bulk_{verb.value}"):
                session.ask(" ".join([_MARK, verb.value, *(job.id for job in fitting)]))
                st.rerun()


def draw_question(workspace: Workspace, table_key: str) -> None:
    """Draw the question that the bar has left, until it is answered.

    Args:
        table_key: Key of the table whose ticks are taken away when it is answered.
    """
    if asked := session.take_question():
        session.open_dialog(asked)
    mark, _, rest = session.dialog_in_front().partition(" ")
    if mark == _MARK:
        verb, *job_ids = rest.split()
        _confirm(workspace, Verb(verb), tuple(job_ids), table_key)


@st.dialog("Several jobs", on_dismiss=session.close_dialog)
def _confirm(workspace: Workspace, verb: Verb, job_ids: tuple[str, ...], table_key: str) -> None:
    label, icon, _ = BUTTONS[verb]
    names = _names(workspace, job_ids)
    question = f"{QUESTIONS.get(verb, label)} {_count(len(job_ids))}"
    st.markdown(f"{question}?")
    st.markdown("\n".join(f"- **{plain(name)}**" for name in names[:NAMED]))
    if len(job_ids) > NAMED:
        st.markdown(f"and {len(job_ids) - NAMED} more.")
    st.caption(KEPT[verb])
    priority = 0
    if verb is Verb.PRIORITISE:
        priority = st.number_input("Priority", MIN_PRIORITY, MAX_PRIORITY, 0, key="bulk_priority")
    with st.container(horizontal=True, horizontal_alignment="right", key="bulk_buttons"):
        if st.button("Leave them", key="bulk_leave", on_click=session.close_dialog):
            st.rerun()
        if st.button(
            question,
            type="primary",
            icon=f":material/{icon}:",
            key="bulk_confirm",
            on_click=_act,
            args=(workspace, verb, job_ids, table_key, priority),
        ):
            st.rerun()


def _act(workspace: Workspace, verb: Verb, job_ids: tuple[str, ...], table_key: str, priority: int) -> None:
    session.close_dialog()
    outcome = bulk.act_on_jobs(workspace, job_ids, verb, priority=priority)
    icon = ":material/check:" if outcome.done else ":material/error:"
    session.leave_word(plain(outcome.summary), icon)
    session.forget(table_key)


def _names(workspace: Workspace, job_ids: Sequence[str]) -> list[str]:
    names = []
    for job_id in job_ids[:NAMED]:
        try:
            names.append(jobs.get_job(workspace, job_id).name)
        except NotFound:
            names.append("a job that is gone")
    return names


def _count(number: int) -> str:
    return f"{number} job{'s' if number != 1 else ''}"
