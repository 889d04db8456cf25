"""Statistics of the weight entries of one layer: moments, sparsity, quantiles, histograms.

Moments come from the kernel, a chunk at a time. All else is read off the sorted entries, on the host where the file was
read: NumPy sorts some seventy times faster than XLA does on a CPU (docs/architecture.md), quantiles and Gini index need
the order anyway, and a histogram of sorted entries is one binary search an edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from spectra.engine.padding import pad_to
from spectra.kernels import Histogram, Moments, edges_between, merge_moments, moments

CHUNKS = (1 << 14, 1 << 18)
"""Entries processed by one call; two sizes, so that two programs serve every layer."""

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
        Entries of any shape, float32 or float64; the caller has set JAX's precision accordingly.
    """
    flat = w.ravel()
    m = merge_moments(*(jax.device_get(_moments(chunk, mask)) for chunk, mask in _chunks(flat)))
    values, magnitudes = np.sort(flat), np.sort(np.abs(flat))
    zeros = int(np.searchsorted(magnitudes, 0, side="right"))
    smallest, largest = (magnitudes[zeros], magnitudes[-1]) if zeros < flat.size else flat.dtype.type([1, 0])
    edges, log_edges = jax.device_get(_edges(values[0], values[-1], smallest, largest))
    return Entries(
        {**_moment_columns(m), **_quantiles(values), **_sparsity(magnitudes, zeros, m), "gini": _gini(magnitudes)},
        _count_sorted(values, edges),
        _count_sorted(magnitudes, log_edges),
    )


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


def _count_sorted(ascending: np.ndarray, edges: np.ndarray) -> Histogram:
    """Histogram of sorted entries, the last bin closed; the counterpart of the kernel for what is sorted already."""
    below = np.searchsorted(ascending, edges, side="left")
    below[-1] = np.searchsorted(ascending, edges[-1], side="right")
    outside = (below[0], ascending.size - below[-1], 0)
    return Histogram(np.diff(below), edges, *(np.asarray(count) for count in outside))


def _moment_columns(m: Moments) -> dict[str, float | int | None]:
    names = ("mean", "std", "skewness", "kurtosis", "min", "max")
    return {"count": int(m.count), **{name: _known(getattr(m, name)) for name in names}}


def _known(value: np.ndarray | jax.Array | float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _quantiles(ascending: np.ndarray) -> dict[str, float | int | None]:
    """Quantiles of sorted values, interpolated linearly between order statistics."""
    place = np.array(list(QUANTILES.values())) * (ascending.size - 1)
    below = place.astype(np.int64)
    low, high = (ascending[np.minimum(k, ascending.size - 1)].astype(np.float64) for k in (below, below + 1))
    return dict(zip(QUANTILES, map(float, low + (high - low) * (place - below)), strict=True))


def _sparsity(magnitudes: np.ndarray, zeros: int, m: Moments) -> dict[str, float | int | None]:
    """Shares of zeros and of small entries, from sorted magnitudes; Hoyer sparsity."""
    n = magnitudes.size
    limits = magnitudes.dtype.type([0.1 * m.std, 0.01 * magnitudes[-1]])
    near_std, near_max = (int(count) / n for count in np.searchsorted(magnitudes, limits, side="left"))
    return {
        "zero_fraction": zeros / n,
        "near_zero_std": near_std if m.std > 0 else None,
        "near_zero_max": near_max,
        "hoyer": _known(m.hoyer),
    }


def _gini(ascending: np.ndarray) -> float | None:
    """Gini index of ascending magnitudes, 1 + Σₖ (2k + 1 − 2n)/n · |w|₍ₖ₎/‖w‖₁ with k from 0; None if all are zero."""
    n, total, weighted = ascending.size, 0.0, 0.0
    step = np.arange(CHUNKS[1], dtype=np.float64)  # in pieces that stay in the cache
    for start in range(0, n, step.size):
        piece = ascending[start : start + step.size].astype(np.float64)
        total += piece.sum()
        weighted += 2 * np.dot(piece, step[: piece.size]) + (2 * start + 1 - 2 * n) * piece.sum()
    return float(1 + weighted / n / total) if total > 0 else None
