"""The buttons of a data set: train, download, rename, drop bad rows, delete. Each question names what will happen."""

import streamlit as st

from lora_core.actions.datasets import (
    conversions_of,
    convert_dataset,
    delete_dataset,
    drop_rows,
    droppable,
    rename_dataset,
)
from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus, DropKind
from lora_core.schema.methods import why_untrainable
from pages.widgets import downloads, session
from pages.widgets.errors import shown
from pages.widgets.links import open_page
from pages.widgets.plain import plain


def draw_train_button(dataset: Dataset) -> None:
    """Draw the way on: a new job with this data set."""
    ready = dataset.status is DatasetStatus.READY
    why = why_untrainable(dataset.format)
    reason = None if ready else "Possible once every row is checked and good."
    if st.button(
        "Train on this data set",
        type="primary",
        icon=":material/model_training:",
        key="train",
        disabled=not ready or why is not None,
        help=" ".join(why) if why else reason,
    ):
        open_page("train", dataset=dataset.id)


def draw_toolbar(dataset: Dataset) -> None:
    """Draw the smaller buttons. Call it in the page's script, not in a live fragment: they open dialogs."""
    if dataset.bytes:
        downloads.link("Download", "dataset", dataset.id, key="download")
    if st.button("Rename", icon=":material/edit:", key="rename"):
        _rename(dataset)
    if st.button("Delete", icon=":material/delete:", key="delete"):
        _delete(dataset)


@st.dialog("Rename data set", icon=":material/edit:")
def _rename(dataset: Dataset) -> None:
    with st.form("rename_form", border=False):
        name = st.text_input("Name", dataset.name, max_chars=120, key="new_name")
        if st.form_submit_button("Rename", type="primary", key="rename_do"):
            with shown():
                rename_dataset(session.workspace(), dataset.id, name or dataset.name)
                st.rerun()


def draw_convert_button(dataset: Dataset, *, busy: bool) -> None:
    """Draw the way to a version in another format, where there is one."""
    if conversions_of(dataset) and st.button(
        "Convert to another format", icon=":material/swap_horiz:", key="convert", disabled=busy
    ):
        _convert(dataset)


CONVERSIONS = {
    (DatasetFormat.PREFERENCE, DatasetFormat.MESSAGES): "Chat, with the chosen answers: to fine-tune on them",
    (
        DatasetFormat.PREFERENCE,
        DatasetFormat.UNPAIRED_PREFERENCE,
    ): "Rated answers, two rows for each pair: for KTO",
    (DatasetFormat.UNPAIRED_PREFERENCE, DatasetFormat.MESSAGES): "Chat, with the good answers only",
}
"""What a conversion keeps; all others keep everything."""


@st.dialog("Convert data set", icon=":material/swap_horiz:")
def _convert(dataset: Dataset) -> None:
    st.markdown(
        f"A new version of **{plain(dataset.name)}** is written in another format. This version stays as it is."
    )
    target = st.radio(
        "New format",
        conversions_of(dataset),
        format_func=lambda choice: CONVERSIONS.get((dataset.format, choice), "Chat messages, with all turns"),
        key="convert_to",
    )
    if st.button("Make the new version", type="primary", icon=":material/swap_horiz:", key="convert_do"):
        with shown():
            convert_dataset(session.workspace(), dataset.id, target)
            st.rerun()


@st.dialog("Delete data set", icon=":material/delete:")
def _delete(dataset: Dataset) -> None:
    st.markdown(
        f"Delete **{plain(dataset.name)}** and its file? This cannot be undone. "
        "Jobs that were trained on it keep their results."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep it", key="delete_keep"):
            st.rerun()
        deletes = st.button("Delete for good", type="primary", icon=":material/delete:", key="delete_do")
    if deletes:
        with shown():
            delete_dataset(session.workspace(), dataset.id)
            st.toast(f"Deleted {plain(dataset.name)}.", icon=":material/delete:")
            open_page("datasets")


KINDS = {
    DropKind.ERRORS: "Bad rows, that nothing can be learned from",
    DropKind.DUPLICATES: "Exact duplicates (the first of each stays)",
    DropKind.NEAR_DUPLICATES: "Near-duplicates (the first of each stays)",
    DropKind.LEAKED: "Rows that are also in the validation data set, exactly or nearly",
}
"""What each kind of rows is called where they can be dropped."""


@st.dialog("Drop rows", icon=":material/filter_alt:")
def ask_drop(dataset: Dataset) -> None:
    """Ask which kinds of rows a new version leaves out."""
    st.markdown(
        f"A new version of **{plain(dataset.name)}** is made without these. This version stays as it is."
    )
    kinds = [
        kind
        for kind, count in droppable(dataset).items()
        if st.checkbox(f"{KINDS[kind]}: {count:,}", value=kind is DropKind.ERRORS, key=f"drop_{kind.value}")
    ]
    if st.button(
        "Make the new version",
        type="primary",
        icon=":material/filter_alt:",
        key="drop_do",
        disabled=not kinds,
    ):
        with shown():
            drop_rows(session.workspace(), dataset.id, kinds)
            st.rerun()
