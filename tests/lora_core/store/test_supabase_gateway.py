"""What a runner's gateway makes of a project's answers. A function answers here; the real ones are in the ports' tests."""

import json
from collections.abc import Callable

import httpx
import pytest

from lora_core.errors import Conflict, SignedOut, StoreError, TooLarge, Unavailable
from lora_core.store.supabase.gateway import Gateway, encode
from lora_core.store.supabase.retry import Patience

QUICK = Patience(tries=2, first_wait_seconds=0.001, longest_wait_seconds=0.002)
KEY = "sb_publishable_x"
Answer = Callable[[httpx.Request], httpx.Response]


def gateway_of(answer: Answer, url: str = "https://ref.supabase.co/") -> Gateway:
    return Gateway(url, KEY, patience=QUICK, transport=httpx.MockTransport(answer))


def refused(status: int, body: object) -> Exception:
    """Return what a call raises that is answered so."""
    content = body if isinstance(body, str) else json.dumps(body)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the caller looks
        gateway_of(lambda _: httpx.Response(status, text=content)).rpc("job_renew")
    return caught.value


def test_a_call_is_one_post_with_nothing_but_the_publishable_key() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"ok": True})

    assert gateway_of(answer).rpc("job_renew", p_attempt=1) == {"ok": True}
    request = asked[0]
    assert (request.method, str(request.url)) == ("POST", "https://ref.supabase.co/rest/v1/rpc/job_renew")
    assert json.loads(request.content) == {"p_attempt": 1}
    assert (request.headers["apikey"], request.headers["authorization"]) == (KEY, f"Bearer {KEY}")


@pytest.mark.parametrize("answer", [httpx.Response(204), httpx.Response(200, text="null")])
def test_a_function_that_returns_nothing_gives_none(answer: httpx.Response) -> None:
    assert gateway_of(lambda _: answer).rpc("job_ship") is None


@pytest.mark.parametrize(("code", "kind"), [("PT401", SignedOut), ("PT409", Conflict), ("PT413", TooLarge)])
def test_what_a_function_decides_comes_out_as_it_says(code: str, kind: type[Exception]) -> None:
    error = refused(int(code[2:]), {"code": code, "message": "Attempt 2 owns the job now.", "hint": "Stop."})
    assert type(error) is kind
    assert str(error) == "Attempt 2 owns the job now. Stop."


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (503, "<html>503</html>", "does not answer"),
        (500, {"code": "57014", "message": "canceling statement due to statement timeout"}, "too long"),
        (429, "", "too many calls"),
        (401, {"message": "Invalid API key", "hint": ""}, "SUPABASE_PUBLISHABLE_KEY"),
        (401, {"message": "JWT expired", "code": "PGRST303"}, "SUPABASE_PUBLISHABLE_KEY"),
        (404, {"code": "PGRST202", "message": "Could not find the function"}, "supabase/migrations"),
        (403, {"code": "42501", "message": "permission denied for function job_ship"}, "may not"),
        (404, "<html>not found</html>", ""),
        (301, "", ""),
    ],
)
def test_what_says_nothing_about_the_job_is_unavailable_and_says_what_to_do(
    status: int, body: object, words: str
) -> None:
    error = refused(status, body)
    assert type(error) is Unavailable
    assert words in str(error)


@pytest.mark.parametrize("code", ["22003", "22P02", "22P05", "23505", "23514", "21000", "P0001"])
def test_a_document_that_the_database_cannot_take_is_neither_a_lost_job_nor_an_absence(code: str) -> None:
    error = refused(400, {"code": code, "message": "value out of range"})
    assert type(error) is StoreError
    assert "value out of range" in str(error)


def test_what_is_no_project_says_so() -> None:
    error = refused(200, "<html>Welcome to this hotel's network</html>")
    assert type(error) is Unavailable
    assert "SUPABASE_URL" in str(error)


@pytest.mark.parametrize("fault", [httpx.ReadError("cut"), httpx.RemoteProtocolError("gone")])
def test_a_call_without_an_answer_is_made_once_more(fault: Exception) -> None:
    answers = [fault, httpx.Response(200, json=1)]

    def answer(_: httpx.Request) -> httpx.Response:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    assert gateway_of(answer).rpc("job_renew") == 1


def test_a_project_that_stays_away_is_unavailable_after_few_calls() -> None:
    calls = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        raise httpx.ConnectTimeout("no route")

    with pytest.raises(Unavailable, match="Try again"):
        gateway_of(answer).rpc("job_renew")
    assert calls == 2


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("half \ud800", "half ?"),
        ("\\u0000", "\\u0000"),
        ("💥", "💥"),
    ],
)
def test_texts_that_postgresql_cannot_store_are_mended(text: str, stored: str) -> None:
    document = {"list": [{"key": text}], text: 1.0, "nan": float("nan")}
    assert json.loads(encode(document)) == {"list": [{"key": stored}], stored: 1.0, "nan": None}
