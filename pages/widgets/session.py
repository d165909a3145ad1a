"""The only file that touches st.session_state: what one browser session holds, by name and type."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import streamlit as st

from lora_core.actions.sessions import SignedIn
from lora_core.actions.workspace import Workspace
from lora_core.errors import SignedOut
from lora_core.schema.base import new_id
from lora_core.schema.config import TrainingConfig
from lora_core.schema.job import JobFilter
from lora_core.schema.notification import Notification

_WORKSPACE = "workspace"
_PERSON = "person"
_PAGES = "pages"
_TOLD = "told"
_PLACE = "place_in_list"
_DRAFT = "draft"
_WORD = "word"
_SHOWN_ONCE = "shown_once"
_DIALOG = "dialog"
_QUESTION = "question"

T = TypeVar("T")


def attach(workspace: Workspace) -> None:
    """Give this session the workspace of its person; the frame does so before a page runs."""
    st.session_state[_WORKSPACE] = workspace


def workspace() -> Workspace:
    """Return the workspace of the person at this browser.

    Raises:
        SignedOut: The person has signed out since, here or in another tab.
        RuntimeError: The page ran outside the frame.
    """
    attached = st.session_state.get(_WORKSPACE)
    if not isinstance(attached, Workspace):
        raise RuntimeError("A page ran without the frame: call session.attach first.")
    if has_ended():
        raise SignedOut("You are signed out.", "Reload the page and sign in.")
    return attached


def admit(person: SignedIn, make: Callable[[], Workspace]) -> bool:
    """Let a person of a team in and attach their workspace, made once for each browser tab and never shared.

    Returns:
        False if this tab belonged to another session: all it held is gone, and nothing is attached.
    """
    before = st.session_state.get(_PERSON)
    if before is not None and before is not person:
        clear()
        return False
    if before is None:
        st.session_state[_WORKSPACE] = make()
        st.session_state[_PERSON] = person
    return True


def leave() -> bool:
    """Forget everything if this tab belonged to a person.

    Returns:
        Whether it did.
    """
    was_in = _PERSON in st.session_state
    if was_in:
        clear()
    return was_in


def clear() -> None:
    """Drop all that this tab holds, the values of its widgets among it."""
    st.session_state.clear()


def someone_is_in() -> bool:
    """Say whether a person of a team was let in to this tab."""
    return _PERSON in st.session_state


def has_ended() -> bool:
    """Say whether the person of this tab has signed out; never so in the embedded mode."""
    person = st.session_state.get(_PERSON)
    return isinstance(person, SignedIn) and person.ended


def doubt() -> None:
    """Say that the store took this tab's person for signed out: at the next call the token is renewed, or the session ends."""
    if isinstance(person := st.session_state.get(_PERSON), SignedIn):
        person.doubt()


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


def chosen(key: str, kind: type[T]) -> list[T]:
    """Return what a widget of several choices holds now; for callbacks, which run before the widget is drawn."""
    return [value for value in st.session_state.get(key) or () if isinstance(value, kind)]


def prefill(key: str, value: object) -> None:
    """Give a widget its first value this way where its default is to be empty: only then can a person clear it again."""
    if key not in st.session_state:
        st.session_state[key] = value


def untold(messages: Sequence[Notification]) -> list[Notification]:
    """Return the unread messages that came since this session last asked, newest first; none at its first look.

    Told from each other by id: two may have one time, and the store's clock need not be the app's.

    Args:
        messages: The newest ones, newest first.
    """
    told: Told | None = st.session_state.get(_TOLD)
    newest = messages[0].created_at if messages else None
    if told is None:
        st.session_state[_TOLD] = Told(newest, frozenset(message.id for message in messages))
        return []
    fresh = [
        message
        for message in messages
        if message.id not in told.ids and (told.since is None or message.created_at >= told.since)
    ]
    st.session_state[_TOLD] = Told(told.since, told.ids | {message.id for message in fresh})
    return [message for message in fresh if message.read_at is None]


@dataclass(frozen=True)
class Told:
    """What this session knows of the bell.

    Attributes:
        since: Time of the newest message at its first look; an older one that comes into sight is no news.
        ids: Messages it has told, or found there at first.
    """

    since: datetime | None
    ids: frozenset[str]


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


def open_dialog(name: str) -> None:
    """Let a dialog with a form stand open until it is closed, through any run of the page."""
    st.session_state[_DIALOG] = name


def dialog_is_open(name: str) -> bool:
    """Say whether the page is to draw that dialog."""
    return st.session_state.get(_DIALOG) == name


def dialog_in_front() -> str:
    """Return the name of the dialog that stands open; empty if none does."""
    return str(st.session_state.get(_DIALOG, ""))


def close_dialog() -> None:
    """Close the dialog, and forget what it showed once."""
    st.session_state.pop(_DIALOG, None)
    st.session_state.pop(_SHOWN_ONCE, None)


def show_once(value: object) -> None:
    """Hold what is shown a single time (a token) until its dialog is closed."""
    st.session_state[_SHOWN_ONCE] = value


def to_show(kind: type[T]) -> T | None:
    """Return what is to be shown once, if it is of this kind."""
    value = st.session_state.get(_SHOWN_ONCE)
    return value if isinstance(value, kind) else None


def ask(subject_id: str) -> None:
    """Leave a question about something for the next whole run of the page: a live fragment may open no dialog itself."""
    st.session_state[_QUESTION] = subject_id


def take_question() -> str:
    """Return what the question is about, and forget it; empty if there is none."""
    return str(st.session_state.pop(_QUESTION, ""))
