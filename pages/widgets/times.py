"""Moments in the time zone of the person at the browser. Absolute words only: what has not changed must look the same."""

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st


def local_time(moment: datetime) -> str:
    """Write a moment as "22 Nov 2026, 09:05" in the browser's time zone."""
    return moment.astimezone(_zone()).strftime("%d %b %Y, %H:%M")


def _zone() -> tzinfo | None:
    """The browser's time zone; the machine's where it names none we know."""
    try:
        return ZoneInfo(st.context.timezone) if st.context.timezone else None
    except (ZoneInfoNotFoundError, ValueError):
        return None
