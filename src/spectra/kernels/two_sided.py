"""Student's t and Laplace distributions fitted to whole samples of either sign, by maximum likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.batches import over_batches
from spectra.kernels.dtypes import AnyArray, power_of_two, to_compute, to_mask
from spectra.kernels.median import median
from spectra.kernels.moments import BLOCK, cut
from spectra.kernels.roots import Number, series
from spectra.kernels.status import FitStatus

LEAST_DF = 0.1
"""Smallest df. For df → 0 the likelihood of every sample grows without bound, at any one of its values."""

MOST_STEPS = 60
"""Steps of the climb; ten are usual."""

GROUP = 256
"""Values that are summed at a time."""


class StudentT(NamedTuple):
    """Student's t distribution of loc + scale·t; numbers are NaN where the status is not OK."""

    df: Float[AnyArray, "*batch"]
    """Degrees of freedom; +inf where the likelihood is largest for the normal distribution."""
    loc: Float[AnyArray, "*batch"]
    scale: Float[AnyArray, "*batch"]
    """In the units of the sample; the standard deviation where df is infinite."""
    log_likelihood: Float[AnyArray, "*batch"]
    status: Int[AnyArray, "*batch"]
    """A `FitStatus`."""


class Laplace(NamedTuple):
    """Laplace distribution, p(x) = e^(−|x − loc|/scale)/(2·scale); numbers are NaN where the status is not OK."""

    loc: Float[AnyArray, "*batch"]
    """The median."""
    scale: Float[AnyArray, "*batch"]
    """Mean distance from the median."""
    log_likelihood: Float[AnyArray, "*batch"]
    status: Int[AnyArray, "*batch"]
    """A `FitStatus`."""


def fit_student_t(x: Num[AnyArray, "*batch n"], where: Bool[AnyArray, "*mask"] | None = None) -> StudentT:
    """Fit Student's t distribution to each sample along the last axis, by maximum likelihood.

    Parameters
    ----------
    x
        Samples, shape ``(..., n)``, of either sign and in any order.
    where
        True for the values that count; broadcast to the shape of `x`.

    Returns
    -------
    StudentT
        Fields of the batch shape. `df` is +inf for samples with lighter tails than a normal distribution's. The
        status is NOT_CONVERGED where the likelihood rises toward a point mass (many equal values: take out exact
        zeros first) or toward df below 0.1.

    Notes
    -----
    Newton's method in (loc, ln scale, 1/df) with Levenberg's damping, from the median and the mean logarithm of the
    distance from it, which no outlier moves (Lange, Little & Taylor, JASA 84 (1989) 881 have the likelihood). In 1/df
    the normal distribution is the ordinary point 0. Each step reads the sample once; ten are usual.
    """
    return _batched(_student_one, x, where)


def fit_laplace(x: Num[AnyArray, "*batch n"], where: Bool[AnyArray, "*mask"] | None = None) -> Laplace:
    """Fit a Laplace distribution to each sample along the last axis: the median, and the mean distance from it.

    Parameters
    ----------
    x
        Samples, shape ``(..., n)``, of either sign and in any order.
    where
        True for the values that count; broadcast to the shape of `x`.

    Returns
    -------
    Laplace
        Fields of the batch shape.
    """
    return _batched(_laplace_one, x, where)


def _batched(one: Callable[..., Any], x: AnyArray, where: AnyArray | None) -> Any:
    values = to_compute(x)
    if values.ndim == 0:
        raise ValueError("a sample with at least one axis is needed, got a scalar")
    mask = to_mask(where, values)
    return over_batches(one, (), values, mask)


class _Sample(NamedTuple):
    """A sample with its median and spread; where it cannot be fitted, a stand-in with harmless numbers."""

    x: Float[Array, " n"]
    inside: Bool[Array, " n"]
    size: Number
    median: Number
    status: Int[Array, ""]


