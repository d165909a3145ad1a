"""The type of a clock, so that tests can let ten minutes pass."""

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""Returns the time now, with its zone (UTC)."""
