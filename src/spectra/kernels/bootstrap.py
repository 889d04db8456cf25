"""Whether a fitted power law is plausible, and how far its parameters are to be trusted: bootstraps of the whole fit.

Both are those of Clauset, Shalizi & Newman, SIAM Review 51 (2009) [CSN09], and xmin is searched anew in each replicate,
as it was in the sample. For the goodness of fit (§4.1) a replicate comes from the fit above xmin, and from the sample
below. For the intervals all of it comes from the sample, drawn with replacement (as in their program plvar): what was
found for xmin is then not taken for the truth.

No replicate is sorted: order statistics are drawn in ascending order from independent exponentials (Rényi, Acta Math.
Hung. 4 (1953) 191), as steps of ln x between neighbours. These are all that the search needs, so float32 keeps its
digits, and x itself may leave the range of floats.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import NormalDist
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


class GoodnessOfFit(NamedTuple):
    """How well a power law describes the tail, against samples that follow one."""

    p: Float[AnyArray, "*batch"]
    """Share of the replicates whose distance is at least the sample's; p ≤ 0.1 rules the power law out [CSN09]."""
    error: Float[AnyArray, "*batch"]
    """Standard error of p from the finite number of replicates, √(p(1 − p)/num_replicates)."""
    num_replicates: Int[AnyArray, "*batch"]
    """Replicates that have a fit, of which p is the share."""
    status: Int[AnyArray, "*batch"]
    """`FitStatus`; p is NaN where it is not `OK`."""


class FitIntervals(NamedTuple):
    """Bootstrap intervals; NaN where `status` is not `OK`."""

    alpha_low: Float[AnyArray, "*batch"]
    alpha_high: Float[AnyArray, "*batch"]
    xmin_low: Float[AnyArray, "*batch"]
    xmin_high: Float[AnyArray, "*batch"]
    status: Int[AnyArray, "*batch"]


def goodness_of_fit(
    x: Num[AnyArray, "*batch n"],
    fit: PowerLawFit,
    key: Key[Array, "*keys"] | UInt32[AnyArray, "*keys 2"],
    n: int = 1000,
    where: Bool[AnyArray, "*mask"] | None = None,
    search: bool = True,
    at_once: int = AT_ONCE,
) -> GoodnessOfFit:
    """p-value of the power law for the tail of each sample along the last axis [CSN09 §4.1].

    Small p says that the power law is a poor description. Large p does not say that it is a good one: the search moves
    xmin to where little can be ruled out. Of 1,000 exponential values it leaves so few that p ≤ 0.1 in half of the
    samples; with xmin given, 300 are enough in all (`benchmarks/results/calibration.json`).

    With xmin given p is uniform for power laws. With the search it is only nearly so, for the replicates take the xmin
    that was found for the true one: p ≤ 0.1 rejects 6 to 8 % of samples whose density has a jump at the true xmin or
    nothing below it, and 11 to 13 % of those whose body joins the tail smoothly.

    Parameters
    ----------
    x, fit, key, n, where, search, at_once
        As in `fit_replicates`.

    Examples
    --------
    >>> import jax, numpy as np, spectra
    >>> from spectra.kernels.bootstrap import goodness_of_fit
    >>> x = 1 + np.random.default_rng(0).exponential(size=300)
    >>> fit = spectra.fit_power_law(x, xmin=1.0)
    >>> float(goodness_of_fit(x, fit, jax.random.key(0), n=100, search=False).p)
    0.0
    """
    return goodness_from(fit, fit_replicates(x, fit, key, n, where, search, at_once))


def fit_intervals(
    x: Num[AnyArray, "*batch n"],
    fit: PowerLawFit,
    key: Key[Array, "*keys"] | UInt32[AnyArray, "*keys 2"],
    n: int = 1000,
    where: Bool[AnyArray, "*mask"] | None = None,
    level: float = 0.95,
    search: bool = True,
    at_once: int = AT_ONCE,
) -> FitIntervals:
    """Intervals for alpha and xmin that include the uncertainty of the search for xmin.

    Percentiles of the parameters of samples drawn from the sample, with replacement; that of alpha widened to hold
    the exact interval for the xmin found, since a search for it cannot make alpha more certain. They say nothing where
    p rejects the fit. `fit.sigma` takes xmin as given, and its interval is too short.

    In simulations with n = 14 to 1,000 at least 94 % of the 95 % intervals hold the true alpha. Where the body joins
    the tail smoothly, so that xmin is hard to find, or n is below 100, up to 99.8 % do: there the interval is longer
    than it need be (`benchmarks/results/calibration.json`). Replicates of the fit, as those of the goodness of fit,
    give intervals that are wrong where all starts that are found lie below the true one: of alpha = 4 with 7 of 300
    values in the tail and some 55 in the one found, 79 % hold it. Percentiles alone do so where all values are tail
    and few: 73 % for n = 10. The interval of xmin is no confidence interval: it misses an xmin at the lower end of the
    sample, which no search finds.

    With xmin given the interval of alpha is exact but for the number of replicates: the ratio of a replicate's
    alpha − 1 to that of the fit it is drawn from has one law, whatever alpha.

    Parameters
    ----------
    x, fit, key, n, where, search, at_once
        As in `fit_replicates`.
    level
        Probability that the interval should have.
    """
    found = fit_replicates(x, fit, key, n, where, search, at_once, resampled=search)
    if search:
        return intervals_from(fit, found, level)
    ours = jnp.asarray(fit.alpha)[..., None] - 1
    return percentiles(found._replace(alpha=1 + ours**2 / (found.alpha - 1)), level)


