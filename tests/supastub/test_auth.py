"""/auth/v1 through the real supabase-py."""

from collections.abc import Callable

import httpx
import pytest
from supabase import Client
from supabase_auth.errors import AuthApiError, AuthError, AuthWeakPasswordError
from supabase_auth.types import Session

from tests.supastub.rig import PASSWORD, Person, Project

Clients = Callable[[Person | None], Client]
USED = "refresh_token_already_used"
NEW = {"email": "new@notes.test", "password": "a good long password"}


def refused(call: Callable[[], object]) -> AuthApiError:
    with pytest.raises(AuthApiError) as caught:
        call()
    return caught.value


def signed_in(client: Client, person: Person) -> Session:
    session = client.auth.sign_in_with_password({"email": person.email, "password": PASSWORD}).session
    assert session
    return session


def test_signing_up_gives_a_session_that_the_other_services_take(client_of: Clients) -> None:
    client = client_of(None)
    answer = client.auth.sign_up({**NEW, "options": {"data": {"name": "Nell"}}})
    assert answer.session
    assert answer.user
    assert answer.user.user_metadata == {"name": "Nell"}
    assert client.auth.get_user().user.id == answer.user.id
    client.table("notes").insert({"title": "mine"}, returning="minimal").execute()
    assert len(client.table("notes").select("title").execute().data) == 1


def test_what_a_trigger_changes_is_seen_but_stays_in_the_identity(
    project: Project, client_of: Clients
) -> None:
    answer = client_of(None).auth.sign_up(
        {**NEW, "options": {"data": {"invitation": "code", "name": "Nell"}}}
    )
    assert answer.user
    assert answer.user.user_metadata == {"name": "Nell"}
    identity = project.sql("select identity_data ->> 'invitation' as code from auth.identities")
    assert identity == [{"code": "code"}]


def test_a_refusing_trigger_is_hidden_from_new_clients_only(project: Project, client_of: Clients) -> None:
    person = {**NEW, "email": "refused@notes.test"}
    error = refused(lambda: client_of(None).auth.sign_up(person))
    assert (error.code, error.message, error.status) == (
        "unexpected_failure",
        "Database error saving new user",
        500,
    )
    old = httpx.post(
        f"{project.url}/auth/v1/signup", json=person, headers={"apikey": project.publishable_key}
    )
    assert (old.status_code, old.json()["message"]) == (403, "This studio is by invitation.")
    assert project.sql("select * from auth.users") == []


def test_who_is_registered_already_is_told_so(client_of: Clients, anne: Person) -> None:
    error = refused(lambda: client_of(None).auth.sign_up({**NEW, "email": anne.email}))
    assert (error.code, error.status) == ("user_already_exists", 422)


def test_with_confirmation_nobody_learns_who_is_registered(
    project: Project, client_of: Clients, anne: Person
) -> None:
    project.settings.confirm_email = True
    known = client_of(None).auth.sign_up({**NEW, "email": anne.email})
    assert known.session is None
    assert known.user
    assert known.user.id != anne.id
    assert known.user.identities == []
    assert project.mails() == []


def test_with_confirmation_the_mail_opens_the_door(project: Project, client_of: Clients) -> None:
    project.settings.confirm_email = True
    client = client_of(None)
    assert client.auth.sign_up(NEW).session is None
    assert refused(lambda: client.auth.sign_in_with_password(NEW)).code == "email_not_confirmed"
    mail = project.mails("new@notes.test")[-1]
    answer = client.auth.verify_otp({"email": mail["email"], "token": mail["code"], "type": "signup"})
    assert answer.session
    assert client.auth.sign_in_with_password(NEW).session


def test_sign_up_may_be_closed(project: Project, client_of: Clients) -> None:
    project.settings.allow_sign_up = False
    assert refused(lambda: client_of(None).auth.sign_up(NEW)).code == "signup_disabled"


def test_weak_and_wrong_passwords(client_of: Clients, anne: Person) -> None:
    client = client_of(None)
    with pytest.raises(AuthWeakPasswordError) as weak:
        client.auth.sign_up({**NEW, "password": "short"})
    assert weak.value.reasons == ["length"]
    wrong = {"email": anne.email, "password": "wrong"}
    assert refused(lambda: client.auth.sign_in_with_password(wrong)).code == "invalid_credentials"
    nobody = {"email": "nobody@notes.test", "password": "wrong"}
    assert refused(lambda: client.auth.sign_in_with_password(nobody)).code == "invalid_credentials"
    assert refused(lambda: client.auth.sign_up({**NEW, "email": "no address"})).code == "validation_failed"


def test_refreshing_rotates_the_token(client_of: Clients, anne: Person) -> None:
    client = client_of(None)
    first = signed_in(client, anne)
    second = client.auth.refresh_session(first.refresh_token).session
    assert second
    assert second.refresh_token != first.refresh_token
    assert client.auth.get_user(second.access_token).user.id == anne.id


def test_the_last_used_token_gives_the_same_next_one_when_the_answer_was_lost(
    project: Project, client_of: Clients, anne: Person
) -> None:
    client = client_of(None)
    first = signed_in(client, anne)
    second = client.auth.refresh_session(first.refresh_token).session
    project.pass_time(3600)
    again = client.auth.refresh_session(first.refresh_token).session
    assert again
    assert second
    assert again.refresh_token == second.refresh_token


