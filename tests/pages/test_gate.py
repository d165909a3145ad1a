"""The door of a team's studio over HTTP: who gets a session, what the cookie is worth, and what is shut without one."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from lora_core.actions.datasets import list_datasets
from lora_core.settings import Settings
from lora_core.studio import TeamStudio
from pages.frame import opened, session_routes
from pages.frame.guard import RequestGuard, listens_here_only
from pages.frame.session_routes import Limits
from tests.pages.door import ADDRESS, COOKIE, SAME_ORIGIN, browser, sign_in
from tests.supastub.rig import Person, Project

ROW = b'{"text": "hello"}\n'
NEW_PASSWORD = "a new long password"


@pytest.fixture
def team(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TeamStudio]:
    settings = Settings(
        home=tmp_path / "home", supabase_url=project.url, supabase_key=project.publishable_key
    )
    studio = TeamStudio(settings)
    monkeypatch.setattr(opened, "make_studio", lambda: studio)
    opened.open_studio.cache_clear()
    yield studio
    opened.open_studio.cache_clear()
    studio.close()


@pytest.fixture
def anne(project: Project) -> Person:
    return project.add_person(email="anne@studio.test")


@pytest.fixture
def client(team: TeamStudio) -> Iterator[TestClient]:
    """A browser that has not signed in."""
    with browser() as opened_browser:
        yield opened_browser


def post(client: TestClient, path: str, body: dict[str, Any], **headers: str):
    return client.post(f"/api/session{path}", json=body, headers=SAME_ORIGIN | headers)


def put(client: TestClient, content: bytes = ROW, **headers: str):
    return client.put("/api/datasets?file=rows.jsonl", content=content, headers=SAME_ORIGIN | headers)


# Signing in


def test_signing_in_hands_out_a_cookie_for_this_site_that_no_script_reads(
    client: TestClient, anne: Person
) -> None:
    answer = sign_in(client, anne)
    assert (answer.status_code, answer.json()) == (200, {"signed_in": True, "email": anne.email})
    name, *marks = answer.headers["set-cookie"].split("; ")
    assert name.startswith(f"{COOKIE}=")
    assert len(name) == len(COOKIE) + 1 + 43
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=2592000"} == set(marks)
    assert answer.headers["cache-control"] == "no-store"


def test_over_https_the_cookie_is_bound_to_the_host_and_to_https(
    project: Project, team: TeamStudio, anne: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = TeamStudio(team.settings.model_copy(update={"public_url": "https://localhost:8443"}))
    monkeypatch.setattr(opened, "make_studio", lambda: served)
    opened.open_studio.cache_clear()
    with browser("https://localhost:8443") as client:
        answer = client.post(
            "/api/session",
            json={"email": anne.email, "password": anne.password},
            headers={"origin": "https://localhost:8443"},
        )
        assert answer.headers["set-cookie"].startswith("__Host-lora_studio_session_8443=")
        assert "Secure" in answer.headers["set-cookie"]
        assert client.get("/api/download/dataset/x").status_code == 404
        planted = {"cookie": answer.headers["set-cookie"].partition(";")[0].replace("__Host-", "")}
        client.cookies.clear()
        assert client.get("/api/download/dataset/x", headers=planted).status_code == 401
    served.close()


def test_a_header_that_anybody_can_send_does_not_make_it_https(client: TestClient, anne: Person) -> None:
    answer = post(
        client, "", {"email": anne.email, "password": anne.password}, **{"x-forwarded-proto": "https"}
    )
    assert "Secure" not in answer.headers["set-cookie"]


def test_what_a_browser_held_before_is_not_kept(client: TestClient, anne: Person, team: TeamStudio) -> None:
    """Session fixation: an id that was planted or known before the sign-in is worth nothing after it."""
    sign_in(client, anne)
    first = client.cookies[COOKIE]
    sign_in(client, anne)
    assert client.cookies[COOKIE] != first
    assert team.sessions.find(first) is None
    client.cookies.clear()
    client.cookies.set(COOKIE, "A" * 43)
    answer = sign_in(client, anne)
    assert "A" * 43 not in answer.headers["set-cookie"]
    assert team.sessions.find("A" * 43) is None


def test_a_wrong_password_is_said_and_gets_nothing(client: TestClient, anne: Person) -> None:
    answer = post(client, "", {"email": anne.email, "password": "wrong"})
    assert (answer.status_code, answer.json()["message"]) == (
        403,
        "E-mail and password do not belong together.",
    )
    assert "set-cookie" not in answer.headers
    assert client.get("/api/download/dataset/x").status_code == 401


def test_guessing_passwords_is_slowed_down_for_the_guesser_alone(
    client: TestClient, anne: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ben = project.add_person(email="ben@studio.test")
    answers = [
        post(client, "", {"email": "ANNE@studio.test", "password": "no"}).status_code for _ in range(14)
    ]
    assert set(answers) == {403, 429}
    limited = sign_in(client, anne)
    assert limited.status_code == 429
    assert "minutes" in limited.json()["next_step"]
    assert sign_in(client, ben).status_code == 200


def test_trying_many_addresses_is_slowed_down_too(client: TestClient, anne: Person) -> None:
    answers = {
        post(client, "", {"email": f"p{number}@studio.test", "password": "no"}).status_code
        for number in range(80)
    }
    assert answers == {403, 429}
    assert sign_in(client, anne).status_code == 429


def test_signing_in_often_with_the_right_password_is_fine(client: TestClient, anne: Person) -> None:
    assert {sign_in(client, anne).status_code for _ in range(15)} == {200}


def test_a_project_that_is_away_is_said(client: TestClient, anne: Person, project: Project) -> None:
    project.stop_gateway()
    assert sign_in(client, anne).status_code == 503
    project.start_gateway()
    assert sign_in(client, anne).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "anne@studio.test"},
        {"email": "anne@studio.test", "password": ""},
        {"email": "anne@studio.test", "password": ["x"]},
        {"email": "no address", "password": "x"},
        {"email": "a@b", "password": "x\x00y"},
        {"email": f"{'a' * 300}@studio.test", "password": "x"},
    ],
)
def test_half_a_form_is_refused_in_words(client: TestClient, body: dict[str, Any]) -> None:
    answer = post(client, "", body)
    assert answer.status_code == 422
    assert answer.json()["message"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 10_000, b'"x"'])
def test_what_is_no_json_object_is_refused(client: TestClient, content: bytes) -> None:
    headers = SAME_ORIGIN | {"content-type": "application/json"}
    assert client.post("/api/session", content=content, headers=headers).status_code == 422


def test_a_form_of_another_page_has_the_wrong_type(client: TestClient, anne: Person) -> None:
    content = json.dumps({"email": anne.email, "password": anne.password})
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post("/api/session", content=content, headers=SAME_ORIGIN | {"content-type": kind})
        assert answer.status_code == 422


def test_a_long_body_is_refused(client: TestClient) -> None:
    assert post(client, "", {"email": "a@b", "password": "x" * 20_000}).status_code == 413


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ADDRESS, "sec-fetch-site": "cross-site"},
    ],
)
def test_another_site_can_neither_sign_in_nor_out(
    client: TestClient, anne: Person, headers: dict[str, str]
) -> None:
    body = {"email": anne.email, "password": anne.password}
    assert client.post("/api/session", json=body, headers=headers).status_code == 403
    sign_in(client, anne)
    assert client.delete("/api/session", headers=headers).status_code == 403
    assert client.get("/api/download/dataset/x").status_code == 404, "still in"


# Signing out


def test_signing_out_ends_the_session_and_clears_the_cookie(
    client: TestClient, anne: Person, team: TeamStudio, project: Project
) -> None:
    sign_in(client, anne)
    session_id = client.cookies[COOKIE]
    answer = client.delete("/api/session", headers=SAME_ORIGIN)
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert team.sessions.find(session_id) is None
    client.cookies.clear()
    stolen = {"cookie": f"{COOKIE}={session_id}"}
    assert client.get("/api/download/dataset/x", headers=stolen).status_code == 401
    kept = project.sql("select 1 from auth.sessions where user_id = %s", anne.id)
    assert len(kept) == 1, "the session of the rig's own token is another one"


def test_signing_out_without_a_session_is_no_error(client: TestClient) -> None:
    assert client.delete("/api/session", headers=SAME_ORIGIN).status_code == 204


# Without a session


@pytest.mark.parametrize("path", ["dataset/x", "issues/x", "artifact/x", "metrics/x", "logs/x", "none/x"])
def test_without_a_session_nothing_is_read(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/download/{path}")
    assert answer.status_code == 401
    assert set(answer.json()) == {"message", "next_step"}


def test_without_a_session_nothing_is_written(client: TestClient) -> None:
    assert put(client).status_code == 401


def test_an_address_below_api_that_is_not_there_tells_nothing(client: TestClient) -> None:
    for path in ("/api/anything", "/api/healthy", "/api/sessions", "/api/"):
        assert client.get(path).status_code == 401, path


def test_the_health_address_asks_as_nobody(client: TestClient, project: Project) -> None:
    assert client.get("/api/health").json()["status"] == "ok"
    project.stop_gateway()
    answer = client.get("/api/health")
    assert (answer.status_code, answer.json()["store"]) == (503, "Unavailable")


def test_the_document_hands_out_nothing_in_a_team(client: TestClient) -> None:
    answer = client.get("/", headers={"accept": "text/html"})
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-security-policy"] == "frame-ancestors 'self'"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1"])
def test_a_rebound_name_gets_nothing_in_a_team_either(client: TestClient, anne: Person, host: str) -> None:
    sign_in(client, anne)
    for path in ("/", "/api/download/dataset/x", "/api/health"):
        assert client.get(path, headers={"host": host}).status_code == 403


# With a session


def test_a_person_sends_and_gets_their_own_file(client: TestClient, anne: Person, team: TeamStudio) -> None:
    sign_in(client, anne)
    answer = put(client, ROW * 3)
    assert answer.status_code == 201, answer.text
    download = client.get(f"/api/download/dataset/{answer.json()['id']}")
    assert (download.status_code, download.content) == (200, ROW * 3)


def test_two_people_at_one_app_get_nothing_of_each_other(
    client: TestClient, anne: Person, project: Project, team: TeamStudio
) -> None:
    ben = project.add_person(email="ben@studio.test")
    with browser() as other:
        sign_in(client, anne)
        sign_in(other, ben)
        of_anne = put(client).json()["id"]
        for kind in ("dataset", "issues"):
            assert other.get(f"/api/download/{kind}/{of_anne}").status_code == 404
        persons = [team.sessions.find(each.cookies[COOKIE]) for each in (client, other)]
        views = [team.workspace(person) for person in persons if person]
        assert [len(list_datasets(view).items) for view in views] == [1, 0]
        other.delete("/api/session", headers=SAME_ORIGIN)
        assert client.get(f"/api/download/dataset/{of_anne}").status_code == 200, "only Ben has left"


def test_whoever_signs_in_next_at_a_browser_gets_their_own_view(
    client: TestClient, anne: Person, project: Project
) -> None:
    ben = project.add_person(email="ben@studio.test")
    sign_in(client, anne)
    of_anne = put(client).json()["id"]
    sign_in(client, ben)
    assert client.get(f"/api/download/dataset/{of_anne}").status_code == 404
    assert put(client).status_code == 201
    rows = project.sql("select user_id::text from public.datasets order by created_at")
    assert [row["user_id"] for row in rows] == [anne.id, ben.id]


def test_the_tokens_of_a_session_are_renewed_on_the_way(
    client: TestClient, anne: Person, project: Project
) -> None:
    project.settings.token_seconds = 60
    sign_in(client, anne)
    project.pass_time(30)
    assert put(client).status_code == 201


def test_a_session_that_the_project_has_ended_is_a_401(
    client: TestClient, anne: Person, project: Project
) -> None:
    project.settings.token_seconds = 60
    sign_in(client, anne)
    project.sql("delete from auth.sessions")
    answer = put(client)
    assert answer.status_code == 401, answer.text
    assert client.get("/api/download/dataset/x").status_code == 401


def test_many_requests_at_once_spend_one_refresh_token(
    client: TestClient, anne: Person, project: Project
) -> None:
    project.settings.token_seconds = 60
    sign_in(client, anne)
    project.settings.token_seconds = 3600
    answers: list[int] = []

    def ask() -> None:
        answers.append(client.get("/api/download/dataset/6f1ed002-ab55-4b37-8a4c-111111111111").status_code)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [404] * 6
    (spent,) = project.sql(
        "select count(*) as n from auth.refresh_tokens where revoked and user_id = %s", anne.id
    )
    assert spent["n"] == 1


def test_a_restart_of_the_app_signs_nobody_out(
    client: TestClient, anne: Person, team: TeamStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(client, anne)
    restarted = TeamStudio(team.settings)
    monkeypatch.setattr(opened, "make_studio", lambda: restarted)
    opened.open_studio.cache_clear()
    assert put(client).status_code == 201
    restarted.close()


# Accounts


def test_with_an_invitation_a_person_makes_an_account_and_is_in(
    client: TestClient, project: Project, team: TeamStudio
) -> None:
    code = _invite(team, project, "carl@studio.test")
    assert (
        post(
            client, "/account", {"email": "eve@studio.test", "password": NEW_PASSWORD, "invitation": code}
        ).status_code
        == 403
    )
    answer = post(
        client, "/account", {"email": "Carl@studio.test", "password": NEW_PASSWORD, "invitation": code}
    )
    assert answer.json()["signed_in"], answer.text
    assert put(client).status_code == 201


def test_an_address_to_be_confirmed_is_told_so(
    client: TestClient, project: Project, team: TeamStudio
) -> None:
    project.settings.confirm_email = True
    code = _invite(team, project, "carl@studio.test")
    answer = post(
        client, "/account", {"email": "carl@studio.test", "password": NEW_PASSWORD, "invitation": code}
    )
    assert (answer.status_code, answer.json()["signed_in"]) == (202, False)
    assert "carl@studio.test" in answer.json()["message"]
    assert "set-cookie" not in answer.headers


def test_without_an_invitation_there_is_no_account(client: TestClient) -> None:
    answer = post(client, "/account", {"email": "eve@studio.test", "password": NEW_PASSWORD})
    assert (answer.status_code, answer.json()["message"]) == (403, "This studio is by invitation.")


def test_a_reset_tells_nobody_who_has_an_account(client: TestClient, anne: Person) -> None:
    answers = [post(client, "/reset", {"email": email}) for email in (anne.email, "nobody@studio.test")]
    assert {answer.status_code for answer in answers} == {202}
    said = [
        answer.json()["message"].replace(anne.email, "X").replace("nobody@studio.test", "X")
        for answer in answers
    ]
    assert len(set(said)) == 1


def test_a_mailed_link_sets_a_password_and_ends_other_sessions(
    client: TestClient, anne: Person, project: Project
) -> None:
    with browser() as thief:
        sign_in(thief, anne)
        post(client, "/reset", {"email": anne.email})
        link = {"token_hash": project.mails(anne.email)[-1]["token_hash"]}
        assert post(client, "/password", link | {"password": "x"}).status_code == 409
        assert post(client, "/password", link | {"password": NEW_PASSWORD}).json()["signed_in"]
        assert put(client).status_code == 201
        assert put(thief).status_code == 401
        assert post(thief, "/password", link | {"password": NEW_PASSWORD}).status_code == 403


def test_a_link_over_the_projects_own_page_sets_a_password_too(client: TestClient, anne: Person) -> None:
    answer = post(client, "/password", {"access_token": anne.token, "password": NEW_PASSWORD})
    assert answer.json()["signed_in"], answer.text


@pytest.mark.parametrize(
    "link",
    [
        {},
        {"token_hash": "a b"},
        {"access_token": "a\r\nx-evil: 1"},
        {"access_token": "ä"},
        {"token_hash": "gone"},
    ],
)
def test_a_broken_link_sets_nothing(client: TestClient, link: dict[str, str]) -> None:
    assert post(client, "/password", link | {"password": NEW_PASSWORD}).status_code == 403


def test_a_password_longer_than_is_read_is_refused(client: TestClient, anne: Person) -> None:
    body = {"access_token": anne.token, "password": "ä" * 60}
    assert post(client, "/password", body).status_code == 422


def test_mails_are_counted_by_address(client: TestClient, anne: Person) -> None:
    codes = [post(client, "/reset", {"email": anne.email}).status_code for _ in range(12)]
    assert codes == [202] * 10 + [429] * 2


# The embedded mode


@pytest.mark.parametrize(
    ("server", "here"),
    [
        (("127.0.0.1", 8501), True),
        (("::1", 8501), True),
        (("/run/studio.sock", None), True),
        (("192.168.0.7", 8501), False),
        (("0.0.0.0", 8501), False),
        (("::ffff:10.0.0.1", 8501), False),
        (("::ffff:127.0.0.1", 8501), True),
    ],
)
def test_the_embedded_mode_knows_its_own_machine(server: tuple[str, int | None], here: bool) -> None:
    assert listens_here_only({"server": server}) is here


def test_without_sign_in_nothing_is_served_to_other_machines() -> None:
    with browser_of_embedded("http://192.168.0.7:8501") as client:
        answer = client.get("/", headers={"host": "localhost:8501", "accept": "text/html"})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_the_session_routes_are_for_a_team(studio: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "make_studio", lambda: studio)
    opened.open_studio.cache_clear()
    with browser_of_embedded(ADDRESS) as client:
        client.get("/", headers={"accept": "text/html"})
        answer = post(client, "", {"email": "a@b.c", "password": "x"})
        assert answer.status_code == 404
    opened.open_studio.cache_clear()


def browser_of_embedded(address: str) -> TestClient:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware

    routes = [*session_routes.session_routes(Limits())]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(RequestGuard)]), base_url=address)


def _invite(team: TeamStudio, project: Project, email: str) -> str:
    from lora_core.actions.team import invite_person

    operator = project.add_person(operator=True)
    _, person = team.sessions.sign_in(operator.email, operator.password)
    return invite_person(team.workspace(person), email).code.reveal()
