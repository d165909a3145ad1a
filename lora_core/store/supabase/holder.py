"""Who holds a job or a task: whoever has its token. Makes tokens, keeps those whose claim was not answered; makes no call."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from lora_core.errors import SignedOut, Unavailable
from lora_core.secrets import Secret, TokenKind, new_token
from lora_core.store.supabase.files import StorageFiles
from lora_core.store.supabase.gateway import key_headers

T = TypeVar("T")


@dataclass(frozen=True)
class Holder:
    """A token and whose work it stands for."""

    token: Secret
    user_id: str


class ClaimTokens:
    """Makes the token for a claim. Safe for several threads.

    If no answer comes, the claim may have worked all the same: the same machine then claims again with the same token,
    and is told again what it has.
    """

    def __init__(self, kind: TokenKind) -> None:
        self._kind = kind
        self._unanswered: defaultdict[str, list[Secret]] = defaultdict(list)
        self._lock = threading.Lock()

    @contextmanager
    def token(self, runner_id: str) -> Iterator[Secret]:
        """Lend the token of one claim."""
        with self._lock:
            waiting = self._unanswered[runner_id]
            token = waiting.pop() if waiting else new_token(self._kind)
        try:
            yield token
        except Unavailable:
            with self._lock:
                self._unanswered[runner_id].append(token)
            raise


def files_for(files: StorageFiles, key: str, token: Secret) -> StorageFiles:
    """Return Storage as the holder of a token sees it."""
    headers = {**key_headers(key), "x-job-token": token.reveal()}
    return files.for_holder(lambda: headers)


@contextmanager
def as_machine() -> Iterator[None]:
    """Storage that says 'signed out' to a machine means its key, not its token, and nothing about the job."""
    try:
        yield
    except SignedOut as error:
        raise Unavailable(
            "The project's Storage refuses the key of this machine.", "Check SUPABASE_PUBLISHABLE_KEY."
        ) from error
