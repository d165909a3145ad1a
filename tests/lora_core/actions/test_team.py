"""What the operator of a team may do, and nobody else."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.actions import team
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, Forbidden, NotFound
from lora_core.schema.people import Quota
from lora_core.secrets import token_sha256
from tests.lora_core.actions.team_fakes import FakeOperator, team_workspace


@pytest.fixture
def operator(workspace: Workspace, tmp_path: Path) -> Workspace:
    return team_workspace(workspace, tmp_path, operator=True)


def store(workspace: Workspace) -> FakeOperator:
    assert isinstance(workspace.operator, FakeOperator)
    return workspace.operator


def test_the_view_holds_totals_invitations_and_sign_up(operator: Workspace) -> None:
    view = team.read_team(operator)
    assert [person.email for person in view.people] == ["ada@example.org", "bob@example.org"]
    assert (view.invitations, view.sign_up_is_open) == ([], False)


def test_an_invitation_link_holds_the_code_once(operator: Workspace) -> None:
    new = team.invite_person(operator, " Cy@Example.org ")
    assert list(store(operator).codes) == [token_sha256(new.code.reveal())]
    link = urlsplit(new.link("https://studio.example.org/operator?x=1"))
    assert (link.scheme, link.netloc) == ("https", "studio.example.org")
    assert parse_qs(link.query) == {"invitation": [new.code.reveal()], "email": ["cy@example.org"]}
    assert new.code.reveal() not in repr(new.code)
    assert [invitation.email for invitation in team.read_team(operator).open_invitations] == [
        "cy@example.org"
    ]


def test_a_withdrawn_invitation_is_gone(operator: Workspace) -> None:
    new = team.invite_person(operator, "cy@example.org")
    team.withdraw_invitation(operator, new.invitation_id)
    assert not team.read_team(operator).invitations


@pytest.mark.parametrize(
    "text",
    ["", "cy", "cy@", "@example.org", "a b@example.org", "cy@example", "<cy@example.org>", "a@b@c.org"],
)
def test_what_is_no_address_is_refused(operator: Workspace, text: str) -> None:
    with pytest.raises(ConfigError, match="not an e-mail address"):
        team.invite_person(operator, text)


@given(st.text(max_size=300))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = team.clean_email(text)
    except ConfigError:
        return
    assert address.count("@") == 1
    assert address == address.strip().lower()


@pytest.mark.parametrize("days", [0, -1, 31])
def test_an_invitation_lasts_a_month_at_most(operator: Workspace, days: int) -> None:
    with pytest.raises(ConfigError, match="1 to 30 days"):
        team.invite_person(operator, "cy@example.org", valid_days=days)


def test_a_quota_is_kept(operator: Workspace) -> None:
    team.set_quota(operator, Quota(user_id="ada", max_live_jobs=2))
    ada = team.read_team(operator).people[0]
    assert ada.quota == Quota(user_id="ada", max_live_jobs=2)
    with pytest.raises(NotFound):
        team.set_quota(operator, Quota(user_id="nobody"))


def test_sign_up_is_opened_and_closed(operator: Workspace) -> None:
    team.open_sign_up(operator, is_open=True)
    assert team.read_team(operator).sign_up_is_open
    team.open_sign_up(operator, is_open=False)
    assert not team.read_team(operator).sign_up_is_open


ACTIONS: dict[str, Callable[[Workspace], object]] = {
    "read": team.read_team,
    "invite": lambda workspace: team.invite_person(workspace, "cy@example.org"),
    "withdraw": lambda workspace: team.withdraw_invitation(workspace, "x"),
    "quota": lambda workspace: team.set_quota(workspace, Quota(user_id="bob")),
    "open": lambda workspace: team.open_sign_up(workspace, is_open=True),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_nobody_else_may(workspace: Workspace, tmp_path: Path, action: Callable[[Workspace], object]) -> None:
    for person in (workspace, team_workspace(workspace, tmp_path)):
        assert not team.is_operator(person)
        with pytest.raises(Forbidden, match="for the operator"):
            action(person)