def _sample(x: Float[Array, " n"], mask: Bool[Array, " n"]) -> _Sample:
    size = jnp.sum(mask, dtype=jnp.int32)
    finite = jnp.all(jnp.isfinite(x) | ~mask)
    low = jnp.min(jnp.where(mask, x, jnp.inf), initial=jnp.inf)
    high = jnp.max(jnp.where(mask, x, -jnp.inf), initial=-jnp.inf)
    status = jnp.select(
        [~finite, size < 2, ~(high > low)],
        [FitStatus.NOT_FINITE, FitStatus.TOO_FEW, FitStatus.NO_SPREAD],
        FitStatus.OK,
    ).astype(jnp.int32)
    good = status == FitStatus.OK
    stand_in = (jnp.arange(x.shape[0]) % 5).astype(x.dtype)
    inside = mask | ~good
    x = jnp.where(good, jnp.where(mask, x, 0), stand_in)
    size = jnp.maximum(jnp.sum(inside, dtype=jnp.int32), 1)
    return _Sample(x, inside, size.astype(x.dtype), lax.stop_gradient(median(x, inside, size)), status)


def _sums(
    terms: Callable[[Array, Array], list[Array]], x: Float[Array, " n"], inside: Bool[Array, " n"]
) -> Float[Array, " terms"]:
    """Sums of several functions of the values in one reading, a block at a time."""

    def of_block(x: Array, inside: Array) -> Array:
        # As products with ones, in groups: a reduction of each term would compile the terms once for each.
        stacked = jnp.stack([jnp.where(inside, term, 0) for term in terms(x, inside)])
        groups = stacked.reshape(len(stacked), -1, min(GROUP, x.size) or 1)
        ones = jnp.ones(groups.shape[-1], x.dtype)
        return jnp.sum(jnp.matmul(groups, ones, precision=lax.Precision.HIGHEST), axis=1)

    whole, rest = x.size // BLOCK, x.size % BLOCK
    padding = (0, -rest % GROUP if rest > GROUP else 0)
    last = of_block(jnp.pad(x[x.size - rest :], padding), jnp.pad(inside[x.size - rest :], padding))
    if not whole:
        return last
    _, blocks = lax.scan(lambda _, k: (None, of_block(*cut(x, inside, k))), None, jnp.arange(whole))
    return jnp.sum(blocks, axis=0) + last


def _laplace_one(x: Float[Array, " n"], mask: Bool[Array, " n"]) -> Laplace:
    sample = _sample(x, mask)
    unit = power_of_two(jnp.max(jnp.abs(sample.x), initial=0))
    distance = _sums(lambda x, _: [jnp.abs(x / unit - sample.median / unit)], sample.x, sample.inside)[0]
    scale = distance / sample.size * unit

    def known(value: Number) -> Number:
        return jnp.where(sample.status == FitStatus.OK, value, jnp.nan)

    likelihood = -sample.size * (1 + math.log(2) + jnp.log(scale))
    return Laplace(known(sample.median), known(scale), known(likelihood), sample.status)


class _Climb(NamedTuple):
    at: Float[Array, " 3"]
    """loc and ln scale in units of the starting scale, and 1/df."""
    height: Number
    """Log-likelihood per value."""
    slope: Float[Array, " 3"]
    curvature: Float[Array, "3 3"]
    damping: Number
    moved: Number
    steps: Int[Array, ""]


def _student_one(x: Float[Array, " n"], mask: Bool[Array, " n"]) -> StudentT:
    sample = _sample(lax.stop_gradient(x), mask)
    kind = jnp.finfo(x.dtype)

    def distances(x: Array, _: Array) -> list[Array]:
        distance = jnp.abs(x / 2 - sample.median / 2)
        apart = distance > kind.tiny
        return [jnp.where(apart, jnp.log(jnp.where(apart, distance, 1)), 0), jnp.where(apart, 1.0, 0.0).astype(x.dtype)]

    logs, apart = _sums(distances, sample.x, sample.inside)
    log_unit = logs / jnp.maximum(apart, 1) + math.log(2)
    unit = jnp.exp(log_unit)

    def look(at: Float[Array, " 3"]) -> tuple[Number, Float[Array, " 3"], Float[Array, "3 3"]]:
        def terms(x: Array, _: Array) -> list[Array]:
            return _likelihood_terms(x / unit - sample.median / unit, at)

        return _assemble(_sums(terms, sample.x, sample.inside) / sample.size, at)

    at = _climb(look, jnp.asarray([0, 0.5, 0.25], x.dtype), 2e-6 if x.dtype == jnp.float32 else 1e-11)
    scale = jnp.exp(at.at[1] + log_unit)
    likelihood = sample.size * (at.height - log_unit)
    bounded = (at.at[2] < 1 / LEAST_DF) & (at.at[1] > -20) & (at.steps < MOST_STEPS) & jnp.isfinite(likelihood)
    status = jnp.where(
        (sample.status == FitStatus.OK) & ~(bounded & (scale > 0)), FitStatus.NOT_CONVERGED, sample.status
    )

    def known(value: Number) -> Number:
        return jnp.where(status == FitStatus.OK, value, jnp.nan)

    loc = sample.median + at.at[0] * unit
    return StudentT(known(1 / at.at[2]), known(loc), known(scale), known(likelihood), status)


