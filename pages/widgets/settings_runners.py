"""Runners as the settings page shows them: those the person let in, and the team's. What they do is on the Runners page."""

from collections.abc import Sequence

import streamlit as st

from lora_core.actions import runners
from lora_core.actions.runners import RunnersView, is_online
from lora_core.schema.runner import RunnerInfo, RunnerRegistration
from pages.widgets import session
from pages.widgets.errors import shown
from pages.widgets.links import page_link
from pages.widgets.plain import plain
from pages.widgets.runner_facts import machine_facts, scope_badge, state_badge
from pages.widgets.times import ago, local_time

CARD_WIDTH = 330
MOST_MACHINES = 24
"""Machines shown at once; those seen last come first."""

REFRESHES_PER_LOOK = 2
"""Runners say every few seconds that they are there: looking more often shows nothing new."""


def draw_runners() -> None:
    """Draw the runners and keep them fresh. Its buttons leave a question for the page's script, which opens the dialog."""
    seconds = session.workspace().settings.refresh_seconds * REFRESHES_PER_LOOK
    st.fragment(_live, run_every=seconds, key="runners")()


def _live() -> None:
    with shown():
        view = runners.read_runners(session.workspace())
        if session.workspace().registry is None:
            _machines_here(view.machines)
        else:
            _registrations(view)


def _machines_here(machines: Sequence[RunnerInfo]) -> None:
    online = sum(map(is_online, machines))
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="runners_here"):
        st.markdown(f"{online} online" if online else "None is online: checks and jobs wait until one is.")
        st.space("stretch")
        page_link("What they do, and how to start one", "runners", icon=":material/memory:")


def _registrations(view: RunnersView) -> None:
    if not view.open_registrations:
        with st.container(border=True, key="no_runners"):
            st.markdown("You have registered no runner yet.")
            st.caption(
                "A runner is a machine of yours that trains your jobs. Register it to get the command that starts it there."
            )
    with st.grid(min_column_width=CARD_WIDTH, key="registrations"):
        for registration in view.open_registrations:
            _registration(registration)
    if view.shared:
        st.subheader("Runners of the team", anchor=False)
        st.caption("They take anybody's jobs, yours too.")
        _grid(view.shared, key="shared")
    revoked = [registration for registration in view.registrations if registration.revoked_at is not None]
    if revoked:
        with st.expander(f"Revoked ({len(revoked)})", key="revoked"):
            for registration in revoked:
                st.caption(f"{plain(registration.name)}, revoked {_moment(registration)}")


def _registration(registration: RunnerRegistration) -> None:
    with st.container(border=True, height="stretch", key=f"registration_{registration.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{plain(registration.name)}**", width="content")
            scope_badge(registration.scope)
            st.space("stretch")
            if st.button("Revoke", icon=":material/block:", type="tertiary", key=f"revoke_{registration.id}"):
                session.ask(registration.id)
                st.rerun()
        for machine in registration.machines:
            _machine(machine)
        if not registration.machines:
            st.caption(
                f"Not seen yet. Registered {local_time(registration.created_at)}; start it with the command that was shown."
            )


def _grid(machines: Sequence[RunnerInfo], *, key: str) -> None:
    with st.grid(min_column_width=CARD_WIDTH, key=key):
        for machine in machines[:MOST_MACHINES]:
            with st.container(border=True, height="stretch", key=f"machine_{machine.id}"):
                _machine(machine)
    if len(machines) > MOST_MACHINES:
        st.caption(f"{len(machines) - MOST_MACHINES} more, seen longer ago, are not shown.")


def _machine(machine: RunnerInfo) -> None:
    with st.container(gap="xxsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/computer: **{plain(machine.name)}**", width="content")
            state_badge(machine)
        st.caption(machine_facts(machine))
        if not is_online(machine):
            st.caption(f"Last seen {ago(machine.seen_at)}")


def _moment(registration: RunnerRegistration) -> str:
    return local_time(registration.revoked_at) if registration.revoked_at else ""
