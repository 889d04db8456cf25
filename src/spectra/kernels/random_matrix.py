"""Signal against noise in a spectrum: the Marchenko–Pastur bulk, its edge, and the spikes beyond it.

The null hypothesis is a matrix of independent entries. Its largest eigenvalue follows the Tracy–Widom law (Johnstone,
Ann. Stat. 29 (2001) 295), here with Ma's centring (Bernoulli 18 (2012) 322), which is right to a higher order, and two
corrections that matter below a thousand rows: the variance is estimated from the same eigenvalues, and entries need not
be Gaussian (`tracy_widom_edge`). A signal of rank one shows as a spike only from a strength of (NM)^¼·σ on
(`spike_eigenvalue`).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.batches import over_batches
from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, power_of_two, to_compute, to_mask
from spectra.kernels.marchenko_pastur import Numbers, _together, mp_cdf, mp_edges, mp_quantile
from spectra.kernels.scan import sums_from_the_top
from spectra.kernels.status import FitStatus
from spectra.kernels.tracy_widom import MEAN, VARIANCE, tracy_widom_isf

SMALL, MOST = 5.0, 0.25
"""In the shift κ/(√(NM) + 5) of the edge: a term for small matrices, fitted to simulations, and its largest value."""


class BulkFit(NamedTuple):
    """The bulk of a spectrum and what stands out of it. Numbers are NaN, counts 0, where the status is not `OK`."""

    variance: Float[AnyArray, "*batch"]
    """σ², the variance of the noise in the entries of W (`mp_sigma2`)."""
    lambda_minus: Float[AnyArray, "*batch"]
    """Lower edge of the bulk, σ²(√N − √M)²."""
    lambda_plus: Float[AnyArray, "*batch"]
    """Upper edge of the bulk, σ²(√N + √M)², in the limit of large matrices."""
    edge: Float[AnyArray, "*batch"]
    """What the largest eigenvalue of noise alone exceeds with the stated probability."""
    num_spikes: Int[AnyArray, "*batch"]
    """Eigenvalues beyond `edge`."""
    ks: Float[AnyArray, "*batch"]
    """Kolmogorov–Smirnov distance of the eigenvalues that are no spikes to the law of the bulk."""
    softrank: Float[AnyArray, "*batch"]
    """λ₊/λ_max (`mp_softrank`): near 1 for noise, near 0 where a spike dominates [MM21]."""
    status: Int[AnyArray, "*batch"]
    """A `FitStatus`; NO_SPREAD where nothing is left beside the spikes, as in a constant matrix."""


@compiled()
def tracy_widom_edge(
    variance: Numbers,
    N: Numbers,
    M: Numbers,
    level: Numbers = 0.05,
    kurtosis: Numbers = 0.0,
    entries: Numbers = jnp.inf,
) -> Float[Array, ...]:
    """The λ that the largest eigenvalue of an N×M matrix of noise exceeds with probability `level`.

    Parameters
    ----------
    variance
        σ² of the entries.
    N, M
        The dimensions of W, at least 1 each; their order does not matter.
    level
        Probability of a larger value.
    kurtosis
        Excess kurtosis κ of the entries: 0 for Gaussian ones, −1.2 for uniform, −2 for ±1, 3 for Laplace. The edge
        is moved by the factor 1 + κ/(√(NM) + 5), at most 1.25.
    entries
        How many entries the variance was estimated from, where it is the mean square of entries that include this
        matrix; infinity for a known variance.

    Returns
    -------
    Array
        In the units of X = WᵀW, broadcast from the arguments.

    Notes
    -----
    λ = μ + ξ·s with s from the Tracy–Widom law, a = √(N − ½), b = √(M − ½), μ = (a + b)², ξ = (a + b)(1/a + 1/b)^⅓
    [Ma 2012]; Johnstone's a = √(N − 1), b = √M finds a third too little in thin matrices.

    The ratio of the largest eigenvalue to the mean square of the entries does not depend on the latter, when they are
    Gaussian; so its second moment is known from those of the two, and its law is narrower. For 10×10 it has 0.75 of
    the width; without this 1 % instead of 5 % would be found (compare Nadler, J. Multivariate Anal. 102 (2011) 363).

    The fourth cumulant enters the resolvent by −1/m₁ = w + Mσ²m₂ + Mκσ⁴m₁m₂² and the like for m₂ (as for sparse
    matrices: Hwang, Lee & Schnelli, Ann. Appl. Probab. 29 (2019) 3006). To first order the edge moves by κ/√(NM) of
    itself, which for N = M = 50 is as much as half the width for uniform entries, and 1.3 widths for Laplace's.
    """
    variance, n, m, level, kurtosis, entries = _together(variance, N, M, level, kurtosis, entries)
    a, b = jnp.sqrt(n - 0.5), jnp.sqrt(m - 0.5)
    centre, scale = (a + b) ** 2, (a + b) * (1 / a + 1 / b) ** (1 / 3)
    mean, spread = centre + scale * MEAN, scale * VARIANCE**0.5
    scatter = 2 / entries  # relative variance of the mean square
    width = jnp.sqrt(jnp.maximum((1 - scatter * (mean / spread) ** 2) / (1 + scatter), 0.05))
    quantile = mean + width * scale * (tracy_widom_isf(level) - MEAN)
    shift = jnp.minimum(kurtosis / (jnp.sqrt(n * m) + SMALL), MOST)
    return variance * quantile * (1 + shift)


def spike_threshold(variance: Numbers, N: Numbers, M: Numbers) -> Float[Array, ...]:
    """Singular value θ = (NM)^¼·σ that a rank-one signal needs to leave the bulk.

    Baik, Ben Arous & Péché, Ann. Probab. 33 (2005) 1643; Benaych-Georges & Nadakuditi, J. Multivariate Anal. 111
    (2012) 120.
    """
    variance, n, m = _together(variance, N, M)
    return jnp.sqrt(variance * jnp.sqrt(n) * jnp.sqrt(m))


def spike_eigenvalue(strength: Numbers, variance: Numbers, N: Numbers, M: Numbers) -> Float[Array, ...]:
    """Where a signal θ·uvᵀ in noise shows: λ = (θ² + Nσ²)(θ² + Mσ²)/θ², and λ₊ for θ under the threshold.

    `strength` is θ, the singular value of the signal alone; u and v are of length 1. Sources: `spike_threshold`.
    """
    strength, variance, n, m = _together(strength, variance, N, M)
    power = jnp.maximum(strength**2, variance * jnp.sqrt(n) * jnp.sqrt(m))
    return power + variance * (n + m) + variance * n * (variance * m / power)


@compiled()
def fit_bulk(
    eigenvalues: Num[AnyArray, "*batch n"],
    N: Numbers,
    M: Numbers,
    where: Bool[AnyArray, "*mask"] | None = None,
    level: Numbers = 0.05,
    kurtosis: Numbers = 0.0,
    slices: Numbers = 1,
) -> BulkFit:
    """Fit the Marchenko–Pastur law to the bulk of each spectrum along the last axis, and count the spikes.

    A number k of spikes is accepted if the k-th largest eigenvalue exceeds the Tracy–Widom edge of the bulk that is
    made of itself and all smaller ones; the largest such k is taken. Thus many equal spikes do not hide each other, as
    they would if the first had to stand out of all the rest. The variance is the sum of the other eigenvalues over
    (N − k)(M − k), which is what k strong spikes leave of the noise. Spikes are looked for among the eigenvalues
    beyond λ₊ for the variance that the median of the rest gives, and at most half of all.

    Parameters
    ----------
    eigenvalues
        λ of X = WᵀW, shape ``(..., n)``, in any order, zeros included: `slices`·M of them count.
    N, M
        The larger and the smaller dimension of W; broadcast to the batch shape, like the following.
    where
        True for the values that count; broadcast to the shape of `eigenvalues`.
    level
        Probability to find a spike in noise.
    kurtosis
        Excess kurtosis of the entries of W. Without it, entries with heavier tails than Gaussian ones give more
        spikes than stated, with lighter tails fewer: `tracy_widom_edge`.
    slices
        How many N×M matrices of noise of the same variance the spectrum was pooled from (positions of a convolution);
        the level is for all of them together.

    Returns
    -------
    BulkFit
        Fields of the batch shape ``(...)``.

    Notes
    -----
    The variance has a derivative in the eigenvalues, for the number of spikes that was found.
    """
    values = to_compute(eigenvalues)
    mask = to_mask(where, values)
    batch = values.shape[:-1]
    numbers = [jnp.broadcast_to(jnp.asarray(a, values.dtype), batch) for a in (N, M, level, kurtosis, slices)]
    return over_batches(_fit_one, (), values, mask, *numbers)


def _fit_one(
    x: Float[Array, " n"],
    mask: Bool[Array, " n"],
    N: Float[Array, ""],
    M: Float[Array, ""],
    level: Float[Array, ""],
    kurtosis: Float[Array, ""],
    slices: Float[Array, ""],
) -> BulkFit:
    finite = jnp.all(jnp.isfinite(x) | ~mask)
    count = jnp.sum(mask, dtype=jnp.int32)
    descending = -jnp.sort(jnp.where(mask & finite, -jnp.maximum(x, 0), 1))
    unit = power_of_two(jnp.max(descending, initial=0))
    descending = jnp.maximum(descending, 0) / unit  # places beyond the count are 0

    index = jnp.arange(x.shape[0], dtype=jnp.int32)
    rest = sums_from_the_top(descending)  # of each value and all smaller ones
    taken = index.astype(x.dtype) / slices
    n, m = jnp.maximum(N - taken, 1), jnp.maximum(M - taken, 1)
    entries = slices * n * m
    each = -jnp.expm1(jnp.log1p(-level) / slices)
    variance = rest / entries
    edges = tracy_widom_edge(variance, n, m, each, kurtosis, entries)
    stands_out = (index < _most_spikes(lax.stop_gradient(descending), count, N, M)) & (descending > edges)
    spikes = jnp.max(jnp.where(stands_out, index + 1, 0), initial=0)

    chosen = jnp.minimum(spikes, x.shape[0] - 1)
    variance, edge, n, m = variance[chosen], edges[chosen], n[chosen], m[chosen]
    status = jnp.select(
        [~finite, count < 2, variance <= 0],
        [jnp.int32(code) for code in (FitStatus.NOT_FINITE, FitStatus.TOO_FEW, FitStatus.NO_SPREAD)],
        jnp.int32(FitStatus.OK),
    )
    bounds = mp_edges(variance, N, M)

    def known(value: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.where(status == FitStatus.OK, value, jnp.nan)

    return BulkFit(
        variance=known(variance * unit),
        lambda_minus=known(bounds.lower * unit),
        lambda_plus=known(bounds.upper * unit),
        edge=known(edge * unit),
        num_spikes=jnp.where(status == FitStatus.OK, spikes, 0),
        ks=known(_distance(descending, spikes, count, variance, n, m)),
        softrank=known(bounds.upper / jnp.where(descending[0] > 0, descending[0], 1)),
        status=status,
    )


def _most_spikes(
    descending: Float[Array, " n"], count: Int[Array, ""], N: Float[Array, ""], M: Float[Array, ""]
) -> Int[Array, ""]:
    """How many values may be spikes: those beyond λ₊ of the bulk by its median, without them; from 1 to count/2."""
    half = count // 2
    reach = mp_edges(1.0, N, M).upper / mp_quantile(0.5, 1.0, N, M)

    def widen(state: tuple[Array, Array]) -> tuple[Array, Array]:
        _, spikes = state
        left = count - spikes
        median = (descending[spikes + (left - 1) // 2] + descending[spikes + left // 2]) / 2
        beyond = jnp.sum(descending > reach * median, dtype=jnp.int32)
        return spikes, jnp.clip(beyond, spikes, half)

    _, spikes = lax.while_loop(lambda s: s[1] > s[0], widen, (jnp.int32(-1), jnp.int32(0)))
    return jnp.maximum(spikes, jnp.minimum(half, 1))


def _distance(
    descending: Float[Array, " n"],
    spikes: Int[Array, ""],
    count: Int[Array, ""],
    variance: Float[Array, ""],
    n: Float[Array, ""],
    m: Float[Array, ""],
) -> Float[Array, ""]:
    """Two-sided Kolmogorov–Smirnov distance of the values behind the spikes."""
    index = jnp.arange(descending.shape[0], dtype=jnp.int32)
    bulk = (index >= spikes) & (index < count)
    size = jnp.maximum(count - spikes, 1).astype(descending.dtype)
    survival = 1 - mp_cdf(descending, variance, n, m)
    above = (index - spikes).astype(descending.dtype) / size
    gaps = jnp.maximum(jnp.abs(survival - above), jnp.abs(survival - above - 1 / size))
    return jnp.max(jnp.where(bulk, gaps, 0), initial=0)
