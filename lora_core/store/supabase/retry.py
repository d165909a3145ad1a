"""When a call to a Supabase project is made again. Only for calls that may come twice; knows no call itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential_jitter,
)

from lora_core.errors import StudioError, Unavailable

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How often and how long a call is made again while the project does not answer.

    Attributes:
        tries: Most calls, the first one included.
        seconds: No further call begins later than this after the first.
        first_wait_seconds: Pause before the second call; it doubles from call to call, with jitter.
        longest_wait_seconds: Longest pause.
    """

    tries: int = 4
    seconds: float = 4.0
    first_wait_seconds: float = 0.15
    longest_wait_seconds: float = 1.5


PERSON = Patience()
"""For pages: nobody looks at an empty page for long."""

ONCE = Patience(tries=1)


def retried(
    call: Callable[[], T],
    *,
    patience: Patience = PERSON,
    settle: Callable[[StudioError], T] | None = None,
) -> T:
    """Make a call, and again while it ends in `Unavailable`.

    Args:
        call: What to do; it may be done twice without harm.
        patience: How often and how long.
        settle: What a refusal of a repeated call means. The first call may have arrived, and only its answer been lost:
            then the second finds the work done. Returns the answer, or raises the error it is given.

    Raises:
        Unavailable: The last call ended so too.
    """
    policy = Retrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_attempt(patience.tries) | stop_before_delay(patience.seconds),
        wait=wait_exponential_jitter(
            multiplier=patience.first_wait_seconds,
            max=patience.longest_wait_seconds,
            jitter=patience.first_wait_seconds,
        ),
        reraise=True,
    )
    for attempt in policy:
        with attempt:
            try:
                return call()
            except Unavailable:
                raise
            except StudioError as error:
                if settle is None or attempt.retry_state.attempt_number == 1:
                    raise
                return settle(error)
    raise AssertionError("tenacity raises when it gives up")
