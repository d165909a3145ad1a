"""Fewer points for a chart, without losing a spike. Knows only numbers."""

import numpy as np
import numpy.typing as npt


def min_max_indices(values: npt.ArrayLike, points: int) -> npt.NDArray[np.intp]:
    """Choose which values of a series a chart shows: the first, the last, and the extremes of every bucket.

    The values between the first and the last are cut into (points - 2) / 2 buckets of equal length, of which the finite
    minimum and maximum are kept; of a bucket without finite values the first is kept, so that gaps stay visible.

    Args:
        values: The series, shape (n,).
        points: About how many values to keep; a shorter series is kept whole.

    Returns:
        Indices, rising, without repeats.

    >>> min_max_indices([0, 0, 9, 0, 0, -9, 0, 0, 0, 0], 6).tolist()
    [0, 1, 2, 5, 6, 9]
    """
    series = np.asarray(values, dtype=np.float64)
    count = len(series)
    if count <= max(points, 2):
        return np.arange(count)
    buckets = max(1, (points - 2) // 2)
    length = -(-(count - 2) // buckets)
    whole = (count - 2) // length * length
    parts = [series[1 : 1 + whole].reshape(-1, length), series[None, 1 + whole : -1]]
    extremes = [
        1 + start + np.arange(len(table))[:, None] * length + _extremes(table)
        for start, table in zip((0, whole), parts, strict=True)
        if table.size
    ]
    return np.unique(np.concatenate([[0, count - 1], *(indices.ravel() for indices in extremes)]))


def _extremes(table: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return the places of the finite minimum and maximum of each row, shape (rows, 2)."""
    finite = np.isfinite(table)
    if finite.all():
        return np.stack([table.argmin(axis=1), table.argmax(axis=1)], axis=1)
    lowest = np.where(finite, table, np.inf).argmin(axis=1)
    highest = np.where(finite, table, -np.inf).argmax(axis=1)
    return np.stack([lowest, highest], axis=1)
