"""ln x normal with mean mu and standard deviation sigma, above xmin [CSN09, table 2.1].

In u = ln(x/xmin) this is a normal distribution cut off below 0. With s = u/sigma and t = (ln xmin − mu)/sigma its
density is exp(−t·s − s²/2) up to a factor. For t → ∞ it becomes exponential, which is to say that lognormals with mu
far below xmin and a large sigma become the power law; a sample whose u vary more than an exponential's (variance ≥
mean²) has its maximum of the likelihood there.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import lax
from jax.scipy.special import erfcx, log_ndtr

from spectra.kernels.families.base import Points, Tail, Values
from spectra.kernels.roots import Number, find_root
from spectra.kernels.special import Rule, horizon, log_sum, node_count, panels

PARAMETERS = ("mu", "sigma")

FARTHEST = 1e8
"""Largest t. There the density is that of the power law to 1 part in 1e16, and it stands for that limit."""


def log_density(points: Points, params: tuple[Number, ...]) -> Values:
    """Of the cut normal distribution, centred where its peak is inside so that nothing cancels for either sign of t."""
    s, t, sigma = _standard(points, params)
    return _exponent(s, t) - log_sum(_cut_normal_rule(t, sigma).log_weights)


def log_ccdf(points: Points, params: tuple[Number, ...]) -> Values:
    """ln [Q(s + t)/Q(t)], Q the upper tail of the normal distribution."""
    s, t, _ = _standard(points, params)
    negative = jnp.minimum(t, 0)
    near = log_ndtr(-(s + negative)) - log_ndtr(-negative)
    t = jnp.maximum(t, 0)
    far = -s * (t + s / 2) + jnp.log(erfcx((s + t) / math.sqrt(2)) / erfcx(t / math.sqrt(2)))
    return jnp.where(params[0] > jnp.log(points.xmin), near, far)


def _standard(points: Points, params: tuple[Number, ...]) -> tuple[Values, Number, Number]:
    mu, sigma = params
    return points.u / sigma, (jnp.log(points.xmin) - mu) / sigma, sigma


def fit(tail: Tail) -> tuple[Number, ...]:
    """Mean and variance of u are those of the sample (Cohen, Ann. Math. Stat. 21 (1950) 557).

    Their ratio variance/mean² depends on t alone and grows from 0 to 1, so there is one equation to solve.
    """
    wanted = tail.variance / tail.mean**2

    def shortfall(angle: Number) -> tuple[Number, Number, Number]:
        t = jnp.sinh(angle)
        mean, variance, third = cut_normal(t)
        slope = 2 * variance / mean - third / variance
        return jnp.log(wanted / (variance / mean**2)), -slope * jnp.cosh(angle), mean

    lowest = -1 / jnp.sqrt(wanted)  # for t < 0, variance/mean² ≤ 1/t²
    low, high = jnp.arcsinh(1.01 * lowest), jnp.arcsinh(jnp.asarray(FARTHEST, wanted.dtype))
    found = find_root(shortfall, low, high, jnp.arcsinh(lowest + 1), 4 * float(jnp.finfo(wanted.dtype).eps))
    t, sigma = jnp.sinh(found.at), tail.mean / found.extra
    return jnp.log(tail.points.xmin) - t * sigma, sigma


def _exponent(s: Values, t: Number) -> Values:
    """−t·s − s²/2 for t > 0; for t ≤ 0 the same less t²/2, its largest value."""
    return jnp.where(t > 0, -s * (jnp.maximum(t, 0) + s / 2), -((s + jnp.minimum(t, 0)) ** 2) / 2)


def _cut_normal_rule(t: Number, sigma: Number | float = 1.0) -> Rule:
    """The measure exp(_exponent(s, t)) du with u = sigma·s on s ≥ 0.

    Measured in u its integral is near 1 also where s is tiny, so that its logarithm keeps its digits.
    """
    reach = 2 * horizon(t.dtype)
    fixed = lax.stop_gradient(t)
    right = jnp.maximum(fixed, 0)
    first = jnp.maximum(-fixed - math.sqrt(reach), 0)
    last = jnp.where(fixed > 0, reach / (right + jnp.sqrt(reach + right**2)), -fixed + math.sqrt(reach))
    u, log_width = panels(jnp.stack([first, last]) * sigma, (node_count(t.dtype, 32, 64),))
    return Rule(u, log_width + _exponent(u / sigma, t))


def cut_normal(t: Number) -> tuple[Number, Number, Number]:
    """Mean and second and third central moment of the density exp(−t·s − s²/2) on s ≥ 0, without cancellation."""
    s, log_weight = _cut_normal_rule(t)
    weight = jnp.exp(log_weight - jnp.max(log_weight))
    weight = weight / jnp.sum(weight)
    mean = jnp.sum(weight * s)
    off = s - mean
    return mean, jnp.sum(weight * off**2), jnp.sum(weight * off**3)
