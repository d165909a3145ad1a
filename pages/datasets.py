"""Data sets: the list with search and upload, and one data set in detail (`/datasets?id=...`)."""

from collections.abc import Sequence
from typing import TypedDict

import streamlit as st

from lora_core.actions.datasets import DatasetView, find_versions, list_datasets, view_dataset
from lora_core.actions.samples import add_sample_dataset
from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus
from pages.widgets import formats, session
from pages.widgets.dataset_actions import draw_toolbar, draw_train_button
from pages.widgets.dataset_audit import draw_audit
from pages.widgets.dataset_import import draw_import
from pages.widgets.dataset_mapping import draw_mapping
from pages.widgets.dataset_preview import draw_preview
from pages.widgets.dataset_progress import draw_progress, draw_task_error
from pages.widgets.dataset_report import draw_issues, draw_lengths, draw_summary
from pages.widgets.dataset_words import FORMAT, STATUS, UNDER_CHECK, many, status_badge
from pages.widgets.empty import empty_state
from pages.widgets.errors import shown
from pages.widgets.links import open_page
from pages.widgets.plain import plain
from pages.widgets.times import local_time
from pages.widgets.upload import upload

PAGE_SIZE = 20
MAX_PAGE = 500
TABS = ("Preview", "Problems", "Learned", "Lengths", "Columns")


def render() -> None:
    """Draw the data set of the address, or the list of all."""
    dataset_id = st.query_params.get("id", "")
    if dataset_id:
        if st.button("All data sets", type="tertiary", icon=":material/arrow_back:", key="back"):
            open_page("datasets")
        with shown():
            _detail(dataset_id)
    else:
        _list()


def _list() -> None:
    st.title("Data sets", anchor=False)
    with shown():
        uploaded = upload(key="upload")
        if uploaded:
            open_page("datasets", id=uploaded)
        draw_import()
        workspace = session.workspace()
        if not list_datasets(workspace, limit=1).items:
            _nothing_yet()
            return
        chosen = _choices()
        page = list_datasets(workspace, **chosen, limit=_shown_rows())
        under_check = any(dataset.status in UNDER_CHECK for dataset in page.items)
        every = workspace.settings.refresh_seconds if under_check else None
        st.fragment(_rows, run_every=every, key="rows")(chosen, under_check)
        if page.cursor and len(page.items) < MAX_PAGE:
            st.button("Show more", icon=":material/expand_more:", key="more", on_click=_show_more)


class Choices(TypedDict):
    """What the list shows."""

    search: str
    formats: Sequence[DatasetFormat]
    statuses: Sequence[DatasetStatus]


def _choices() -> Choices:
    """Draw search and filters; the search stands in the address."""
    with st.container(horizontal=True, vertical_alignment="center", key="choices"):
        search = st.text_input(
            "Search data sets",
            type="search",
            placeholder="Search by name",
            label_visibility="collapsed",
            live=True,
            key="q",
            bind="query-params",
        )
        layouts = st.multiselect(
            "Format",
            list(FORMAT),
            format_func=lambda choice: FORMAT[choice][0],
            placeholder="All formats",
            label_visibility="collapsed",
            key="formats",
        )
        statuses = st.multiselect(
            "Status",
            list(STATUS),
            format_func=lambda choice: STATUS[choice][0],
            placeholder="Any status",
            label_visibility="collapsed",
            key="statuses",
        )
    return Choices(search=search or "", formats=layouts, statuses=statuses)


def _shown_rows() -> int:
    """How many rows the address asks for (`?pages=2`), within bounds."""
    asked = st.query_params.get("pages", "1")
    pages = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 4 else 1
    return min(max(pages, 1) * PAGE_SIZE, MAX_PAGE)


def _show_more() -> None:
    st.query_params["pages"] = str(_shown_rows() // PAGE_SIZE + 1)


def _nothing_yet() -> None:
    with empty_state(
        ":material/dataset:",
        "No data sets yet",
        "Drop a file above, or start with 250 labelled support tickets that come with the studio.",
        key="no_datasets",
    ):
        if st.button("Try it with sample data", icon=":material/science:", key="sample"):
            open_page("datasets", id=add_sample_dataset(session.workspace()).id)


def _rows(chosen: Choices, under_check: bool) -> None:
    """Draw the list. While something on it is being checked, this runs on a timer and alone."""
    with shown():
        datasets = list_datasets(session.workspace(), **chosen, limit=_shown_rows()).items
        if under_check and not any(dataset.status in UNDER_CHECK for dataset in datasets):
            st.rerun()
        if not datasets:
            st.caption("No data set is like that.")
        for dataset in datasets:
            _row(dataset)


def _row(dataset: Dataset) -> None:
    with st.container(border=True, key=f"dataset_{dataset.id}"):
        name, facts, status = st.columns([5, 4, 2.5], vertical_alignment="center")
        opened = name.button(
            f"**{plain(dataset.name)}**", type="tertiary", icon=":material/dataset:", key=f"open_{dataset.id}"
        )
        rows = [many(dataset.rows, "row")] if dataset.rows else []
        size = [formats.size(dataset.bytes)] if dataset.bytes else []
        facts.caption(" · ".join([*rows, *size, local_time(dataset.created_at)]))
        with status, st.container(horizontal=True, horizontal_alignment="right"):
            status_badge(dataset)
    if opened:
        open_page("datasets", id=dataset.id)


def _detail(dataset_id: str) -> None:
    view = view_dataset(session.workspace(), dataset_id)
    _header(view)
    if view.busy:
        draw_progress(view)
        if view.dataset.report is None:
            return
    else:
        draw_task_error(view)
    _content(view)


def _header(view: DatasetView) -> None:
    dataset = view.dataset
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        st.title(plain(dataset.name), anchor=False, width="content")
        status_badge(dataset)
        st.space("stretch")
        draw_train_button(dataset)
    with st.container(horizontal=True, vertical_alignment="center", key="toolbar"):
        source = dataset.report.source if dataset.report else ""
        facts = [
            plain(source or dataset.file_name),
            formats.size(dataset.bytes) if dataset.bytes else "",
            f"{'imported' if source else 'uploaded' if dataset.bytes else 'asked for'} {local_time(dataset.created_at)}",
        ]
        st.caption(" · ".join(fact for fact in facts if fact), width="content")
        st.space("stretch")
        draw_toolbar(dataset)
    with st.container(horizontal=True, key="versions"):
        if dataset.parent_id and st.button(
            "Made from another version: open it", type="tertiary", icon=":material/history:", key="parent"
        ):
            open_page("datasets", id=dataset.parent_id)
        for made in find_versions(session.workspace(), dataset.id):
            if st.button(
                f"Made from this: {plain(made.name)}",
                type="tertiary",
                icon=":material/arrow_forward:",
                key=f"made_{made.id}",
            ):
                open_page("datasets", id=made.id)


def _content(view: DatasetView) -> None:
    dataset, report = view.dataset, view.dataset.report
    if report is None:
        return
    if report.fatal:
        st.error(plain(report.fatal), title="This file cannot be read", icon=":material/block:")
        return
    draw_summary(dataset, report)
    tabs = st.tabs(
        TABS,
        key="part",
        on_change="rerun",
        bind="query-params",
        default=TABS[-1] if dataset.status is DatasetStatus.NEEDS_MAPPING else None,
    )
    for tab, draw in zip(
        tabs, (draw_preview, draw_issues, draw_audit, draw_lengths, draw_mapping), strict=True
    ):
        if tab.open:
            with tab, shown():
                draw(view)
