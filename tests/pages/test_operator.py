"""The operator's page: totals, quotas, invitations, sign-up; and what others see of it."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from lora_core.actions.sessions import SignedIn
from lora_core.actions.workspace import Workspace
from lora_core.errors import Forbidden, Unavailable
from lora_core.schema.base import utc_now
from lora_core.schema.people import PersonTotals, Quota
from lora_core.secrets import token_sha256
from lora_core.settings import Settings
from lora_core.store.supabase.auth import SupabaseAuth
from lora_core.studio import Studio, TeamStudio
from pages.widgets.operator_people import used_share
from tests.lora_core.actions.team_fakes import FakeOperator, team_workspace
from tests.pages.conftest import OpenPage
from tests.pages.words import words
from tests.supastub.rig import Project


@pytest.fixture
def operator() -> bool:
    return True


@pytest.fixture
def workspace(studio: Studio, tmp_path: Path, operator: bool) -> Workspace:
    return team_workspace(studio.workspace(), tmp_path, operator=operator)


def store(workspace: Workspace) -> FakeOperator:
    assert isinstance(workspace.operator, FakeOperator)
    return workspace.operator


@pytest.mark.parametrize("operator", [False])
def test_who_is_no_operator_is_refused_calmly(open_page: OpenPage) -> None:
    page = open_page("operator")
    assert "For the operator" in words(page)
    assert "not an operator's" in words(page)
    assert not page.error
    assert not page.dataframe


def test_an_embedded_studio_has_no_operator(open_page: OpenPage, studio: Studio) -> None:
    page = open_page("operator")
    page.args = ()
    page.kwargs = {"workspace": studio.workspace(), "url_path": "operator"}
    assert "This studio is for one person" in words(page.run())


def test_everybody_is_listed_with_totals(open_page: OpenPage) -> None:
    page = open_page("operator")
    table = page.dataframe[0].value
    assert table["Person"].tolist() == ["ada@example.org", "bob@example.org"]
    assert table["Role"].tolist() == ["Operator", ""]
    assert table["GPU hours"].tolist() == [0.0, 3.25]
    assert table["Of quota"].isna().tolist() == [True, False]
    assert [metric.value for metric in page.metric] == ["2", "1", "3.2", "2.5 GB", "\\$1.50"]


def test_a_quota_is_set_for_the_chosen_person(open_page: OpenPage, workspace: Workspace) -> None:
    page = open_page("operator")
    page.button(key="quota").click().run()
    page.selectbox(key="quota_person").set_value("bob").run()
    assert page.number_input(key="gpu_hours_per_month_bob").value == 5.0
    page.number_input(key="max_live_jobs_bob").set_value(3)
    page.number_input(key="running_jobs_bob").set_value(2)
    page.number_input(key="storage_bytes_bob").set_value(20.0)
    page.number_input(key="gpu_hours_per_month_bob").set_value(None)
    page.button(key="quota_do").click().run()
    assert store(workspace).people["bob"].quota == Quota(
        user_id="bob", max_live_jobs=3, running_jobs=2, storage_bytes=20_000_000_000
    )
    assert store(workspace).people["ada"].quota is None


def test_a_quota_that_cannot_be_saved_is_said_in_the_dialog(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_self: object, _quota: Quota) -> None:
        raise Unavailable("The Supabase project does not answer.")

    monkeypatch.setattr(FakeOperator, "set_quota", away)
    page = open_page("operator")
    page.button(key="quota").click().run()
    page.button(key="quota_do").click().run()
    assert "does not answer" in words(page)


def test_an_invitation_link_is_shown_once(open_page: OpenPage, workspace: Workspace) -> None:
    page = open_page("operator")
    page.button(key="invite").click().run()
    page.text_input(key="invite_email").set_value("cy@example.org")
    page.button(key="invite_do").click().run()
    (link,) = [code.value for code in page.code]
    query = parse_qs(urlsplit(link).query)
    assert query["email"] == ["cy@example.org"]
    assert list(store(workspace).codes) == [token_sha256(query["invitation"][0])]
    page.button(key="link_done").click().run()
    assert not page.code
    assert "cy@example.org" in words(page)


def test_what_is_no_address_is_refused_in_the_dialog(open_page: OpenPage, workspace: Workspace) -> None:
    page = open_page("operator")
    page.button(key="invite").click().run()
    page.text_input(key="invite_email").set_value("cy")
    page.button(key="invite_do").click().run()
    assert "not an e\\-mail address" in words(page)
    assert not store(workspace).invited


def test_invitations_are_listed_and_withdrawn(open_page: OpenPage, workspace: Workspace) -> None:
    store(workspace).invite("one", "cy@example.org", "a" * 64)
    old = (
        store(workspace)
        .invited["one"]
        .model_copy(update={"id": "two", "expires_at": utc_now() - timedelta(days=1)})
    )
    store(workspace).invited["two"] = old
    page = open_page("operator")
    assert "Run out" in words(page)
    assert "Until" in words(page)
    page.button(key="withdraw_one").click().run()
    page.button(key="withdraw_two").click().run()
    assert not store(workspace).invited
    assert "None. Whoever you invite" in words(page)


def test_opening_sign_up_warns_first(open_page: OpenPage, workspace: Workspace) -> None:
    page = open_page("operator")
    assert "By invitation" in words(page)
    page.button(key="open_sign_up").click().run()
    assert "can then make an account" in words(page)
    assert not store(workspace).open
    page.button(key="open_do").click().run()
    assert store(workspace).open
    assert "Open to everybody" in words(page)
    page.button(key="close_sign_up").click().run()
    assert not store(workspace).open


def test_who_is_no_operator_any_more_gets_one_sentence(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: object) -> None:
        raise Forbidden("Only the operator may do that.")

    monkeypatch.setattr(FakeOperator, "totals", refuse)
    page = open_page("operator")
    assert "Only the operator may do that" in words(page)
    assert not page.dataframe


def test_the_share_of_a_quota_is_the_largest_one() -> None:
    person = PersonTotals(
        user_id="x", email="x@example.org", created_at=utc_now(), live_jobs=1, gpu_hours=9.0
    )
    assert used_share(person) is None
    quota = Quota(user_id="x", max_live_jobs=4, gpu_hours_per_month=10.0)
    assert used_share(person.model_copy(update={"quota": quota})) == 0.9
    closed = Quota(user_id="x", max_live_jobs=0)
    assert used_share(person.model_copy(update={"quota": closed})) == 1.0


class TestOverAProject:
    """The page over the database's own functions, as an operator who is signed in."""

    @pytest.fixture
    def accounts(self, project: Project) -> Iterator[SupabaseAuth]:
        opened = SupabaseAuth(project.url, project.publishable_key)
        yield opened
        opened.close()

    @pytest.fixture
    def workspace(self, project: Project, accounts: SupabaseAuth, tmp_path: Path) -> Workspace:
        olga = project.add_person(email="olga@example.org", operator=True)
        now = time.time()
        auth = accounts.sign_in(olga.email, olga.password)
        settings = Settings(home=tmp_path, supabase_url=project.url, supabase_key=project.publishable_key)
        return TeamStudio(settings).workspace(SignedIn(auth, accounts, began_at=now, used_at=now))

    def test_who_is_invited_can_join_and_is_listed(self, open_page: OpenPage, accounts: SupabaseAuth) -> None:
        page = open_page("operator")
        assert page.dataframe[0].value["Person"].tolist() == ["olga@example.org"]
        page.button(key="invite").click().run()
        page.text_input(key="invite_email").set_value("cy@example.org")
        page.button(key="invite_do").click().run()
        (link,) = [code.value for code in page.code]
        page.button(key="link_done").click().run()
        assert "cy@example.org" in words(page)
        code = parse_qs(urlsplit(link).query)["invitation"][0]
        with pytest.raises(Forbidden):
            accounts.sign_up("dan@example.org", "correct horse", invitation=code)
        assert accounts.sign_up("cy@example.org", "correct horse", invitation=code)
        page.run()
        assert page.dataframe[0].value["Person"].tolist() == ["cy@example.org", "olga@example.org"]
        assert "None. Whoever you invite" in words(page)

    def test_a_quota_is_kept_by_the_database(self, open_page: OpenPage, project: Project) -> None:
        ben = project.add_person(email="ben@example.org")
        page = open_page("operator")
        page.button(key="quota").click().run()
        page.selectbox(key="quota_person").set_value(ben.id).run()
        page.number_input(key=f"max_live_jobs_{ben.id}").set_value(2)
        page.number_input(key=f"storage_bytes_{ben.id}").set_value(1.5)
        page.button(key="quota_do").click().run()
        (row,) = project.sql("select user_id, max_live_jobs, storage_bytes, usd_per_month from public.quotas")
        assert row == {
            "user_id": UUID(ben.id), "max_live_jobs": 2, "storage_bytes": 1_500_000_000, "usd_per_month": None,
        }  # fmt: skip

    def test_sign_up_is_opened_for_everybody(self, open_page: OpenPage, accounts: SupabaseAuth) -> None:
        page = open_page("operator")
        page.button(key="open_sign_up").click().run()
        page.button(key="open_do").click().run()
        assert "Open to everybody" in words(page)
        assert accounts.sign_up("anybody@example.org", "correct horse")
