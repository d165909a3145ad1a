"""Moments in the time zone of the person at the browser. Absolute words only: what has not changed must look the same."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st


def local_time(moment: datetime) -> str:
    """Write a moment as "22 Nov 2026, 09:05" in the browser's time zone."""
    return moment.astimezone(_zone()).strftime("%d %b %Y, %H:%M")


def to_local(moment: datetime) -> datetime:
    """Return a moment as the browser's clock shows it, without a zone: what date and time inputs hold."""
    return moment.astimezone(_zone()).replace(tzinfo=None, second=0, microsecond=0)


def from_local(shown: datetime) -> datetime:
    """Return the moment (UTC) that the browser's clock shows so."""
    zone = _zone()
    return (shown.replace(tzinfo=zone) if zone else shown).astimezone(UTC)


def _zone() -> tzinfo | None:
    """The browser's time zone; the machine's where it names none we know."""
    try:
        return ZoneInfo(st.context.timezone) if st.context.timezone else None
    except (ZoneInfoNotFoundError, ValueError):
        return None
