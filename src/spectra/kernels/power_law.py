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

TILES = (128, 512)
"""Candidates, and values of their tails, whose distances are computed together; the larger tile from n = 1,025 on.

A tile that covers the whole sample takes three times as long on a CPU, where XLA then inlines the loop.
"""

SUMMED_AT_ONCE = 64
"""Length of the blocks of cumulative sums."""


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
    The search takes n²/2 exponentials in O(n) memory. All sums are of positive terms, taken from the largest
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


def _first_of_run(x: Float[Array, " n"]) -> Bool[Array, " n"]:
    """For sorted values: whether each is the first of its equals.

    The empirical distribution at a value is the share strictly below it, which is the rank of the first of its equals;
    the others have nothing to add to a distance.
    """
    return jnp.ones(x.shape, bool).at[1:].set(x[1:] != x[:-1])


def _sums_from_the_top(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """Σ_{k≥i} x_k by products with triangles of ones, which compile in a tenth of the time of `lax.cumsum`."""
    n = x.shape[0]
    if n <= SUMMED_AT_ONCE:
        return jnp.matmul(jnp.triu(jnp.ones((n, n), x.dtype)), x, precision=lax.Precision.HIGHEST)
    blocks = jnp.pad(x, (0, -n % SUMMED_AT_ONCE)).reshape(-1, SUMMED_AT_ONCE)
    within = jnp.matmul(blocks, jnp.tril(jnp.ones((SUMMED_AT_ONCE,) * 2, x.dtype)), precision=lax.Precision.HIGHEST)
    behind = jnp.append(_sums_from_the_top(within[:, 0])[1:], 0)
    return (within + behind[:, None]).reshape(-1)[:n]


def _all_distances(x: Float[Array, " n"], count: Int[Array, ""]) -> Float[Array, " n"]:
    """D of the tail that starts at each value; +inf where the value is no candidate."""
    n = x.shape[0]
    index = jnp.arange(n, dtype=jnp.int32)
    inside = index < count
    first = _first_of_run(x) & inside
    candidate = first & (x < x[jnp.maximum(count - 1, 0)])

    # Steps of ln x between neighbours, then sums from the top: depth = ln(x_max/x_i), and the tail's log-sum
    # Σ_{j≥i} ln(x_j/x_i) = Σ_{k>i} (count − k)·step_k. Positive terms only, so nothing cancels.
    rising = inside[1:]
    step = jnp.where(rising, _log_ratio(jnp.where(rising, x[1:], 1), jnp.where(rising, x[:-1], 1)), 0)
    step = jnp.append(step, 0)  # step[k] leads from value k to value k + 1
    depth = _sums_from_the_top(step)
    tail = (count - index).astype(x.dtype)
    log_sum = _sums_from_the_top(step * (tail - 1))
    slope = tail / jnp.where(log_sum > 0, log_sum, 1)  # alpha − 1
    distances = _tiled_distances(slope, depth, jnp.maximum(tail, 1), first)
    return jnp.where(candidate, distances, jnp.inf)


def _tiled_distances(
    slope: Float[Array, " n"], depth: Float[Array, " n"], tail: Float[Array, " n"], used: Bool[Array, " n"]
) -> Float[Array, " n"]:
    """Largest |1 − e^(slope_i·(depth_j − depth_i)) − (j − i)/tail_i| over the used j ≥ i, for every i.

    In square tiles, of which those with all j < i are left out: n²/2 exponentials.
    """
    n = slope.shape[0]
    size = TILES[n > 1024]
    tiles = -(-n // size)
    slope, depth, tail, used = (jnp.pad(a, (0, tiles * size - n)) for a in (slope, depth, tail, used))
    place = jnp.arange(size, dtype=jnp.int32)

    def part(a: Array, tile: Int[Array, ""]) -> Array:
        return lax.dynamic_slice_in_dim(a, tile * size, size)

    def candidates(i: Int[Array, ""], found: Float[Array, " padded"]) -> Float[Array, " padded"]:
        slopes, depths, tails = part(slope, i), part(depth, i), jnp.maximum(part(tail, i), 1)

        def widen(j: Int[Array, ""], largest: Float[Array, " size"]) -> Float[Array, " size"]:
            # Clipped where 1 − e^x is 1, or is not used: numbers that leave the range of floats cost time.
            model = 1 - jnp.exp(jnp.clip(slopes * (part(depth, j)[:, None] - depths), -60, 0))
            rank = (j - i) * size + place[:, None] - place
            difference = jnp.abs(model - rank.astype(model.dtype) / tails)
            counts = part(used, j)[:, None] & (rank >= 0)
            return jnp.maximum(largest, jnp.max(jnp.where(counts, difference, 0), axis=0))

        largest = lax.fori_loop(i, tiles, widen, jnp.zeros(size, found.dtype))
        return lax.dynamic_update_slice_in_dim(found, largest, i * size, axis=0)

    return lax.fori_loop(0, tiles, candidates, jnp.zeros_like(slope))[:n]


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

    varied = jnp.any(tail & (x > x[jnp.clip(count - n_tail, 0, x.shape[0] - 1)])) if x.shape[0] else False
    exists = valid & varied & (log_sum > 0)
    slope = size / jnp.where(exists, log_sum, 1)
    model = 1 - jnp.exp(-slope * logs)
    empirical = (index - (count - n_tail)).astype(x.dtype) / jnp.maximum(size, 1)
    ks = jnp.max(jnp.where(tail & _first_of_run(x), jnp.abs(model - empirical), 0), initial=0)

    def known(value: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.where(exists, value, jnp.nan)

    return PowerLawFit(
        alpha=known(1 + slope),
        xmin=known(start),
        ks=known(ks),
        sigma=known(slope / jnp.sqrt(jnp.maximum(size, 1))),
        n_tail=jnp.where(exists, n_tail, 0),
    )
