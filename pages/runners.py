"""The runners: which machines train this person's jobs, what each does now, and what waits for them."""

from collections.abc import Mapping, Sequence

import streamlit as st

from lora_core.actions import queue, runners
from lora_core.actions.queue import Queue
from lora_core.actions.runners import RunnersView, is_online
from lora_core.schema.job import WorkInHand
from pages.widgets import session
from pages.widgets.empty import empty_state
from pages.widgets.errors import shown
from pages.widgets.links import open_page, page_link
from pages.widgets.queue_rows import draw_queue
from pages.widgets.runner_cards import draw_machines

REFRESHES_PER_LOOK = 2
"""Runners say every few seconds that they are there: looking more often shows nothing new."""

PLACES = 8
"""Jobs of the queue that are shown; the place of each is a question to the store."""

NUMBER_WIDTH = 105


def render() -> None:
    """Draw the page; all of it but its title refreshes on a timer."""
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        st.title("Runners", anchor=False, width="content")
        st.space("stretch")
        if session.workspace().settings.team and st.button(
            "Register a runner", icon=":material/add:", key="to_settings"
        ):
            open_page("settings")
    with shown():
        workspace = session.workspace()
        seconds = workspace.settings.refresh_seconds * REFRESHES_PER_LOOK
        st.fragment(_live, run_every=seconds, key="runners_live")()
        _how_to_start(in_team=workspace.settings.team)


def _live() -> None:
    with shown():
        workspace = session.workspace()
        view = runners.read_runners(workspace)
        work = runners.read_work(workspace)
        waiting = queue.read_queue(workspace, most=PLACES)
        if not view.machines and not view.open_registrations:
            _draw_empty()
        else:
            _numbers(view, work, waiting)
            draw_machines(view, work, in_team=workspace.registry is not None)
        draw_queue(waiting)


def _numbers(view: RunnersView, work: Mapping[str, Sequence[WorkInHand]], waiting: Queue) -> None:
    online = sum(map(is_online, view.machines))
    offline = len(view.machines) - online
    cells = [
        ("Online", online, f"{offline} offline", "check_circle" if online else "power_off"),
        ("At work", sum(map(len, work.values())), "jobs of yours", "model_training"),
        ("Waiting", waiting.total, "jobs of yours", "schedule"),
    ]
    with st.grid(len(cells), min_column_width=NUMBER_WIDTH, key="runner_numbers"):
        for label, value, note, icon in cells:
            with st.container(border=True, height="stretch", gap="xxsmall"):
                st.metric(label, f"{value}", icon=f":material/{icon}:")
                st.caption(note)


def _draw_empty() -> None:
    with empty_state(
        ":material/memory:",
        "No runner has been here yet",
        "A runner is the program that checks data sets and trains jobs, on this machine or another. "
        "What you start waits until one is there; the app alone trains nothing.",
        key="no_runners",
    ):
        return


def _how_to_start(*, in_team: bool) -> None:
    st.subheader("Start a runner", anchor=False)
    with st.container(border=True, key="start_runner"):
        if in_team:
            st.markdown(
                "A machine needs a token to take jobs. It is made, and shown once, where you register it:"
            )
            page_link("Register a runner under Settings", "settings", icon=":material/settings:")
            return
        st.markdown("`make start` runs one beside the app. To start one alone, or a second one beside it:")
        st.code("python -m runner --name second --slots 1", language="bash")
        st.caption("`--slots` is how many jobs it trains at a time. Two jobs on one GPU share its memory.")
