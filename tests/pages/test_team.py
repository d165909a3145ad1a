"""The frame of a team's studio: the gate before every page, and nothing of one person left for the next."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from streamlit.testing.v1 import AppTest

from lora_core.actions import datasets, team
from lora_core.actions.sessions import SignedIn
from lora_core.actions.workspace import Workspace
from lora_core.settings import Settings
from lora_core.studio import TeamStudio
from pages.frame import gate, opened
from tests.pages.door import COOKIE
from tests.pages.test_sign_in import forms
from tests.pages.words import words
from tests.supastub.rig import Person, Project

MAIN = Path(__file__).parents[2] / "pages" / "frame" / "main.py"


def read(tab: AppTest) -> str:
    """Return the words of a tab without the signs that keep Markdown from reading them."""
    return words(tab).replace("\\", "")


class Browser:
    """One browser's cookie, and tabs that carry it."""

    def __init__(self, studio: TeamStudio) -> None:
        self.studio = studio
        self.cookie = ""

    def sign_in(self, person: Person) -> SignedIn:
        session_id, signed_in = self.studio.sessions.sign_in(person.email, person.password)
        self.cookie = session_id.reveal()
        return signed_in

    def sign_out(self) -> None:
        self.studio.sessions.end(self.cookie)

    def headers(self) -> Headers:
        return Headers({"host": "127.0.0.1:8501", "cookie": f"{COOKIE}={self.cookie}"})

    def tab(self, url_path: str = "", **query: str) -> AppTest:
        tab = AppTest.from_file(str(MAIN), default_timeout=60)
        for name, value in query.items():
            tab.query_params[name] = value
        tab.run()
        if url_path:
            tab.switch_page(url_path)
        return tab


@pytest.fixture
def studio(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TeamStudio]:
    settings = Settings(
        home=tmp_path / "home", supabase_url=project.url, supabase_key=project.publishable_key
    )
    made = TeamStudio(settings)
    monkeypatch.setattr(opened, "make_studio", lambda: made)
    opened.open_studio.cache_clear()
    yield made
    opened.open_studio.cache_clear()
    made.close()


@pytest.fixture
def browser(studio: TeamStudio, monkeypatch: pytest.MonkeyPatch) -> Browser:
    made = Browser(studio)
    monkeypatch.setattr(gate, "request_headers", made.headers)
    return made


@pytest.fixture
def anne(project: Project) -> Person:
    return project.add_person(email="anne@studio.test")


@pytest.fixture
def ben(project: Project) -> Person:
    return project.add_person(email="ben@studio.test")


def test_without_a_session_the_door_stands_at_every_address(browser: Browser) -> None:
    for query in ({}, {"id": "6f1ed002-ab55-4b37-8a4c-111111111111"}):
        tab = browser.tab(**query)
        assert [form["mode"] for form in forms(tab)] == ["sign_in"]
        assert not tab.exception
        assert not tab.sidebar.children


def test_with_a_session_the_page_is_drawn_and_says_who_is_in(browser: Browser, anne: Person) -> None:
    browser.sign_in(anne)
    tab = browser.tab()
    assert "No runner online" in words(tab)
    assert "anne@studio" in read(tab)
    assert "Settings" in read(tab)
    assert not tab.exception
    assert not tab.error


def test_a_forged_cookie_is_shown_the_door(browser: Browser, anne: Person) -> None:
    browser.sign_in(anne)
    browser.cookie = "A" * 43
    assert [form["mode"] for form in forms(browser.tab())] == ["sign_in"]


def test_who_signs_out_in_another_tab_is_told_so_and_everything_is_gone(
    browser: Browser, anne: Person
) -> None:
    browser.sign_in(anne)
    tab = browser.tab()
    tab.session_state["draft"] = "a secret plan"
    tab.run()
    browser.sign_out()
    tab.run()
    (card,) = forms(tab)
    assert (card["mode"], card["lead"]) == ("left", "You are signed out.")
    assert "draft" not in tab.session_state
    assert "workspace" not in tab.session_state
    assert "anne" not in words(tab)
    assert not tab.exception
    assert [form["mode"] for form in forms(tab.run())] == ["sign_in"]


def test_a_tab_is_not_handed_to_the_next_person(browser: Browser, anne: Person, ben: Person) -> None:
    """A connection that comes back may carry the cookie of another person: the tab of the first is emptied, not shared."""
    browser.sign_in(anne)
    tab = browser.tab()
    tab.session_state["draft"] = "a secret plan"
    tab.run()
    browser.sign_in(ben)
    tab.run()
    (card,) = forms(tab)
    assert card["lead"] == "Somebody else has signed in at this browser."
    assert "draft" not in tab.session_state
    assert "anne" not in words(tab)
    tab.run()
    assert "ben@studio" in read(tab)


def test_each_tab_has_a_client_of_its_own(browser: Browser, anne: Person) -> None:
    browser.sign_in(anne)
    first, second = browser.tab(), browser.tab()
    views = [tab.session_state["workspace"] for tab in (first, second)]
    assert views[0] is not views[1]
    first.run()
    assert first.session_state["workspace"] is views[0], "and keeps it"


