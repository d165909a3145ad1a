"""The frame: sidebar, bell, and what happens when the studio cannot be opened."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from lora_core.errors import StoreError
from lora_core.schema.base import utc_now
from lora_core.schema.job import EndOfAttempt, Outcome
from lora_core.studio import Studio
from pages.frame import opened, sidebar
from tests.pages.checked import RUNNER
from tests.pages.test_home import submitted
from tests.pages.words import words

MAIN = Path(__file__).parents[2] / "pages" / "frame" / "main.py"


@pytest.fixture
def frame(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    opened.open_studio.cache_clear()
    monkeypatch.setattr(opened, "make_studio", lambda: studio)
    yield AppTest.from_file(str(MAIN), default_timeout=30)
    opened.open_studio.cache_clear()


def fail_a_job(studio: Studio, name: str) -> str:
    job = submitted(studio, name)
    claim = studio.runner_port().claim(RUNNER, lease_seconds=60)
    assert claim is not None
    studio.runner_port().end(job.id, claim.attempt, EndOfAttempt(outcome=Outcome.FAILED, reason="broken"))
    return job.id


def test_the_sidebar_says_that_no_runner_is_online(frame: AppTest) -> None:
    assert "No runner online" in words(frame.run())


def test_the_sidebar_says_that_a_runner_is_online(frame: AppTest, studio: Studio) -> None:
    studio.runner_port().announce(RUNNER.model_copy(update={"seen_at": utc_now()}))
    assert "1 runner online" in words(frame.run())


def test_messages_are_counted_until_they_are_read(frame: AppTest, studio: Studio) -> None:
    fail_a_job(studio, "lost")
    page = frame.run()
    unread = studio.workspace().notifications.unread()
    assert unread > 0
    page.button(key="mark_read").click().run()
    assert studio.workspace().notifications.unread() == 0


def test_only_new_messages_pop_up(frame: AppTest, studio: Studio) -> None:
    fail_a_job(studio, "old")
    page = frame.run()
    assert not page.toast
    fail_a_job(studio, "new")
    page.run()
    assert page.toast
    assert all("new" in toast.value for toast in page.toast)
    assert not page.run().toast


def test_news_that_was_read_elsewhere_does_not_pop_up(frame: AppTest, studio: Studio) -> None:
    page = frame.run()
    fail_a_job(studio, "second")
    studio.workspace().notifications.mark_read()
    assert not page.run().toast


def test_news_of_the_job_on_the_page_does_not_lie_over_its_buttons(frame: AppTest, studio: Studio) -> None:
    page = frame.run()
    page.query_params["id"] = fail_a_job(studio, "on the page")
    assert not page.run().toast
    fail_a_job(studio, "another")
    assert [toast for toast in page.run().toast if "another" in toast.value]


def test_a_flood_of_news_is_counted(frame: AppTest, studio: Studio) -> None:
    page = frame.run()
    for name in ("one", "two", "three", "four", "five"):
        fail_a_job(studio, name)
    toasts = [toast.value for toast in page.run().toast]
    assert len(toasts) == sidebar.MOST_TOASTS + 1
    assert "more under Notifications" in toasts[-1]
    assert not page.run().toast


def test_one_message_is_marked_as_read(frame: AppTest, studio: Studio) -> None:
    fail_a_job(studio, "one")
    fail_a_job(studio, "two")
    store = studio.workspace().notifications
    before = store.unread()
    page = frame.run()
    newest = store.list().items[0]
    page.button(key=f"read_{newest.id}").click().run()
    assert store.unread() == before - 1
    assert not [button for button in page.button if button.key == f"read_{newest.id}"]


def test_a_studio_that_cannot_open_is_a_calm_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses() -> Studio:
        raise StoreError("This database was made by a newer version.", "Update the studio.")

    opened.open_studio.cache_clear()
    monkeypatch.setattr(opened, "make_studio", refuses)
    page = AppTest.from_file(str(MAIN), default_timeout=30).run()
    assert [error.value for error in page.error] == ["Update the studio\\."]
    assert not page.exception
