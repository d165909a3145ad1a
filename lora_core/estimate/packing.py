"""Puts short rows together into sequences. Knows row lengths only."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Pack rows by best-fit decreasing: the longest first, each into the fullest pack that still has room.

    Args:
        lengths: Tokens of each row, at most `capacity` each.
        capacity: Tokens of a pack.

    Returns:
        Packs as lists of row numbers; every row once.

    >>> best_fit([6, 3, 4, 2], capacity=8)
    [[0, 3], [2, 1]]
    """
    packs: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (tokens free, pack number), sorted
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        place = bisect_left(rooms, (lengths[row], -1))
        if place == len(rooms):
            room, pack = capacity, len(packs)
            packs.append([])
        else:
            room, pack = rooms.pop(place)
        packs[pack].append(row)
        insort(rooms, (room - lengths[row], pack))
    return packs
