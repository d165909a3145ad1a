"""Who may join a team: invitations, whose link is shown once, and the switch that lets anybody in."""

from collections.abc import Sequence

import streamlit as st

from lora_core.actions import team
from lora_core.actions.team import NewInvitation
from lora_core.errors import StudioError
from lora_core.schema.base import utc_now
from lora_core.schema.people import Invitation
from pages.widgets import session
from pages.widgets.errors import shown
from pages.widgets.plain import plain
from pages.widgets.times import local_time

DIALOG = "invite_person"

OPEN_WARNING = (
    "Whoever can reach this studio can then make an account with any e-mail address and use its runners and storage. "
    "Turn on e-mail confirmation in the project first, and set quotas."
)


def draw_invite_button() -> None:
    """Draw the button, and its dialog while that stands open."""
    st.button(
        "Invite a person",
        type="primary",
        icon=":material/person_add:",
        key="invite",
        on_click=session.open_dialog,
        args=(DIALOG,),
    )
    if session.dialog_is_open(DIALOG):
        _invite()


def draw_invitations(invitations: Sequence[Invitation]) -> None:
    """Draw those that were not accepted."""
    st.subheader("Open invitations", anchor=False)
    if not invitations:
        st.caption("None. Whoever you invite is listed here until they have signed up.")
    for invitation in invitations:
        with (
            st.container(border=True, key=f"invitation_{invitation.id}"),
            st.container(horizontal=True, vertical_alignment="center"),
        ):
            with st.container(gap=None, width="content"):
                st.text(invitation.email)
                st.caption(f"Invited {local_time(invitation.created_at)}")
            if invitation.expires_at < utc_now():
                st.badge("Run out", icon=":material/timer_off:", color="orange")
            else:
                st.badge(f"Until {local_time(invitation.expires_at)}", icon=":material/timer:", color="gray")
            st.space("stretch")
            st.button(
                "Withdraw",
                icon=":material/undo:",
                type="tertiary",
                key=f"withdraw_{invitation.id}",
                on_click=_withdraw,
                args=(invitation,),
            )


def draw_sign_up(*, is_open: bool) -> None:
    """Draw whether anybody may sign up, and the switch."""
    st.subheader("Sign-up", anchor=False)
    with st.container(border=True, key="sign_up"):
        with st.container(horizontal=True, vertical_alignment="center"):
            if is_open:
                st.badge("Open to everybody", icon=":material/lock_open:", color="orange")
            else:
                st.badge("By invitation", icon=":material/lock:", color="green")
            st.space("stretch")
            if is_open:
                st.button(
                    "Close sign-up",
                    icon=":material/lock:",
                    key="close_sign_up",
                    on_click=_switch,
                    args=(False,),
                )
            elif st.button("Open sign-up", icon=":material/lock_open:", key="open_sign_up"):
                _ask_open()
        if is_open:
            st.warning(OPEN_WARNING, icon=":material/warning:")
        else:
            st.caption(
                "Only people you invite can make an account. The database checks it, whatever way they come."
            )


@st.dialog("Invite a person", icon=":material/person_add:", width="medium", on_dismiss=session.close_dialog)
def _invite() -> None:
    new = session.to_show(NewInvitation)
    if new is None:
        _draw_form()
    else:
        _draw_link(new)


def _draw_form() -> None:
    with st.form("invite_form", border=False):
        email = st.text_input(
            "E-mail address", max_chars=254, placeholder="name@example.org", key="invite_email"
        )
        days = st.number_input(
            "Good for how many days",
            min_value=1,
            max_value=team.MAX_VALID_DAYS,
            value=team.VALID_DAYS,
            step=1,
            key="invite_days",
        )
        if st.form_submit_button("Make the invitation", type="primary", key="invite_do"):
            with shown():
                session.show_once(team.invite_person(session.workspace(), email or "", valid_days=days))
                st.rerun()


def _draw_link(new: NewInvitation) -> None:
    st.text(f"Send this link to {new.email}. It is good until {local_time(new.expires_at)}, for one account.")
    st.code(new.link(st.context.url or ""), language=None, wrap_lines=True)
    st.warning(
        "The link is shown this once and is kept nowhere; the studio sends no mail. It works for this address only. "
        "If it gets lost, withdraw the invitation and make another.",
        title="Copy it now",
        icon=":material/key:",
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("I have copied it", type="primary", icon=":material/check:", key="link_done"):
            session.close_dialog()
            st.rerun()


@st.dialog("Let anybody sign up?", icon=":material/lock_open:")
def _ask_open() -> None:
    st.markdown(OPEN_WARNING)
    with st.container(horizontal=True, horizontal_alignment="right", key="open_buttons"):
        if st.button("Keep it by invitation", key="open_keep"):
            st.rerun()
        if st.button(
            "Open sign-up",
            type="primary",
            icon=":material/lock_open:",
            key="open_do",
            on_click=_switch,
            args=(True,),
        ):
            st.rerun()


def _switch(is_open: bool) -> None:
    try:
        team.open_sign_up(session.workspace(), is_open=is_open)
    except StudioError as error:
        session.leave_word(plain(str(error)), ":material/error:")
    else:
        session.leave_word(
            "Anybody may sign up now." if is_open else "By invitation again.", ":material/check:"
        )


def _withdraw(invitation: Invitation) -> None:
    try:
        team.withdraw_invitation(session.workspace(), invitation.id)
    except StudioError as error:
        session.leave_word(plain(str(error)), ":material/error:")
    else:
        session.leave_word(f"Withdrew the invitation of {plain(invitation.email)}.", ":material/undo:")
