"""The app's entry: Streamlit behind our routes and request guard, warmed up once. Holds no domain logic.

Run it with `python -m streamlit run app.py`, or serve `app:app` with any ASGI server from the repository's root.
"""

import gc
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import streamlit as st
from starlette.middleware import Middleware

from lora_core.launch import refuse_open_door
from pages.frame.guard import RequestGuard
from pages.frame.opened import open_studio, who_is_in
from pages.frame.routes import ROUTES
from pages.frame.session_routes import session_routes

WARM = ("pandas", "pyarrow", "altair", "pages.frame.registry")
"""Imported before the first visitor waits for them."""

WARM_IN_TEAM = ("lora_core.store.supabase.store",)


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[dict[str, Any]]:
    """Open the studio, import what pages need, draw one chart, and take it all out of the garbage collector's way.

    Streamlit collects garbage after every run; frozen objects are skipped (measured: a quarter of the CPU).
    """
    studio = open_studio()
    refuse_open_door(studio.settings, st.get_option("server.address") or "")
    for module in WARM + (WARM_IN_TEAM if studio.settings.team else ()):
        importlib.import_module(module)
    _draw_one_chart()
    gc.collect()
    gc.freeze()
    yield {}
    open_studio.cache_clear()
    studio.close()


def _draw_one_chart() -> None:
    import altair as alt
    import pandas as pd

    alt.Chart(pd.DataFrame({"x": [0], "y": [0]})).mark_line().encode(x="x:Q", y="y:Q").to_dict()


app = st.App(
    "pages/frame/main.py",
    routes=[*ROUTES, *session_routes()],
    middleware=[Middleware(RequestGuard, team=who_is_in)],
    lifespan=lifespan,
)
