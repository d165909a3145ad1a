"""How often something may be tried from one address or for one name, before waiting is asked for. Counts in memory only."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from lora_core.errors import TooOften

MAX_KEYS = 10_000
"""Most keys that are remembered; the one that was quiet for longest is forgotten first."""


class AttemptLimit:
    """At most so many tries in so many seconds for each key. Safe to use from several threads.

    >>> limit = AttemptLimit(most=1, seconds=60)
    >>> limit.spend("10.0.0.1")
    >>> limit.spend("10.0.0.1")
    Traceback (most recent call last):
    lora_core.errors.TooOften: Too many attempts. Wait 1 minute, then try again.
    """

    def __init__(self, *, most: int, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._now = now
        self._lock = threading.Lock()
        self._tries: OrderedDict[str, deque[float]] = OrderedDict()

    def spend(self, key: str) -> None:
        """Count a try.

        Raises:
            TooOften: There were too many; this one is not counted.
        """
        now = self._now()
        with self._lock:
            tries = self._tries.setdefault(key, deque())
            self._tries.move_to_end(key)
            while tries and now - tries[0] >= self._seconds:
                tries.popleft()
            if len(tries) >= self._most:
                minutes = max(1, round((self._seconds - (now - tries[0])) / 60))
                plural = "" if minutes == 1 else "s"
                raise TooOften("Too many attempts.", f"Wait {minutes} minute{plural}, then try again.")
            tries.append(now)
            while len(self._tries) > MAX_KEYS:
                self._tries.popitem(last=False)

    def give_back(self, key: str) -> None:
        """Take back the last try of a key: it went well."""
        with self._lock:
            if tries := self._tries.get(key):
                tries.pop()
