"""Which rows train and which validate. The same rows and seed always give the same split, on any machine."""

from collections.abc import Hashable, Sequence
from hashlib import blake2b


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
    wanted = min(max(1, round(count * fraction)), count - 1)
    validation: list[int] = []
    for rows in units:
        if len(validation) + len(rows) <= wanted:
            validation += rows
    if not validation and len(units) > 1:
        smallest = min(units, key=len)
        validation = [*smallest]
    chosen = set(validation)
    return [index for index in range(count) if index not in chosen], sorted(chosen)


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
