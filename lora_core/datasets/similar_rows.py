"""Which rows of a data set repeat others, exactly or nearly: within the file, across its split, in another file."""

import json
from array import array
from collections.abc import Iterator, Set
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from lora_core.datasets.blocks import Progress
from lora_core.datasets.convert import to_example
from lora_core.datasets.example import Example, fingerprint
from lora_core.datasets.faults import RowError
from lora_core.datasets.read import read_rows
from lora_core.datasets.similar import SIMILARITY, Indices, Sketches
from lora_core.datasets.split import TRAIN, VALIDATION, sides_of
from lora_core.schema.dataset import DropKind, RowIssue, SimilarReport
from lora_core.schema.run import DataFile

Mask = npt.NDArray[np.bool_]


class SplitChoice(msgspec.Struct, frozen=True):
    """How a job would divide the rows; the fields are those of its config."""

    fraction: float = 0.0
    seed: int = 0
    row_limit: int | None = None


class Comparison(msgspec.Struct, frozen=True):
    """What was found. All arrays have one place for each good row of the file.

    Args:
        rows: 1-based row numbers.
        lines: 1-based lines.
        duplicate_of: Place of the first row with exactly this content, or -1.
        near_of: Place of an earlier row that this one nearly repeats, or -1; exact repetitions are not counted.
        across: Validation rows that a training row nearly repeats.
        in_other: Rows whose content is exactly in the other file.
        near_other: Rows that nearly repeat one of the other file.
        split: The split that was looked at.
    """

    rows: "array[int]"
    lines: "array[int]"
    duplicate_of: Indices
    near_of: Indices
    across: Mask
    in_other: Mask
    near_other: Mask
    split: SplitChoice

    def dropped(self, kinds: Set[DropKind]) -> set[int]:
        """Numbers of the rows that the chosen kinds leave out."""
        masks = {
            DropKind.DUPLICATES: self.duplicate_of >= 0,
            DropKind.NEAR_DUPLICATES: self.near_of >= 0,
            DropKind.LEAKED: self.in_other | self.near_other,
        }
        return {self.rows[place] for kind in kinds & masks.keys() for place in np.flatnonzero(masks[kind])}

    def issues(self) -> Iterator[RowIssue]:
        """Each finding that the check of single rows does not have, in the order of the file."""
        found = (self.near_of >= 0) | self.across | self.in_other | self.near_other
        for place in np.flatnonzero(found).tolist():
            if (twin := int(self.near_of[place])) >= 0:
                yield self._issue(
                    place,
                    "near_duplicate",
                    f"The row is nearly the same as the one in line {self.lines[twin]}.",
                )
            if self.across[place]:
                yield self._issue(
                    place,
                    "near_across_split",
                    "The split puts this row into validation and one that is nearly the same into training.",
                )
            if self.in_other[place]:
                yield self._issue(place, "in_both_files", "The row is also in the validation data set.")
            if self.near_other[place]:
                yield self._issue(
                    place, "near_in_both_files", "The validation data set has a row that is nearly the same."
                )

    def report(self, other: str = "", other_name: str = "") -> SimilarReport:
        """Count it all."""
        return SimilarReport(
            similarity=SIMILARITY,
            near_duplicate_rows=int((self.near_of >= 0).sum()),
            validation_fraction=self.split.fraction,
            seed=self.split.seed,
            row_limit=self.split.row_limit,
            across_split_rows=int(self.across.sum()),
            compared_with=other,
            compared_name=other_name,
            in_both_rows=int(self.in_other.sum()),
            near_in_both_rows=int(self.near_other.sum()),
        )

    def _issue(self, place: int, code: str, message: str) -> RowIssue:
        return RowIssue(line=self.lines[place], row=self.rows[place], code=code, message=message)


def compare_rows(
    file: DataFile,
    folder: Path,
    *,
    other: DataFile | None = None,
    split: SplitChoice | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Look for rows that repeat others. Bad rows are passed over.

    Args:
        file: The data set.
        folder: An empty folder for about 260 bytes a row.
        other: A validation file to compare with.
        split: How a job would divide the rows, to find what lies on both sides.
        progress: Told the share done, 0 to 1.

    Raises:
        DataError: A file cannot be read to its end.
    """
    tell = progress or (lambda _: None)
    split = split or SplitChoice()
    half = 0.5 if other is not None else 0.0
    hashes, rows, lines = array("q"), array("I"), array("I")
    others = array("q")
    with Sketches(folder) as sketches:
        if other is not None:
            for _, _, example in _good(other, lambda share: tell(share * half * 0.95)):
                others.append(fingerprint(example))
                sketches.add(_words(example))
            sketches.others_end()
        for row, line, example in _good(file, lambda share: tell((half + share * (1 - half)) * 0.95)):
            hashes.append(fingerprint(example))
            rows.append(row)
            lines.append(line)
            sketches.add(_words(example))
        near = sketches.near()
    duplicate_of = _first_of(np.frombuffer(hashes, dtype=np.int64))
    near_of = np.where(duplicate_of >= 0, np.int32(-1), near.earlier)
    in_other = np.isin(np.frombuffer(hashes, dtype=np.int64), np.frombuffer(others, dtype=np.int64))
    tell(1.0)
    return Comparison(
        rows=rows,
        lines=lines,
        duplicate_of=duplicate_of,
        near_of=near_of,
        across=_across(near.earlier, hashes, split),
        in_other=in_other,
        near_other=(near.other >= 0) & ~in_other,
        split=split,
    )


def _good(file: DataFile, progress: Progress) -> Iterator[tuple[int, int, Example]]:
    for row in read_rows(Path(file.path), file_name=file.name, progress=progress):
        if row.value is not None:
            try:
                yield row.row, row.line, to_example(row.value, file.format, file.mapping)
            except RowError:
                continue


def _words(example: Example) -> list[str]:
    """All that a row says, its tool calls included."""
    calls = [json.dumps(message.tool_calls) for message in example.messages if message.tool_calls]
    return [*example.texts(), *calls]


def _first_of(hashes: npt.NDArray[np.int64]) -> Indices:
    """For each value the place of its first one, or -1 where it is itself the first."""
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    origin = first[inverse]
    return np.where(origin < np.arange(len(hashes)), origin, -1).astype(np.int32)


def _across(earlier: Indices, hashes: "array[int]", split: SplitChoice) -> Mask:
    """Validation rows in a group of similar rows that also has a training row. Exact repetitions are never divided."""
    if split.fraction <= 0:
        return np.zeros(len(earlier), dtype=bool)
    drawn = sides_of(hashes, row_limit=split.row_limit, fraction=split.fraction, seed=split.seed)
    sides = np.frombuffer(drawn, dtype=np.uint8)
    group = np.where(earlier >= 0, earlier, np.arange(len(earlier)))
    trained = np.zeros(len(earlier), dtype=bool)
    trained[group[sides == TRAIN]] = True
    return np.asarray((sides == VALIDATION) & trained[group])
