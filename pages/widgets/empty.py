"""The card a page shows where there is nothing yet: an icon, one sentence, and the buttons that lead on."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st


@contextmanager
def empty_state(icon: str, title: str, sentence: str, *, key: str) -> Iterator[None]:
    """Draw a bordered card; what the block draws (buttons, as a rule) stands in a centred row below the sentence.

    Args:
        icon: A Material icon such as ":material/dataset:".
    """
    with st.container(border=True, horizontal_alignment="center", key=key):
        st.space("medium")
        st.markdown(f"# {icon}", text_alignment="center")
        st.header(title, anchor=False, text_alignment="center")
        st.caption(sentence, text_alignment="center")
        with st.container(horizontal=True, horizontal_alignment="center"):
            yield
        st.space("medium")
