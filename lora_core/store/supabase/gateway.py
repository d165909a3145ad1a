"""Calls of the database's functions over HTTP, with nothing but the publishable key: all that a runner's process needs.

Knows no job. It tells three things apart, because a trainer's life hangs on it: what a function itself has decided
(the errors of `lora_core.errors`), a document that the database cannot take (StoreError), and everything else, from a
cable to a missing migration, which says nothing about the job (Unavailable: the trainer goes on, the call comes again).
"""

import re
from typing import Any

import httpx
import msgspec

from lora_core.errors import SignedOut, StoreError, StudioError, Unavailable
from lora_core.store.supabase.documents import encode
from lora_core.store.supabase.errors import OTHER_SCHEMA, error_of, typed_errors
from lora_core.store.supabase.retry import Patience, retried
from lora_core.store.supabase.tls import tls

TIMEOUT = httpx.Timeout(15.0, connect=5.0)
"""Per read and write, in seconds. A function that takes longer than 3 s is ended by the database."""

RUNNER = Patience(tries=2, seconds=2.0, first_wait_seconds=0.2)
"""One more try, for an idle connection that was closed meanwhile. Whoever calls has longer patience of its own."""

_OWN_CODE = re.compile(r"PT\d\d\d")
_FAULT_OF_DATA = re.compile(r"(?:21|22|23|42|44|54|P0)[0-9A-Z]{3}")
"""SQLSTATE classes in which the database says that it cannot take what it was given."""


class Gateway:
    """The API of one Supabase project for one machine. Safe for several threads.

    Every call is made again once if no answer came, so functions called here must bear to be called twice.

    Args:
        url: Address of the project.
        key: Its publishable key.
        transport: For tests: what answers instead of the network.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience: Patience = RUNNER,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._patience = patience
        self._client = httpx.Client(
            base_url=f"{self.url}/rest/v1/rpc/",
            headers={**key_headers(key), "content-type": "application/json"},
            timeout=TIMEOUT,
            verify=tls(),
            transport=transport,
        )

    def rpc(self, name: str, **parameters: Any) -> Any:
        """Call a function and return what it returns, None for nothing.

        Raises:
            Unavailable: No answer, or one that says nothing about what was asked.
            StudioError: What the function has raised.
        """
        content = encode(parameters)
        return retried(lambda: self._call(name, content), patience=self._patience)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _call(self, name: str, content: bytes) -> Any:
        with typed_errors():
            response = self._client.post(name, content=content)
        if not response.is_success:
            raise _refusal(response)
        if not response.content:
            return None
        try:
            return msgspec.json.decode(response.content)
        except msgspec.DecodeError as error:
            raise Unavailable(
                f"What answers at {self.url} is no Supabase project.", "Check SUPABASE_URL."
            ) from error


def key_headers(key: str) -> dict[str, str]:
    """Return the headers that name the project's key. Storage wants the second one too, whoever calls."""
    return {"apikey": key, "authorization": f"Bearer {key}"}


def _refusal(response: httpx.Response) -> StudioError:
    code = _code(response.content)
    error = error_of(response.status_code, response.content)
    if _OWN_CODE.fullmatch(code) or isinstance(error, Unavailable):
        return error
    if _FAULT_OF_DATA.fullmatch(code) and code not in OTHER_SCHEMA and code != "42501":
        return StoreError(f"The project's database cannot take this ({code}: {_message(response.content)}).")
    if isinstance(error, SignedOut):
        return Unavailable(
            "The Supabase project refuses the key of this machine.", "Check SUPABASE_PUBLISHABLE_KEY."
        )
    return Unavailable(error.message, error.next_step)


def _code(body: bytes) -> str:
    return _field(body, "code")


def _message(body: bytes) -> str:
    return _field(body, "message")[:300]


def _field(body: bytes, name: str) -> str:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return str(document.get(name) or "") if isinstance(document, dict) else ""
