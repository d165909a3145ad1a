"""The frame around every page, run by Streamlit in each script run: settings, session, navigation, gate, sidebar, page.

Every page is registered in every run, signed in or not, so that an address is kept until its page may be drawn.
"""

from pathlib import Path

import streamlit as st

from pages.frame import gate, sidebar
from pages.frame.registry import build_pages, by_url_path
from pages.widgets import session
from pages.widgets.errors import shown

STATIC = Path(__file__).parents[2] / "static"

st.set_page_config(page_title="LoRA Studio", page_icon=str(STATIC / "favicon.svg"), layout="wide")

arrival = gate.Arrival(gate.Place.NOWHERE)
with shown():
    arrival = gate.arrive()
groups = build_pages(in_team=arrival.in_team, is_operator=arrival.operator)
page = st.navigation(groups, position="sidebar" if arrival.place is gate.Place.INSIDE else "hidden")
session.attach_pages(by_url_path(groups))
with shown():
    if arrival.place is gate.Place.INSIDE:
        st.logo(str(STATIC / "logo.svg"), icon_image=str(STATIC / "favicon.svg"), size="large")
        sidebar.draw()
        page.run()
    else:
        gate.draw_outside(arrival.place)
