"""The three clocks of a machine, and what their differences tell: that it slept, or that somebody set its clock.

What decides about stalls and pauses goes by `awake`, which stands still while the machine sleeps; what was agreed with a
store goes by `always`, which runs on. Neither can be set. `wall` can, and decides nothing here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

SLEPT_SECONDS = 20.0
SET_SECONDS = 60.0
"""What is shorter is no news: clocks are corrected by seconds every day."""


def _always() -> float:
    """Linux counts sleep in CLOCK_BOOTTIME; the CLOCK_MONOTONIC of macOS counts it, unlike Python's `time.monotonic`."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class Clocks:
    """Seconds on three clocks. Tests pass their own."""

    awake: Callable[[], float] = time.monotonic
    always: Callable[[], float] = _always
    wall: Callable[[], float] = time.time


SYSTEM = Clocks()


@dataclass(frozen=True)
class Gap:
    """What happened to the clocks between two looks.

    Attributes:
        slept_seconds: How long the machine slept; 0 if it did not.
        set_seconds: How far its clock was set forward (or back, if negative); 0 if it was not.
    """

    slept_seconds: float = 0.0
    set_seconds: float = 0.0

    def __str__(self) -> str:
        """Say it in words.

        >>> str(Gap(slept_seconds=7260)), str(Gap(set_seconds=-90))
        ('The machine slept for 2 hours 1 minute.', "The machine's clock was set back by 2 minutes.")
        """
        words = []
        if self.slept_seconds:
            words.append(f"The machine slept for {_long(self.slept_seconds)}.")
        if self.set_seconds > 0:
            words.append(
                f"The machine's clock went forward by {_long(self.set_seconds)}: it was set, or the machine stood still."
            )
        if self.set_seconds < 0:
            words.append(f"The machine's clock was set back by {_long(-self.set_seconds)}.")
        return " ".join(words)


class GapWatch:
    """Notices gaps. Look at every turn.

    >>> seconds = {"awake": 0.0, "always": 0.0, "wall": 0.0}
    >>> watch = GapWatch(Clocks(*(lambda name=name: seconds[name] for name in seconds)))
    >>> seconds.update(awake=1.0, always=601.0, wall=601.0)
    >>> str(watch.look()), watch.look()
    ('The machine slept for 10 minutes.', None)
    """

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._seen = self._read()

    def look(self) -> Gap | None:
        """Return what happened since the last look; None if nothing did."""
        now = self._read()
        gap, self._seen = self._since(now), now
        return gap

    def peek(self) -> Gap | None:
        """Return what the next look would see, from whatever thread."""
        return self._since(self._read())

    def _since(self, now: tuple[float, float, float]) -> Gap | None:
        awake, always, wall = (after - before for after, before in zip(now, self._seen, strict=True))
        slept, moved = always - awake, wall - always
        gap = Gap(slept if slept >= SLEPT_SECONDS else 0.0, moved if abs(moved) >= SET_SECONDS else 0.0)
        return gap if gap != Gap() else None

    def _read(self) -> tuple[float, float, float]:
        return self._clocks.awake(), self._clocks.always(), self._clocks.wall()


def _long(seconds: float) -> str:
    """Say how long something lasted, in whole minutes.

    >>> _long(25), _long(60), _long(3600 * 3)
    ('less than a minute', '1 minute', '3 hours')
    """
    minutes = round(seconds / 60)
    if seconds < 45:
        return "less than a minute"
    hours, rest = divmod(max(minutes, 1), 60)
    parts = [
        f"{count} {unit}{'s' * (count != 1)}" for count, unit in ((hours, "hour"), (rest, "minute")) if count
    ]
    return " ".join(parts)
