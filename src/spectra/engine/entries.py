"""Statistics of the weight entries of one layer: moments, sparsity, quantiles, histograms.

On the host, where the file was read, in NumPy: no program to compile, and few entries cost little. Few entries are
sorted; many are counted in cells (`spectra.engine.cells`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from spectra.engine.cells import Cells, distinct
from spectra.engine.ordered import Ordered
from spectra.kernels.histogram import Histogram

FEW = 1 << 15
"""Up to this many entries sorting them is cheaper than the tables of cells."""

BINS = 100

QUANTILES = {"q01": 0.01, "q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95, "q99": 0.99}


class Entries(NamedTuple):
    """Scalar columns by name, and the two histograms."""

    columns: dict[str, float | int | None]
    linear: Histogram
    log: Histogram
    """Of the magnitudes; exact zeros are its underflow."""


def describe_entries(w: np.ndarray) -> Entries:
    """Measure the entries of a layer, which must all be finite.

    Parameters
    ----------
    w
        Entries of any shape, float32 or float64.
    """
    flat = np.ascontiguousarray(w).ravel()
    source: Ordered | Cells
    source = Ordered(np.sort(flat)) if flat.size <= FEW else distinct(flat) or Cells(flat)
    s = source.summary()
    linear = edges_between(s.min, s.max, flat.dtype)
    log = edges_between(s.smallest, max(-s.min, s.max), flat.dtype, log=True)
    limits = np.array([0.1 * s.std, 0.01 * max(-s.min, s.max)], flat.dtype)
    magnitudes = np.concatenate([_closed(log), limits])
    place = np.array(list(QUANTILES.values())) * (s.count - 1)
    ranks = np.append(np.floor(place), np.ceil(place)).astype(np.int64)
    # |w| < t: below t, but not up to −t, which is not below the next number after −t.
    found = source.rank(np.concatenate([_closed(linear), magnitudes, _next(-magnitudes)]), ranks)
    below, upper, lower = np.split(found.below, [linear.size, linear.size + magnitudes.size])
    inside = np.maximum(upper - lower, 0)
    columns: dict[str, float | int | None] = {"count": s.count}
    for name in ("mean", "std", "skewness", "kurtosis", "min", "max"):
        columns[name] = _known(getattr(s, name))
    low, high = found.entries.astype(np.float64).reshape(2, -1)
    columns |= dict(zip(QUANTILES, map(float, low + (high - low) * (place - np.floor(place))), strict=True))
    columns |= {
        "zero_fraction": s.zeros / s.count,
        "near_zero_std": int(inside[-2]) / s.count if s.std > 0 else None,
        "near_zero_max": int(inside[-1]) / s.count,
        "hoyer": _known(s.hoyer),
        "gini": _known(found.gini),
    }
    return Entries(columns, _histogram(below, linear, s.count), _histogram(inside[:-2], log, s.count))


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _closed(edges: np.ndarray) -> np.ndarray:
    """Edges below which entries are counted: the last bin includes its upper edge."""
    return np.append(edges[:-1], _next(edges[-1:]))


def _next(x: np.ndarray) -> np.ndarray:
    """The next larger numbers; ∞ after the largest."""
    with np.errstate(over="ignore"):
        return np.nextafter(x, x.dtype.type(np.inf))


def _histogram(below: np.ndarray, edges: np.ndarray, size: int) -> Histogram:
    return Histogram(np.diff(below), edges, below[0], size - below[-1], np.asarray(0))


def edges_between(low: float, high: float, dtype: np.dtype, *, log: bool = False) -> np.ndarray:
    """Edges of `BINS` equal bins from `low` to `high`, rounded from float64; the kernel's function, without JAX.

    A range of one value is widened so that the value lies inside; an empty one (no magnitude but zero) becomes [1, 10].
    """
    limits = np.finfo(dtype)
    if log:
        low, high = (1.0, 10.0) if low > high else (low, high)
        if low == high:
            low, high = max(low / 2, float(limits.smallest_subnormal)), min(high, float(limits.max) / 2) * 2
        inner = np.exp(np.linspace(math.log(low), math.log(high), BINS + 1)[:-1])
        inner = np.append(inner, high)
    else:
        margin = max(0.5, abs(low) * 1e-3) if low == high else 0.0
        low, high = max(low - margin, float(limits.min)), min(high + margin, float(limits.max))
        share = np.linspace(0, 1, BINS + 1)
        inner = low * (1 - share) + high * share  # this form does not overflow
    inner[0], inner[-1] = low, high
    return np.maximum.accumulate(np.clip(inner, low, high).astype(dtype))
