"""Notification routes as the settings page shows them: where messages go, about what, and what became of the last one."""

import streamlit as st

from lora_core.actions import notification_routes as routes
from lora_core.errors import StudioError
from lora_core.schema.notification import DeliveryState, NotificationKind, NotificationRoute
from pages.widgets import session
from pages.widgets.badges import Colour
from pages.widgets.errors import shown
from pages.widgets.plain import plain
from pages.widgets.settings_add_route import draw_add_button, events_pills, open_removal
from pages.widgets.times import local_time

CARD_WIDTH = 330
REFRESHES_PER_LOOK = 2

STATE: dict[DeliveryState, tuple[str, str, Colour]] = {
    DeliveryState.WAITING: ("Waiting", ":material/schedule:", "gray"),
    DeliveryState.SENDING: ("Being sent", ":material/outgoing_mail:", "blue"),
    DeliveryState.SENT: ("Sent", ":material/check_circle:", "green"),
    DeliveryState.FAILED: ("Not sent", ":material/error:", "red"),
    DeliveryState.UNKNOWN: ("May have arrived", ":material/help:", "orange"),
}


def draw_notifications() -> None:
    """Draw the section: its header with the button, and the routes, which refresh on a timer."""
    view = routes.read_routes(session.workspace())
    with st.container(horizontal=True, vertical_alignment="center", key="routes_header"):
        st.subheader("Notifications", anchor=False, width="content")
        st.space("stretch")
        draw_add_button(view)
    if view.fault:
        st.warning(plain(view.fault), title="Nothing can be added yet", icon=":material/key_off:")
    seconds = session.workspace().settings.refresh_seconds * REFRESHES_PER_LOOK
    st.fragment(_live, run_every=seconds if view.routes else None, key="routes")()


def _live() -> None:
    with shown():
        view = routes.read_routes(session.workspace())
        if not view.routes:
            with st.container(border=True, key="no_routes"):
                st.markdown("Messages stay in the studio: nothing is sent anywhere else yet.")
                st.caption(
                    "Add a route to hear by Slack, Discord, e-mail or another service when a job ends or needs you. "
                    "A runner sends; the training never waits for it."
                )
            return
        with st.grid(min_column_width=CARD_WIDTH, key="route_grid"):
            for route in view.routes:
                _route(route)


def _route(route: NotificationRoute) -> None:
    with st.container(border=True, height="stretch", key=f"route_{route.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{plain(route.name)}**", width="content")
            if route.last_state is not None:
                word, icon, colour = STATE[route.last_state]
                st.badge(word, icon=icon, color=colour)
        if route.shown != route.name:
            st.caption(plain(route.shown))
        events_pills(route.events, key=f"route_events_{route.id}", on_change=_choose, args=(route.id,))
        st.caption(delivery_words(route, in_team=session.workspace().settings.team))
        with st.container(horizontal=True):
            st.button(
                "Test",
                icon=":material/send:",
                key=f"route_test_{route.id}",
                on_click=_test,
                args=(route.id,),
                disabled=route.last_state is DeliveryState.SENDING,
                help="A runner sends a message over this route.",
            )
            if st.button("Remove", icon=":material/delete:", type="tertiary", key=f"route_remove_{route.id}"):
                open_removal(route.id)
                st.rerun()


def delivery_words(route: NotificationRoute, *, in_team: bool) -> str:
    """Say what became of the newest message of a route."""
    at = local_time(route.last_at) if route.last_at else ""
    why = plain(route.last_error)
    match route.last_state:
        case None:
            return "No message yet."
        case DeliveryState.WAITING if why:
            return f"{why} It is tried again soon."
        case DeliveryState.WAITING:
            same = " with the same LORA_STUDIO_ENCRYPTION_KEY as this app" if in_team else ""
            return f"Waits for a runner{plain(same)}, since {at}."
        case DeliveryState.SENDING:
            return f"A runner is sending it, since {at}."
        case DeliveryState.SENT:
            return f"The last message was accepted, {at}."
        case DeliveryState.FAILED:
            return f"The last message was not sent, {at}. {why}"
        case DeliveryState.UNKNOWN:
            return f"{why or 'The last message may have arrived.'} ({at})"


def _choose(route_id: str) -> None:
    chosen = session.chosen(f"route_events_{route_id}", NotificationKind)
    try:
        routes.choose_events(session.workspace(), route_id, chosen)
    except StudioError as error:
        session.leave_word(plain(str(error)), ":material/error:")


def _test(route_id: str) -> None:
    try:
        routes.try_route(session.workspace(), route_id)
    except StudioError as error:
        session.leave_word(plain(str(error)), ":material/error:")
