"""Rows of a data set as conversations, the way a model will see them: bubbles, paging and search."""

import json
import math

import streamlit as st

from lora_core.actions.datasets import DatasetView, Message, PreviewRow, preview_dataset
from pages.widgets import session
from pages.widgets.dataset_words import many
from pages.widgets.plain import plain

ROWS = 5
MATCHES = 20
CLIP = 1200
"""Characters of one turn that are shown at first."""
LONGEST = 20_000
"""Characters of one turn that are shown at all."""

ROLES = {
    "user": ("User", ":material/person:"),
    "assistant": ("Assistant", ":material/smart_toy:"),
    "tool": ("Tool", ":material/build:"),
    "system": ("System", ":material/settings:"),
}

SIDES = {"chosen": (":material/thumb_up:", "green"), "rejected": (":material/thumb_down:", "red")}
"""Icon and colour of a better and of a worse answer."""


def draw_preview(view: DatasetView) -> None:
    """Draw a few rows, with a search and a page control above them."""
    dataset, report = view.dataset, view.dataset.report
    with st.container(horizontal=True, vertical_alignment="center"):
        search = st.text_input(
            "Search rows",
            type="search",
            placeholder="Search in the rows",
            label_visibility="collapsed",
            key=f"rows_q_{dataset.id}",
        )
        pages = math.ceil(report.rows / ROWS) if report else 1
        page = 1
        if not search and pages > 1:
            page = st.pagination(pages, key=f"rows_page_{dataset.id}")
    if search:
        rows = preview_dataset(session.workspace(), dataset, limit=MATCHES, search=search)
        found = (
            f"The first {MATCHES} rows that contain it."
            if len(rows) == MATCHES
            else many(len(rows), "row") + " found."
        )
        st.caption(found if rows else "No row contains that.")
    else:
        rows = preview_dataset(session.workspace(), dataset, offset=(page - 1) * ROWS, limit=ROWS)
    for row in rows:
        _draw_row(row)


def _draw_row(row: PreviewRow) -> None:
    with st.container(border=True, key=f"row_{row.row}"):
        st.caption(f"Row {row.row:,}" if row.line == row.row else f"Row {row.row:,} · line {row.line:,}")
        if row.issue:
            st.markdown(f":red[:material/error: {plain(row.issue.message)}]")
        _draw_turns(row)
        if row.text and (row.issue or row.text.startswith("{")):
            st.code(row.text[:CLIP], language="json", wrap_lines=True)
        elif row.text:
            _clipped(row.text, key=f"text_{row.row}")


def _draw_turns(row: PreviewRow) -> None:
    """Draw the conversation; of a preference row first the prompt, then what is said of its answers."""
    judged = bool(row.rejected) or row.label is not None
    prompt = row.messages[: row.answer_from] if judged else row.messages
    answer = row.messages[row.answer_from :] if judged else ()
    if row.tools:
        names = ", ".join(str(tool.get("function", tool).get("name", "?")) for tool in row.tools)
        with st.expander(
            f"Functions it may call: {plain(names)}", icon=":material/build:", key=f"tools_{row.row}"
        ):
            st.code(json.dumps(row.tools, indent=2, ensure_ascii=False)[:LONGEST], language="json")
    for turn, message in enumerate(prompt):
        _draw_message(message, key=f"turn_{row.row}_{turn}")
    if row.label is not None:
        _draw_side(
            row, answer, "chosen" if row.label else "rejected", "Good answer" if row.label else "Bad answer"
        )
    elif row.rejected:
        chosen, rejected = st.columns(2)
        with chosen:
            _draw_side(row, answer, "chosen", "Chosen")
        with rejected:
            _draw_side(row, row.rejected, "rejected", "Rejected")


def _draw_side(row: PreviewRow, answer: tuple[Message, ...], side: str, title: str) -> None:
    icon, color = SIDES[side]
    with st.container(border=True, height="stretch", key=f"{side}_{row.row}"):
        st.badge(title, icon=icon, color=color)
        for turn, message in enumerate(answer):
            _draw_message(message, key=f"{side}_{row.row}_{turn}")


def _draw_message(message: Message, *, key: str) -> None:
    name, avatar = ROLES.get(message.role, (message.role.capitalize(), ":material/chat:"))
    notes = [name, message.name or "", "" if message.learned else "context only, not learned"]
    with st.chat_message(message.role, avatar=avatar):
        st.caption(plain(" · ".join(note for note in notes if note)))
        if message.reasoning_content:
            with st.expander("Thinking", icon=":material/psychology:", key=f"{key}_thinking"):
                st.text(message.reasoning_content[:LONGEST])
        if message.content:
            _clipped(message.content, key=key)
        if message.tool_calls:
            st.code(
                json.dumps(message.tool_calls, indent=2, ensure_ascii=False)[:CLIP],
                language="json",
                wrap_lines=True,
            )


def _clipped(text: str, *, key: str) -> None:
    """Draw text as it stands, without reading Markdown in it; a long one opens on demand."""
    if len(text) <= CLIP:
        st.text(text)
        return
    st.text(f"{text[:CLIP]} …")
    with st.expander(f"The other {len(text) - CLIP:,} characters", key=key):
        st.text(text[CLIP : CLIP + LONGEST])
        if len(text) > CLIP + LONGEST:
            st.caption("Shortened. Download the data set to read it all.")
