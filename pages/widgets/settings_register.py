"""The dialogs about runners: let one in (its token is shown once), and shut one out."""

import streamlit as st

from lora_core.actions import runners
from lora_core.actions.runners import NewRunner
from lora_core.actions.team import is_operator
from lora_core.errors import StudioError
from lora_core.schema.runner import RunnerRegistration, RunnerScope
from pages.widgets import session
from pages.widgets.errors import shown
from pages.widgets.plain import plain

DIALOG = "register_runner"

SCOPES = {
    RunnerScope.MINE: "Only my jobs",
    RunnerScope.TEAM: "Jobs of the whole team",
}


def draw_register_button() -> None:
    """Draw the button, and the dialog that stands open: of the button, or what a card has left to ask."""
    st.button(
        "Register a runner",
        type="primary",
        icon=":material/add:",
        key="register",
        on_click=session.open_dialog,
        args=(DIALOG,),
    )
    asked = session.take_question()
    if session.dialog_is_open(DIALOG):
        _register()
    elif asked:
        _ask_revoke(asked)


def _ask_revoke(registration_id: str) -> None:
    found = [
        registration
        for registration in runners.read_runners(session.workspace()).open_registrations
        if registration.id == registration_id
    ]
    if found:
        _revoke(found[0])


@st.dialog("Register a runner", icon=":material/add_circle:", width="medium", on_dismiss=session.close_dialog)
def _register() -> None:
    new = session.to_show(NewRunner)
    if new is None:
        _draw_form()
    else:
        _draw_token(new)


def _draw_form() -> None:
    st.markdown(
        "A runner is a machine that trains: yours, or a server you may use. It needs a checkout of the studio and Python."
    )
    with st.form("register_form", border=False):
        name = st.text_input(
            "Name",
            max_chars=runners.MAX_NAME,
            placeholder="gpu-box",
            key="runner_name",
            help="Which machine it is.",
        )
        scope = RunnerScope.MINE
        if is_operator(session.workspace()):
            scope = st.radio(
                "It takes",
                list(SCOPES),
                format_func=lambda choice: SCOPES[choice],
                key="runner_scope",
                help="A runner for the whole team reads the data sets of the jobs it takes. Use a machine you trust.",
            )
        if st.form_submit_button("Register", type="primary", key="register_do"):
            with shown():
                session.show_once(runners.register_runner(session.workspace(), name or "", scope))
                st.rerun()


def _draw_token(new: NewRunner) -> None:
    st.markdown(f"**{plain(new.name)}** is registered. Type this on it, in a checkout of the studio:")
    st.code(new.command, language="bash", wrap_lines=True)
    st.warning(
        "The token in it is shown this once and is kept nowhere. Whoever has it can take jobs as this runner: "
        "pass it on like a password, and revoke the runner if it gets lost.",
        title="Copy it now",
        icon=":material/key:",
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("I have copied it", type="primary", icon=":material/check:", key="token_done"):
            session.close_dialog()
            st.rerun()


@st.dialog("Revoke this runner?", icon=":material/block:")
def _revoke(registration: RunnerRegistration) -> None:
    st.markdown(f"**{plain(registration.name)}** is shut out at once: its token is refused from now on.")
    st.markdown(
        "A job that it trains goes back to the queue when its lease ends, and goes on from its last checkpoint elsewhere. "
        "To use the machine again, register it anew."
    )
    with st.container(horizontal=True, horizontal_alignment="right", key="revoke_buttons"):
        if st.button("Keep it", key="revoke_keep"):
            st.rerun()
        if st.button(
            "Revoke the runner",
            type="primary",
            icon=":material/block:",
            key="revoke_do",
            on_click=_do_revoke,
            args=(registration,),
        ):
            st.rerun()


def _do_revoke(registration: RunnerRegistration) -> None:
    try:
        runners.revoke_runner(session.workspace(), registration.id)
    except StudioError as error:
        session.leave_word(plain(str(error)), ":material/error:")
    else:
        session.leave_word(f"Revoked {plain(registration.name)}.", ":material/block:")
