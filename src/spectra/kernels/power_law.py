"""Power-law fits of a sample's tail: maximum likelihood with xmin by Kolmogorov–Smirnov distance.

Method of Clauset, Shalizi & Newman, SIAM Review 51 (2009) §3, continuous case, with the conventions of the
powerlaw package for repeated values (`docs/architecture.md` has the numerical design).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.dtypes import AnyArray, to_compute, to_mask

CANDIDATES_AT_ONCE = 512
"""Candidates whose distances are computed together: bounds the intermediate to 512·n numbers."""


class PowerLawFit(NamedTuple):
    """Fit of p(x) ∝ x^(−alpha) to the sample from `xmin` upwards.

    Every field is NaN, and `n_tail` 0, where no fit exists: fewer than two distinct positive values at or above
    `xmin`, or a NaN or infinity among the values.
    """

    alpha: Float[AnyArray, "*batch"]
    """Exponent, maximum likelihood [CSN09, eq. 3.1]."""
    xmin: Float[AnyArray, "*batch"]
    """Start of the tail, in the units of the sample."""
    ks: Float[AnyArray, "*batch"]
    """Kolmogorov–Smirnov distance D between tail and fit [CSN09, eq. 3.9]."""
    sigma: Float[AnyArray, "*batch"]
    """Standard error of alpha for a fixed xmin, (alpha − 1)/√n_tail [CSN09, eq. 3.2]."""
    n_tail: Int[AnyArray, "*batch"]
    """Number of values in the tail."""


def fit_power_law(
    x: Num[AnyArray, "*batch n"],
    where: Bool[AnyArray, "*mask"] | None = None,
    xmin: Num[AnyArray, "*start"] | float | int | None = None,
) -> PowerLawFit:
    """Fit a power law to the upper tail of each sample along the last axis.

    For the sorted sample and a tail of n values from xmin upwards, alpha = 1 + n / Σ ln(xⱼ/xmin) and
    D = max |1 − (xⱼ/xmin)^(1−alpha) − (j−i)/n|. Unless `xmin` is given, every distinct value but the largest is
    tried and the one of smallest D wins, the lowest on ties. Repeated values count as powerlaw has it: the
    empirical distribution function at a value is the share of the tail strictly below it.

    Parameters
    ----------
    x
        Samples, shape ``(..., n)``, in any order. Values ≤ 0 lie outside every power law and are left out.
    where
        True for the values that count; broadcast to the shape of `x`.
    xmin
        Fixed start of the tail, broadcast to the batch shape; None searches for it. Must be positive.

    Returns
    -------
    PowerLawFit
        Fields of the batch shape ``(...)``.

    Notes
    -----
    The search takes n²/2 exponentials in O(512·n) memory. All sums are of positive terms, taken from the largest
    value down, so that float32 keeps D to about 1e-6 whatever the units. `alpha` and `ks` are differentiable in `x`
    for the xmin that was found, which itself is piecewise constant in rank.

    Examples
    --------
    >>> import numpy as np, spectra
    >>> x = (1 - np.random.default_rng(0).random(2000)) ** (-1 / 1.5)  # a Pareto sample with alpha = 2.5
    >>> fit = spectra.fit_power_law(x)
    >>> bool(abs(fit.alpha - 2.5) < 3 * fit.sigma)
    True
    """
    values = to_compute(x)
    if values.ndim == 0:
        raise ValueError("a sample with at least one axis is needed, got a scalar")
    mask = to_mask(where, values)
    batch = values.shape[:-1]
    start = None if xmin is None else jnp.broadcast_to(jnp.asarray(xmin, values.dtype), batch)
    fit = _fit_searched if start is None else _fit_fixed
    arguments = (values, mask) if start is None else (values, mask, start)
    for _ in batch:
        fit = jax.vmap(fit)
    return fit(*arguments)


def _fit_searched(x: Float[Array, " n"], mask: Bool[Array, " n"]) -> PowerLawFit:
    ordered, count, valid = _sorted_positive(x, mask)
    if x.shape[0] < 2:
        return _tail_fit(ordered, count, jnp.asarray(jnp.nan, x.dtype), valid)
    distances = _all_distances(lax.stop_gradient(ordered), count)
    found = jnp.min(distances) < jnp.inf
    start = jnp.where(found, ordered[jnp.argmin(distances)], jnp.nan)
    return _tail_fit(ordered, count, start, valid)


def _fit_fixed(x: Float[Array, " n"], mask: Bool[Array, " n"], start: Float[Array, ""]) -> PowerLawFit:
    ordered, count, valid = _sorted_positive(x, mask)
    return _tail_fit(ordered, count, jnp.where(start > 0, start, jnp.nan), valid)


def _sorted_positive(
    x: Float[Array, " n"], mask: Bool[Array, " n"]
) -> tuple[Float[Array, " n"], Int[Array, ""], Bool[Array, ""]]:
    """The positive values in ascending order with +inf behind them, their number, and whether all were finite."""
    kept = mask & (x > 0)
    valid = jnp.all(jnp.isfinite(x) | ~mask)
    return jnp.sort(jnp.where(kept, x, jnp.inf)), jnp.sum(kept, dtype=jnp.int32), valid


@jax.custom_jvp
def _log_ratio(x: Float[Array, ...], start: Float[Array, ...]) -> Float[Array, ...]:
    """ln(x/start) for x ≥ start > 0, to a few units in the last place even where x is close to start."""
    ratio = x / start
    near = jnp.log1p((x - start) / start)  # the subtraction is exact within a factor of two
    far = jnp.where(jnp.isfinite(ratio), jnp.log(ratio), jnp.log(x) - jnp.log(start))
    return jnp.where(ratio < 2, near, far)


@_log_ratio.defjvp
def _log_ratio_jvp(
    primals: tuple[Float[Array, ...], Float[Array, ...]], tangents: tuple[Float[Array, ...], Float[Array, ...]]
) -> tuple[Float[Array, ...], Float[Array, ...]]:
    """Derivatives 1/x and −1/start; those of the formulas above pass through start² and leave the range."""
    (x, start), (dx, dstart) = primals, tangents
    return _log_ratio(x, start), dx / x - dstart / start


def _first_of_run(x: Float[Array, " n"]) -> tuple[Bool[Array, " n"], Int[Array, " n"]]:
    """For sorted values: whether each is the first of its equals, and the index of that first one."""
    index = jnp.arange(x.shape[0], dtype=jnp.int32)
    first = jnp.ones(x.shape, bool).at[1:].set(x[1:] != x[:-1])
    return first, lax.cummax(jnp.where(first, index, 0))


def _all_distances(x: Float[Array, " n"], count: Int[Array, ""]) -> Float[Array, " n"]:
    """D of the tail that starts at each value; +inf where the value is no candidate."""
    n = x.shape[0]
    index = jnp.arange(n, dtype=jnp.int32)
    inside = index < count
    first, below = _first_of_run(x)
    candidate = first & inside & (x < x[jnp.maximum(count - 1, 0)])

    # Steps of ln x between neighbours, then sums from the top: depth = ln(x_max/x_i), and the tail's log-sum
    # Σ_{j≥i} ln(x_j/x_i) = Σ_{k>i} (count − k)·step_k. Positive terms only, so nothing cancels.
    rising = inside[1:]
    step = jnp.where(rising, _log_ratio(jnp.where(rising, x[1:], 1), jnp.where(rising, x[:-1], 1)), 0)
    step = jnp.append(step, 0)  # step[k] leads from value k to value k + 1
    depth = lax.cumsum(step, reverse=True)
    tail = (count - index).astype(x.dtype)
    log_sum = lax.cumsum(step * (tail - 1), reverse=True)
    slope = tail / jnp.where(log_sum > 0, log_sum, 1)  # alpha − 1

    def distance(i: Int[Array, ""]) -> Float[Array, ""]:
        model = 1 - jnp.exp(slope[i] * (depth - depth[i]))
        empirical = (below - i).astype(x.dtype) / tail[i]
        return jnp.max(jnp.where((index >= i) & inside, jnp.abs(model - empirical), 0))

    every = lax.map(distance, index, batch_size=min(n, CANDIDATES_AT_ONCE))
    return jnp.where(candidate, every, jnp.inf)


def _tail_fit(
    x: Float[Array, " n"], count: Int[Array, ""], start: Float[Array, ""], valid: Bool[Array, ""]
) -> PowerLawFit:
    """Exponent, distance and error of the tail x ≥ start of a sorted sample."""
    index = jnp.arange(x.shape[0], dtype=jnp.int32)
    tail = (index < count) & (x >= start)
    n_tail = jnp.sum(tail, dtype=jnp.int32)
    size = n_tail.astype(x.dtype)
    logs = jnp.where(tail, _log_ratio(jnp.where(tail, x, 1), jnp.where(tail, start, 1)), 0)
    log_sum = jnp.sum(logs)

    _, below = _first_of_run(x)
    varied = jnp.any(tail & (x > x[jnp.clip(count - n_tail, 0, x.shape[0] - 1)])) if x.shape[0] else False
    exists = valid & varied & (log_sum > 0)
    slope = size / jnp.where(exists, log_sum, 1)
    model = 1 - jnp.exp(-slope * logs)
    empirical = (below - (count - n_tail)).astype(x.dtype) / jnp.maximum(size, 1)
    ks = jnp.max(jnp.where(tail, jnp.abs(model - empirical), 0), initial=0)

    def known(value: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.where(exists, value, jnp.nan)

    return PowerLawFit(
        alpha=known(1 + slope),
        xmin=known(start),
        ks=known(ks),
        sigma=known(slope / jnp.sqrt(jnp.maximum(size, 1))),
        n_tail=jnp.where(exists, n_tail, 0),
    )
