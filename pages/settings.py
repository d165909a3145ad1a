"""Settings: whose studio this is, the person's account, and the runners that work for them."""

import streamlit as st

from lora_core.actions.about import describe_studio
from pages.widgets import session
from pages.widgets.errors import shown
from pages.widgets.messages import show_word
from pages.widgets.settings_account import draw_account
from pages.widgets.settings_notifications import draw_notifications
from pages.widgets.settings_register import draw_register_button
from pages.widgets.settings_runners import draw_runners
from pages.widgets.settings_studio import draw_connect, draw_own_studio, draw_team_studio


def render() -> None:
    """Draw the page; the runners refresh on a timer."""
    show_word()
    st.title("Settings", anchor=False)
    with shown():
        workspace = session.workspace()
        facts = describe_studio(workspace)
        if facts.team:
            draw_account(workspace)
        else:
            draw_own_studio(facts)
        with st.container(horizontal=True, vertical_alignment="center", key="runners_header"):
            st.subheader(
                "My runners" if facts.team else "Runners on this machine", anchor=False, width="content"
            )
            st.space("stretch")
            if facts.team:
                draw_register_button()
        draw_runners()
        draw_notifications()
        if facts.team:
            draw_team_studio(facts)
        else:
            draw_connect()
