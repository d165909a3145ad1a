"""How a page says that something went wrong: one calm box with the next step, never a traceback."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from lora_core.errors import NotFound, SignedOut, StudioError, TooOften, Unavailable
from pages.widgets import session
from pages.widgets.plain import plain

logger = logging.getLogger(__name__)

ICONS: dict[type[StudioError], str] = {
    NotFound: ":material/search_off:",
    SignedOut: ":material/logout:",
    TooOften: ":material/hourglass:",
    Unavailable: ":material/cloud_off:",
}


@contextmanager
def shown() -> Iterator[None]:
    """Show errors of the block in place of what it would have drawn; the script goes on after the block.

    Streamlit's own control flow (rerun, stop, switch_page) passes through: it does not derive from Exception.
    """
    try:
        yield
    except SignedOut as error:
        if session.has_ended():
            st.rerun()  # also out of a fragment on a timer: the frame says so in place of the whole page
        session.doubt()
        show_error(error)
    except StudioError as error:
        show_error(error)
    except Exception:
        logger.exception("a page failed")
        st.error(
            "It has been written to the app's log. Reload the page; if it happens again, please report it.",
            title="Something went wrong on this page",
            icon=":material/error:",
        )


def show_error(error: StudioError) -> None:
    """Draw one error of the studio: what happened as the title, what to do below."""
    icon = next((icon for kind, icon in ICONS.items() if isinstance(error, kind)), ":material/error:")
    if error.next_step:
        st.error(plain(error.next_step), title=plain(error.message), icon=icon)
    else:
        st.error(plain(error.message), icon=icon)
