"""Rank statistics of entries whose order is known: sorted, or few distinct values with their counts.

`Ordered` and `spectra.engine.cells.Cells` answer the same two questions: `summary`, from which the thresholds of the
histograms follow, and `rank`, which counts entries below thresholds, finds entries by rank, and gives the Gini index.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from spectra.kernels.moments import Blocks, combine

PIECE = 1 << 18
"""Entries converted to float64 at a time."""

ROW = 4096
"""Entries whose sum is rounded to their own precision; sums of rows add up in float64. BLAS starts no thread for it."""


class Summary(NamedTuple):
    """Moments and norms of the entries; NaN where a quantity does not exist."""

    count: int
    mean: float
    std: float
    skewness: float
    kurtosis: float
    min: float
    max: float
    smallest: float
    """Smallest magnitude but zero; infinite where all entries are zero."""
    l1: float
    l2: float
    zeros: int

    @property
    def hoyer(self) -> float:
        root = math.sqrt(self.count)
        return min(max((root - self.l1 / self.l2) / (root - 1), 0.0), 1.0) if root > 1 and self.l2 > 0 else math.nan


class Ranks(NamedTuple):
    """Answers to one `rank` call."""

    below: np.ndarray
    """Number of entries below each threshold, int64."""
    entries: np.ndarray
    """The entry of each rank, counted from 0 upwards."""
    gini: float
    """Of the magnitudes; NaN where all are zero."""


def summarise(blocks: Blocks, unit: float, low: float, high: float, smallest: float, l1: float, zeros: int) -> Summary:
    """The summary from power sums and an l1 norm in multiples of `unit`, and extremes in plain numbers."""
    size, mean, m2, m3, m4 = map(float, combine(blocks))
    if low == high:  # rounding leaves no trace in the moments of a constant
        mean, m2 = low / unit, 0.0
    variance = m2 / size
    return Summary(
        count=int(size),
        mean=min(max(mean * unit, low), high),
        std=math.sqrt(variance) * unit,
        skewness=m3 / size / variance**1.5 if variance > 0 else math.nan,
        kurtosis=m4 / size / variance**2 - 3 if variance > 0 else math.nan,
        min=low,
        max=high,
        smallest=smallest,
        l1=l1 * unit,
        l2=math.sqrt(m2 + size * mean**2) * unit,
        zeros=zeros,
    )


def unit_of(largest: float) -> float:
    """The power of two in (largest/2, largest]; 1 for 0. What is divided by it has fourth powers in any range."""
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest > 0 else 1.0


class Ordered:
    """Entries in ascending order; with `counts`, each value stands for that many."""

    def __init__(self, values: np.ndarray, counts: np.ndarray | None = None) -> None:
        self._values = values
        self._counts = counts
        self._until = None if counts is None else np.cumsum(counts)  # number of entries up to each value
        self._size = values.size if self._until is None else int(self._until[-1])

    def summary(self) -> Summary:
        """Moments and norms, in float64; makes arrays of eight bytes a value."""
        low, high = float(self._values[0]), float(self._values[-1])
        unit = unit_of(max(-low, high))
        x = self._values.astype(np.float64) / unit
        weight = np.ones(x.size) if self._counts is None else self._counts.astype(np.float64)
        mean = dot(weight, x) / self._size
        d = x - mean
        rest = dot(weight, d) / self._size
        d -= rest
        square = d * d
        weighted = weight * square
        sums = (weighted.sum(), dot(weighted, d), dot(weighted, square))
        blocks = Blocks(*(np.array([value]) for value in (self._size, mean + rest, *sums)))
        first, last = np.searchsorted(self._values, 0.0, "left"), np.searchsorted(self._values, 0.0, "right")
        near = (-self._values[first - 1] if first > 0 else np.inf, self._values[last] if last < x.size else np.inf)
        zeros = last - first if self._counts is None else self._counts[first:last].sum()
        return summarise(blocks, unit, low, high, float(min(near)), float(dot(weight, np.abs(x))), int(zeros))

    def rank(self, thresholds: np.ndarray, ranks: np.ndarray) -> Ranks:
        """Counts below thresholds, entries by rank, Gini index; overwrites values that have no counts."""
        below = np.searchsorted(self._values, thresholds, "left").astype(np.int64)
        if self._counts is None or self._until is None:
            entries = self._values[ranks]
            magnitudes = np.abs(self._values, out=self._values)
            magnitudes.sort()
            return Ranks(below, entries, _gini(magnitudes))
        below = np.append(0, self._until)[below]
        entries = self._values[np.searchsorted(self._until, ranks, "right")]
        magnitudes = np.abs(self._values)
        order = np.argsort(magnitudes)
        magnitudes, counts = magnitudes[order].astype(np.float64), self._counts[order]
        weighted = counts * (magnitudes / unit_of(magnitudes[-1]))
        gini = dot(weighted, group_ranks(counts)) / weighted.sum() if magnitudes[-1] > 0 else math.nan
        return Ranks(below, entries, float(gini))


def _gini(ascending: np.ndarray) -> float:
    """Gini index of ascending magnitudes, Σₖ (2k + 1 − n)/n · |w|₍ₖ₎/‖w‖₁ with k from 0."""
    n, total, weighted = ascending.size, 0.0, 0.0
    if not ascending[-1] > 0:
        return math.nan
    unit = unit_of(float(ascending[-1]))
    step = np.arange(min(PIECE, n), dtype=np.float64)
    for start in range(0, n, PIECE):  # a large array in float64 would not stay in the cache
        piece = ascending[start : start + PIECE].astype(np.float64) / unit
        total += piece.sum()
        weighted += 2 * dot(piece, step[: piece.size]) + (2 * start + 1 - n) * piece.sum()
    return float(weighted / n / total)


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Scalar product, rounded to the precision of the entries only row by row."""
    whole = a.size - a.size % ROW
    rows = np.vecdot(a[:whole].reshape(-1, ROW), b[:whole].reshape(-1, ROW))
    return float(rows.sum(dtype=np.float64)) + float(np.dot(a[whole:], b[whole:]))


def group_ranks(counts: np.ndarray) -> np.ndarray:
    """Mean of (2k + 1 − n)/n over the ranks k of each group, groups in ascending order: from −1 to 1."""
    until = np.cumsum(counts)
    return (2 * until - counts - until[-1]) / until[-1]
