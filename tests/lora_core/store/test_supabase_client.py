"""One person's line to a project: tokens, repeats, errors. The project is a function here; the real one is in the contracts."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from postgrest.types import CountMethod

from lora_core.errors import Conflict, NotAllowed, NotFound, SignedOut, StoreError, Unavailable
from lora_core.schema.job import JobFilter, JobStatus
from lora_core.store.supabase.client import TIMEOUT, PersonClient
from lora_core.store.supabase.files import StorageFiles
from lora_core.store.supabase.jobs import SupabaseJobStore
from lora_core.store.supabase.retry import Patience, retried
from lora_core.store.supabase.store import open_user_store
from tests.contracts.samples import ANNE, BEN, job_of

URL = "http://project.test"
KEY = "sb_publishable_x"
JOB = "00000000-0000-4000-8000-00000000000c"
QUICK = Patience(first_wait_seconds=0.001, longest_wait_seconds=0.002)
Answer = Callable[[httpx.Request], httpx.Response]


def row_of(**changes: Any) -> dict[str, Any]:
    """Make a job's row as the database answers it."""
    job = job_of(ANNE, "00000000-0000-4000-8000-00000000000d").model_copy(update={"id": JOB})
    values = job.model_dump(mode="json")
    return values | values.pop("requirements") | changes


@contextmanager
def client_of(answer: Answer, token: Callable[[], str] = lambda: "jwt") -> Iterator[PersonClient]:
    client = PersonClient(URL, KEY, token, patience=QUICK, transport=httpx.MockTransport(answer))
    yield client
    client.close()


def jobs_of(client: PersonClient) -> SupabaseJobStore:
    return SupabaseJobStore(client, StorageFiles(URL, dict), ANNE)


