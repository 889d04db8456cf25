"""Moments and norms of entries in one reading: piece by piece, each in cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from spectra.engine.ordered import ROW, Summary, dot, summarise, unit_of
from spectra.kernels.moments import Blocks

PIECE = 1 << 17
"""Entries whose moments are taken about one mean, in cache."""

ORDINARY = (2.0**-20, 2.0**20)
"""Largest magnitudes of a piece whose fourth powers need no scaling in float32."""

LARGE_MEAN = 100
"""Means of so many standard deviations are subtracted in float64."""


class Piece(NamedTuple):
    """Sums over one piece of entries; powers in multiples of `unit`."""

    count: float
    mean: float
    m2: float
    m3: float
    m4: float
    l1: float
    unit: float
    min: float
    max: float
    smallest: float
    """Smallest magnitude but zero, infinite if there is none."""
    zeros: float


def pieces_of(flat: np.ndarray, size: int = PIECE) -> Iterator[np.ndarray]:
    """Consecutive parts of `size` entries, the last one shorter."""
    return (flat[start : start + size] for start in range(0, flat.size, size))


def summary_of(pieces: list[Piece]) -> Summary:
    """Moments of all pieces together, by Pébay's formulas in float64."""
    p: Any = Piece(*np.array(pieces, np.float64).T)  # a column a field
    unit = float(np.max(p.unit))
    scale = p.unit / unit
    return summarise(
        Blocks(p.count, p.mean * scale, p.m2 * scale**2, p.m3 * scale**3, p.m4 * scale**4),
        unit,
        low=float(np.min(p.min)),
        high=float(np.max(p.max)),
        smallest=float(np.min(p.smallest)),
        l1=float(np.dot(p.l1, scale)),
        zeros=int(np.sum(p.zeros)),
    )


class Measure:
    """Measures pieces of up to `PIECE` entries; holds the buffers, so each thread needs its own."""

    def __init__(self, dtype: np.dtype) -> None:
        self._scratch = [np.empty(PIECE, dtype) for _ in range(2)]
        self._ones = np.ones(ROW, dtype)

    def __call__(self, x: np.ndarray) -> Piece:
        n = x.size
        off, square = (buffer[:n] for buffer in self._scratch)
        low, high = float(x.min()), float(x.max())
        magnitude = np.abs(x, out=square)
        smallest, zeros = float(magnitude.min()), 0
        if smallest == 0:
            positive = magnitude > 0
            zeros = n - int(np.count_nonzero(positive))
            smallest = float(np.min(magnitude, where=positive, initial=np.inf))
        unit, largest = 1.0, max(-low, high)
        if not ORDINARY[0] < largest < ORDINARY[1] and largest > 0:
            unit = unit_of(largest)
            x = np.divide(x, x.dtype.type(unit))
            magnitude = np.abs(x, out=square)
        l1 = self._sum(magnitude)
        mean = self._sum(x) / n
        centre = x.dtype.type(mean)
        np.subtract(x, centre, out=off)
        np.multiply(off, off, out=square)
        rest, s2, s3, s4 = mean - float(centre), self._sum(square), dot(square, off), dot(square, square)
        if mean * mean * n > LARGE_MEAN**2 * s2:  # the sum of the entries is too rough for a mean to subtract
            wide = x.astype(np.float64)
            centre = wide.sum() / n
            wide -= centre
            rest = wide.sum() / n
            s2, s3, s4 = (float(np.sum(wide**k)) for k in (2, 3, 4))
        return Piece(
            count=n,
            mean=float(centre) + rest,
            m2=max(s2 - n * rest**2, 0.0),
            m3=s3 - 3 * rest * s2 + 2 * n * rest**3,
            m4=max(s4 - 4 * rest * s3 + 6 * rest**2 * s2 - 3 * n * rest**4, 0.0),
            l1=l1,
            unit=unit,
            min=low,
            max=high,
            smallest=smallest,
            zeros=zeros,
        )

    def _sum(self, x: np.ndarray) -> float:
        whole = x.size - x.size % ROW
        rows = np.vecdot(x[:whole].reshape(-1, ROW), self._ones)
        return float(rows.sum(dtype=np.float64)) + float(x[whole:].sum(dtype=np.float64))
