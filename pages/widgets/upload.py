"""The uploader: a file streams from the browser to the upload route, past Streamlit's own uploader (which holds it in memory)."""

from pathlib import Path

import streamlit as st

from lora_core.actions.datasets import max_upload_bytes
from pages.widgets import session

HERE = Path(__file__).parent

_uploader = st.components.v2.component(
    "lora_studio_upload",
    html=(HERE / "upload.html").read_text(encoding="utf-8"),
    css=(HERE / "upload.css").read_text(encoding="utf-8"),
    js=(HERE / "upload.js").read_text(encoding="utf-8"),
)


def upload(*, key: str) -> str | None:
    """Draw the uploader.

    Returns:
        Id of the data set that has just been uploaded, in the one run after it; else None.
    """
    result = _uploader(
        key=key, data={"max_bytes": max_upload_bytes(session.workspace())}, on_uploaded_change=lambda: None
    )
    uploaded = result.uploaded
    return uploaded["id"] if isinstance(uploaded, dict) and isinstance(uploaded.get("id"), str) else None
