"""What stands below the navigation on every page: whether a runner is online, the bell with its messages, who is signed in."""

import streamlit as st

from lora_core.actions.jobs import online_runners
from lora_core.actions.overview import count_unread, list_notifications, mark_notifications_read
from lora_core.actions.workspace import Workspace
from lora_core.errors import StudioError
from lora_core.schema.notification import Notification, NotificationKind
from pages.widgets import session
from pages.widgets.errors import shown
from pages.widgets.links import page_link
from pages.widgets.messages import first_line, message_icon
from pages.widgets.plain import plain
from pages.widgets.sign_in import sign_out_button
from pages.widgets.times import local_time

SHOWN_MESSAGES = 12
MOST_TOASTS = 3
REFRESHES_PER_LOOK = 5
"""The sidebar looks this many times less often than a live page."""


def draw() -> None:
    """Draw the foot of the sidebar and keep it fresh."""
    seconds = session.workspace().settings.refresh_seconds * REFRESHES_PER_LOOK
    with st.sidebar:
        st.fragment(_live, run_every=seconds, key="sidebar")()
        if session.someone_is_in():
            _draw_person(session.workspace().email)


def _draw_person(email: str) -> None:
    """Draw who is signed in, on no timer: it changes only with the whole page."""
    with st.container(horizontal=True, vertical_alignment="center", key="person"):
        st.text(email, width="stretch")
        sign_out_button(key="sign_out")


def _live() -> None:
    with shown():
        workspace = session.workspace()
        messages = list_notifications(workspace).items[:SHOWN_MESSAGES]
        _runners(workspace)
        _bell(workspace, messages)
        _tell(session.untold(messages))


def _tell(news: list[Notification]) -> None:
    """Show what came since the last look, oldest first; of many only the newest, for they lie over the page's buttons.

    What became of the job that is on the page is told by the page itself.
    """
    on_page = st.query_params.get("id")
    news = [
        message
        for message in news
        if message.job_id is None or message.job_id != on_page or message.kind == NotificationKind.ALERT
    ]
    for message in reversed(news[:MOST_TOASTS]):
        text = f"**{plain(message.title)}**  \n{plain(first_line(message.body))}".strip()
        st.toast(text, icon=message_icon(message))
    if len(news) > MOST_TOASTS:
        st.toast(f"{len(news) - MOST_TOASTS} more under Notifications", icon=":material/notifications:")


def _runners(workspace: Workspace) -> None:
    online = online_runners(workspace)
    if online:
        count = len(online)
        st.badge(
            f"{count} runner{'s' if count > 1 else ''} online", icon=":material/check_circle:", color="green"
        )
    else:
        st.badge("No runner online", icon=":material/power_off:", color="orange")
        st.caption(_how_to_get_one(in_team=workspace.settings.team))


def _how_to_get_one(*, in_team: bool) -> str:
    if in_team:
        return (
            "Checks and jobs wait until one is: the team's, or your own, which you register under Settings."
        )
    return "Checks and jobs wait until one is. `make start` starts the app with a runner."


def _bell(workspace: Workspace, messages: list[Notification]) -> None:
    unread = count_unread(workspace)
    label = f"Notifications ({unread})" if unread else "Notifications"
    icon = ":material/notifications_unread:" if unread else ":material/notifications:"
    with st.popover(label, icon=icon, width="stretch", key="bell"):
        if not messages:
            st.caption("Nothing yet. You will read here when a job starts, ends or needs you.")
            return
        st.button(
            "Mark all as read",
            icon=":material/done_all:",
            key="mark_read",
            disabled=not unread,
            on_click=_mark_read,
        )
        for message in messages:
            _message(message)


def _message(message: Notification) -> None:
    with st.container(gap=None, key=f"message_{message.id}"):
        weight = "" if message.read_at else "**"
        st.markdown(f"{message_icon(message)} {weight}{plain(message.title)}{weight}")
        st.caption(f"{plain(first_line(message.body))}  \n{local_time(message.created_at)}".strip())
        with st.container(horizontal=True, vertical_alignment="center"):
            if message.job_id:
                page_link("Open the job", "job", icon=":material/arrow_forward:", id=message.job_id)
            if message.read_at is None:
                st.button(
                    "Mark as read",
                    icon=":material/check:",
                    type="tertiary",
                    key=f"read_{message.id}",
                    on_click=_mark_read,
                    args=([message.id],),
                )


def _mark_read(notification_ids: list[str] | None = None) -> None:
    try:
        mark_notifications_read(session.workspace(), notification_ids)
    except StudioError as error:
        session.leave_word(plain(str(error)), ":material/error:")
