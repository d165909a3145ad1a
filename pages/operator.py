"""The operator's page: totals by person, quotas, invitations, sign-up. Totals only: nobody's content is read here."""

import streamlit as st

from lora_core.actions import team
from pages.widgets import session
from pages.widgets.empty import empty_state
from pages.widgets.errors import shown
from pages.widgets.links import open_page
from pages.widgets.messages import show_word
from pages.widgets.operator_invitations import draw_invitations, draw_invite_button, draw_sign_up
from pages.widgets.operator_people import draw_numbers, draw_people


def render() -> None:
    """Draw the page, or say whom it is for."""
    show_word()
    with shown():
        workspace = session.workspace()
        if not team.is_operator(workspace):
            _refuse(in_team=workspace.settings.team)
            return
        with st.container(horizontal=True, vertical_alignment="center", key="header"):
            st.title("Team", anchor=False, width="content")
            st.space("stretch")
            draw_invite_button()
        st.caption("You see totals and e-mail addresses. Data sets, jobs and models of others stay theirs.")
        view = team.read_team(workspace)
        draw_numbers(view.people)
        draw_people(view.people)
        draw_invitations(view.open_invitations)
        draw_sign_up(is_open=view.sign_up_is_open)


def _refuse(*, in_team: bool) -> None:
    st.title("Team", anchor=False)
    sentence = (
        "Here the operator of the team invites people and sets quotas. Your account is not an operator's."
        if in_team
        else "This studio is for one person. In a team's studio, its operator invites people and sets quotas here."
    )
    with empty_state(":material/shield_person:", "For the operator", sentence, key="no_operator"):
        if st.button("Home", type="primary", icon=":material/home:", key="to_home"):
            open_page("home")
