"""Statistics of the weight entries of one layer: moments, sparsity, quantiles, histograms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from spectra.engine.padding import pad_to
from spectra.kernels import Histogram, Moments, histogram, merge_histograms, merge_moments, moments, small_counts
from spectra.kernels.histogram import edges_between

CHUNKS = (1 << 14, 1 << 18)
"""Entries processed by one call; two sizes, so that two programs serve every layer."""

BINS = 100

QUANTILES = {"q01": 0.01, "q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95, "q99": 0.99}


class Entries(NamedTuple):
    """Scalar columns by name, and the two histograms."""

    columns: dict[str, float | int | None]
    linear: Histogram
    log: Histogram


def describe_entries(w: np.ndarray) -> Entries:
    """Measure the entries of a layer, which must all be finite.

    Parameters
    ----------
    w
        Entries of any shape, float32 or float64; the caller has set JAX's precision accordingly.
    """
    flat = w.ravel()
    m = merge_moments(*(jax.device_get(_moments(chunk, mask)) for chunk, mask in _chunks(flat)))
    magnitude = np.sort(np.abs(flat))
    positive = magnitude[np.searchsorted(magnitude, 0, side="right") :]
    smallest, largest = (positive[0], positive[-1]) if positive.size else (1, 0)
    ends = np.array([m.min, m.max, smallest, largest], flat.dtype)
    edges, log_edges = jax.device_get(_edges(*ends))
    narrow = Moments(*(np.asarray(field, flat.dtype) for field in m))
    counted = [jax.device_get(_counts(chunk, mask, edges, log_edges, narrow)) for chunk, mask in _chunks(flat)]
    few_std, few_max = (sum(int(part[2][k]) for part in counted) for k in range(2))
    n = int(m.count)
    columns: dict[str, float | int | None] = {
        "count": n,
        "mean": _known(m.mean),
        "std": _known(m.std),
        "skewness": _known(m.skewness),
        "kurtosis": _known(m.kurtosis),
        "min": _known(m.min),
        "max": _known(m.max),
        **_quantiles(np.sort(flat)),
        "zero_fraction": int(m.zeros) / n,
        "near_zero_std": few_std / n if m.std > 0 else None,
        "near_zero_max": few_max / n,
        "hoyer": _known(m.hoyer),
        "gini": _gini(magnitude),
    }
    return Entries(columns, *(merge_histograms(*(part[k] for part in counted)) for k in range(2)))


def _chunks(flat: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pieces of one of the two sizes, zero-padded, each with the mask of its real entries."""
    size = CHUNKS[0] if flat.size <= CHUNKS[0] else CHUNKS[1]
    for start in range(0, flat.size, size):
        piece = flat[start : start + size]
        yield pad_to(piece, (size,)), np.arange(size) < piece.size


_moments = jax.jit(moments)


@jax.jit
def _edges(low: jax.Array, high: jax.Array, smallest: jax.Array, largest: jax.Array) -> tuple[jax.Array, jax.Array]:
    return edges_between(low, high, BINS), edges_between(smallest, largest, BINS, "log")


@jax.jit
def _counts(
    w: jax.Array, mask: jax.Array, edges: jax.Array, log_edges: jax.Array, m: Moments
) -> tuple[Histogram, Histogram, tuple[jax.Array, jax.Array]]:
    return histogram(w, edges, mask), histogram(w, log_edges, mask, scale="log"), small_counts(w, m, mask)


def _known(value: np.ndarray | jax.Array | float) -> float | None:
    return float(value) if math.isfinite(value) else None


# Sorting is left to NumPy: XLA's sort on the CPU is some seventy times slower (docs/architecture.md).


def _quantiles(ascending: np.ndarray) -> dict[str, float | int | None]:
    """Quantiles of sorted values, interpolated linearly between order statistics."""
    place = np.array(list(QUANTILES.values())) * (ascending.size - 1)
    below = place.astype(np.int64)
    low, high = (ascending[np.minimum(k, ascending.size - 1)].astype(np.float64) for k in (below, below + 1))
    return dict(zip(QUANTILES, map(float, low + (high - low) * (place - below)), strict=True))


def _gini(ascending: np.ndarray) -> float | None:
    """Gini index of ascending magnitudes; None if all are zero."""
    n, total = ascending.size, ascending.sum(dtype=np.float64)
    if total == 0:
        return None
    share = (2 * (np.arange(n) - n) + 1) / n
    return float(1 + np.dot(ascending, share) / total)
