"""Samples like the one that was fitted, drawn by chance, and the power law of each: what the bootstraps are made of.

Clauset, Shalizi & Newman, "Power-law distributions in empirical data", SIAM Review 51 (2009) 661, §3.3 and §4.1
[CSN09].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key, Num, UInt32

from spectra.kernels.dtypes import AnyArray, to_compute, to_mask
from spectra.kernels.power_law import PowerLawFit, _sorted_positive
from spectra.kernels.scan import best_tail, log_ratio, sums_from_the_top, tails_from_steps, total
from spectra.kernels.status import FitStatus

AT_ONCE = 2**16
"""Values in the replicates that are fitted together: enough for every core of a CPU, little enough for its caches."""


class Replicates(NamedTuple):
    """Fits of the replicates of each sample; NaN in a replicate that has none, as when all its values are equal."""

    alpha: Float[AnyArray, "*batch replicates"]
    xmin: Float[AnyArray, "*batch replicates"]
    ks: Float[AnyArray, "*batch replicates"]
    """Each replicate's distance to its own fit."""
    status: Int[AnyArray, "*batch"]
    """`FitStatus` of the sample; where it is not `OK` there are no replicates, and all of the above is NaN."""


def fit_replicates(
    x: Num[AnyArray, "*batch n"],
    fit: PowerLawFit,
    key: Key[Array, "*keys"] | UInt32[AnyArray, "*keys 2"],
    n: int = 1000,
    where: Bool[AnyArray, "*mask"] | None = None,
    search: bool = True,
    at_once: int = AT_ONCE,
    resampled: Bool[AnyArray, "*samples"] | bool = False,
) -> Replicates:
    """Draw replicates of each sample along the last axis and fit a power law to each, xmin searched anew.

    A replicate has as many values as the sample has positive ones. Each of them comes with probability n_tail/size
    from the fitted power law above xmin, and else is one of the sample's values below xmin; or, `resampled`, each is
    one of the sample's values.

    Parameters
    ----------
    x
        Samples, shape ``(..., n)``, in any order.
    fit
        Their fits by `fit_power_law`.
    key
        A random key; for a batch a key for each sample, or one that is split among them.
    n
        Number of replicates. A p-value is within ε for n ≥ 1/(4 ε²) [CSN09].
    where
        True for the values that count; broadcast to the shape of `x`.
    search
        False for fits at a given xmin: then the replicates have it too. To search where the sample could not, or the
        other way about, makes p meaningless.
    at_once
        Memory: about so many values in the replicates that are computed together. The result does not depend on it.
    resampled
        True where all values come from the sample, broadcast to the batch shape.

    Returns
    -------
    Replicates
        Fields of the batch shape, and another axis of length `n` but for the status.

    Notes
    -----
    The draws depend on the key and the number of values that count, not on padding (with JAX's default random
    generator), so that a masked sample has the p-value of its part. The time grows about linearly with the number of
    values. There are no derivatives: they are 0.
    """
    if n < 1:
        raise ValueError(f"at least one replicate is needed, not {n}")
    values = lax.stop_gradient(to_compute(x))
    mask = to_mask(where, values)
    batch = values.shape[:-1]
    if values.shape[-1] < 2:
        values, mask = (jnp.pad(a, [(0, 0)] * len(batch) + [(0, 2 - values.shape[-1])]) for a in (values, mask))
    keys = split_keys(key, batch)
    flat = (values.reshape(-1, values.shape[-1]), mask.reshape(-1, values.shape[-1]))
    fields = (jnp.asarray(a) for a in (fit.alpha, fit.xmin, fit.status, resampled))
    given = (jnp.broadcast_to(lax.stop_gradient(a), batch) for a in fields)
    samples = (*flat, *(a.reshape(-1) for a in (*given, keys)))
    found = _one_after_the_other(samples, n=n, search=search, at_once=at_once)
    return jax.tree.map(lambda field: field.reshape(*batch, *field.shape[1:]), found)


@partial(jax.jit, static_argnames=("n", "search", "at_once"))
def _one_after_the_other(samples: tuple[Array, ...], n: int, search: bool, at_once: int) -> Replicates:
    """The replicates of each sample, in memory that does not grow with their number."""
    one = partial(_fit_replicates, n=n, search=search, at_once=at_once)
    return lax.map(lambda sample: one(*sample), samples)


def split_keys(key: AnyArray, batch: tuple[int, ...]) -> Array:
    """A key for each sample of the batch."""
    keys = jnp.asarray(key)
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        keys = jax.random.wrap_key_data(keys)
    if keys.shape == () != batch:
        return jax.random.split(keys, batch)
    if keys.shape != batch:
        raise ValueError(f"one key, or keys of the batch shape {batch}, are needed, not of shape {keys.shape}")
    return keys


