"""Which rows train and which validate. The same rows and seed always give the same split, on any machine."""

from collections.abc import Hashable, Sequence
from hashlib import blake2b

UNUSED, TRAIN, VALIDATION = 0, 1, 2
"""What a row is for."""


def sides_of(groups: Sequence[Hashable], *, row_limit: int | None, fraction: float, seed: int) -> bytearray:
    """Draw rows and divide them, as a job does.

    Args:
        groups: One key per row of the file; rows with the same key land on one side.
        row_limit: Most rows drawn; None for all.
        fraction: Share of them to validate on, 0 to 1.
        seed: Decides both.

    Returns:
        UNUSED, TRAIN or VALIDATION for each row.

    Example:
        >>> sides_of("abcd", row_limit=None, fraction=0.25, seed=1).count(VALIDATION)
        1
    """
    drawn = sample_rows(len(groups), row_limit, seed)
    train, validation = split_rows(len(drawn), fraction, seed, [groups[index] for index in drawn])
    sides = bytearray(len(groups))
    for part, side in ((train, TRAIN), (validation, VALIDATION)):
        for place in part:
            sides[drawn[place]] = side
    return sides


def split_rows(
    count: int, fraction: float, seed: int, groups: Sequence[Hashable] | None = None
) -> tuple[list[int], list[int]]:
    """Divide rows at random.

    Args:
        count: Number of rows.
        fraction: Share of rows to validate on, 0 to 1.
        seed: Another seed gives another split.
        groups: One key per row; rows with the same key (exact duplicates) land on one side.

    Returns:
        Indices of training and of validation rows, each in ascending order. With a fraction above 0 and two rows or
        more both sides have at least one, except where all rows are one group: then validation is empty.

    Example:
        >>> train, validation = split_rows(10, 0.2, seed=1)
        >>> len(train), len(validation)
        (8, 2)
    """
    if fraction <= 0 or count < 2:
        return list(range(count)), []
    members: dict[Hashable, list[int]] = {}
    for index in range(count):
        members.setdefault(index if groups is None else groups[index], []).append(index)
    units = sorted(members.values(), key=lambda rows: draw(seed, rows[0]))
    wanted = kept_back_rows(count, fraction)
    validation: list[int] = []
    for rows in units:
        if len(validation) + len(rows) <= wanted:
            validation += rows
    if not validation and len(units) > 1:
        smallest = min(units, key=len)
        validation = [*smallest]
    chosen = set(validation)
    return [index for index in range(count) if index not in chosen], sorted(chosen)


def kept_back_rows(count: int, fraction: float) -> int:
    """Return how many of so many rows (two or more) are kept back for validation, where no duplicates stand in the way.

    >>> kept_back_rows(250, 0.1)
    25
    """
    return min(max(1, round(count * fraction)), count - 1)


def sample_rows(count: int, limit: int | None, seed: int) -> list[int]:
    """Draw at most `limit` of `count` rows.

    Returns:
        Their indices in ascending order; all of them if there is no limit.
    """
    if limit is None or limit >= count:
        return list(range(count))
    return sorted(sorted(range(count), key=lambda index: draw(seed, index, b"limit"))[:limit])


def draw(seed: int, index: int, purpose: bytes = b"split") -> bytes:
    """A random key for one row that no version of Python or NumPy can change (BLAKE2b, RFC 7693)."""
    return blake2b(b"%d:%d" % (seed, index), digest_size=8, person=purpose).digest()
