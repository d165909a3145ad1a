"""The routes and the guard before them: who may call, what streams, how errors look."""

import hashlib
import tracemalloc
from collections.abc import Iterator
from urllib.parse import quote

import anyio
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from lora_core.actions.datasets import list_datasets
from lora_core.actions.workspace import Workspace
from lora_core.errors import DiskFull
from lora_core.studio import Studio
from pages.frame import routes
from pages.frame.guard import RequestGuard, host_allowed
from pages.frame.routes import content_disposition
from tests.pages.checked import checked_dataset

ROW = b'{"text": "hello"}\n'
SAME_ORIGIN = {"origin": "http://127.0.0.1:8501"}


async def _document(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("page")


@pytest.fixture
def stranger(studio: Studio, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client without a session."""
    monkeypatch.setattr(routes, "open_studio", lambda: studio)
    monkeypatch.setattr(routes, "open_workspace", lambda _headers: workspace)
    app = Starlette(
        routes=[*routes.ROUTES, Route("/", _document), Route("/_stcore/health", _document)],
        middleware=[Middleware(RequestGuard)],
    )
    with TestClient(app, base_url="http://127.0.0.1:8501") as client:
        yield client


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """A client that has opened the app's page, as a browser does."""
    stranger.get("/", headers={"accept": "text/html,*/*"})
    return stranger


def put(client: TestClient, content: object = ROW, file: str = "rows.jsonl", **headers: str):
    return client.put(
        f"/api/datasets?file={quote(file, safe='')}", content=content, headers=SAME_ORIGIN | headers
    )


def test_an_upload_becomes_a_data_set(client: TestClient, workspace: Workspace) -> None:
    answer = put(client, ROW * 3, file="mÿ röws.jsonl")
    assert answer.status_code == 201
    (dataset,) = list_datasets(workspace).items
    assert (dataset.id, dataset.file_name, dataset.bytes) == (
        answer.json()["id"],
        "mÿ röws.jsonl",
        3 * len(ROW),
    )
    assert dataset.sha256 == hashlib.sha256(ROW * 3).hexdigest()


def test_an_upload_is_never_whole_in_memory(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "open_workspace", lambda _headers: workspace)
    chunks, size = 800, 65536
    sent = 0

    async def receive() -> dict[str, object]:
        nonlocal sent
        sent += 1
        return {"type": "http.request", "body": bytes(size), "more_body": sent < chunks}

    async def upload() -> int:
        scope = {"type": "http", "method": "PUT", "headers": [], "query_string": b"file=big.txt", "path": "/"}
        tracemalloc.start()
        try:
            answer = await routes.upload_dataset(Request(scope, receive))
            assert answer.status_code == 201
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert anyio.run(upload) < chunks * size / 10


def test_a_file_above_the_limit_is_refused_before_it_is_read(
    client: TestClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Workspace(
        **vars(workspace) | {"settings": workspace.settings.model_copy(update={"max_upload_bytes": 10})}
    )
    monkeypatch.setattr(routes, "open_workspace", lambda _headers: small)
    answer = put(client, ROW)
    assert answer.status_code == 413
    assert set(answer.json()) == {"message", "next_step"}


def test_a_file_that_grows_above_the_limit_leaves_nothing(
    client: TestClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Workspace(
        **vars(workspace) | {"settings": workspace.settings.model_copy(update={"max_upload_bytes": 99})}
    )
    monkeypatch.setattr(routes, "open_workspace", lambda _headers: small)
    assert put(client, (ROW for _ in range(20))).status_code == 413
    assert not list_datasets(workspace).items


def test_an_empty_file_is_refused_in_words(client: TestClient) -> None:
    answer = put(client, b"")
    assert answer.status_code == 422
    assert "empty" in answer.json()["message"]


def test_a_full_disk_is_said(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise DiskFull("The disk is full.", "Free some space.")

    monkeypatch.setattr(routes.datasets, "upload_dataset", full)
    answer = put(client)
    assert (answer.status_code, answer.json()["next_step"]) == (507, "Free some space.")


@pytest.mark.parametrize("name", ["../../x.jsonl", "a\r\nSet-Cookie: x", "x" * 2000, "%00", ""])
def test_a_hostile_file_name_is_only_a_name(client: TestClient, workspace: Workspace, name: str) -> None:
    assert put(client, file=name).status_code == 201
    (dataset,) = list_datasets(workspace).items
    answer = client.get(f"/api/download/dataset/{dataset.id}")
    assert answer.content == ROW
    assert "set-cookie" not in answer.headers


def test_a_data_set_comes_back_under_its_name(client: TestClient) -> None:
    dataset_id = put(client, file="Käse 100%.jsonl").json()["id"]
    answer = client.get(f"/api/download/dataset/{dataset_id}")
    assert answer.content == ROW
    assert "filename*=UTF-8''K%C3%A4se%20100%25.jsonl" in answer.headers["content-disposition"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_issues_of_a_data_set_are_downloaded(client: TestClient, studio: Studio) -> None:
    dataset = checked_dataset(studio, '{"text": "fine"}\nnot json\n')
    assert b'"line":2' in client.get(f"/api/download/issues/{dataset.id}").content


def test_an_unknown_download_is_a_404_in_words(client: TestClient) -> None:
    for path in (
        "dataset/none",
        "artifact/none",
        "metrics/none",
        "logs/none",
        "events/none",
        "issues/none",
        "secrets/none",
    ):
        answer = client.get(f"/api/download/{path}")
        assert answer.status_code == 404, path
        assert answer.json()["message"]


@pytest.mark.parametrize("path", ["/api/download/dataset/x", "/api/download/metrics/x"])
def test_without_the_session_nothing_is_read(stranger: TestClient, path: str) -> None:
    assert stranger.get(path).status_code == 403


def test_without_the_session_nothing_is_written(stranger: TestClient, workspace: Workspace) -> None:
    assert put(stranger).status_code == 403
    assert not list_datasets(workspace).items


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:8501", "sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:8501", "sec-fetch-site": "same-site"},
    ],
)
def test_another_page_cannot_upload(
    client: TestClient, workspace: Workspace, headers: dict[str, str]
) -> None:
    assert client.put("/api/datasets?file=x", content=ROW, headers=headers).status_code == 403
    assert not list_datasets(workspace).items


def test_a_write_that_hides_its_origin_is_refused(client: TestClient) -> None:
    assert client.put("/api/datasets?file=x", content=ROW).status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8501", "127.0.0.1.evil.example", "", "[::1", "a@127.0.0.1"]
)
def test_a_rebound_name_gets_nothing(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"host": host, "accept": "text/html"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["localhost:8501", "127.0.0.1", "[::1]:8501", "LOCALHOST"])
def test_the_apps_own_names_are_allowed(host: str) -> None:
    assert host_allowed(host)


def test_the_session_is_for_this_site_and_not_for_scripts(stranger: TestClient) -> None:
    cookie = stranger.get("/", headers={"accept": "text/html"}).headers["set-cookie"]
    assert cookie.startswith("lora_studio_8501=")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_the_app_cannot_be_framed_by_another_page(stranger: TestClient) -> None:
    answer = stranger.get("/", headers={"accept": "text/html"})
    assert answer.headers["content-security-policy"] == "frame-ancestors 'self'"


def test_a_tab_that_attaches_again_gets_the_session(stranger: TestClient) -> None:
    stranger.get("/_stcore/health")
    assert put(stranger).status_code == 201


@pytest.mark.parametrize("token", ["", "wrong", "ä"])
def test_a_forged_session_is_refused(stranger: TestClient, token: str) -> None:
    answer = stranger.get("/api/download/dataset/x", headers={"cookie": f"lora_studio_8501={token}".encode()})
    assert answer.status_code == 403


def test_the_health_address_needs_no_session(stranger: TestClient) -> None:
    assert stranger.get("/api/health").json()["status"] == "ok"


def test_the_health_address_says_when_the_store_is_away(
    stranger: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise OSError("no such disk")

    monkeypatch.setattr(studio, "check", gone)
    answer = stranger.get("/api/health")
    assert (answer.status_code, answer.json()["store"]) == (503, "OSError")


def test_names_with_line_ends_cannot_add_headers() -> None:
    assert not {"\r", "\n"} & set(content_disposition("a\r\nb\x00.jsonl"))
