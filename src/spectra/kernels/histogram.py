"""Histograms of weight entries on linear and logarithmic bins, with exact integer counts."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.dtypes import AnyArray, to_compute, to_mask

Scale = Literal["linear", "log"]

LARGEST = 2**31 - 1
"""Entries that 32-bit counters hold for certain; larger arrays are counted in chunks and merged."""


class Histogram(NamedTuple):
    """Counts of entries in bins ``edges[i] <= v < edges[i + 1]``; the last bin includes its upper edge.

    Counts of bins, underflow, overflow and NaN add up to the number of entries inside the mask.
    """

    counts: Int[AnyArray, " bins"]
    edges: Float[AnyArray, " bins_1"]
    underflow: Int[AnyArray, ""]
    """Entries below the first edge, −inf among them. On a log scale also the exact zeros."""
    overflow: Int[AnyArray, ""]
    """Entries above the last edge, +inf among them."""
    nan: Int[AnyArray, ""]
    """Entries that are not a number."""


def histogram(
    w: Num[AnyArray, "*shape"],
    edges: Float[AnyArray, " bins_1"] | None = None,
    where: Bool[AnyArray, "*mask"] | None = None,
    *,
    bins: int = 100,
    scale: Scale = "linear",
) -> Histogram:
    """Count the entries of an array in bins; all axes are counted together, `vmap` keeps some apart.

    Parameters
    ----------
    w
        Entries of any shape and float type; narrow types are widened exactly.
    edges
        Ascending bin edges in the units of `w`, compared in its compute type; None lays `bins` of them over the
        range of the finite entries.
    where
        True for the entries that count, broadcast to the shape of `w`.
    bins
        Number of automatic bins.
    scale
        ``log`` counts the magnitudes |w|, and automatic edges are then equally spaced in log |w| from the smallest
        positive magnitude to the largest.

    Returns
    -------
    Histogram
        `counts` are int32, exact.

    Raises
    ------
    ValueError
        For 2³¹ entries or more in one call (count chunks on common edges and use `merge_histograms`), unknown
        scales, or edges that are not a vector of two or more.

    Examples
    --------
    >>> import jax.numpy as jnp, spectra
    >>> spectra.histogram(jnp.array([0.0, 0.2, 0.9, 5.0]), jnp.array([0.0, 0.5, 1.0])).counts.tolist()
    [2, 1]
    """
    values = to_compute(w).ravel()
    mask = to_mask(where, jnp.asarray(w)).ravel()
    if values.size > LARGEST:
        raise ValueError(f"{values.size} entries overflow 32-bit counts: count in chunks and merge_histograms()")
    if scale not in ("linear", "log"):
        raise ValueError(f"unknown scale {scale!r}: choose 'linear' or 'log'")
    if scale == "log":
        values = jnp.abs(values)
    edges = _automatic_edges(values, mask, bins, scale) if edges is None else jnp.asarray(edges, values.dtype)
    if edges.ndim != 1 or edges.shape[0] < 2:
        raise ValueError(f"edges must be a vector of at least two numbers, got shape {edges.shape}")

    # Slots: 0 underflow, 1…bins the bins, bins + 1 overflow, bins + 2 NaN, bins + 3 outside the mask.
    total = edges.shape[0] - 1
    slot = jnp.searchsorted(edges, values, side="right", method="scan_unrolled")
    slot = jnp.where(values == edges[-1], total, slot)
    slot = jnp.where(jnp.isnan(values), total + 2, slot)
    slot = jnp.where(mask, slot, total + 3)
    counts = jnp.zeros(total + 4, jnp.int32).at[slot].add(1, mode="promise_in_bounds")
    return Histogram(counts[1 : total + 1], edges, counts[0], counts[total + 1], counts[total + 2])


def merge_histograms(*parts: Histogram) -> Histogram:
    """Add histograms of chunks that were counted on the same edges, exactly, on the host.

    Returns
    -------
    Histogram
        NumPy arrays; counts are int64, exact far beyond the 2⁵³ entries that a float64 would hold.

    Raises
    ------
    ValueError
        Without parts, or if their edges differ.
    """
    if not parts:
        raise ValueError("no histogram to merge")
    edges = np.asarray(parts[0].edges)
    if any(not np.array_equal(edges, np.asarray(part.edges)) for part in parts[1:]):
        raise ValueError("histograms on different edges cannot be merged: count every chunk on the same edges")

    def total(field: str) -> np.ndarray:
        return np.asarray(sum(np.asarray(getattr(part, field), np.int64) for part in parts))

    return Histogram(total("counts"), edges, total("underflow"), total("overflow"), total("nan"))


def _automatic_edges(
    values: Float[Array, " n"], mask: Bool[Array, " n"], bins: int, scale: Scale
) -> Float[Array, " bins_1"]:
    """`bins` equal bins over the finite entries (or over the logarithms of the positive ones)."""
    if bins < 1:
        raise ValueError(f"at least one bin is needed, got bins={bins}")
    used = mask & jnp.isfinite(values) & ((values > 0) if scale == "log" else True)
    low = jnp.min(jnp.where(used, values, jnp.inf), initial=jnp.inf)
    high = jnp.max(jnp.where(used, values, -jnp.inf), initial=-jnp.inf)
    return edges_between(low, high, bins, scale)


def edges_between(
    low: Num[AnyArray, ""] | float, high: Num[AnyArray, ""] | float, bins: int, scale: Scale = "linear"
) -> Float[Array, " bins_1"]:
    """Ascending edges of `bins` bins from `low` to `high`, both ends exact.

    A range of a single value is widened so that the value lies inside; an empty one (low > high) becomes [0, 1], or
    [1, 10] on the log scale.
    """
    low, high = to_compute(jnp.asarray(low)), to_compute(jnp.asarray(high))
    share = jnp.linspace(0, 1, bins + 1, dtype=low.dtype)
    largest = jnp.finfo(low.dtype).max
    if scale == "log":
        low, high = jnp.where(low > high, 1, low), jnp.where(low > high, 10, high)
        single = low == high
        low = jnp.where(single, low / 2, low)
        high = jnp.where(single, jnp.minimum(high, largest / 2) * 2, high)
        inner = jnp.exp(jnp.log(low) * (1 - share) + jnp.log(high) * share)
    else:
        low, high = jnp.where(low > high, 0, low), jnp.where(low > high, 1, high)
        margin = jnp.where(low == high, jnp.maximum(0.5, jnp.abs(low) * 1e-3), 0)
        low, high = jnp.maximum(low - margin, -largest), jnp.minimum(high + margin, largest)
        inner = low * (1 - share) + high * share  # this form does not overflow for ±3e38
    inner = jnp.clip(inner, low, high).at[0].set(low).at[-1].set(high)
    return lax.cummax(inner)
