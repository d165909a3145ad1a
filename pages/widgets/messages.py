"""How the studio speaks in passing: icons of the bell's messages, and a toast for what an action left to say."""

import streamlit as st

from lora_core.schema.notification import Notification
from pages.widgets import session

ICONS = {
    "completed": ":material/check_circle:",
    "failed": ":material/error:",
    "cancelled": ":material/cancel:",
    "paused": ":material/pause_circle:",
    "started": ":material/play_circle:",
    "queued": ":material/autorenew:",
    "alert": ":material/notification_important:",
}


def message_icon(message: Notification) -> str:
    """Return a Material icon by the word in the message's kind."""
    return next((icon for word, icon in ICONS.items() if word in message.kind), ":material/info:")


def first_line(text: str, most: int = 300) -> str:
    """Return the first line of a text, shortened; what follows (lines of a log) is on the job's page."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= most else f"{line[: most - 1]}…"


def show_word() -> None:
    """Draw as a toast what the last action left to say, once."""
    if word := session.take_word():
        text, icon = word
        st.toast(text, icon=icon, duration="long" if icon == ":material/error:" else "short")
