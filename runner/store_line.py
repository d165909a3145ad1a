"""One attempt's line to the store: renews the lease, ships the journal, tells the end. One call at a time, none awaited."""

import logging
import math
from collections.abc import Callable
from typing import Literal

from lora_core.errors import Conflict, DiskFull, Forbidden, NotFound, Unavailable
from lora_core.schema.job import EndOfAttempt
from lora_core.schema.runner import Directive
from lora_core.store.base import RunnerPort
from runner.cadence import NEAR, Cadence
from runner.calls import Backoff, Call
from runner.clocks import SYSTEM, Clocks
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
        maybe_told: It may know: it was told, and no answer came. An attempt that has ended cannot be renewed, only told again.
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
        clocks: Clocks = SYSTEM,
    ) -> None:
        self.directive = Directive()
        self.refusals = 0
        self.refusal = ""
        self.told = self.maybe_told = False
        self._port = port
        self._key = (job_id, attempt)
        self._journal = journal
        self._lease_seconds = lease_seconds
        self._cadence = cadence
        self._call: Call[Directive | None] = Call(wake)
        self._asked: Literal["renew", "ship", "end"] = "ship"
        self._clocks = clocks
        self._renewed_at: float | None = clocks.always()
        self._asked_at = 0.0
        self._backoff = Backoff(clock=clocks.awake)
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
        now = self._clocks.awake()
        to_ship = now >= self._ship_at and not self._journal.caught_up
        to_end = end is not None and self._journal.caught_up and not self.told
        renewed_last = self._asked == "renew"  # a slow store, too, must hear of more than renewals
        may_renew = renew and not self.maybe_told and now >= self._renew_at
        if may_renew and not (renewed_last and (to_ship or to_end)):
            self._renew_at = now + min(self._cadence.renew_seconds, self._lease_seconds / 5)
            self._ask("renew", lambda: self._port.renew(*self._key, lease_seconds=self._lease_seconds))
        elif to_ship:
            limit = 1 if self._suspects else BATCH_EVENTS
            events = self._journal.batch(limit)
            self._shipped = len(events)
            self._ship_at = now if self._shipped == limit else now + self._cadence.ship_seconds
            self._ask("ship", lambda: self._port.ship(*self._key, events))
        elif end is not None and to_end:
            self.maybe_told = True
            self._ask("end", lambda: self._port.end(*self._key, end))

    def lease_age(self) -> float:
        """Return the seconds since the lease was last renewed, a sleep of the machine included; infinite if that is in doubt."""
        return math.inf if self._renewed_at is None else self._clocks.always() - self._renewed_at

    def doubt_lease(self) -> None:
        """Count the lease as lost until it is renewed, which is done at once."""
        self._renewed_at = None
        self._renew_at = 0.0

    def hurry(self) -> None:
        """Ship at the next tick: the end is near."""
        self._ship_at = 0.0

    def _ask(self, what: Literal["renew", "ship", "end"], work: Callable[[], Directive | None]) -> None:
        self._asked, self._asked_at = what, self._clocks.always()
        self._call.start(work)

    def _hear(self) -> None:
        try:
            answer = self._call.take()
        except (Unavailable, DiskFull) as error:
            if self._backoff.failures == 0:
                log.warning("job %s: the store does not answer, the job goes on (%s)", self._key[0], error)
            self._backoff.failed()
        except (Conflict, NotFound, Forbidden) as error:
            self.refusals += 1
            self.refusal = str(error)
        except Exception as error:
            self._rejected(error)
        else:
            if self._backoff.failures:
                log.info("job %s: the store answers again", self._key[0])
            self._backoff.worked()
            self._answered(answer)

    def _answered(self, answer: Directive | None) -> None:
        if self._asked == "renew" and answer is not None:
            self._renewed_at = self._asked_at
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
