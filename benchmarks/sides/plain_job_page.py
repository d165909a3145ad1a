"""A live job page as one would first write it: read, build the chart, hand it to st.altair_chart. Run by `streamlit run`.

`?rows=all` reads and draws every point; without it the points are those of the studio's own snapshot.
"""

import sqlite3

import altair as alt
import pandas as pd
import streamlit as st

from lora_core.actions.jobs import ChartView, read_job_page
from lora_core.settings import Settings
from lora_core.studio import Studio

COLUMNS = ["step", "loss", "learning_rate", "tokens_per_second"]


@st.cache_resource
def studio() -> Studio:
    """Open the studio once."""
    return Studio()


@st.fragment(run_every="2s")
def live(job_id: str, every_row: bool) -> None:
    """Draw what the job has done so far."""
    if every_row:
        with sqlite3.connect(Settings().database) as connection:
            query = f"SELECT {', '.join(COLUMNS)} FROM metrics_points WHERE job_id = ? AND kind = 'train' ORDER BY step"
            frame = pd.read_sql(query, connection, params=(job_id,))
        frame["smooth"] = frame["loss"].ewm(alpha=0.1).mean()
    else:
        page = read_job_page(studio().workspace(), job_id, ChartView())
        raw = pd.DataFrame(
            {
                "step": page.raw.x,
                "loss": page.raw.columns["loss"],
                "learning_rate": page.raw.columns["learning_rate"],
            }
        )
        frame = pd.concat([raw, pd.DataFrame({"step": page.smooth.x, "smooth": page.smooth.columns["loss"]})])
        st.dataframe(pd.DataFrame({"message": [line.text for line in page.logs]}))
    newest = frame.iloc[-1]
    for column, name in zip(st.columns(3), ("step", "loss", "learning_rate"), strict=True):
        column.metric(name, newest[name])
    base = alt.Chart(frame).encode(x="step:Q")
    st.altair_chart(base.mark_line(opacity=0.3).encode(y="loss:Q") + base.mark_line().encode(y="smooth:Q"))
    st.altair_chart(base.mark_line().encode(y="learning_rate:Q"))


live(st.query_params["id"], st.query_params.get("rows") == "all")
