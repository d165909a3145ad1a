"""What a Supabase project answers becomes an error that says what to do."""

import httpx
import pytest

from lora_core.errors import (
    Conflict,
    Forbidden,
    NotAllowed,
    NotFound,
    SignedOut,
    StoreError,
    StudioError,
    TooLarge,
    Unavailable,
)
from lora_core.store.supabase import errors
from lora_core.store.supabase.errors import error_of, typed_errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, SignedOut),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (413, TooLarge),
        (422, NotAllowed),
    ],
)
def test_what_a_function_raises_keeps_its_words(status: int, kind: type[StudioError]) -> None:
    error = error_of(status, f'{{"code": "PT{status}", "message": "No.", "hint": "Ask.", "details": null}}')
    assert (type(error), error.message, error.next_step) == (kind, "No.", "Ask.")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        # PostgREST and PostgreSQL
        (409, '{"code": "23505", "message": "duplicate key value"}', Conflict),
        (403, '{"code": "42501", "message": "permission denied for table datasets"}', Forbidden),
        (401, '{"code": "42501", "message": "permission denied for table datasets"}', SignedOut),
        (401, '{"code": "PGRST301", "message": "JWSError JWSInvalidSignature"}', SignedOut),
        (401, '{"code": "PGRST303", "message": "JWT expired"}', SignedOut),
        (400, '{"code": "22P02", "message": "invalid input syntax for type uuid"}', NotFound),
        (400, '{"code": "23514", "message": "violates check constraint"}', NotAllowed),
        (500, '{"code": "57014", "message": "canceling statement due to statement timeout"}', Unavailable),
        (504, '{"code": "PGRST003", "message": "Timed out acquiring connection"}', Unavailable),
        (503, '{"code": "PGRST001", "message": "no connection"}', Unavailable),
        (400, '{"code": "40P01", "message": "deadlock detected"}', Unavailable),
        (404, '{"code": "PGRST202", "message": "Could not find the function"}', StoreError),
        (404, '{"code": "PGRST205", "message": "Could not find the table"}', StoreError),
        (400, '{"code": "P0001", "message": "raised"}', StoreError),
        # Storage: the true status is inside
        (400, '{"statusCode": "404", "error": "not_found", "message": "Object not found"}', NotFound),
        (400, '{"statusCode": "409", "error": "Duplicate", "message": "The resource exists"}', Conflict),
        (400, '{"statusCode": "413", "error": "Payload too large", "message": "exceeded"}', TooLarge),
        (
            400,
            '{"statusCode": "403", "error": "Unauthorized", "message": "new row violates row-level security"}',
            Forbidden,
        ),
        (
            400,
            '{"statusCode": "403", "error": "Unauthorized", "message": "\\"exp\\" claim timestamp check failed"}',
            SignedOut,
        ),
        # what is on the way
        (401, '{"message": "Invalid API key", "hint": "Double check"}', StoreError),
        (502, "<html>Bad gateway</html>", Unavailable),
        (404, "<html>Not found</html>", Unavailable),
        (429, "too many requests", Unavailable),
        (413, "Maximum size exceeded", TooLarge),
        (403, "", Forbidden),
        (401, "", SignedOut),
        (500, "[]", Unavailable),
    ],
)
def test_an_answer_becomes_one_kind_of_error(status: int, body: str, kind: type[StudioError]) -> None:
    error = error_of(status, body)
    assert type(error) is kind
    assert error.message


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (httpx.ConnectError("[Errno 111] refused"), Unavailable, "Try again"),
        (httpx.ReadTimeout("slow"), Unavailable, "Try again"),
        (httpx.RemoteProtocolError("Server disconnected"), Unavailable, "Try again"),
        (httpx.UnsupportedProtocol("no scheme"), StoreError, "SUPABASE_URL"),
        (httpx.InvalidURL("no host"), StoreError, "SUPABASE_URL"),
    ],
)
def test_a_network_that_fails_says_what_to_do(cause: Exception, kind: type[StudioError], words: str) -> None:
    with pytest.raises(kind) as caught, typed_errors():
        raise cause
    assert type(caught.value) is kind
    assert words in caught.value.next_step


def test_what_only_an_operator_understands_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    errors._note_once.cache_clear()
    for _ in range(3):
        with pytest.raises(Unavailable) as caught, typed_errors():
            raise httpx.ConnectError("[Errno 113] No route to host")
        assert "Errno" not in str(caught.value)
    unavailable = error_of(503, '{"code": "PGRST002", "message": "schema cache"}')
    assert "PGRST002" not in str(unavailable)
    assert "No route to host" in caplog.text
    assert caplog.text.count("Errno 113") <= 2, "once a minute"
    assert "HTTP 503 PGRST002" in caplog.text


def test_an_older_database_names_the_migrations() -> None:
    error = error_of(404, '{"code": "PGRST202", "message": "Could not find the function public.job_series"}')
    assert "supabase/migrations" in error.next_step


def test_other_exceptions_pass_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), typed_errors():
        raise ZeroDivisionError
