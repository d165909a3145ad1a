"""A runner as a card of the runners page: whether it is there, what the machine has, and what each of its slots does.

Of other people's jobs it shows only that there is one.
"""

from collections.abc import Mapping, Sequence

import streamlit as st

from lora_core.actions.runners import RunnersView, is_online
from lora_core.schema.job import WorkInHand
from lora_core.schema.runner import RunnerInfo, RunnerRegistration, RunnerScope
from pages.widgets.job_card import progress_words
from pages.widgets.links import page_link
from pages.widgets.plain import plain
from pages.widgets.runner_facts import machine_facts, scope_badge, state_badge
from pages.widgets.times import ago, local_clock, local_time

CARD_WIDTH = 330
MOST_OFFLINE = 12
"""Machines shown that are offline; those seen last come first."""

TRAIN, DISPATCH = "train", "dispatch"
"""Roles of a runner that are told."""


def draw_machines(view: RunnersView, work: Mapping[str, Sequence[WorkInHand]], *, in_team: bool) -> None:
    """Draw those that are online, then registrations without a machine, then those that are offline."""
    online = [machine for machine in view.machines if is_online(machine)]
    offline = [machine for machine in view.machines if not is_online(machine)]
    unseen = [registration for registration in view.open_registrations if not registration.machines]
    with st.grid(min_column_width=CARD_WIDTH, key="machines"):
        for machine in [*online, *offline[:MOST_OFFLINE]]:
            with st.container(border=True, height="stretch", key=f"machine_{machine.id}"):
                _machine(machine, view.registration_of(machine), work.get(machine.id, ()), in_team=in_team)
        for registration in unseen:
            with st.container(border=True, height="stretch", key=f"unseen_{registration.id}"):
                _unseen(registration)
    if len(offline) > MOST_OFFLINE:
        st.caption(f"{len(offline) - MOST_OFFLINE} more are offline, and were seen longer ago.")


def slot_words(machine: RunnerInfo, mine: int, *, shared: bool) -> str:
    """Say how many jobs a machine trains at a time, and how many slots are free as far as one can know.

    Args:
        mine: Slots with the person's own jobs.
        shared: Others' jobs may be in the rest.

    >>> from lora_core.schema.base import utc_now
    >>> two = RunnerInfo(id="r", name="r", version="1", slots=2, started_at=utc_now(), seen_at=utc_now())
    >>> slot_words(two, 1, shared=False), slot_words(two, 2, shared=True)
    ('2 slots, 1 free', '2 slots, none free')
    """
    slots = f"{machine.slots} slot{'s' if machine.slots != 1 else ''}"
    free = machine.slots - mine
    if machine.state == "stopping":
        return f"{slots}, takes nothing new"
    if machine.state == "training" and shared and free > 0:
        return slots
    return f"{slots}, {max(0, free) or 'none'} free"


def _machine(
    machine: RunnerInfo,
    registration: RunnerRegistration | None,
    work: Sequence[WorkInHand],
    *,
    in_team: bool,
) -> None:
    online = is_online(machine)
    scope = registration.scope if registration else RunnerScope.TEAM
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/computer: **{plain(machine.name)}**", width="content")
        state_badge(machine)
        if in_team:
            scope_badge(scope)
    facts = machine_facts(machine)
    seen = f"Online since {local_time(machine.started_at)}" if online else f"Last seen {ago(machine.seen_at)}"
    st.caption(f"{facts}  \n{seen}{_roles(machine)}")
    if in_team:
        st.caption(_token_words(registration))
    for held in work:
        _held(held, online=online)
    if not online:
        return
    if machine.state == "training" and not work:
        st.markdown(":material/person: Busy with another person's job" if in_team else _TAKING)
    elif machine.state == "busy":
        st.markdown(":material/manufacturing: Checks data or fetches a model; a job may start beside it")
    if TRAIN in machine.roles:
        st.caption(slot_words(machine, len(work), shared=in_team and scope is RunnerScope.TEAM))


_TAKING = ":material/hourglass_top: Ends a job, or takes one"


def _held(held: WorkInHand, *, online: bool) -> None:
    job = held.job
    with st.container(gap="xxsmall", key=f"held_{job.id}"):
        page_link(plain(job.name), "job", icon=":material/model_training:", id=job.id)
        st.progress(job.progress, text=f"{progress_words(job)} · since {local_clock(held.since)}")
        if not online:
            st.caption(
                "If the runner stays away, the job goes back to the queue and on from its last checkpoint."
            )


def _unseen(registration: RunnerRegistration) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/computer: **{plain(registration.name)}**", width="content")
        st.badge("Not seen yet", icon=":material/schedule:", color="gray")
        scope_badge(registration.scope)
    st.caption(
        f"Registered {local_time(registration.created_at)}. Start it with the command that was shown then; "
        "if that is lost, revoke it under Settings and register anew."
    )


def _roles(machine: RunnerInfo) -> str:
    trains, sends = TRAIN in machine.roles, DISPATCH in machine.roles
    if trains:
        return " · sends notifications" if sends else ""
    return " · takes no jobs, sends notifications" if sends else " · takes no jobs"


def _token_words(registration: RunnerRegistration | None) -> str:
    if registration is None:
        return ":material/key: Let in by the team's operator"
    name = plain(registration.name)
    if registration.revoked_at is not None:
        return f":material/key_off: Token of {name}, revoked {local_time(registration.revoked_at)}"
    return f":material/key: Token of {name}, valid since {local_time(registration.created_at)}"
