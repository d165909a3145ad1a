"""The frame around every page, run by Streamlit in each script run: settings, navigation, session, sidebar, page.

Embedded mode has no sign-in; in team mode the gate stands between `st.navigation` and `run()`.
"""

from pathlib import Path

import streamlit as st

from pages.frame import sidebar
from pages.frame.opened import open_workspace
from pages.frame.registry import build_pages, by_url_path
from pages.widgets import session
from pages.widgets.errors import shown

STATIC = Path(__file__).parents[2] / "static"

st.set_page_config(page_title="LoRA Studio", page_icon=str(STATIC / "favicon.svg"), layout="wide")
st.logo(str(STATIC / "logo.svg"), icon_image=str(STATIC / "favicon.svg"), size="large")

groups = build_pages()
page = st.navigation(groups)
session.attach_pages(by_url_path(groups))
with shown():
    session.attach(open_workspace())
    sidebar.draw()
    page.run()
