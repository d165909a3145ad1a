"""Faults that tests can ask for, and the network that goes away."""

import time
from collections.abc import Callable

import httpx
import pytest

from tests.supastub.rig import Person, Project

Http = Callable[[Person | None], httpx.Client]
ADD = "/rest/v1/rpc/add"


def add(client: httpx.Client) -> httpx.Response:
    return client.post(ADD, json={"p_left": 1})


def test_the_next_calls_are_answered_with_a_page(project: Project, http: Http) -> None:
    project.faults.answer("/rest/v1/rpc/", 503, times=2)
    client = http(None)
    assert [add(client).status_code for _ in range(3)] == [503, 503, 200]
    assert project.faults.count(ADD) == 3


def test_a_fault_can_be_for_one_method(project: Project, http: Http) -> None:
    project.faults.answer("/", 520, method="PATCH")
    assert add(http(None)).status_code == 200


def test_calls_can_be_late(project: Project, http: Http) -> None:
    project.faults.delay(ADD, 0.2)
    began = time.monotonic()
    assert add(http(None)).json() == 2
    assert time.monotonic() - began >= 0.2


def test_a_lost_reply_is_of_a_call_that_was_done(project: Project, http: Http, anne: Person) -> None:
    project.faults.lose_reply("/rest/v1/notes")
    client = http(anne)
    with pytest.raises(httpx.TransportError):
        client.post("/rest/v1/notes", json={"title": "once"})
    assert project.sql("select title from public.notes") == [{"title": "once"}]
    assert add(client).status_code == 200


def test_a_cut_upload_leaves_nothing(project: Project, http: Http, anne: Person) -> None:
    project.faults.cut_upload("/storage/v1/object", 500_000)
    with pytest.raises(httpx.TransportError):
        http(anne).post(f"/storage/v1/object/files/{anne.id}/x", content=b"x" * 2_000_000)
    assert project.sql("select * from storage.objects") == []


def test_a_cut_download_breaks_off(project: Project, http: Http, anne: Person) -> None:
    client, path = http(anne), f"/storage/v1/object/files/{anne.id}/x"
    client.post(path, content=b"x" * 2_000_000)
    project.faults.cut_download(path, 500_000)
    came: list[int] = []
    with client.stream("GET", path) as answer, pytest.raises(httpx.TransportError):
        came.extend(len(piece) for piece in answer.iter_bytes())
    assert 0 < sum(came) <= 500_000
    assert len(client.get(path).content) == 2_000_000


def test_the_network_goes_and_comes_back_under_the_same_address(project: Project, http: Http) -> None:
    client, url = http(None), project.url
    add(client)
    project.stop_gateway()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    with pytest.raises(httpx.TransportError):
        add(client)
    project.start_gateway()
    assert project.url == url
    assert add(client).status_code == 200


def test_every_test_begins_without_faults_and_with_the_network(project: Project, http: Http) -> None:
    assert project.faults.count("/") == 0
    assert add(http(None)).status_code == 200
