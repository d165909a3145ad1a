"""Accounts of a Supabase project, over the rig: who comes in, and what people read when they do not."""

import json
import pickle
import secrets
from collections.abc import Iterator
from hashlib import sha256

import httpx
import pytest

from lora_core.errors import Forbidden, NotAllowed, SignedOut, StudioError, TooOften, Unavailable
from lora_core.store.accounts import AuthSession
from lora_core.store.supabase import auth as module
from lora_core.store.supabase.auth import SupabaseAuth
from tests.supastub.rig import Project

NEW_PASSWORD = "a new long password"


@pytest.fixture
def accounts(project: Project) -> Iterator[SupabaseAuth]:
    opened = SupabaseAuth(project.url, project.publishable_key)
    yield opened
    opened.close()


def invite(project: Project, email: str) -> str:
    """Keep a place for an address, as the operator does; return the code."""
    operator = project.add_person(operator=True)
    code = secrets.token_urlsafe(24)
    answer = httpx.post(
        f"{project.url}/rest/v1/rpc/operator_invite",
        headers={"apikey": project.publishable_key, "authorization": f"Bearer {operator.token}"},
        json={
            "p_id": "6f1ed002-ab55-4b37-8a4c-111111111111",
            "p_email": email,
            "p_code_sha256": sha256(code.encode()).hexdigest(),
            "p_valid_days": 7,
        },
    )
    assert answer.is_success, answer.text
    return code


def code_of(project: Project, email: str) -> str:
    return str(project.mails(email)[-1]["token_hash"])


def test_a_person_signs_in(project: Project, accounts: SupabaseAuth) -> None:
    anne = project.add_person(email="anne@studio.test")
    session = accounts.sign_in("anne@studio.test", anne.password)
    assert (session.user_id, session.email, session.operator) == (anne.id, anne.email, False)


def test_the_operator_is_told_apart_by_what_only_the_service_may_write(
    project: Project,
    accounts: SupabaseAuth,
) -> None:
    operator = project.add_person(operator=True)
    ben = project.add_person()
    project.sql("""update auth.users set raw_user_meta_data = '{"role": "operator"}' where id = %s""", ben.id)
    assert accounts.sign_in(operator.email, operator.password).operator
    assert not accounts.sign_in(ben.email, ben.password).operator


def test_tokens_never_print(project: Project, accounts: SupabaseAuth) -> None:
    anne = project.add_person()
    session = accounts.sign_in(anne.email, anne.password)
    for hidden in (session.access_token.reveal(), session.refresh_token.reveal()):
        assert len(hidden) > 8
        assert hidden not in repr(session)
    with pytest.raises(TypeError):
        pickle.dumps(session)


@pytest.mark.parametrize("email", ["anne@studio.test", "nobody@studio.test"])
def test_a_wrong_password_and_an_unknown_person_read_the_same(
    project: Project,
    accounts: SupabaseAuth,
    email: str,
) -> None:
    project.add_person(email="anne@studio.test")
    with pytest.raises(Forbidden, match="E-mail and password do not belong together"):
        accounts.sign_in(email, "wrong")


def test_an_address_that_is_not_confirmed_is_said(project: Project, accounts: SupabaseAuth) -> None:
    anne = project.add_person()
    project.sql("update auth.users set email_confirmed_at = null where id = %s", anne.id)
    with pytest.raises(NotAllowed, match="not confirmed"):
        accounts.sign_in(anne.email, anne.password)


def test_a_closed_account_is_said(project: Project, accounts: SupabaseAuth) -> None:
    anne = project.add_person()
    project.sql("update auth.users set banned_until = now() + interval '1 day' where id = %s", anne.id)
    with pytest.raises(Forbidden, match="closed"):
        accounts.sign_in(anne.email, anne.password)


def test_a_refresh_gives_new_tokens_and_spends_the_old(project: Project, accounts: SupabaseAuth) -> None:
    anne = project.add_person()
    first = accounts.sign_in(anne.email, anne.password)
    second = accounts.refresh(first)
    third = accounts.refresh(second)
    assert len({session.refresh_token for session in (first, second, third)}) == 3
    project.pass_time(60)
    with pytest.raises(SignedOut):
        accounts.refresh(first)
    project.pass_time(60)
    with pytest.raises(SignedOut):
        accounts.refresh(third)  # a stolen token that is used again ends the whole session


def test_who_has_signed_out_cannot_refresh(project: Project, accounts: SupabaseAuth) -> None:
    anne = project.add_person()
    session, other = (accounts.sign_in(anne.email, anne.password) for _ in range(2))
    accounts.sign_out(session)
    accounts.sign_out(session)
    with pytest.raises(SignedOut):
        accounts.refresh(session)
    accounts.sign_out(accounts.refresh(other), everywhere=True)
    with pytest.raises(SignedOut):
        accounts.refresh(other)


def test_without_an_invitation_nobody_gets_an_account(project: Project, accounts: SupabaseAuth) -> None:
    assert not accounts.sign_up_is_open()
    for code in ("", "guessed"):
        with pytest.raises(Forbidden, match="by invitation"):
            accounts.sign_up("eve@studio.test", NEW_PASSWORD, invitation=code)


def test_an_invitation_lets_its_own_address_in_once(project: Project, accounts: SupabaseAuth) -> None:
    code = invite(project, "anne@studio.test")
    with pytest.raises(Forbidden, match="by invitation"):
        accounts.sign_up("eve@studio.test", NEW_PASSWORD, invitation=code)
    session = accounts.sign_up("anne@studio.test", NEW_PASSWORD, invitation=code)
    assert session is not None
    assert session.email == "anne@studio.test"
    assert code not in json.dumps(project.sql("select raw_user_meta_data from auth.users"), default=str)


