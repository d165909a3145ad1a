"""How long to wait before something that failed is tried again, and how often. Pure; knows no store, no job and no clock.

The stores and the database's functions go by the same numbers (supabase/migrations, `private.retry_pause`); a test compares them.
"""

MAX_FAILURES = 3
"""Failures in a row without progress, after which trying again has no point."""

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 600.0


def retry_pause(failures: int, chance: float) -> float:
    """Return the pause after a failure: it doubles from failure to failure, and differs so that not all come back at once.

    Args:
        failures: How many there were in a row, this one included; at least 1.
        chance: A random number from 0 up to, and without, 1.

    Returns:
        Seconds, from half to one and a half times 10, 20, 40 and so on up to 600.

    >>> [retry_pause(failures, 0.5) for failures in (1, 2, 3, 7, 1000)]
    [10.0, 20.0, 40.0, 600.0, 600.0]
    >>> retry_pause(1, 0.0), retry_pause(1, 0.9)
    (5.0, 14.0)
    """
    doublings = min(max(failures, 1) - 1, 10)
    return min(FIRST_SECONDS * 2.0**doublings, LONGEST_SECONDS) * (0.5 + chance)
