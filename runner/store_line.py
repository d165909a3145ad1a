"""One attempt's line to the store: renews the lease, ships the journal, tells the end. One call at a time, none awaited."""

import logging
import time
from collections.abc import Callable
from typing import Literal

from lora_core.errors import Conflict, Forbidden, NotFound, Unavailable
from lora_core.schema.base import utc_now
from lora_core.schema.job import EndOfAttempt
from lora_core.schema.runner import Directive
from lora_core.store.base import RunnerPort
from runner.cadence import NEAR, Cadence
from runner.calls import Backoff, Call
from runner.journal import BATCH_EVENTS, Journal

log = logging.getLogger(__name__)

END_TRIES = 10
"""How often an outcome that the store cannot take is told again before the attempt is left to its lease."""


class StoreLine:
    """Calls of one attempt. Ticks start them and take their answers; the attempt reads what came of them.

    Attributes:
        directive: What the person wants, as last heard.
        refusals: How often the store said that the job is not this attempt's any more.
        refusal: The last of these, in words.
        told: The store knows the outcome.
        renewed_at: When the lease was last renewed (UTC).
    """

    def __init__(
        self,
        port: RunnerPort,
        job_id: str,
        attempt: int,
        journal: Journal,
        lease_seconds: float,
        wake: Callable[[], None],
        cadence: Cadence = NEAR,
    ) -> None:
        self.directive = Directive()
        self.refusals = 0
        self.refusal = ""
        self.told = False
        self.renewed_at = utc_now()
        self._port = port
        self._key = (job_id, attempt)
        self._journal = journal
        self._lease_seconds = lease_seconds
        self._cadence = cadence
        self._call: Call[Directive | None] = Call(wake)
        self._asked: Literal["renew", "ship", "end"] = "renew"
        self._backoff = Backoff()
        self._shipped = 0
        self._suspects = 0
        self._ship_at = 0.0
        self._renew_at = 0.0

    def tick(self, *, renew: bool, end: EndOfAttempt | None) -> None:
        """Take an answer and make the next call that is due.

        Args:
            renew: Whether the lease is still wanted.
            end: The outcome, once it may be told; it is, when the journal is in the store.
        """
        if self._call.answered:
            self._hear()
        if self._call.busy or not self._backoff.ready:
            return
        now = time.monotonic()
        if renew and now >= self._renew_at:
            self._renew_at = now + min(self._cadence.renew_seconds, self._lease_seconds / 5)
            self._ask("renew", lambda: self._port.renew(*self._key, lease_seconds=self._lease_seconds))
        elif now >= self._ship_at and not self._journal.caught_up:
            limit = 1 if self._suspects else BATCH_EVENTS
            events = self._journal.batch(limit)
            self._shipped = len(events)
            self._ship_at = now if self._shipped == limit else now + self._cadence.ship_seconds
            self._ask("ship", lambda: self._port.ship(*self._key, events))
        elif end is not None and self._journal.caught_up and not self.told:
            self._ask("end", lambda: self._port.end(*self._key, end))

    def hurry(self) -> None:
        """Ship at the next tick: the end is near."""
        self._ship_at = 0.0

    def _ask(self, what: Literal["renew", "ship", "end"], work: Callable[[], Directive | None]) -> None:
        self._asked = what
        self._call.start(work)

    def _hear(self) -> None:
        try:
            answer = self._call.take()
        except Unavailable as error:
            if self._backoff.failures == 0:
                log.warning("job %s: the store does not answer, the job goes on (%s)", self._key[0], error)
            self._backoff.failed()
        except (Conflict, NotFound, Forbidden) as error:
            self.refusals += 1
            self.refusal = str(error)
        except Exception as error:
            self._rejected(error)
        else:
            self._backoff.worked()
            self._answered(answer)

    def _answered(self, answer: Directive | None) -> None:
        if self._asked == "renew" and answer is not None:
            self.renewed_at = utc_now()
            self.directive = answer
        elif self._asked == "ship":
            self._journal.confirm()
            self._suspects = max(0, self._suspects - 1)
        elif self._asked == "end":
            self.told = True

    def _rejected(self, error: Exception) -> None:
        """Ship the batch again event by event: the one that the store cannot take holds up no other."""
        log.error("job %s: %s failed: %s: %s", self._key[0], self._asked, type(error).__name__, error)
        self._backoff.failed()
        if self._asked == "ship" and self._suspects:
            self._journal.confirm()
            self._suspects -= 1
        elif self._asked == "ship":
            self._suspects = self._shipped
        elif self._asked == "end" and self._backoff.failures >= END_TRIES:
            self.refusals += 1
            self.refusal = str(error)
