"""Resumable uploads, over plain httpx as the product does them."""

import base64
import os
from collections.abc import Callable

import httpx
import pytest

from tests.supastub.rig import Person, Project
from tests.supastub.tus import CHUNK_BYTES

Http = Callable[[Person | None], httpx.Client]
DATA = os.urandom(CHUNK_BYTES + 1000)
PATH = "/storage/v1/upload/resumable"
TUS = {"Tus-Resumable": "1.0.0"}


def metadata(name: str, bucket: str = "files") -> str:
    pairs = {
        "bucketName": bucket,
        "objectName": name,
        "contentType": "application/x-ndjson",
        "cacheControl": "3600",
    }
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


def create(client: httpx.Client, name: str, size: int = len(DATA), **headers: str) -> httpx.Response:
    sent = {**TUS, "Upload-Length": str(size), "Upload-Metadata": metadata(name), **headers}
    return client.post(PATH, headers=sent)


def send(
    client: httpx.Client, url: str, offset: int, size: int = CHUNK_BYTES, **headers: str
) -> httpx.Response:
    kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
    return client.patch(url, content=DATA[offset : offset + size], headers={**TUS, **kind, **headers})


def key(person: Person) -> str:
    return f"{person.id}/jobs/1/adapter"


def test_a_file_goes_up_in_chunks(http: Http, anne: Person) -> None:
    client = http(anne)
    made = create(client, key(anne))
    assert (made.status_code, made.headers["upload-offset"]) == (201, "0")
    assert "GMT" in made.headers["upload-expires"]
    url = made.headers["location"]
    assert send(client, url, 0).headers["upload-offset"] == str(CHUNK_BYTES)
    last = send(client, url, CHUNK_BYTES)
    assert (last.status_code, last.headers["tus-complete"]) == (204, "1")
    assert client.get(f"/storage/v1/object/files/{key(anne)}").content == DATA
    assert (
        client.get(f"/storage/v1/object/info/files/{key(anne)}").json()["content_type"]
        == "application/x-ndjson"
    )


def test_a_broken_upload_goes_on_where_it_stopped(project: Project, http: Http, anne: Person) -> None:
    client = http(anne)
    url = create(client, key(anne)).headers["location"]
    project.faults.cut_upload(PATH, 1_000_000, method="PATCH")
    with pytest.raises(httpx.TransportError):
        send(client, url, 0)
    offset = int(client.head(url, headers=TUS).headers["upload-offset"])
    assert offset == 1_000_000
    send(client, url, offset)
    assert client.get(f"/storage/v1/object/files/{key(anne)}").content == DATA


def test_an_upload_whose_last_answer_was_lost_is_found_complete(
    project: Project, http: Http, anne: Person
) -> None:
    client = http(anne)
    url = create(client, key(anne), 1000).headers["location"]
    project.faults.lose_reply(PATH, method="PATCH")
    with pytest.raises(httpx.TransportError):
        send(client, url, 0, 1000)
    assert client.head(url, headers=TUS).headers["upload-offset"] == "1000"
    assert client.get(f"/storage/v1/object/files/{key(anne)}").content == DATA[:1000]


def test_errors_are_plain_text_with_their_true_status(http: Http, anne: Person, ben: Person) -> None:
    forbidden = create(http(ben), key(anne))
    assert (forbidden.status_code, forbidden.headers["content-type"]) == (403, "text/plain; charset=utf-8")
    assert create(http(anne), key(anne), 21 * 2**20).status_code == 413
    assert create(http(anne), "ümlaut").status_code == 400
    url = create(http(anne), key(anne)).headers["location"]
    assert send(http(anne), url, 5).status_code == 409
    assert send(http(ben), url, 0).status_code == 403
    assert http(anne).head(f"{PATH}/bm90aGluZw", headers=TUS).status_code == 404
    assert http(anne).head(url).status_code == 412


def test_replacing_must_be_asked_for_with_every_request(http: Http, anne: Person) -> None:
    client = http(anne)
    client.post(f"/storage/v1/object/files/{key(anne)}", content=b"old")
    assert create(client, key(anne), 10).status_code == 409
    url = create(client, key(anne), 10, **{"x-upsert": "true"}).headers["location"]
    assert send(client, url, 0, 10).status_code == 409
    assert send(client, url, 0, 10, **{"x-upsert": "true"}).status_code == 204
    assert client.get(f"/storage/v1/object/files/{key(anne)}").content == DATA[:10]


def test_a_token_in_a_header_is_asked_at_every_chunk(project: Project) -> None:
    with httpx.Client(base_url=project.url, headers={"apikey": project.publishable_key}) as client:
        assert create(client, "pods/1", 10).status_code == 403
        url = create(client, "pods/1", 10, **{"x-job-token": "let-me-in"}).headers["location"]
        assert send(client, url, 0, 10).status_code == 403
        assert send(client, url, 0, 10, **{"x-job-token": "let-me-in"}).status_code == 204


def test_chunks_are_six_mebibytes(http: Http, anne: Person) -> None:
    client = http(anne)
    url = create(client, key(anne)).headers["location"]
    assert send(client, url, 0, 1000).status_code == 501


def test_an_upload_can_be_given_up(http: Http, anne: Person) -> None:
    client = http(anne)
    url = create(client, key(anne)).headers["location"]
    assert client.delete(url, headers=TUS).status_code == 204
    assert client.head(url, headers=TUS).status_code == 404


def test_an_upload_grows_old(project: Project, http: Http, anne: Person) -> None:
    client = http(anne)
    url = create(client, key(anne)).headers["location"]
    project.pass_time(25 * 3600)
    assert send(client, url, 0).status_code == 410


def test_an_empty_file_is_complete_at_once(http: Http, anne: Person) -> None:
    client = http(anne)
    assert create(client, key(anne), 0).headers["tus-complete"] == "1"
    assert client.get(f"/storage/v1/object/files/{key(anne)}").content == b""


def test_a_signed_upload_can_be_resumable(project: Project, http: Http, anne: Person) -> None:
    token = http(anne).post(f"/storage/v1/object/upload/sign/files/{key(anne)}").json()["token"]
    with httpx.Client(base_url=project.url) as nobody:
        sent = {**TUS, "Upload-Length": "10", "Upload-Metadata": metadata(key(anne)), "x-signature": token}
        url = nobody.post(f"{PATH}/sign", headers=sent).headers["location"]
        assert send(nobody, url, 0, 10, **{"x-signature": token}).status_code == 204
    assert project.sql("select owner_id from storage.objects") == [{"owner_id": anne.id}]
