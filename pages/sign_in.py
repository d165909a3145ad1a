"""The door of a team's studio: sign in, make an account with an invitation, set a new password. Shown at any address."""

import streamlit as st

from pages.widgets import session
from pages.widgets.empty import empty_state
from pages.widgets.links import open_page
from pages.widgets.sign_in import sign_in_form, sign_out_button


def render(*, is_open: bool = False) -> None:
    """Draw the form that the address asks for, or, for who is in already, the way on.

    Args:
        is_open: Whether anybody may make an account.
    """
    if session.someone_is_in():
        _draw_inside()
        return
    asked = st.query_params
    email, invitation = asked.get("email", ""), asked.get("invitation", "")
    token_hash = asked.get("token_hash", "") if asked.get("type") == "recovery" else ""
    if token_hash:
        sign_in_form("password", token_hash=token_hash, is_open=is_open)
    elif invitation:
        sign_in_form("join", email=email, invitation=invitation, is_open=is_open)
    else:
        sign_in_form("sign_in", email=email, is_open=is_open)


def _draw_inside() -> None:
    with empty_state(
        ":material/how_to_reg:",
        "You are signed in already",
        "To use an invitation or a link for another account, sign out first, then open it again.",
        key="inside",
    ):
        if st.button("Home", type="primary", icon=":material/home:", key="to_home"):
            open_page("home")
        sign_out_button(key="leave")