class Script:
    """Answers one after the other, and notes what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answers.pop(0) if self._answers else httpx.Response(500)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_each_request_carries_the_token_of_that_moment() -> None:
    tokens = iter(["first", "second"])
    script = Script(httpx.Response(200, json=[]), httpx.Response(200, json=[]))
    with client_of(script, lambda: next(tokens)) as client:
        for _ in range(2):
            client.rows(client.table("datasets").select("id"))
    assert [asked.headers["authorization"] for asked in script.asked] == ["Bearer first", "Bearer second"]
    assert {asked.headers["apikey"] for asked in script.asked} == {KEY}


def test_a_repeated_call_asks_for_the_token_again() -> None:
    tokens = iter(["first", "second"])
    script = Script(httpx.Response(503), httpx.Response(200, json=[]))
    with client_of(script, lambda: next(tokens)) as client:
        client.rows(client.table("datasets").select("id"))
    assert script.asked[1].headers["authorization"] == "Bearer second"


def test_two_clients_share_no_state() -> None:
    anne, ben = Script(httpx.Response(200, json=[])), Script(httpx.Response(200, json=[]))
    with client_of(anne, lambda: "anne") as first, client_of(ben, lambda: "ben") as second:
        query = first.table("datasets").select("id")
        second.rows(second.table("datasets").select("id"))
        first.rows(query)
    assert anne.asked[0].headers["authorization"] == "Bearer anne"
    assert ben.asked[0].headers["authorization"] == "Bearer ben"


def test_a_token_that_cannot_be_had_is_not_a_network_fault() -> None:
    def token() -> str:
        raise SignedOut("The session has ended.")

    script = Script()
    with client_of(script, token) as client, pytest.raises(SignedOut):
        client.rows(client.table("datasets").select("id"))
    assert not script.asked


def test_an_expired_session_is_signed_out_at_once() -> None:
    script = Script(httpx.Response(401, json={"code": "PGRST303", "message": "JWT expired"}))
    with client_of(script) as client, pytest.raises(SignedOut) as caught:
        client.rows(client.table("datasets").select("id"))
    assert len(script.asked) == 1
    assert caught.value.next_step


@pytest.mark.parametrize(
    "fault", [httpx.ConnectError("refused"), httpx.RemoteProtocolError("gone"), httpx.Response(502)]
)
def test_a_call_is_made_again_after_a_short_fault(fault: httpx.Response | Exception) -> None:
    script = Script(fault, httpx.Response(200, json={"queued": 2}))
    with client_of(script) as client:
        assert jobs_of(client).counts() == {JobStatus.QUEUED: 2}


def test_an_unreachable_project_is_unavailable_with_a_next_step() -> None:
    with (
        client_of(Script(*[httpx.ConnectError("refused")] * 9)) as client,
        pytest.raises(Unavailable) as caught,
    ):
        client.rows(client.table("datasets").select("id"))
    assert "Try again" in caught.value.next_step


def test_nothing_answers_at_the_address(tmp_path: Path) -> None:
    began = time.monotonic()
    stores = open_user_store("http://127.0.0.1:9", KEY, ANNE, lambda: "jwt", spool=tmp_path)
    with pytest.raises(Unavailable):
        stores.jobs.list(JobFilter())
    assert time.monotonic() - began < 5
    stores.close()


@pytest.mark.parametrize(("url", "key"), [("", KEY), ("nothing", KEY), (URL, "")])
def test_an_address_that_is_none_is_a_studio_error(url: str, key: str) -> None:
    with pytest.raises(StoreError):
        PersonClient(url, key, lambda: "jwt")


def test_a_refusal_is_not_repeated() -> None:
    script = Script(httpx.Response(409, json={"code": "PT409", "message": "No."}))
    with client_of(script) as client, pytest.raises(Conflict):
        client.rpc("rename_job", {})
    assert len(script.asked) == 1


def test_a_move_whose_answer_was_lost_is_done() -> None:
    refusal = {"code": "PT422", "message": "A job that is paused cannot become paused."}
    script = Script(
        httpx.ReadError("lost"),
        httpx.Response(422, json=refusal),
        httpx.Response(200, json=[row_of(status="paused")]),
    )
    with client_of(script) as client:
        assert jobs_of(client).move(JOB, JobStatus.PAUSED).status is JobStatus.PAUSED


def test_a_repeated_move_that_is_refused_for_good_stays_refused() -> None:
    refusal = {"code": "PT422", "message": "The job is running: a runner holds it and has to be asked."}
    script = Script(
        httpx.ReadError("lost"),
        httpx.Response(422, json=refusal),
        httpx.Response(200, json=[row_of(status="running")]),
    )
    with client_of(script) as client, pytest.raises(NotAllowed, match="a runner holds it"):
        jobs_of(client).move(JOB, JobStatus.PAUSED)


@pytest.mark.parametrize(
    "job_id", ["", "x", "00000000-0000-4000-8000-00000000000A", f"{JOB},or(id.eq.{JOB})"]
)
def test_what_cannot_be_an_id_is_not_found_without_a_request(job_id: str) -> None:
    script = Script()
    with client_of(script) as client:
        jobs = jobs_of(client)
        calls: list[Callable[[], object]] = [
            lambda: jobs.get(job_id),
            lambda: jobs.move(job_id, JobStatus.PAUSED),
            lambda: jobs.delete(job_id),
            lambda: jobs.events(job_id),
            lambda: jobs.attempts(job_id),
        ]
        for call in calls:
            with pytest.raises(NotFound):
                call()
    assert not script.asked


def test_a_made_up_cursor_never_reaches_the_project() -> None:
    from lora_core.store.supabase.jobs import _LIST

    script = Script()
    with client_of(script) as client:
        for keys in (
            (f'2026-01-01T00:00:00Z",id.gt."{JOB}', JOB),
            ("2026-01-01T00:00:00Z", "x"),
            ("soon", JOB),
        ):
            with pytest.raises(NotFound):
                jobs_of(client).list(JobFilter(), cursor=_LIST.write(*keys))
    assert not script.asked


def test_a_job_of_somebody_else_is_not_even_sent() -> None:
    script = Script()
    with client_of(script) as client, pytest.raises(Exception, match="belongs"):
        jobs_of(client).submit(job_of(BEN, JOB))
    assert not script.asked


def test_every_list_asks_for_the_persons_own_rows() -> None:
    script = Script(httpx.Response(200, json=[]))
    with client_of(script) as client:
        jobs_of(client).list(JobFilter(search="50%_*(x)"), limit=2)
    asked = script.asked[0].url.params
    assert asked["user_id"] == f"eq.{ANNE}"
    assert asked["name"] == r"imatch.50%_\*\(x\)"
    assert asked["limit"] == "3"


def test_a_request_is_encoded_whatever_the_text() -> None:
    script = Script(httpx.Response(200, json=row_of()))
    with client_of(script) as client:
        jobs_of(client).rename(JOB, "half \udcff of\x00 a name")
    assert json.loads(script.asked[0].content)["p_name"] == "half ? of� a name"


def test_patience_ends() -> None:
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        retried(call, patience=Patience(tries=3, first_wait_seconds=0.001))
    assert calls == 3
    with pytest.raises(Unavailable):
        retried(call, patience=Patience(tries=100, seconds=0.05, first_wait_seconds=0.02))
    assert calls < 10


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(200, html="<html>Sign in to this network</html>"), httpx.Response(200, json={"a": 1})],
    ids=["a page of a proxy", "no rows"],
)
def test_what_is_no_answer_of_a_project_is_no_empty_list(answer: httpx.Response) -> None:
    with client_of(lambda _request: answer) as client, pytest.raises(Unavailable):
        client.rows(client.table("datasets").select("id"))


def test_a_page_of_a_proxy_is_no_count_of_zero() -> None:
    with (
        client_of(lambda _request: httpx.Response(200, headers={"content-type": "text/html"})) as client,
        pytest.raises(Unavailable),
    ):
        client.execute(client.table("notifications").select("id", count=CountMethod.exact, head=True))


def test_a_removal_waits_as_long_as_the_database_may_take() -> None:
    asked: dict[str, float] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        asked[request.url.path.rsplit("/", 1)[-1]] = request.extensions["timeout"]["read"]
        return httpx.Response(200, json=[])

    with client_of(answer) as client:
        with suppress(httpx.HTTPError, StoreError):
            jobs_of(client).delete(JOB)
        client.rpc("job_counts", {})
    assert asked["delete_job"] > 60
    assert asked["job_counts"] == TIMEOUT.read