def _fit_replicates(
    x: Float[Array, " n"],
    mask: Bool[Array, " n"],
    alpha: Float[Array, ""],
    xmin: Float[Array, ""],
    status: Int[Array, ""],
    resampled: Bool[Array, ""],
    key: Array,
    *,
    n: int,
    search: bool,
    at_once: int,
) -> Replicates:
    """The replicates of one sample."""
    ordered, count, _ = _sorted_positive(x, mask)
    usable = status == FitStatus.OK
    alpha, xmin = jnp.where(usable, alpha, 2), jnp.where(usable, xmin, 1)
    sample = _Sample(ordered, count, alpha, xmin, jnp.where(resampled, jnp.inf, xmin))

    fit = _fit_searched if search else _fit_fixed

    def replicate(key: Array) -> _Found:
        return fit(sample, _semi_parametric(sample, key))

    found = _in_chunks(replicate, key, n, max(1, at_once // x.shape[0]))
    known = _Found(*(jnp.where(usable, field, jnp.nan) for field in found))
    return Replicates(known.alpha, known.xmin, known.ks, status)


def _in_chunks(replicate: Callable[[Array], _Found], key: Array, n: int, size: int) -> _Found:
    """`n` replicates with a key each, about `size` of them together; all chunks alike, so that one is compiled."""
    chunks = -(-n // size)
    size = -(-n // chunks)
    found = lax.map(jax.vmap(replicate), jax.random.split(key, chunks * size).reshape(chunks, size))
    return jax.tree.map(lambda field: field.reshape(-1)[:n], found)


class _Sample(NamedTuple):
    ordered: Float[Array, " n"]
    """Positive values in ascending order, +inf behind them."""
    size: Int[Array, ""]
    """How many of them there are."""
    alpha: Float[Array, ""]
    xmin: Float[Array, ""]
    border: Float[Array, ""]
    """Below it values come from the sample, above it from the fit: xmin, or +inf."""


class _Draws(NamedTuple):
    """A replicate in ascending order, as long as the sample."""

    values: Float[Array, " n"]
    """Values of the sample, and xmin for those that the power law draws."""
    excess: Float[Array, " n"]
    """For the latter ln x above the value before, or above xmin for the first of them; else 0."""


class _Found(NamedTuple):
    """Fit of a replicate, NaN where it has none."""

    alpha: Float[Array, ""]
    xmin: Float[Array, ""]
    ks: Float[Array, ""]


def _semi_parametric(sample: _Sample, key: Array) -> _Draws:
    """Each value with probability n_tail/size from the fit, else one of those below xmin [CSN09 §4.1]."""
    ordered, size, alpha, xmin, border = sample
    n, dtype = ordered.shape[0], ordered.dtype
    place = jnp.arange(n, dtype=jnp.int32)
    choices = jnp.sum(ordered < border, dtype=jnp.int32)
    # Numbered from the lowest value on, so that the draws do not depend on padding.
    uniform = jax.random.uniform(key, (n + 1, 2), dtype)
    chosen = (place < size) & (uniform[:n, 0] * size.astype(dtype) < choices.astype(dtype))
    body = jnp.sum(chosen, dtype=jnp.int32)
    spacing = -jnp.log1p(-uniform[:, 1])

    below = ordered[_sorted_indices(spacing, spacing[size], body, choices)]
    # ln(x/xmin) of the tail is exponential. The k-th spacing is so too, with a rate times the values from there on.
    in_tail = (place >= body) & (place < size)
    left = jnp.where(in_tail, size - place, 1).astype(dtype)
    excess = jnp.where(in_tail, spacing[:n] / (left * (alpha - 1)), 0)
    return _Draws(jnp.where(place < body, below, xmin), excess)


def _sorted_indices(
    spacing: Float[Array, " m"], last: Float[Array, ""], size: Int[Array, ""], choices: Int[Array, ""]
) -> Int[Array, " m-1"]:
    """`size` numbers of 0 … choices − 1, drawn with replacement, in ascending order; behind them anything in range.

    Sums of size + 1 exponentials over their total are order statistics of `size` uniform numbers. From some 10⁵ of
    them on the rounding of the sums may put two neighbours in the wrong order, one apart.
    """
    n = spacing.shape[0] - 1
    used = jnp.arange(n, dtype=jnp.int32) < size
    from_top = sums_from_the_top(jnp.where(used, spacing[:n], 0))
    reached = jnp.floor(from_top / (from_top[0] + last) * choices.astype(spacing.dtype)).astype(jnp.int32)
    return jnp.maximum(choices - 1 - reached, 0)


def _fit_searched(sample: _Sample, draws: _Draws) -> _Found:
    """What `fit_power_law` finds in a replicate."""
    values, excess = draws
    place = jnp.arange(values.shape[0], dtype=jnp.int32)
    inside = place < sample.size
    rising = inside[1:]
    step = log_ratio(jnp.where(rising, values[1:], 1), jnp.where(rising, values[:-1], 1)) + excess[1:]
    step = jnp.append(jnp.where(rising, jnp.maximum(step, 0), 0), 0)  # from value k to value k + 1
    first = inside & jnp.append(True, step[:-1] > 0)
    best = best_tail(tails_from_steps(step, first, sample.size))
    xmin = values[best.index] * jnp.exp(total(jnp.where(place <= best.index, excess, 0)))
    return _Found(*(jnp.where(best.ks < jnp.inf, field, jnp.nan) for field in (best.alpha, xmin, best.ks)))


def _fit_fixed(sample: _Sample, draws: _Draws) -> _Found:
    """What `fit_power_law` finds in a replicate for the sample's xmin."""
    place = jnp.arange(draws.values.shape[0], dtype=jnp.int32)
    tail = (place < sample.size) & (draws.values >= sample.xmin)
    n_tail = jnp.sum(tail, dtype=jnp.int32)
    count = jnp.maximum(n_tail, 1).astype(draws.values.dtype)
    logs = jnp.where(tail, sums_from_the_top(draws.excess[::-1])[::-1], 0)  # ln(x/xmin)
    log_sum = total(logs)
    exists = (n_tail >= 2) & (log_sum > 0)
    slope = count / jnp.where(exists, log_sum, 1)
    share = (place - (sample.size - n_tail)).astype(logs.dtype) / count
    ks = jnp.max(jnp.where(tail, jnp.abs(1 - jnp.exp(-slope * logs) - share), 0))
    return _Found(*(jnp.where(exists, field, jnp.nan) for field in (1 + slope, sample.xmin, ks)))
