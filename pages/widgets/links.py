"""Ways from one page to another by url path, so that pages need not import each other."""

from typing import NoReturn

import streamlit as st

from pages.widgets import session


def open_page(url_path: str, **query: str) -> NoReturn:
    """Leave for another page, such as `open_page("job", id=job.id)`. Use it in the script, not in a callback."""
    st.switch_page(session.registered_page(url_path), query_params=query)


def page_link(
    label: str, url_path: str, *, icon: str | None = None, width: str = "content", **query: str
) -> None:
    """Draw a link to another page of the studio."""
    st.page_link(
        session.registered_page(url_path), label=label, icon=icon, width=width, query_params=query or None
    )
