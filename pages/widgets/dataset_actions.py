"""The buttons of a data set: train, download, rename, drop bad rows, delete. Each question names what will happen."""

import streamlit as st

from lora_core.actions.datasets import delete_dataset, drop_bad_rows, rename_dataset
from lora_core.schema.dataset import Dataset, DatasetStatus
from pages.widgets import downloads, session
from pages.widgets.dataset_words import many
from pages.widgets.errors import shown
from pages.widgets.links import open_page
from pages.widgets.plain import plain


def draw_train_button(dataset: Dataset) -> None:
    """Draw the way on: a new job with this data set."""
    if st.button(
        "Train on this data set",
        type="primary",
        icon=":material/model_training:",
        key="train",
        disabled=dataset.status is not DatasetStatus.READY,
        help=None
        if dataset.status is DatasetStatus.READY
        else "Possible once every row is checked and good.",
    ):
        open_page("train", dataset=dataset.id)


def draw_toolbar(dataset: Dataset) -> None:
    """Draw the smaller buttons. Call it in the page's script, not in a live fragment: they open dialogs."""
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


@st.dialog("Drop bad rows", icon=":material/filter_alt:")
def ask_drop(dataset: Dataset) -> None:
    """Ask before a version without the bad rows is made."""
    report = dataset.report
    if report is None:
        return
    st.markdown(
        f"A new version of **{plain(dataset.name)}** is made without its "
        f"**{many(report.error_rows, 'bad row')}**. This version stays as it is."
    )
    duplicates = False
    if report.duplicate_rows:
        duplicates = st.checkbox(
            f"Also drop {many(report.duplicate_rows, 'duplicate')}", key="drop_duplicates"
        )
    if st.button("Make the new version", type="primary", icon=":material/filter_alt:", key="drop_do"):
        with shown():
            drop_bad_rows(session.workspace(), dataset.id, drop_duplicates=duplicates)
            st.rerun()
