"""How sparse weights are: shares of small entries, Gini index, quantiles."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Num

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, power_of_two, to_compute, to_mask
from spectra.kernels.moments import BLOCK, Moments, cut, fold, moments


class Sparsity(NamedTuple):
    """Measures of sparsity of the entries inside the mask; NaN where there are none or one is not finite."""

    zero_fraction: Float[AnyArray, ""]
    """Share of exact zeros."""
    near_zero_std: Float[AnyArray, ""]
    """Share of entries with |w| < 0.1·std: 0.0797 for a Gaussian of mean 0; NaN where std is 0."""
    near_zero_max: Float[AnyArray, ""]
    """Share of entries with |w| < 0.01·max|w|."""
    hoyer: Float[AnyArray, ""]
    """As in `Moments`."""
    gini: Float[AnyArray, ""]
    """Gini index of |w|: 0 if all magnitudes are equal, 1 − 1/n for a single nonzero (Hurley & Rickard 2009)."""


@compiled()
def sparsity(w: Num[AnyArray, "*shape"], where: Bool[AnyArray, "*mask"] | None = None) -> Sparsity:
    """All sparsity measures of the entries of an array.

    Parameters
    ----------
    w
        Entries of any shape and float type; `vmap` keeps axes apart.
    where
        True for the entries that count, broadcast to the shape of `w`.

    Notes
    -----
    The thresholds depend on std and max, so this reads the entries once for `moments` and once more to count; the
    Gini index sorts them.

    Examples
    --------
    >>> import jax.numpy as jnp, spectra
    >>> float(spectra.sparsity(jnp.array([0.0, 0.0, 0.0, 1.0])).gini)
    0.75
    """
    m = moments(w, where)
    few_std, few_max = small_counts(w, m, where)
    n = m.count.astype(m.mean.dtype)
    known = jnp.isfinite(m.mean)
    return Sparsity(
        zero_fraction=jnp.where(known, m.zeros / n, jnp.nan),
        near_zero_std=jnp.where(known & (m.std > 0), few_std / n, jnp.nan),
        near_zero_max=jnp.where(known, few_max / n, jnp.nan),
        hoyer=m.hoyer,
        gini=gini(w, where),
    )


@compiled()
def small_counts(
    w: Num[AnyArray, "*shape"], m: Moments, where: Bool[AnyArray, "*mask"] | None = None
) -> tuple[Num[Array, ""], Num[Array, ""]]:
    """Numbers of entries with |w| < 0.1·std and with |w| < 0.01·max|w|, given the moments; int32.

    A reading of their own, for the limits are known only after the first; in blocks, like that one.
    """
    mask = None if where is None else to_mask(where, jnp.asarray(w)).ravel()
    values = to_compute(w).ravel()
    limits = (0.1 * m.std, 0.01 * jnp.maximum(jnp.abs(m.min), jnp.abs(m.max)))

    def few(x: Any, inside: Any) -> tuple[Any, ...]:
        small = (jnp.abs(x) < limit for limit in limits)
        counted = (each if inside is None else each & inside for each in small)
        return tuple(fold(jnp.add, jnp.where(each, 1, 0)).astype(jnp.int32) for each in counted)

    def step(block: Any, found: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(map(jnp.add, found, few(*cut(values, mask, block))))

    whole = values.size // BLOCK
    found: tuple[Any, ...] = (jnp.int32(0), jnp.int32(0))
    if whole:
        found = lax.fori_loop(0, whole, step, found)
    if values.size % BLOCK:
        rest = slice(whole * BLOCK, None)
        found = tuple(map(jnp.add, found, few(values[rest], None if mask is None else mask[rest])))
    return found[0], found[1]


@compiled()
def gini(w: Num[AnyArray, "*shape"], where: Bool[AnyArray, "*mask"] | None = None) -> Float[Array, ""]:
    """Gini index of the magnitudes |w|, 1 − 2 Σₖ |w|₍ₖ₎/‖w‖₁ · (n − k + ½)/n over ascending magnitudes.

    NaN for no entries, only zeros, or a NaN or infinite entry. Source: Hurley & Rickard, IEEE Trans. Inf. Theory 55
    (2009), eq. 7.
    """
    mask = to_mask(where, jnp.asarray(w)).ravel()
    magnitude = jnp.abs(to_compute(w).ravel())
    count = jnp.sum(mask, dtype=jnp.int32)
    largest = jnp.max(jnp.where(mask, magnitude, 0), initial=0)
    usable = (largest > 0) & jnp.isfinite(largest)
    magnitude = jnp.where(usable, magnitude, 0)
    ordered = jnp.sort(jnp.where(mask, magnitude / power_of_two(jnp.where(usable, largest, 1)), jnp.inf))
    rank = jnp.arange(ordered.size, dtype=jnp.int32)
    inside = rank < count
    share = (2 * (rank - count) + 1).astype(ordered.dtype) / count.astype(ordered.dtype)
    total = jnp.sum(jnp.where(inside, ordered, 0))
    weighted = jnp.sum(jnp.where(inside, ordered * share, 0))
    return jnp.where(usable, 1 + weighted / jnp.where(usable, total, 1), jnp.nan)


@compiled()
def quantiles(
    w: Num[AnyArray, "*shape"], q: Num[AnyArray, " k"], where: Bool[AnyArray, "*mask"] | None = None
) -> Float[Array, " k"]:
    """Quantiles of all entries, interpolated linearly between order statistics as `numpy.quantile` does by default.

    Parameters
    ----------
    w
        Entries of any shape and float type; `vmap` keeps axes apart.
    q
        Probabilities in [0, 1].
    where
        True for the entries that count, broadcast to the shape of `w`.

    Returns
    -------
    Array
        One quantile for each probability; NaN for no entries or where an entry is NaN.
    """
    mask = to_mask(where, jnp.asarray(w)).ravel()
    values = to_compute(w).ravel()
    count = jnp.sum(mask, dtype=jnp.int32)
    if values.size == 0:
        return jnp.full(jnp.shape(q), jnp.nan, values.dtype)
    clean = (count > 0) & ~jnp.any(jnp.isnan(values) & mask)
    ordered = jnp.sort(jnp.where(mask, values, jnp.inf))
    q = jnp.asarray(q, values.dtype)
    last = jnp.maximum(count - 1, 0)
    place = q * last
    below = jnp.where(q < 1, jnp.minimum(jnp.floor(place).astype(jnp.int32), last), last)
    share = jnp.clip(place - below, 0, 1)
    low, high = ordered[below], ordered[jnp.minimum(below + 1, last)]
    between = jnp.where((low == high) | (share == 0), low, low * (1 - share) + high * share)
    return jnp.where(clean, between, jnp.nan)
