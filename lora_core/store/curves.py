"""What may be asked of curves and logs, the same in every store: measures, levels, and places in their lists."""

from collections.abc import Sequence

from lora_core.errors import NotFound
from lora_core.schema.metrics import METRIC_COLUMNS
from lora_core.store.cursors import Cursor

X_COLUMNS = ("step", "epoch", "tokens_seen", "elapsed_seconds", "recorded_at")
"""What a curve may run over."""

POINTS = Cursor("points", int)
LOGS = Cursor("logs", int, int)
_LEVELS = ("debug", "info", "warning", "error")


def check_columns(columns: Sequence[str], x: str) -> None:
    """Refuse a measure that no point has.

    Raises:
        NotFound: A column is not in METRIC_COLUMNS, or `x` not in X_COLUMNS.
    """
    for name, known in (*((name, METRIC_COLUMNS) for name in columns), (x, X_COLUMNS)):
        if name not in known:
            raise NotFound(f"There is no metric called {name}.")


def levels_from(lowest: str) -> tuple[str, ...]:
    """Return the log levels from this one on; none for a word that is no level, which does not filter.

    >>> levels_from("warning"), levels_from("")
    (('warning', 'error'), ())
    """
    return _LEVELS[_LEVELS.index(lowest) :] if lowest in _LEVELS else ()
