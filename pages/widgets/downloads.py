"""Download links: files stream from the download route to disk, past Streamlit's own button (which holds them in memory)."""

from pathlib import Path
from typing import Literal
from urllib.parse import quote

import streamlit as st

HERE = Path(__file__).parent

Kind = Literal["dataset", "issues", "artifact", "metrics", "logs", "events", "config"]

_link = st.components.v2.component(
    "lora_studio_download",
    html="""
    <a download><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 4v11m0 0 4.5-4.5M12 15l-4.5-4.5M5 16v3.5h14V16" /></svg>
    <span class="label"></span></a>
    <p role="alert" hidden></p>
    """,
    css=(HERE / "download.css").read_text(encoding="utf-8"),
    js=(HERE / "download.js").read_text(encoding="utf-8"),
)


def link(label: str, kind: Kind, subject_id: str, *, key: str, primary: bool = False) -> None:
    """Draw a button-like link that downloads a data set, its issues, an artifact, a config, or metrics, logs or events of a job.

    Args:
        subject_id: Id of the data set, the artifact, the config or the job; checked by the route.
    """
    url = f"/api/download/{kind}/{quote(subject_id, safe='')}"
    _link(key=key, data={"label": label, "url": url, "primary": primary}, width="content")
