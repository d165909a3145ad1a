"""Bringing in data that lies elsewhere: on the Hugging Face Hub, or in the bucket for training files."""

import streamlit as st

from lora_core.actions.dataset_import import (
    import_file,
    import_from_hub,
    importable_files,
    where_to_put_files,
)
from pages.widgets import session
from pages.widgets.errors import shown
from pages.widgets.links import open_page
from pages.widgets.plain import plain


def draw_import() -> None:
    """Draw both ways, closed at first; a data set that was made is opened."""
    with st.expander("Import from elsewhere", icon=":material/cloud_download:", key="import"):
        place = st.segmented_control(
            "Where from",
            ["Hugging Face", "training-files"],
            default="Hugging Face",
            required=True,
            label_visibility="collapsed",
            key="import_place",
        )
        if place == "training-files":
            _from_bucket()
        else:
            _from_hub()


def _from_hub() -> None:
    with st.form("hub_form", border=False):
        repo = st.text_input("Data set on the Hub", placeholder="owner/name", key="hub_repo")
        subset, split, revision, limit = st.columns(4)
        config = subset.text_input("Subset (optional)", key="hub_config")
        chosen = split.text_input("Split", "train", key="hub_split")
        commit = revision.text_input("Revision (optional)", placeholder="main", key="hub_revision")
        rows = limit.number_input("Most rows (optional)", 1, value=None, key="hub_limit")
        st.caption("A runner fetches it. For a private or gated one, start the runner with HF_TOKEN.")
        if st.form_submit_button("Import", type="primary", icon=":material/cloud_download:", key="hub_do"):
            with shown():
                dataset = import_from_hub(
                    session.workspace(),
                    repo,
                    config=config.strip(),
                    split=chosen.strip(),
                    revision=commit.strip(),
                    row_limit=rows,
                )
                open_page("datasets", id=dataset.id)


def _from_bucket() -> None:
    with shown():
        files = importable_files(session.workspace())
        if not files:
            st.caption(
                f"There is no file of yours. Put one into `{plain(where_to_put_files(session.workspace()))}`."
            )
            return
        path = st.selectbox("File", files, key="bucket_file")
        st.caption(
            "It is copied, because the content of a data set never changes. The file stays where it is."
        )
        if st.button("Import", type="primary", icon=":material/cloud_download:", key="bucket_do"):
            open_page("datasets", id=import_file(session.workspace(), path).id)