def test_an_older_token_ends_the_whole_session(project: Project, client_of: Clients, anne: Person) -> None:
    client = client_of(None)
    first = signed_in(client, anne)
    second = client.auth.refresh_session(first.refresh_token).session
    assert second
    third = client.auth.refresh_session(second.refresh_token).session
    assert third
    project.pass_time(60)
    assert refused(lambda: client.auth.refresh_session(first.refresh_token)).code == USED
    project.pass_time(60)
    assert refused(lambda: client.auth.refresh_session(third.refresh_token)).code == USED
    assert refused(lambda: client.auth.refresh_session("unknown")).code == "refresh_token_not_found"


@pytest.mark.parametrize(("scope", "left"), [("local", 1), ("others", 1), ("global", 0)])
def test_signing_out_ends_sessions(
    project: Project, client_of: Clients, anne: Person, scope: str, left: int
) -> None:
    client = client_of(None)
    here = signed_in(client, anne)
    client.auth.sign_out({"scope": scope})
    assert (
        project.sql("select count(*) as n from auth.sessions")[0]["n"] == left
    )  # the other is that of add_person
    if scope != "others":
        assert refused(lambda: client.auth.get_user(here.access_token)).code == "session_not_found"


def test_a_forgotten_password_is_replaced_with_a_mailed_token(
    project: Project, client_of: Clients, anne: Person
) -> None:
    client = client_of(None)
    client.auth.reset_password_for_email("nobody@notes.test")
    client.auth.reset_password_for_email(anne.email)
    [mail] = project.mails()
    kept = project.sql("select token_hash from auth.one_time_tokens")
    assert kept == [{"token_hash": mail["token_hash"]}]
    client.auth.verify_otp({"token_hash": mail["token_hash"], "type": "recovery"})
    assert refused(lambda: client.auth.update_user({"password": PASSWORD})).code == "same_password"
    client.auth.update_user({"password": "another good password"})
    assert refused(lambda: signed_in(client_of(None), anne)).code == "invalid_credentials"
    used = {"email": anne.email, "token": mail["code"], "type": "recovery"}
    assert refused(lambda: client.auth.verify_otp(used)).code == "otp_expired"
    assert (
        project.sql("select count(*) as n from auth.sessions")[0]["n"] == 1
    )  # a new password ends the others


def test_a_mailed_token_grows_old(project: Project, client_of: Clients, anne: Person) -> None:
    client_of(None).auth.reset_password_for_email(anne.email)
    mail = project.mails()[-1]
    project.pass_time(3601)
    token = {"token_hash": mail["token_hash"], "type": "recovery"}
    assert refused(lambda: client_of(None).auth.verify_otp(token)).code == "otp_expired"


def test_a_person_changes_what_is_theirs_and_no_more(
    project: Project, client_of: Clients, anne: Person
) -> None:
    client = client_of(None)
    signed_in(client, anne)
    assert client.auth.update_user({"data": {"name": "Anne"}}).user.user_metadata == {"name": "Anne"}
    answer = httpx.put(
        f"{project.url}/auth/v1/user",
        json={"app_metadata": {"role": "operator"}},
        headers={"apikey": project.publishable_key, "Authorization": f"Bearer {anne.token}"},
    )
    assert answer.status_code == 403


def test_expired_and_forged_tokens_are_403(project: Project, client_of: Clients, anne: Person) -> None:
    client = client_of(None)
    assert refused(lambda: client.auth.get_user(project.token(anne, -1))).code == "bad_jwt"
    assert refused(lambda: client.auth.get_user(anne.token[:-4] + "AAAA")).code == "bad_jwt"


def test_the_secret_key_administers_users(project: Project, client_of: Clients) -> None:
    from supabase import ClientOptions, create_client

    with httpx.Client() as connection:
        options = ClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=connection)
        admin = create_client(project.url, project.secret_key, options).auth.admin
        made = admin.create_user(
            {
                **NEW,
                "email_confirm": True,
                "app_metadata": {"role": "operator"},
                "user_metadata": {"invitation": "x"},
            }
        ).user
        assert client_of(None).auth.sign_in_with_password(NEW).session
        assert admin.get_user_by_id(made.id).user.app_metadata["role"] == "operator"
        assert admin.get_user_by_id(made.id).user.user_metadata == {}
        admin.update_user_by_id(made.id, {"user_metadata": {"name": "Nell"}})
        assert [user.user_metadata for user in admin.list_users()] == [{"name": "Nell"}]
        assert refused(lambda: admin.create_user(NEW)).code == "email_exists"
        error = refused(lambda: admin.create_user({**NEW, "email": "refused@notes.test"}))
        assert error.message == "Database error creating new user"
        admin.delete_user(made.id)
        assert refused(lambda: admin.get_user_by_id(made.id)).code == "user_not_found"


def test_the_publishable_key_administers_nobody(client_of: Clients) -> None:
    with pytest.raises(AuthError):
        client_of(None).auth.admin.list_users()


def test_a_secret_key_in_a_browser_is_refused(project: Project) -> None:
    headers = {"apikey": project.secret_key, "User-Agent": "Mozilla/5.0"}
    assert httpx.get(f"{project.url}/auth/v1/user", headers=headers).status_code == 401


def test_the_settings_say_what_is_open(project: Project) -> None:
    settings = httpx.get(f"{project.url}/auth/v1/settings").json()
    assert (settings["disable_signup"], settings["mailer_autoconfirm"]) == (False, True)


def test_other_ways_to_sign_in_are_a_loud_501(project: Project) -> None:
    answer = httpx.post(f"{project.url}/auth/v1/sso", json={}, headers={"apikey": project.publishable_key})
    assert answer.status_code == 501
