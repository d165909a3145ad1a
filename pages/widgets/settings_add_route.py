"""The dialogs about notification routes: add one (its address is never shown again), and remove one."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from lora_core.actions import notification_routes as routes
from lora_core.actions.notification_routes import RoutesView
from lora_core.errors import StudioError
from lora_core.schema.notification import NotificationKind, NotificationRoute
from pages.widgets import session
from pages.widgets.errors import shown
from pages.widgets.plain import plain

ADD = "add_route"
REMOVE = "remove_route:"

EVENTS: dict[NotificationKind, str] = {
    NotificationKind.JOB_STARTED: "Started",
    NotificationKind.JOB_QUEUED_AGAIN: "Queued again",
    NotificationKind.JOB_PAUSED: "Paused",
    NotificationKind.JOB_CANCELLED: "Cancelled",
    NotificationKind.JOB_FAILED: "Failed",
    NotificationKind.JOB_COMPLETED: "Completed",
    NotificationKind.ALERT: "Alerts",
}

SLACK, DISCORD, MAIL, OTHER = "Slack", "Discord", "E-mail", "Other"

WEBHOOKS = {
    SLACK: (
        "https://hooks.slack.com/services/T.../B.../...",
        "In Slack: Apps, Incoming Webhooks, Add to Slack, choose a channel, copy the webhook URL.",
    ),
    DISCORD: (
        "https://discord.com/api/webhooks/.../...",
        "In Discord: the channel's settings, Integrations, Webhooks, New webhook, copy the URL.",
    ),
    OTHER: (
        "tgram://bot-token/chat-id",
        "An address as the library apprise writes it, such as tgram://bot-token/chat-id, ntfys://host/topic, "
        "gotifys://host/token, mmosts://host/token, workflows://host/workflow/signature (Teams) or jsons://host/path. "
        "docs/notifications.md lists the services.",
    ),
}


def draw_add_button(view: RoutesView) -> None:
    """Draw the button, and the dialog that stands open."""
    st.button(
        "Add a route",
        icon=":material/add:",
        key="route_add",
        disabled=bool(view.fault),
        on_click=session.open_dialog,
        args=(ADD,),
    )
    if session.dialog_is_open(ADD) and not view.fault:
        _add()
    for route in view.routes:
        if session.dialog_is_open(REMOVE + route.id):
            _remove(route)


def open_removal(route_id: str) -> None:
    """Ask, at the next whole run of the page, whether a route is to go."""
    session.open_dialog(REMOVE + route_id)


def events_pills(
    chosen: Sequence[NotificationKind],
    *,
    key: str,
    on_change: Callable[..., None] | None = None,
    args: tuple[Any, ...] = (),
) -> list[NotificationKind]:
    """Draw the choice of events."""
    return st.pills(
        "Tell me about",
        list(EVENTS),
        selection_mode="multi",
        default=[kind for kind in EVENTS if kind in chosen],
        format_func=lambda kind: EVENTS[kind],
        key=key,
        help="Queued again: after a failure that may pass, or because its runner was lost or shut down, it goes on by itself.",
        on_change=on_change,
        args=args,
    )


@st.dialog("Add a route", icon=":material/notification_add:", width="medium", on_dismiss=session.close_dialog)
def _add() -> None:
    kind = st.segmented_control(
        "By", [SLACK, DISCORD, MAIL, OTHER], default=SLACK, required=True, key="route_kind"
    )
    with st.form("route_form", border=False):
        name = st.text_input("Name", max_chars=routes.MAX_NAME, placeholder="Team channel", key="route_name")
        add = _mail_fields() if kind == MAIL else _address_field(kind or SLACK)
        events = events_pills(routes.DEFAULT_EVENTS, key="route_new_events")
        st.caption("The address is kept encrypted. It is not shown again: to change it, add another route.")
        if st.form_submit_button("Add the route", type="primary", key="route_add_do"):
            with shown():
                route = add(name or "", events)
                session.leave_word(
                    f"Added {plain(route.name)}. Send a test to try it.", ":material/check_circle:"
                )
                session.close_dialog()
                st.rerun()


def _address_field(kind: str) -> Callable[[str, list[NotificationKind]], NotificationRoute]:
    example, explained = WEBHOOKS[kind]
    address = st.text_input(
        "Address" if kind == OTHER else "Webhook address",
        type="password",
        placeholder=example,
        help=explained,
        autocomplete="off",
        key=f"route_address_{kind}",
    )
    st.caption(plain(explained))
    return lambda name, events: routes.add_route(session.workspace(), name, address or "", events)


def _mail_fields() -> Callable[[str, list[NotificationKind]], NotificationRoute]:
    to = st.text_input("Send to", placeholder="ada@example.org", key="route_mail_to")
    with st.container(horizontal=True):
        server = st.text_input("Mail server (SMTP)", placeholder="smtp.example.org", key="route_mail_server")
        port = st.number_input(
            "Port",
            1,
            65535,
            587,
            width=140,
            help="587 begins TLS after connecting; 465 connects with TLS.",
            key="route_mail_port",
        )
    user = st.text_input(
        "User",
        help="Signs in there, and is the sender if it is an e-mail address.",
        autocomplete="off",
        key="route_mail_user",
    )
    password = st.text_input(
        "Password", type="password", autocomplete="new-password", key="route_mail_password"
    )
    return lambda name, events: routes.add_mail_route(
        session.workspace(),
        name,
        to or "",
        server=server or "",
        port=int(port),
        user=user or "",
        password=password or "",
        events=events,
    )


@st.dialog("Remove this route?", icon=":material/delete:", on_dismiss=session.close_dialog)
def _remove(route: NotificationRoute) -> None:
    st.markdown(f"**{plain(route.name)}** gets no message any more, and its address is deleted here.")
    with st.container(horizontal=True, horizontal_alignment="right", key="route_remove_buttons"):
        if st.button("Keep it", key="route_remove_keep", on_click=session.close_dialog):
            st.rerun()
        if st.button(
            "Remove the route",
            type="primary",
            icon=":material/delete:",
            key="route_remove_do",
            on_click=_do_remove,
            args=(route,),
        ):
            st.rerun()


def _do_remove(route: NotificationRoute) -> None:
    session.close_dialog()
    try:
        routes.remove_route(session.workspace(), route.id)
    except StudioError as error:
        session.leave_word(plain(str(error)), ":material/error:")
    else:
        session.leave_word(f"Removed {plain(route.name)}.", ":material/delete:")
