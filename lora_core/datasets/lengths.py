"""Statistics of row lengths. Does not know whether they are characters or tokens."""

from collections.abc import Sequence

import numpy as np

from lora_core.schema.dataset import Histogram, LengthStats

BINS = 30


def length_stats(lengths: Sequence[int], bins: int = BINS) -> LengthStats | None:
    """Summarise lengths.

    Args:
        lengths: One per row; an `array.array` is read without a copy.
        bins: Equal bins of the histogram. The last one also holds the longest row.

    Returns:
        In the unit of the lengths; None for no rows.

    Example:
        >>> length_stats([1, 2, 3]).mean
        2.0
    """
    if not len(lengths):
        return None
    values = np.asarray(lengths)
    low, high = int(values.min()), int(values.max())
    edges = np.linspace(low, max(high, low + 1), min(bins, max(1, high - low)) + 1)
    counts, _ = np.histogram(values, bins=edges)
    return LengthStats(
        minimum=float(low),
        median=float(np.median(values)),
        mean=float(values.mean()),
        p95=float(np.percentile(values, 95)),
        maximum=float(high),
        total=int(values.sum(dtype=np.int64)),
        histogram=Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist())),
    )
