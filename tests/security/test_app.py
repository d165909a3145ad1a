"""Several people in one app process, over its routes; and every secret that was handed out, looked for where it must not be."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from lora_core.secrets import Secret, TokenKind
from lora_core.settings import Settings
from lora_core.store.supabase import holder
from lora_core.studio import TeamStudio
from pages.frame import opened
from tests.pages.door import ADDRESS, COOKIE, SAME_ORIGIN, browser, sign_in
from tests.runner.agent.bench import wait_until
from tests.runner.team.bench import TeamBench
from tests.supastub.rig import Project

ROW = b'{"text": "zebrafish"}\n'


@pytest.fixture
def team(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TeamStudio]:
    """The app's studio."""
    settings = Settings(home=tmp_path / "app", supabase_url=project.url, supabase_key=project.publishable_key)
    studio = TeamStudio(settings)
    monkeypatch.setattr(opened, "make_studio", lambda: studio)
    opened.open_studio.cache_clear()
    yield studio
    opened.open_studio.cache_clear()
    studio.close()


@pytest.fixture
def anne(team: TeamStudio, project: Project) -> Iterator[TestClient]:
    """Anne's browser."""
    with browser() as client:
        sign_in(client, project.add_person(email="anne@studio.test"))
        yield client


@pytest.fixture
def ben(team: TeamStudio, project: Project) -> Iterator[TestClient]:
    """Ben's browser."""
    with browser() as client:
        sign_in(client, project.add_person(email="ben@studio.test"))
        yield client


def put(client: TestClient, name: str = "rows.jsonl", **headers: str):
    return client.put(f"/api/datasets?file={name}", content=ROW, headers=SAME_ORIGIN | headers)


TRICKS = [
    "dataset/{id}/", "dataset/{id}/..", "dataset/../dataset/{id}", "dataset/..%2Fdataset%2F{id}", "dataset/%2e%2e%2f{id}",
    "dataset/{id}%00", "dataset/{id}%0a", "dataset/{ID}", "dataset/{id}%20", "Dataset/{id}", "datasets/{id}",
    "dataset/*", "dataset/%25", "dataset/{id}%27%20or%201=1", "dataset/{id}?user_id={anne}", "artifact/{id}", "metrics/{id}",
    "logs/{id}", "dataset/{anne}%2Fdatasets%2F{id}%2Fdata", "dataset/..%2F..%2F..%2Fetc%2Fpasswd", "x/{id}", "/{id}",
    "dataset/", "", "dataset/{id};x", "issues/{id}", "dataset/" + "x" * 5000, "dataset/null", "dataset/🙂",
]  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS, ids=lambda text: text[:30])
def test_no_address_leads_to_somebody_elses_file(
    anne: TestClient, ben: TestClient, project: Project, trick: str
) -> None:
    of_anne = put(anne).json()["id"]
    owner = project.sql("select user_id::text as id from public.datasets")[0]["id"]
    address = f"/api/download/{trick.format(id=of_anne, ID=of_anne.upper(), anne=owner)}"
    answer = ben.get(address)
    assert answer.status_code in (404, 405), (answer.status_code, answer.text)
    assert "zebrafish" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/passwd", "a\x00b".replace("\x00", "%00"), "x" * 3000, "%F0%9F%99%82", "..", ""]
)
def test_a_files_name_is_no_part_of_its_key(anne: TestClient, project: Project, name: str) -> None:
    assert put(anne, name).status_code == 201
    (row,) = project.sql("select id::text, user_id::text, storage_path, file_name from public.datasets")
    assert row["storage_path"] == f"{row['user_id']}/datasets/{row['id']}/data"
    assert len(row["file_name"]) <= 1000


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ADDRESS, "sec-fetch-site": "cross-site"},
        {"origin": ADDRESS, "sec-fetch-site": "same-site"},
        {"origin": ADDRESS + ".evil.example"},
        {"origin": "http://127.0.0.1:8502"},
        {"origin": ""},
    ],
    ids=str,
)
def test_another_site_writes_nothing_with_a_persons_cookie(
    anne: TestClient, project: Project, headers: dict[str, str]
) -> None:
    answer = anne.put("/api/datasets?file=x", content=ROW, headers=headers)
    assert answer.status_code == 403
    assert anne.delete("/api/session", headers=headers).status_code == 403
    assert project.sql("select 1 from public.datasets") == []


def forged(cookie: str) -> list[str]:
    return [
        "A" * 43, cookie[:-1], cookie + "A", cookie[::-1], cookie.lower(), f'"{cookie}"x', "", " ", "../" + cookie, "x" * 8000,
        cookie.encode().hex(), "%00", "null",
    ]  # fmt: skip


def test_a_forged_cookie_is_nobody(anne: TestClient) -> None:
    address = f"/api/download/dataset/{put(anne).json()['id']}"
    cookie = anne.cookies[COOKIE]
    for value in forged(cookie):
        with browser() as stranger:
            answer = stranger.get(address, headers={"cookie": f"{COOKIE}={value}"})
        assert answer.status_code == 401, value
    for name in (
        "lora_studio_session_8502",
        "__Host-lora_studio_session_8501",
        "lora_studio_8501",
        COOKIE.upper(),
    ):
        with browser() as stranger:
            assert stranger.get(address, headers={"cookie": f"{name}={cookie}"}).status_code == 401, name
    assert anne.get(address).status_code == 200


