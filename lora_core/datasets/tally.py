"""What a check counts while rows go by: a few bytes per row, nothing else grows with the file."""

from array import array
from collections import Counter

import numpy as np
import numpy.typing as npt

from lora_core.datasets.example import Example, fingerprint
from lora_core.datasets.issues import IssueLog
from lora_core.datasets.oddities import oddity
from lora_core.schema.dataset import RowIssue

LONG_CHARACTERS = 100_000
"""About 25,000 tokens: longer than what people train on, and mostly a sign of a row that swallowed others."""


class Tally:
    """Counts of one file. 20 bytes per good row.

    Args:
        log: Where faults go.
    """

    def __init__(self, log: IssueLog) -> None:
        self._log = log
        self.rows = 0
        self.error_rows = 0
        self.roles: Counter[str] = Counter()
        self.characters = array("I")
        self.hashes = array("q")
        self.lines = array("I")
        self.numbers = array("I")
        self._warned = array("I")

    def error(self, issue: RowIssue) -> None:
        """Count a row that cannot be used."""
        self.rows += 1
        self.error_rows += 1
        self._log.add("error", issue)

    def good(self, example: Example, line: int) -> None:
        """Count a row that can be used, and look for what is odd about it."""
        self.rows += 1
        for message in example.messages:
            self.roles[message.role] += 1
        characters = example.characters()
        self.characters.append(characters)
        self.hashes.append(fingerprint(example))
        self.lines.append(line)
        self.numbers.append(self.rows)
        self.inspect(example.texts(), characters, line)

    def inspect(self, texts: list[str], characters: int, line: int) -> None:
        """Warn of a row that is over-long or shows signs of a broken encoding. Call right after counting it."""
        if characters > LONG_CHARACTERS:
            self.warn(self.rows, line, "very_long", f"The row has {characters:,} characters.")
        seen: set[str] = set()
        for index, text in enumerate(texts):
            found = None if text.isascii() and text.isprintable() else oddity(text)
            if found is not None and found[0] not in seen:
                seen.add(found[0])
                place = f"Message {index + 1}" if len(texts) > 1 else "The text"
                self.warn(self.rows, line, found[0], f"{place} {found[1]}.")

    def warn(self, row: int, line: int, code: str, message: str) -> None:
        """Record a warning about a row."""
        self._warned.append(row)
        self._log.add("warning", RowIssue(line=line, row=row, code=code, message=message))

    def duplicates(self) -> int:
        """Warn of each row whose content is exactly that of an earlier one.

        Returns:
            Rows that repeat an earlier one.
        """
        hashes = np.frombuffer(self.hashes, dtype=np.int64)
        order = hashes.argsort(kind="stable")
        in_order = hashes[order]
        same = np.flatnonzero(in_order[1:] == in_order[:-1])
        del in_order
        originals: dict[int, int] = {}
        for place in same.tolist():  # equal rows lie side by side, in the order of the file
            earlier, index = int(order[place]), int(order[place + 1])
            originals[index] = originals.get(earlier, earlier)
        for index, original in sorted(originals.items()):
            self._warn_at(
                index, "duplicate", f"The row is the same as the one in line {self.lines[original]}."
            )
        return len(originals)

    def shared_with(self, other: npt.NDArray[np.int64]) -> int:
        """Warn of each row whose content is also in the other file.

        Returns:
            How many there are.
        """
        hashes = np.frombuffer(self.hashes, dtype=np.int64)
        shared = np.flatnonzero(np.isin(hashes, other)).tolist()
        for index in shared:
            self._warn_at(
                index, "in_both_files", "The row is also in the other file, so validation would not be fair."
            )
        return len(shared)

    def warning_rows(self) -> int:
        """Rows with at least one warning."""
        return len(np.unique(np.frombuffer(self._warned, dtype=np.uint32)))

    def _warn_at(self, index: int, code: str, message: str) -> None:
        self.warn(self.numbers[index], self.lines[index], code, message)