def test_two_people_in_one_process_see_their_own(browser: Browser, anne: Person, ben: Person) -> None:
    of_anne = browser.sign_in(anne)
    datasets.upload_dataset(
        browser.studio.workspace(of_anne), "annes.jsonl", iter([b'{"text": "x"}\n']), name="Annes secret set"
    )
    tab_of_anne = browser.tab()
    browser.sign_in(ben)
    tab_of_ben = browser.tab()
    assert isinstance(view := tab_of_ben.session_state["workspace"], Workspace)
    assert view.user_id == ben.id
    assert not datasets.list_datasets(view).items
    assert len(datasets.list_datasets(tab_of_anne.session_state["workspace"]).items) == 1
    assert "Annes" not in words(tab_of_ben)


def test_only_the_operator_has_the_operators_view(
    browser: Browser, project: Project, anne: Person, studio: TeamStudio
) -> None:
    operator = project.add_person(operator=True)
    views = [studio.workspace(browser.sign_in(person)) for person in (operator, anne)]
    assert [team.is_operator(view) for view in views] == [True, False]


def test_a_project_that_is_away_is_a_calm_error_and_no_sign_out(
    browser: Browser, anne: Person, project: Project
) -> None:
    browser.sign_in(anne)
    tab = browser.tab()
    project.stop_gateway()
    tab.run()
    assert tab.error
    assert not tab.exception
    assert not any(form.get("mode") == "left" for form in forms(tab))
    project.start_gateway()
    tab.run()
    assert not tab.error


def test_a_session_that_the_project_has_ended_leads_to_the_door(
    browser: Browser, anne: Person, project: Project
) -> None:
    project.settings.token_seconds = 60
    browser.sign_in(anne)
    tab = browser.tab()
    project.sql("delete from auth.sessions")
    tab.run()
    assert [form.get("mode") for form in forms(tab)] == ["left"]
    assert not tab.exception


def test_a_refused_token_is_renewed_once_and_the_page_comes_back(
    browser: Browser, anne: Person, project: Project
) -> None:
    """A token that the store takes for bad, although it should be good (a key was rotated, a clock is wrong)."""
    person = browser.sign_in(anne)
    tab = browser.tab()
    good = person._auth
    person._auth = good.__class__(**{**vars(good), "access_token": good.refresh_token})
    tab.run()
    assert "session has ended" in words(tab)
    assert not tab.exception
    tab.run()
    assert not tab.error
    assert person._auth.access_token != good.refresh_token
    assert person._auth.refresh_token != good.refresh_token, "two access tokens of one second are equal"


def test_the_operators_page_says_whom_it_is_for(browser: Browser, anne: Person) -> None:
    browser.sign_in(anne)
    page = AppTest.from_function(_operator_page, default_timeout=60).run()
    assert "For the operator" in words(page)


def _operator_page() -> None:
    import streamlit as st

    from pages.frame import gate
    from pages.frame.registry import build_pages, by_url_path
    from pages.widgets import session

    gate.arrive()
    groups = build_pages(default="operator", in_team=True)
    page = st.navigation(groups)
    session.attach_pages(by_url_path(groups, "operator"))
    page.run()


def test_who_is_in_already_is_not_asked_again(browser: Browser, anne: Person) -> None:
    browser.sign_in(anne)
    page = AppTest.from_function(_sign_in_page, default_timeout=60).run()
    assert "You are signed in already" in read(page)
    assert "sign_in" not in {form.get("mode") for form in forms(page)}


def _sign_in_page() -> None:
    import streamlit as st

    from pages.frame import gate
    from pages.frame.registry import build_pages, by_url_path
    from pages.widgets import session

    gate.arrive()
    groups = build_pages(default="sign_in", in_team=True)
    page = st.navigation(groups)
    session.attach_pages(by_url_path(groups, "sign_in"))
    page.run()


def test_nothing_is_cached_for_all_people() -> None:
    """Streamlit's caches belong to the process: what they may hold is specs of charts, which hold no data."""
    allowed = {"pages/widgets/charts.py"}
    root = MAIN.parents[2]
    for path in (root / "pages").rglob("*.py"):
        if "st.cache_" in path.read_text(encoding="utf-8"):
            assert str(path.relative_to(root)) in allowed


def test_a_timer_of_a_tab_whose_person_has_left_ends_calmly(browser: Browser, anne: Person) -> None:
    browser.sign_in(anne)
    page = AppTest.from_function(_fragment, default_timeout=60).run()
    assert "still here" in words(page)
    browser.sign_out()
    page.run()
    assert "still here" not in words(page)
    assert not page.exception
    assert [form["mode"] for form in forms(page)] == ["left"]


def _fragment() -> None:
    import streamlit as st

    from pages.frame import gate
    from pages.widgets import session
    from pages.widgets.errors import shown

    # As the frame does, but the sign-out comes between the gate and the fragment.
    arrival = gate.arrive()
    if arrival.place is not gate.Place.INSIDE:
        gate.draw_outside(arrival.place)
        return

    @st.fragment(run_every=5, key="live")
    def live() -> None:
        with shown():
            session.workspace()
            st.text("still here")

    live()
