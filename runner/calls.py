"""Calls to a store that may hang, kept off the agent's loop: one at a time, answered at a later tick."""

import random
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Call(Generic[T]):
    """One call at a time on a thread of its own.

    Start it at one tick, `take` its answer at another. The thread is a daemon: a call that hangs for ever does not
    keep the agent from ending. Not thread-safe itself: one loop starts and takes.

    Args:
        wake: Called, from the other thread, when an answer is there.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._wake = wake
        self._thread: threading.Thread | None = None
        self._done = threading.Event()
        self._answer: T | None = None
        self._error: Exception | None = None

    @property
    def busy(self) -> bool:
        """Say whether a call is on its way, or its answer was not taken yet."""
        return self._thread is not None

    @property
    def answered(self) -> bool:
        """Say whether an answer waits to be taken."""
        return self._thread is not None and self._done.is_set()

    def start(self, work: Callable[[], T]) -> None:
        """Begin a call; there must be none on its way."""
        assert self._thread is None, "one call at a time"
        self._answer, self._error = None, None
        self._done.clear()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def take(self) -> T:
        """Return the answer, or raise what the call raised; only after `answered`."""
        assert self._thread is not None
        self._thread.join()
        self._thread = None
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]

    def wait(self, seconds: float) -> bool:
        """Wait for the answer. Only for shutting down.

        Returns:
            Whether it is there (or nothing was asked).
        """
        return self._thread is None or self._done.wait(seconds)

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._answer = work()
        except Exception as error:
            self._error = error
        finally:
            self._done.set()
            self._wake()


class Backoff:
    """When to try again after a failure: half a second, doubling up to ten, with jitter. Needs no thread.

    >>> backoff = Backoff(first_seconds=60)
    >>> backoff.failed(); backoff.ready
    False
    >>> backoff.worked(); backoff.ready
    True
    """

    def __init__(
        self,
        first_seconds: float = 0.5,
        longest_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._until = 0.0
        self.failures = 0

    @property
    def ready(self) -> bool:
        """Say whether it is time to try (again)."""
        return self._clock() >= self._until

    def failed(self) -> None:
        """Wait longer than the last time, by 0.5 to 1 of the doubled pause."""
        pause = min(self._first_seconds * 2 ** min(self.failures, 32), self._longest_seconds)
        self._until = self._clock() + pause * random.uniform(0.5, 1.0)
        self.failures += 1

    def worked(self) -> None:
        """Forget the failures."""
        self._until, self.failures = 0.0, 0