def goodness_and_intervals(
    x: Num[AnyArray, "*batch n"],
    fit: PowerLawFit,
    key: Key[Array, "*keys"] | UInt32[AnyArray, "*keys 2"],
    n: int = 1000,
    where: Bool[AnyArray, "*mask"] | None = None,
    level: float = 0.95,
) -> tuple[GoodnessOfFit, FitIntervals]:
    """`goodness_of_fit` and `fit_intervals` with one program for both, which takes seconds to compile.

    Random numbers are others than those of the two functions with the same key. Arguments as of `fit_replicates`.
    """
    batch = jnp.shape(x)[:-1]
    keys = jax.vmap(jax.random.split)(_keys(key, batch).reshape(-1)).T.reshape(2, *batch)
    both = jax.tree.map(lambda field: jnp.broadcast_to(field, (2, *jnp.shape(field))), fit)
    second = jnp.arange(2).reshape(2, *(1 for _ in batch)) == 1
    found = fit_replicates(jnp.broadcast_to(x, (2, *jnp.shape(x))), both, keys, n, where, resampled=second)
    drawn, resampled = Replicates(*(field[0] for field in found)), Replicates(*(field[1] for field in found))
    return goodness_from(fit, drawn), intervals_from(fit, resampled, level)


def goodness_from(fit: PowerLawFit, replicates: Replicates) -> GoodnessOfFit:
    """`goodness_of_fit` from replicates that are already there."""
    ks = replicates.ks
    fitted = jnp.sum(~jnp.isnan(ks), axis=-1, dtype=jnp.int32)
    as_far = jnp.sum(ks >= jnp.asarray(fit.ks)[..., None], axis=-1, dtype=jnp.int32)
    count = jnp.maximum(fitted, 1).astype(ks.dtype)
    p = jnp.where(fitted > 0, as_far.astype(ks.dtype) / count, jnp.nan)
    return GoodnessOfFit(p, jnp.sqrt(p * (1 - p) / count), fitted, replicates.status)


def intervals_from(fit: PowerLawFit, replicates: Replicates, level: float = 0.95) -> FitIntervals:
    """`fit_intervals` with a search, from resampled replicates that are already there."""
    found = percentiles(replicates, level)
    low, high = _alpha_at_the_xmin_found(fit, level)
    return found._replace(alpha_low=jnp.minimum(found.alpha_low, low), alpha_high=jnp.maximum(found.alpha_high, high))


def _alpha_at_the_xmin_found(fit: PowerLawFit, level: float) -> tuple[AnyArray, AnyArray]:
    """The exact interval of alpha if the lowest value of the tail were known to be xmin.

    2n (alpha − 1)/(its estimate − 1) then has the χ² distribution with 2n − 2 degrees of freedom. Its quantiles are
    Wilson & Hilferty's (PNAS 17 (1931) 684): right to 0.6 % of the 95 % interval's length for n = 2, 0.1 % from 8 on.
    """
    count = jnp.maximum(jnp.asarray(fit.n_tail), 2).astype(jnp.asarray(fit.alpha).dtype)
    z, spread = NormalDist().inv_cdf((1 + level) / 2), 1 / (9 * (count - 1))
    low, high = (
        1 + (fit.alpha - 1) * (1 - 1 / count) * jnp.maximum(1 - spread + side * jnp.sqrt(spread), 0) ** 3
        for side in (-z, z)
    )
    return low, high


def percentiles(replicates: Replicates, level: float = 0.95) -> FitIntervals:
    """The middle of the replicates' parameters."""
    if not 0 < level < 1:
        raise ValueError(f"a level between 0 and 1 is needed, not {level}")
    ends = jnp.array([(1 - level) / 2, (1 + level) / 2], replicates.alpha.dtype)
    alpha, xmin = (jnp.nanquantile(values, ends, axis=-1) for values in (replicates.alpha, replicates.xmin))
    return FitIntervals(alpha[0], alpha[1], xmin[0], xmin[1], replicates.status)


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
    keys = _keys(key, batch)
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


def _keys(key: AnyArray, batch: tuple[int, ...]) -> Array:
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
