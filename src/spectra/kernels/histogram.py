"""Histograms of weight entries on linear and logarithmic bins, with exact integer counts."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, power_of_two, to_compute, to_mask
from spectra.kernels.moments import BLOCK, Moments, cut, fold, moments_of, read

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


@compiled("bins", "scale")
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
    values, mask = _prepared(w, where, scale)
    if edges is None and scale == "linear":
        return _count_uniform(values, mask, *_range(values, mask), bins)
    if edges is None:
        if bins < 1:
            raise ValueError(f"at least one bin is needed, got bins={bins}")
        edges = edges_between(*_range(values, mask, above=0.0), bins, scale)
    edges = jnp.asarray(edges, values.dtype)
    if edges.ndim != 1 or edges.shape[0] < 2:
        raise ValueError(f"edges must be a vector of at least two numbers, got shape {edges.shape}")
    return _histogram(_count(values, mask, edges, edges.shape[0] - 1, _searched_slot), edges)


@compiled("bins")
def moments_and_histogram(
    w: Num[AnyArray, "*shape"],
    edges: Float[AnyArray, " bins_1"] | None = None,
    where: Bool[AnyArray, "*mask"] | None = None,
    *,
    bins: int = 100,
) -> tuple[Moments, Histogram]:
    """`moments`, and `histogram` on a linear scale, whose automatic bins then need no reading for the range.

    Parameters
    ----------
    w, edges, where, bins
        As in `histogram`.

    Returns
    -------
    tuple
        What `moments` and `histogram` would give.

    Examples
    --------
    >>> import jax.numpy as jnp, spectra
    >>> m, h = spectra.moments_and_histogram(jnp.array([0.0, 1.0, 2.0]), bins=2)
    >>> float(m.mean), h.counts.tolist()
    (1.0, [1, 2])
    """
    values, mask = _prepared(w, where, "linear")
    sums = read(values, mask)
    if edges is None:
        finite = jnp.isfinite(sums.low) & jnp.isfinite(sums.high)
        low, high = (lax.stop_gradient(end) for end in (sums.low, sums.high))
        found = lax.cond(finite, lambda: (low, high), lambda: _range(lax.stop_gradient(values), mask))
        h = _count_uniform(values, mask, found[0], found[1], bins)
    else:
        h = histogram(w, edges, where)
    return moments_of(sums), h


def _prepared(w: Any, where: Any, scale: Scale) -> tuple[Any, Any]:
    """Flat entries to be counted, and their mask or None."""
    values = to_compute(w).ravel()
    mask = None if where is None else to_mask(where, jnp.asarray(w)).ravel()
    if values.size > LARGEST:
        raise ValueError(f"{values.size} entries overflow 32-bit counts: count in chunks and merge_histograms()")
    if scale not in ("linear", "log"):
        raise ValueError(f"unknown scale {scale!r}: choose 'linear' or 'log'")
    return (jnp.abs(values) if scale == "log" else values), mask


def _histogram(counts: Int[Array, " slots"], edges: Float[AnyArray, " bins_1"]) -> Histogram:
    """From counts in slots: 0 underflow, 1 … bins the bins, then overflow and NaN."""
    total = edges.shape[0] - 1
    return Histogram(counts[1 : total + 1], edges, counts[0], counts[total + 1], counts[total + 2])


def _count_uniform(values: Any, mask: Any, low: Any, high: Any, bins: int) -> Histogram:
    edges, grid = _uniform(low, high, bins)
    return _histogram(_count(values, mask, grid, bins, _uniform_slot), edges)


def _count(values: Any, mask: Any, bins: Any, number: int, slot_of: Any) -> Int[Array, " slots"]:
    """Counts of slots, a block at a time, so that what is computed for each entry never goes to memory."""
    slots = number + 3

    def add(x: Any, inside: Any, counts: Any) -> Any:
        slot = slot_of(x, bins, number)
        slot = slot if inside is None else jnp.where(inside, slot, slots)
        return counts.at[slot].add(1, mode="promise_in_bounds")

    def step(block: Any, counts: Any) -> Any:
        return add(*cut(values, mask, block), counts)

    whole = values.size // BLOCK
    counts = jnp.zeros(slots + 1, jnp.int32)  # one more for entries outside the mask
    if whole:
        counts = lax.fori_loop(0, whole, step, counts)
    if values.size % BLOCK:
        counts = add(values[whole * BLOCK :], None if mask is None else mask[whole * BLOCK :], counts)
    return counts[:slots]


def _searched_slot(x: Float[Array, " n"], edges: Float[Array, " bins_1"], total: int) -> Int[Array, " n"]:
    slot = jnp.searchsorted(edges, x, side="right", method="scan_unrolled")
    slot = jnp.where(x == edges[-1], total, slot)
    return jnp.where(jnp.isnan(x), total + 2, slot)


class _Grid(NamedTuple):
    """Equal bins between two ends. The bin of an entry is computed from it, ⌊(v·unit − offset)·scale⌋."""

    low: Float[AnyArray, ""]
    high: Float[AnyArray, ""]
    unit: Float[AnyArray, ""]
    """Reciprocal of a power of two near the ends, so that no difference overflows."""
    offset: Float[AnyArray, ""]
    scale: Float[AnyArray, ""]

    def bin(self, x: Float[Array, "*n"]) -> Int[Array, "*n"]:
        """The computed bin of numbers between the ends, which never falls as they rise."""
        return ((x * self.unit - self.offset) * self.scale).astype(jnp.int32)


def _uniform(low: Float[Array, ""], high: Float[Array, ""], bins: int) -> tuple[Float[Array, " bins_1"], _Grid]:
    """`bins` equal bins between the ends: each edge is the first number whose computed bin is the next.

    So no entry needs to be compared with the edges. They are a few roundings off those of `edges_between`.
    """
    if bins < 1:
        raise ValueError(f"at least one bin is needed, got bins={bins}")
    low, high = edges_between(low, high, 1)
    unit = 1 / power_of_two(jnp.maximum(jnp.abs(low), jnp.abs(high)))
    grid = _Grid(low, high, unit, low * unit, bins / (high * unit - low * unit))
    wanted = jnp.arange(1, bins)

    def halve(_: Any, bracket: Any) -> Any:
        below, above = bracket
        middle = (below & above) + ((below ^ above) >> 1)
        reached = grid.bin(_from_order(middle, low.dtype)) >= wanted
        return jnp.where(reached, below, middle), jnp.where(reached, middle, above)

    bracket = jnp.full(wanted.shape, _order(low)), jnp.full(wanted.shape, _order(high))
    _, first = lax.fori_loop(0, 8 * low.dtype.itemsize + 1, halve, bracket)
    inner = jnp.clip(_from_order(first, low.dtype), low, high)
    return jnp.concatenate([low[None], inner, high[None]]), grid


def _uniform_slot(x: Float[Array, " n"], grid: _Grid, total: int) -> Int[Array, " n"]:
    slot = jnp.clip(grid.bin(x), 0, total - 1) + 1
    slot = jnp.where(x < grid.low, 0, jnp.where(x > grid.high, total + 1, slot))
    return jnp.where(jnp.isnan(x), total + 2, slot)


def _order(x: Float[Array, "*n"]) -> Int[Array, "*n"]:
    """Integers in the order of the numbers."""
    bits = lax.bitcast_convert_type(x, jnp.int64 if x.dtype == jnp.float64 else jnp.int32)
    return jnp.where(bits < 0, bits ^ jnp.iinfo(bits.dtype).max, bits)


def _from_order(order: Int[Array, "*n"], dtype: Any) -> Float[Array, "*n"]:
    return lax.bitcast_convert_type(jnp.where(order < 0, order ^ jnp.iinfo(order.dtype).max, order), dtype)


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


def _range(
    values: Float[Array, " n"], mask: Bool[Array, " n"] | None, above: float = -np.inf
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Smallest and largest finite entry over a limit; ∞ and −∞ without any."""

    def ends(x: Any, inside: Any) -> tuple[Any, Any]:
        used = jnp.isfinite(x) & (x > above) if inside is None else jnp.isfinite(x) & (x > above) & inside
        return fold(jnp.minimum, jnp.where(used, x, jnp.inf)), fold(jnp.maximum, jnp.where(used, x, -jnp.inf))

    def step(block: Any, found: Any) -> tuple[Any, Any]:
        low, high = ends(*cut(values, mask, block))
        return jnp.minimum(found[0], low), jnp.maximum(found[1], high)

    whole = values.size // BLOCK
    found = jnp.asarray(jnp.inf, values.dtype), jnp.asarray(-jnp.inf, values.dtype)
    if whole:
        found = lax.fori_loop(0, whole, step, found)
    if values.size % BLOCK:
        low, high = ends(values[whole * BLOCK :], None if mask is None else mask[whole * BLOCK :])
        found = jnp.minimum(found[0], low), jnp.maximum(found[1], high)
    return found


@compiled("bins", "scale")
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