def _climb(look: Callable[[Array], tuple[Number, Array, Array]], start: Float[Array, " 3"], tolerance: float) -> _Climb:
    """Maximum of a function of (loc, ln scale, 1/df), given its value, slope and curvature; 0 ≤ 1/df ≤ 1/LEAST_DF."""
    noise = 4 * float(jnp.finfo(start.dtype).eps)

    def unfinished(c: _Climb) -> Array:
        return (c.moved > tolerance) & (c.steps < MOST_STEPS)

    def step(c: _Climb) -> _Climb:
        # At the end of its range 1/df stays where it is if the slope leads outward.
        stuck = ((c.at[2] <= 0) & (c.slope[2] <= 0)) | ((c.at[2] >= 1 / LEAST_DF) & (c.slope[2] >= 0))
        free = jnp.array([True, True, False]) | ~stuck
        damped = -c.curvature + c.damping * jnp.diag(jnp.abs(jnp.diagonal(c.curvature)) + 1e-3)
        system = jnp.where(free[:, None] & free, damped, jnp.eye(3, dtype=c.at.dtype))
        move = jnp.clip(_solve(system, jnp.where(free, c.slope, 0)), -2, 2)
        to = (c.at + move).at[2].set(jnp.clip(c.at[2] + move[2], 0, 1 / LEAST_DF))
        uphill = jnp.dot(c.slope, to - c.at) > 0
        height, slope, curvature = look(to)
        better = uphill & (height >= c.height - noise * (1 + jnp.abs(c.height)))
        moved = jnp.max(jnp.abs(to - c.at) / jnp.stack([jnp.exp(c.at[1]), jnp.ones_like(height), c.at[2] + 1e-3]))
        damping = jnp.where(better, jnp.where(c.damping < 1e-3, 0, c.damping / 10), jnp.maximum(8 * c.damping, 1e-2))
        # Steps that are small and no longer shrink are rounding.
        moved = jnp.where((moved < 1e-3) & (moved > c.moved / 2), 0, moved)
        # The step that was just refused tells nothing about the distance left, unless nothing is left to try.
        spent = jnp.where(c.damping > 1e8, 0, jnp.inf).astype(moved.dtype)
        taken = _Climb(to, height, slope, curvature, damping, moved, c.steps + 1)
        refused = c._replace(damping=damping, moved=spent, steps=c.steps + 1)
        return jax.tree.map(lambda a, b: jnp.where(better, a, b), taken, refused)

    first = look(start)
    infinite = jnp.full((), jnp.inf, start.dtype)
    state = _Climb(
        start, *first, damping=jnp.full((), 0.1, start.dtype), moved=infinite, steps=jnp.zeros((), jnp.int32)
    )
    return lax.while_loop(unfinished, step, state)


def _solve(a: Float[Array, "3 3"], b: Float[Array, " 3"]) -> Float[Array, " 3"]:
    """By cofactors: a solver from LAPACK is not lowered for every platform, and three rows need none."""
    columns = jnp.cross(a[1], a[2]), jnp.cross(a[2], a[0]), jnp.cross(a[0], a[1])
    determinant = jnp.dot(a[0], columns[0])
    return sum(b[i] * columns[i] for i in range(3)) / jnp.where(determinant == 0, 1, determinant)


