"""The door's page: which form an address asks for, and what it never holds. What the form does is in tests/journeys."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.words import words

WIDGETS = Path(__file__).parents[2] / "pages" / "widgets"


def _script(is_open: bool) -> None:
    from pages import sign_in

    sign_in.render(is_open=is_open)


def forms(page: AppTest) -> list[dict[str, Any]]:
    """Return what each form on the page was given; the button to sign out is given nothing."""
    given = [element.proto.json for element in page.get("bidi_component")]
    return [json.loads(content) for content in given if content]


@pytest.fixture
def door() -> Callable[..., AppTest]:
    def opened(*, is_open: bool = False, **query: str) -> AppTest:
        page = AppTest.from_function(_script, kwargs={"is_open": is_open}, default_timeout=30)
        for name, value in query.items():
            page.query_params[name] = value
        return page.run()

    return opened


def test_without_more_it_asks_for_e_mail_and_password(door: Callable[..., AppTest]) -> None:
    (form,) = forms(door())
    assert (form["mode"], form["email"], form["is_open"]) == ("sign_in", "", False)


def test_an_invitation_link_fills_in_code_and_address(door: Callable[..., AppTest]) -> None:
    (form,) = forms(door(invitation="lsi_abc", email="carl@studio.test"))
    assert (form["mode"], form["invitation"], form["email"]) == ("join", "lsi_abc", "carl@studio.test")


def test_a_mailed_link_asks_for_a_new_password(door: Callable[..., AppTest]) -> None:
    (form,) = forms(door(token_hash="abc", type="recovery"))
    assert (form["mode"], form["token_hash"]) == ("password", "abc")


def test_a_token_of_another_kind_is_not_taken(door: Callable[..., AppTest]) -> None:
    (form,) = forms(door(token_hash="abc", type="email_change"))
    assert (form["mode"], form["token_hash"]) == ("sign_in", "")


def test_an_open_door_is_offered(door: Callable[..., AppTest]) -> None:
    (form,) = forms(door(is_open=True))
    assert form["is_open"]


def test_the_page_holds_no_input_whose_value_streamlit_would_keep(door: Callable[..., AppTest]) -> None:
    page = door()
    assert not page.text_input
    assert not page.button
    assert not page.exception
    assert "Traceback" not in words(page)


def test_browsers_can_fill_in_the_form() -> None:
    html = (WIDGETS / "sign_in.html").read_text(encoding="utf-8")
    inputs = re.findall(r"<input[^>]*>", html)
    kinds = {
        name: set(re.findall(rf'name="{name}"[^>]*autocomplete="([a-z-]+)"', html))
        for name in ("email", "password")
    }
    assert kinds == {"email": {"username"}, "password": {"current-password", "new-password"}}
    assert all("autocomplete=" in tag for tag in inputs)


def test_nothing_is_fetched_from_elsewhere() -> None:
    for path in WIDGETS.glob("sign_*.*"):
        assert not re.findall(r"https?://|//[a-z]+\.", path.read_text(encoding="utf-8")), path.name
