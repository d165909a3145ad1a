"""One person's line to a Supabase project: supabase-py with the studio's errors, timeouts and repeats. Knows no table.

Never shared between people: every session has its own client, and every request carries the token of that moment.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import httpx
from postgrest import APIResponse, SyncRequestBuilder, SyncSelectRequestBuilder
from supabase import Client, ClientOptions, SupabaseException, create_client

from lora_core.errors import SignedOut, StoreError, StudioError
from lora_core.store.supabase.documents import storable
from lora_core.store.supabase.errors import SIGN_IN, error_of, no_project, typed_errors
from lora_core.store.supabase.retry import PERSON, Patience, retried
from lora_core.store.supabase.tls import tls

T = TypeVar("T")

Select = SyncSelectRequestBuilder
"""A reading query that filters can still be added to."""

TIMEOUT = httpx.Timeout(10.0, connect=2.0, pool=5.0)
"""The database gives a person's call 8 s."""

_ANSWER_SECONDS: ContextVar[float | None] = ContextVar("answer_seconds", default=None)
"""For the call under way; postgrest hands no time limit on."""

LIMITS = httpx.Limits(max_connections=20, max_keepalive_connections=5, keepalive_expiry=30.0)
"""Connections stay for a while between clicks: to open one takes longer than most calls."""


class Query(Protocol):
    """A call to the database that was built but not made; making it twice must do no harm."""

    def execute(self) -> APIResponse:
        """Make the call."""


class PersonClient:
    """The project as one person sees it. Safe to call from several threads.

    Args:
        url: Address of the project.
        key: Its publishable key.
        token: Returns the person's access token, a fresh one if the last is about to expire; asked before each request.
        transport: For tests: what answers instead of the network.

    Raises:
        StoreError: The address or the key is none.
    """

    def __init__(
        self,
        url: str,
        key: str,
        token: Callable[[], str],
        *,
        patience: Patience = PERSON,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._token = token
        self._patience = patience
        self._http = httpx.Client(
            http2=False,
            timeout=TIMEOUT,
            verify=tls(),
            limits=LIMITS,
            transport=transport,
            event_hooks={"request": [self._sign], "response": [_check]},
        )
        options = ClientOptions(
            auto_refresh_token=False,
            persist_session=False,
            postgrest_client_retry=False,
            httpx_client=self._http,
        )
        try:
            self._client: Client = create_client(url, key, options)
        except SupabaseException as error:
            raise StoreError(
                f"The Supabase project cannot be used: {error}.", "Check SUPABASE_URL and the key."
            ) from error

    def table(self, name: str) -> SyncRequestBuilder:
        """Begin a query on a table; hand what comes of it to `execute` or `rows`."""
        return self._client.table(name)

    def execute(self, query: Query) -> APIResponse:
        """Make a call that was built."""
        return self._repeat(query.execute, None)

    def rows(self, query: Query) -> list[dict[str, Any]]:
        """Make a call that was built and return the rows it answers: never more than 1,000, whatever was asked."""
        data: Any = self.execute(query).data
        if not isinstance(data, list):
            raise no_project()
        return data

    def rpc(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        settle: Callable[[StudioError], Any] | None = None,
        seconds: float | None = None,
    ) -> Any:
        """Call a function of the database and return its answer as JSON.

        Args:
            settle: See `retry.retried`.
            seconds: How long to wait for the answer of a function that has more time than others.
        """
        query = self._client.rpc(name, storable(arguments))
        waiting = _ANSWER_SECONDS.set(seconds)
        try:
            return self._repeat(lambda: query.execute().data, settle)
        finally:
            _ANSWER_SECONDS.reset(waiting)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _repeat(self, call: Callable[[], T], settle: Callable[[StudioError], T] | None) -> T:
        def once() -> T:
            with typed_errors():
                return call()

        return retried(once, patience=self._patience, settle=settle)

    def _sign(self, request: httpx.Request) -> None:
        request.headers["Authorization"] = bearer(self._token())
        if (seconds := _ANSWER_SECONDS.get()) is not None:
            request.extensions["timeout"] = {**request.extensions["timeout"], "read": seconds}


def bearer(token: str) -> str:
    """Return the header that shows a person's access token.

    Raises:
        SignedOut: It cannot be a token.
    """
    if not token or not token.isascii() or not token.isprintable():
        raise SignedOut("You are signed out.", SIGN_IN)
    return f"Bearer {token}"


def _check(response: httpx.Response) -> None:
    """Raise what an answer stands for while its status is at hand: postgrest keeps only the code of the body.

    It also takes a page of HTML (of a proxy, of a sign-in to a network) for no rows; that must not look like an empty list.
    """
    if not response.is_success:
        response.read()
        raise error_of(response.status_code, response.content)
    if "json" not in response.headers.get("content-type", "json"):
        raise no_project()
