"""What can be wrong with one row, as an error that also has a short fixed name to count and filter by."""

from lora_core.errors import DataError


class RowError(DataError):
    """A row that nothing can be learned from as it stands.

    Args:
        code: Short fixed name, such as empty_answer.
        message: What is wrong, for a person.
        field: Column or key.
    """

    def __init__(
        self, code: str, message: str, *, field: str = "", line: int = 0, next_step: str = ""
    ) -> None:
        super().__init__(message, next_step, line=line, field=field)
        self.code = code
