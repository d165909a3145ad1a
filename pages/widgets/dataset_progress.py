"""The card a data set shows while a runner works on it: what, how far, and what to do if nobody does."""

import streamlit as st

from lora_core.actions.dataset_import import import_again
from lora_core.actions.datasets import DatasetView, check_again, view_dataset
from lora_core.actions.jobs import online_runners
from lora_core.schema.runner import Task, TaskKind, TaskStatus
from pages.widgets import session
from pages.widgets.errors import shown
from pages.widgets.plain import plain

DOING = {
    TaskKind.CHECK_DATASET: "Checking every row",
    TaskKind.MEASURE_DATASET: "Counting tokens",
    TaskKind.DROP_BAD_ROWS: "Writing a version without the chosen rows",
    TaskKind.CONVERT_DATASET: "Writing a version in another format",
    TaskKind.IMPORT_DATASET: "Importing the rows",
}


def draw_progress(view: DatasetView) -> None:
    """Draw the card and keep it fresh; when the work is done the whole page is drawn anew."""
    every = session.workspace().settings.refresh_seconds / 2
    st.fragment(_live, run_every=every, key="progress")(view.dataset.id)


def draw_task_error(view: DatasetView) -> None:
    """Say why the newest work failed, if it did, with a way to try again."""
    task = view.task
    if task is None or task.status is not TaskStatus.FAILED:
        return
    what = DOING.get(task.kind, "The work").lower()
    st.error(plain(task.error) or "No reason was given.", title=f"Failed: {what}", icon=":material/error:")
    if task.kind is TaskKind.CHECK_DATASET and st.button(
        "Check again", icon=":material/refresh:", key="check_again"
    ):
        with shown():
            check_again(session.workspace(), view.dataset.id)
            st.rerun()
    if task.kind is TaskKind.IMPORT_DATASET and st.button(
        "Import again", icon=":material/refresh:", key="import_again"
    ):
        with shown():
            import_again(session.workspace(), view.dataset.id)
            st.rerun()


def _live(dataset_id: str) -> None:
    with shown():
        view = view_dataset(session.workspace(), dataset_id)
        if not view.busy or view.task is None:
            st.rerun()
        else:
            _card(view.task)


def _card(task: Task) -> None:
    doing = DOING.get(task.kind, "Working")
    if task.status is TaskStatus.RUNNING or online_runners(session.workspace()):
        with st.container(border=True, key="working"):
            if task.status is TaskStatus.RUNNING:
                words = f": {plain(task.message)}" if task.message else ""
                st.progress(min(max(task.progress, 0.0), 1.0), text=f"**{doing}**{words}")
            else:
                st.markdown(f":material/hourglass_empty: **{doing}** starts as soon as a runner is free.")
    else:
        st.warning(
            "Start one with `make start` (app and runner) or `python -m runner`. This page goes on by itself.",
            title=f"{doing} waits for a runner, and none is online",
            icon=":material/power_off:",
        )
