"""A studio in a fresh folder, and pages of it opened the way the frame opens them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from lora_core.actions.workspace import Workspace
from lora_core.settings import Settings
from lora_core.studio import Studio
from tests.supastub.fixtures import project, rig

__all__ = ["project", "rig"]

OpenPage = Callable[..., AppTest]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    opened = Studio(Settings(home=tmp_path / "home"))
    yield opened
    opened.close()


@pytest.fixture
def workspace(studio: Studio) -> Workspace:
    return studio.workspace()


@pytest.fixture(autouse=True)
def _no_page_failed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A page shows an unforeseen exception as a calm box and logs it; in a test that is a failure."""
    yield
    failed = [record for record in caplog.get_records("call") if record.name.startswith("pages")]
    assert not failed, failed[0].exc_text or failed[0].getMessage()


@pytest.fixture
def open_page(workspace: Workspace) -> OpenPage:
    """Open a registered page by url path and query, such as `open_page("job", id="x")`."""

    def opened(url_path: str, **query: str) -> AppTest:
        page = AppTest.from_function(_script, kwargs={"workspace": workspace, "url_path": url_path})
        page.default_timeout = 30
        for name, value in query.items():
            page.query_params[name] = value
        return page.run()

    return opened


def _script(workspace: object, url_path: str) -> None:
    import streamlit as st

    from pages.frame.registry import build_pages, by_url_path
    from pages.widgets import session

    groups = build_pages(default=url_path)
    page = st.navigation(groups, position="hidden")
    session.attach_pages(by_url_path(groups, url_path))
    session.attach(workspace)  # type: ignore[arg-type]
    page.run()
