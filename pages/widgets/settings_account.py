"""Who is signed in, as the settings page shows it."""

import streamlit as st

from lora_core.actions.team import is_operator
from lora_core.actions.workspace import Workspace
from pages.widgets.links import page_link


def draw_account(workspace: Workspace) -> None:
    """Draw the card of the person's account."""
    with st.container(border=True, key="account"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(workspace.email, width="content")
            if is_operator(workspace):
                st.badge("Operator", icon=":material/shield_person:", color="violet")
            st.space("stretch")
            if is_operator(workspace):
                page_link("The team", "operator", icon=":material/groups:")
        st.caption("Your id, which names your folder in the project's storage:")
        st.code(workspace.user_id, language=None)
        st.caption("To set another password, sign out and choose *Forgot password*: a mail brings a link.")