def _likelihood_terms(z: Float[Array, " n"], at: Float[Array, " 3"]) -> list[Array]:
    """Per value: ln(1 + τq)/τ, and the parts of its first and second derivatives, with r = (z − loc)/scale, q = r²."""
    loc, log_scale, tau = at[0], at[1], at[2]
    kind = jnp.finfo(z.dtype)
    largest = math.sqrt(float(kind.max)) / 1e4
    exact = (z - loc) * jnp.exp(-log_scale)
    r = jnp.clip(exact, -largest, largest)
    q = r * r
    x = tau * q
    safe_tau, safe_x = jnp.maximum(tau, 1e-7), jnp.maximum(x, 1)
    share = 1 / (1 + x)

    # k(x) = (ln(1 + x) − x/(1 + x))/x²: below 1 by a series in y = x/(2 + x), where ln(1 + x) = 2·artanh(y).
    small = jnp.minimum(x, 1)
    y = small / (2 + small)
    terms = 8 if z.dtype == jnp.float32 else 17
    artanh = [1 / (2 * j + 3) for j in range(terms)]  # (artanh(y)/y − 1)/y²
    tail = series(artanh, y * y)
    near_k = (1 - y) ** 2 / 2 * (1 / (1 + y) + y * tail)
    near_log = jnp.where(small > 0, (1 - y) * (1 + y * y * tail), 1)  # ln(1 + x)/x, for x = 2y/(1 − y)
    far_log = jnp.where(
        jnp.abs(exact) > largest, 2 * jnp.log(jnp.maximum(jnp.abs(exact), 1)) + jnp.log(safe_tau), jnp.log1p(safe_x)
    )
    far_n = far_log - 1 + 1 / (1 + safe_x)
    near = x < 1
    log_part = jnp.where(near, q * near_log, far_log / safe_tau)
    square_k = jnp.where(near, jnp.minimum(q, 1 / safe_tau) ** 2 * near_k, far_n / safe_tau**2)
    slope_k = jnp.where(
        small < 0.05,
        series([-2 / 3, 3 / 2, -12 / 5, 10 / 3, -30 / 7], small),
        ((1 + small) ** -2 - 2 * near_k) / jnp.maximum(small, 0.05),
    )
    far_slope = ((1 - 1 / (1 + safe_x)) ** 2 - 2 * far_n) / safe_tau**3
    cube_slope = jnp.where(near, jnp.minimum(q, 1 / safe_tau) ** 3 * slope_k, far_slope)

    pull, weight = r * share, q * share
    return [
        log_part,
        pull,
        weight,
        square_k,
        share * (1 - x * share) - x * share**2,
        r * share**2,
        pull * weight,
        q * share**2,
        weight**2,
        cube_slope,
    ]


def _assemble(
    means: Float[Array, " 10"], at: Float[Array, " 3"]
) -> tuple[Number, Float[Array, " 3"], Float[Array, "3 3"]]:
    """Log-likelihood per value with slope and curvature in (loc, ln scale, τ = 1/df)."""
    log_part, pull, weight, square_k, bend, skew, pull_weight, damp, weight_square, cube_slope = means
    log_scale, tau = at[1], at[2]
    constant = jax.value_and_grad(_log_constant)
    (c, c1), c2 = constant(tau), jax.grad(jax.grad(_log_constant))(tau)
    inverse, more = jnp.exp(-log_scale), 1 + tau
    height = c - log_scale - more / 2 * log_part
    slope = jnp.stack([more * pull * inverse, more * weight - 1, c1 - log_part / 2 + more / 2 * square_k])
    ll, lt = -2 * more * damp, weight - more * weight_square
    mm, ml, mt = -more * bend * inverse**2, -2 * more * skew * inverse, (pull - more * pull_weight) * inverse
    tt = c2 + square_k + more / 2 * cube_slope
    return height, slope, jnp.stack([jnp.stack([mm, ml, mt]), jnp.stack([ml, ll, lt]), jnp.stack([mt, lt, tt])])


def _log_constant(tau: Number) -> Number:
    """ln [Γ((df + 1)/2) / (Γ(df/2)·√(π·df))] in τ = 1/df, without cancellation down to τ = 0.

    Twelve steps up by Γ(h + 1) = hΓ(h), and there the expansion of ln Γ(h + ½) − ln Γ(h) in 1/h (DLMF 5.11.13).
    """
    v = 2 * tau  # 1/h
    up = 12
    w = v / (1 + up * v)
    expansion = w * series([-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432], w * w)
    steps = jnp.arange(up, dtype=tau.dtype)
    climbed = jnp.sum(jnp.log1p(v / 2 / (1 + steps * v)))
    return expansion + jnp.log1p(up * v) / 2 - climbed - math.log(2 * math.pi) / 2