def test_a_session_id_that_was_planted_before_is_not_taken_over(team: TeamStudio, project: Project) -> None:
    person = project.add_person(email="cara@studio.test")
    with browser() as client:
        planted = "B" * 43
        client.cookies.set(COOKIE, planted)
        sign_in(client, person)
    with browser() as attacker:
        assert (
            attacker.get("/api/download/dataset/x", headers={"cookie": f"{COOKIE}={planted}"}).status_code
            == 401
        )


def test_a_cookie_that_was_signed_out_is_worth_nothing(anne: TestClient) -> None:
    address, cookie = f"/api/download/dataset/{put(anne).json()['id']}", anne.cookies[COOKIE]
    anne.delete("/api/session", headers=SAME_ORIGIN)
    with browser() as thief:
        assert thief.get(address, headers={"cookie": f"{COOKIE}={cookie}"}).status_code == 401


def test_tokens_of_the_project_open_no_route(anne: TestClient, team: TeamStudio, project: Project) -> None:
    """A route takes the cookie alone: no bearer, no job token, no access token in the cookie's place."""
    address = f"/api/download/dataset/{put(anne).json()['id']}"
    session = team.sessions.find(anne.cookies[COOKIE])
    assert session is not None
    token = session.token()
    for headers in (
        {"authorization": f"Bearer {token}"},
        {"x-job-token": token},
        {"cookie": f"{COOKIE}={token}"},
    ):
        with browser() as stranger:
            assert stranger.get(address, headers=headers).status_code == 401


def test_a_file_beyond_the_storage_limit_is_refused_in_words_and_leaves_nothing(
    anne: TestClient, project: Project
) -> None:
    project.sql("insert into public.quotas (user_id, storage_bytes) select id, 10 from auth.users")
    answer = put(anne)
    assert (answer.status_code, "The storage limit is" in answer.text) == (409, True), answer.text
    assert project.sql("select name from storage.objects") == []
    project.sql(
        "insert into storage.objects (bucket_id, name, metadata)"
        " select 'lora-datasets', id || '/hoard', '{\"size\": 11}' from auth.users"
    )
    assert put(anne).status_code == 403


# Secrets ------------------------------------------------------------------------------------------------------------------


def secrets_of(team: TeamStudio, client: TestClient) -> list[str]:
    """What a person's session is made of."""
    session = team.sessions.find(client.cookies[COOKIE])
    assert session is not None
    auth = session._auth
    return [client.cookies[COOKIE], auth.access_token.reveal(), auth.refresh_token.reveal()]


def test_no_secret_is_in_a_log_line_an_error_or_a_file(
    project: Project, team: TeamStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A person and a runner at work, and much goes wrong; then every secret is looked for."""
    made: list[str] = []
    new_token = holder.new_token

    def recorded(kind: TokenKind) -> Secret:
        token = new_token(kind)
        made.append(token.reveal())
        return token

    monkeypatch.setattr(holder, "new_token", recorded)
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    person = project.add_person(email="cara@studio.test")
    with browser() as client:
        told.append(
            client.post(
                "/api/session", json={"email": person.email, "password": "wrong zebra 1"}, headers=SAME_ORIGIN
            ).text
        )
        told.append(sign_in(client, person).text)
        secrets = secrets_of(team, client)
        told.append(put(client).text)
        told.append(client.get("/api/download/dataset/x").text)
        told.append(
            client.post(
                "/api/session/account",
                json={
                    "email": "dora@studio.test",
                    "password": "long zebra password",
                    "invitation": "lsi_zebra",
                },
                headers=SAME_ORIGIN,
            ).text
        )
        bench = TeamBench(tmp_path / "machine", project)
        try:
            job = bench.submit()
            bench.start(script={"steps": 60, "step_seconds": 0.02})
            bench.wait_for_step(job, 3)
            project.stop_gateway()
            told.append(client.get("/api/download/dataset/6f1ed002-ab55-4b37-8a4c-111111111111").text)
            project.start_gateway()
            bench.wait_for_step(job, 10)
            bench.user.registry.revoke(bench.registration)
            wait_until(lambda: "refuses this runner" in caplog.text, "the runner to be shut out")
        finally:
            bench.close()
        client.delete("/api/session", headers=SAME_ORIGIN)
    printed = capfd.readouterr()
    lines = [
        *told,
        printed.out,
        printed.err,
        *(record.getMessage() for record in caplog.records),
        caplog.text,
    ]
    assert len(made) >= 2
    looked_for = {
        *secrets, *made, bench.token.reveal(), bench.person.token, person.password, "wrong zebra 1", "long zebra password",
        "lsi_zebra", project.secret_key,
    }  # fmt: skip
    for line in lines:
        for secret in looked_for:
            assert secret not in line, f"…{line[max(0, line.index(secret) - 200) : line.index(secret)]}"
    for folder in (tmp_path / "app", tmp_path / "machine"):
        for path in folder.rglob("*"):
            if path.is_file() and path.name != "claim.json":
                content = path.read_bytes()
                assert not [secret for secret in looked_for if secret.encode() in content], path
    kept = project.sql("select string_agg(t::text, '') as text from public.log_lines t")[0]["text"] or ""
    assert not [secret for secret in looked_for if secret in kept]
