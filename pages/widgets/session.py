"""The only file that touches st.session_state: what one browser session holds, by name and type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import streamlit as st

from lora_core.actions.workspace import Workspace
from lora_core.schema.base import new_id
from lora_core.schema.config import TrainingConfig
from lora_core.schema.job import JobFilter
from lora_core.schema.notification import Notification

_WORKSPACE = "workspace"
_PAGES = "pages"
_TOLD_UNTIL = "told_until"
_PLACE = "place_in_list"
_DRAFT = "draft"
_WORD = "word"


def attach(workspace: Workspace) -> None:
    """Give this session the workspace of its person; the frame does so before a page runs."""
    st.session_state[_WORKSPACE] = workspace


def workspace() -> Workspace:
    """Return the workspace of the person at this browser.

    Raises:
        RuntimeError: The page ran outside the frame.
    """
    attached = st.session_state.get(_WORKSPACE)
    if not isinstance(attached, Workspace):
        raise RuntimeError("A page ran without the frame: call session.attach first.")
    return attached


def attach_pages(pages: Mapping[str, Any]) -> None:
    """Remember the registered pages by url path; the frame does so in every run, `widgets/links.py` reads them."""
    st.session_state[_PAGES] = dict(pages)


def registered_page(url_path: str) -> Any:
    """Return the st.Page behind a url path.

    Raises:
        KeyError: The frame has registered no such page.
    """
    return st.session_state[_PAGES][url_path]


def forget(*keys: str) -> None:
    """Let widgets start afresh: their stored values are dropped."""
    for key in keys:
        st.session_state.pop(key, None)


def untold(messages: Sequence[Notification], *, now: datetime) -> list[Notification]:
    """Return the unread messages that came since this session last asked; none at its first look."""
    told_until = st.session_state.get(_TOLD_UNTIL, now)
    st.session_state[_TOLD_UNTIL] = max([told_until, *(message.created_at for message in messages)])
    return [message for message in messages if message.read_at is None and message.created_at > told_until]


def list_cursor(shown_filter: JobFilter) -> str | None:
    """Return the place in a list that this session has paged to; another filter starts at the beginning."""
    remembered, cursor = st.session_state.get(_PLACE, (None, None))
    return cursor if remembered == shown_filter else None


def go_to_cursor(shown_filter: JobFilter, cursor: str | None) -> None:
    """Remember a place in a list."""
    st.session_state[_PLACE] = (shown_filter, cursor)


@dataclass(frozen=True)
class Draft:
    """A job that is being put together: its config and data set so far, and the id the job will have.

    `revision` is part of the keys of the form's widgets, so a preset or YAML that is applied fills all of them anew.
    """

    config: TrainingConfig
    job_id: str
    revision: int = 0
    dataset_id: str = ""


def draft(default: TrainingConfig) -> Draft:
    """Return this session's draft, a new one from `default` if there is none."""
    if _DRAFT not in st.session_state:
        st.session_state[_DRAFT] = Draft(default, new_id())
    kept: Draft = st.session_state[_DRAFT]
    return kept


def start_draft(config: TrainingConfig, dataset_id: str) -> None:
    """Begin another draft, filled in."""
    st.session_state[_DRAFT] = Draft(config, new_id(), dataset_id=dataset_id)


def keep_draft(changed: Draft) -> None:
    """Replace the draft."""
    st.session_state[_DRAFT] = changed


def drop_draft() -> None:
    """Forget the draft: it has become a job."""
    st.session_state.pop(_DRAFT, None)


def leave_word(text: str, icon: str) -> None:
    """Keep a short message for the next whole run of the page; a dialog's callback may draw nothing itself."""
    st.session_state[_WORD] = (text, icon)


def take_word() -> tuple[str, str] | None:
    """Return the message that was left, and forget it."""
    word: tuple[str, str] | None = st.session_state.pop(_WORD, None)
    return word
