"""Moments in the time zone of the person at the browser. Absolute or coarse words: what has not changed must look the same."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from lora_core.schema.base import utc_now
from lora_core.schema.runner import ONLINE_SECONDS


def local_time(moment: datetime) -> str:
    """Write a moment as "22 Nov 2026, 09:05" in the browser's time zone."""
    return moment.astimezone(_zone()).strftime("%d %b %Y, %H:%M")


def local_clock(moment: datetime) -> str:
    """Write a moment of today to the second, such as "09:05:10", and any other with its date, in the browser's time zone."""
    shown = moment.astimezone(_zone())
    return (
        shown.strftime("%H:%M:%S")
        if shown.date() == utc_now().astimezone(_zone()).date()
        else local_time(moment)
    )


def zone_words() -> str:
    """Name the time zone in which moments are shown, such as "Europe/Berlin"."""
    return (st.context.timezone if _zone() else None) or "the app's machine"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Write how long ago a moment was, no finer than minutes, so that it changes seldom; after a day its date.

    >>> from datetime import timedelta
    >>> now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    >>> [ago(now - timedelta(seconds=seconds), now) for seconds in (3, 59, 150, 9000)]
    ['just now', 'less than a minute ago', '2 min ago', '2 h ago']
    """
    seconds = ((now or utc_now()) - moment).total_seconds()
    if seconds < 86400:
        if seconds < ONLINE_SECONDS:
            return "just now"
        if seconds < 60:
            return "less than a minute ago"
        return f"{int(seconds // 60)} min ago" if seconds < 3600 else f"{int(seconds // 3600)} h ago"
    return f"on {local_time(moment)}"


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
