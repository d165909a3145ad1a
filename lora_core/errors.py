"""Every error a person can meet, in one tree. A message says what happened and where; `next_step` says what to do."""


class StudioError(Exception):
    """Base of all errors of the studio.

    Args:
        message: What happened and where (row, field, line), for a person.
        next_step: What the person can do about it; empty if the message already says it.
    """

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()


class ConfigError(StudioError):
    """A training config, preset or override that cannot be used."""


class DataError(StudioError):
    """A data set that cannot be read, or has rows that nothing can be learned from.

    Args:
        line: 1-based line of the file (0 if the fault is not in one line).
        field: Name of the column or key, if the fault is in one.
    """

    def __init__(self, message: str, next_step: str = "", *, line: int = 0, field: str = "") -> None:
        super().__init__(message, next_step)
        self.line = line
        self.field = field


class NotAllowed(StudioError):
    """An action that the state of a job or data set does not allow (any more)."""


class StoreError(StudioError):
    """Base of what a store may answer instead of a result."""


class NotFound(StoreError):
    """No such row or file, or none that this person may see."""


class Conflict(StoreError):
    """Somebody else was first: a newer attempt owns the job, or the row has changed or exists."""


class Forbidden(StoreError):
    """The row or file exists and this identity may not do that with it."""


class SignedOut(StoreError):
    """The session or token has ended, was revoked, or was never good. Signing in (or a new token) helps."""


class TooOften(StoreError):
    """Asked more often than is allowed. Waiting helps, trying again at once does not."""


class TooLarge(StoreError):
    """A file or batch above the store's limit."""


class Unavailable(StoreError):
    """The store, the network or a service does not answer now. Trying again later may help."""


class DiskFull(StoreError):
    """Not enough free disk space for what was to be written."""


class ModelError(StudioError):
    """A base model or adapter that cannot be found, fetched or loaded."""