def test_an_address_to_be_confirmed_gives_no_session_yet(project: Project, accounts: SupabaseAuth) -> None:
    project.settings.confirm_email = True
    code = invite(project, "anne@studio.test")
    assert accounts.sign_up("anne@studio.test", NEW_PASSWORD, invitation=code) is None


def test_an_account_that_exists_is_said(project: Project, accounts: SupabaseAuth) -> None:
    anne = project.add_person()
    with pytest.raises(NotAllowed, match="account with this e-mail"):
        accounts.sign_up(anne.email, NEW_PASSWORD)


def test_a_weak_password_is_said_in_the_projects_words(project: Project, accounts: SupabaseAuth) -> None:
    with pytest.raises(NotAllowed, match=r"too weak\. Password should be at least"):
        accounts.sign_up("anne@studio.test", "x", invitation="any")


def test_a_mailed_link_sets_a_new_password(project: Project, accounts: SupabaseAuth) -> None:
    anne = project.add_person()
    accounts.request_reset(anne.email)
    session = accounts.take_link(code_of(project, anne.email))
    accounts.set_password(session, NEW_PASSWORD)
    assert accounts.sign_in(anne.email, NEW_PASSWORD).user_id == anne.id
    with pytest.raises(Forbidden):
        accounts.sign_in(anne.email, anne.password)


def test_a_mailed_link_is_good_once(project: Project, accounts: SupabaseAuth) -> None:
    anne = project.add_person()
    accounts.request_reset(anne.email)
    code = code_of(project, anne.email)
    accounts.take_link(code)
    for used in (code, "never-made"):
        with pytest.raises(Forbidden, match="used before or is too old"):
            accounts.take_link(used)


def test_the_old_password_is_no_new_one(project: Project, accounts: SupabaseAuth) -> None:
    anne = project.add_person()
    with pytest.raises(NotAllowed, match="password you have"):
        accounts.set_password(accounts.sign_in(anne.email, anne.password), anne.password)


def test_a_reset_for_nobody_reads_the_same(project: Project, accounts: SupabaseAuth) -> None:
    accounts.request_reset("nobody@studio.test")
    assert not project.mails("nobody@studio.test")


def test_the_access_token_of_a_link_over_the_projects_page_is_taken(
    project: Project,
    accounts: SupabaseAuth,
) -> None:
    anne = project.add_person()
    session = accounts.take_access(anne.token)
    assert (session.user_id, session.email) == (anne.id, anne.email)
    accounts.set_password(session, NEW_PASSWORD)
    with pytest.raises(Forbidden, match="used before or is too old"):
        accounts.take_access(project.token(anne, -10))


def test_the_door_tells_whether_it_is_open(project: Project, accounts: SupabaseAuth) -> None:
    operator = project.add_person(operator=True)
    httpx.post(
        f"{project.url}/rest/v1/rpc/operator_open_sign_up",
        headers={"apikey": project.publishable_key, "authorization": f"Bearer {operator.token}"},
        json={"p_open": True},
    ).raise_for_status()
    assert accounts.sign_up_is_open()
    assert accounts.sign_up("anybody@studio.test", NEW_PASSWORD) is not None


def test_a_project_that_is_away_is_unavailable_and_not_a_sign_out(
    project: Project,
    accounts: SupabaseAuth,
) -> None:
    anne = project.add_person()
    session = accounts.sign_in(anne.email, anne.password)
    project.stop_gateway()
    for call in (lambda: accounts.refresh(session), lambda: accounts.sign_in(anne.email, anne.password)):
        with pytest.raises(Unavailable):
            call()
    project.start_gateway()
    assert accounts.refresh(session).user_id == anne.id


def test_a_changed_key_is_unavailable_and_not_a_sign_out(project: Project) -> None:
    anne = project.add_person()
    good = SupabaseAuth(project.url, project.publishable_key)
    session = good.sign_in(anne.email, anne.password)
    changed = SupabaseAuth(project.url, "sb_publishable_of_another_project")
    with pytest.raises(Unavailable, match="key"):
        changed.refresh(session)
    good.close()
    changed.close()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, '{"code": "over_request_rate_limit", "message": "x"}', TooOften),
        (429, "slow down", TooOften),
        (429, '{"code": 429, "error_code": "over_email_send_rate_limit", "msg": "x"}', TooOften),
        (403, '{"code": "session_not_found", "message": "x"}', SignedOut),
        (401, '{"message": "Invalid API key"}', Unavailable),
        (500, "<html>", Unavailable),
        (503, "", Unavailable),
        (422, '{"code": "weak_password", "message": "Longer."}', NotAllowed),
        (422, '{"code": "something_new", "message": "New words"}', NotAllowed),
        (400, "[]", NotAllowed),
        (400, '{"code": "invalid_credentials"}', Forbidden),
    ],
)
def test_every_refusal_has_words(status: int, body: str, kind: type[StudioError]) -> None:
    error = module._error_of(httpx.Response(status, text=body))
    assert type(error) is kind
    assert error.message


def test_an_answer_that_is_no_session_is_unavailable(accounts: SupabaseAuth) -> None:
    for answer in (
        {},
        {"user": {}},
        {"user": {"id": "x"}, "access_token": "y", "refresh_token": "z", "expires_in": None},
    ):
        with pytest.raises(Unavailable):
            accounts._session(answer)


def test_errors_are_made_anew_each_time() -> None:
    """One that is raised twice would carry the tracks of the first person to the second."""
    answer = httpx.Response(400, text='{"code": "invalid_credentials"}')
    assert module._error_of(answer) is not module._error_of(answer)


def test_sessions_are_values() -> None:
    assert AuthSession.__dataclass_params__.frozen  # type: ignore[attr-defined]
