"""P(X ≥ x) ∝ exp(−(Λx)^beta), the Weibull distribution's tail [CSN09, table 2.1], with powerlaw's Λ.

Where the sample looks like a power law, beta goes to 0 and Λ beyond every float: at beta = 0.03 it is about 1e60.
So ln Λ is the parameter, which has no such trouble. With c = (Λ·xmin)^beta the probability is exp(−c(e^(beta·u) − 1));
for beta → 0 with c·beta fixed that is the power law of alpha = 1 + c·beta.
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from spectra.kernels.families.base import Points, Tail, Values, mean
from spectra.kernels.roots import Number, find_root, series

PARAMETERS = ("log_lambda", "beta")

SMALLEST = 1e-14
"""Smallest beta·mean(u). There the density is that of the power law to about that precision; it stands for beta = 0."""


def log_density(points: Points, params: tuple[Number, ...]) -> Values:
    """ln k + beta·u − k(e^(beta·u) − 1)/beta with the one k = c·beta in both places, so that its rounding cancels."""
    log_c, z = _standard(points, params)
    log_k = log_c + jnp.log(params[1])
    return log_k + z + jnp.exp(log_k + z) * (jnp.expm1(-z) / params[1])


def log_ccdf(points: Points, params: tuple[Number, ...]) -> Values:
    """−c(e^(beta·u) − 1), as a product whose factors stay in range."""
    log_c, z = _standard(points, params)
    return jnp.exp(log_c + z) * jnp.expm1(-z)


def _standard(points: Points, params: tuple[Number, ...]) -> tuple[Number, Values]:
    log_rate, beta = params
    return beta * (log_rate + jnp.log(points.xmin)), beta * points.u


def fit(tail: Tail) -> tuple[Number, ...]:
    """For each beta the best rate is 1/mean(w), w = (e^(beta·u) − 1)/beta; what is left is concave in beta.

    Per point the likelihood is then beta·mean(u) − ln mean(w) − 1, and mean(w) a mixture of exponentials of beta, the
    logarithm of which is convex. Its derivative is positive at 0 unless the sample varies more than a power law does.
    """

    def slope(position: Number) -> tuple[Number, Number, Number]:
        """Of the likelihood in beta·mean(u), and ln mean(w)."""
        whole, first, second, shift = _means(position / tail.mean, tail)
        ratio = first / whole
        return 1 - ratio / tail.mean, (ratio**2 - second / whole) / tail.mean**2, jnp.log(whole) + shift

    low = jnp.asarray(SMALLEST, tail.mean.dtype)
    # ratio ≥ max(u) − (1 + ln n)/beta (Gibbs), so beyond this beta the derivative is negative.
    high = 1.01 * (1 + jnp.log(tail.size)) / (tail.largest / tail.mean - 1)
    start = jnp.minimum(tail.mean / jnp.sqrt(tail.variance), high / 2)
    found = find_root(slope, low, high, start, 2e-6 if tail.mean.dtype == jnp.float32 else 1e-12)
    beta = found.at / tail.mean
    log_c = -found.extra - jnp.log(beta)
    return log_c / beta - jnp.log(tail.points.xmin), beta


def _means(beta: Number, tail: Tail) -> tuple[Number, Number, Number, Number]:
    """Means of w and of its first and second derivative in beta, over e^shift."""
    u = tail.points.u
    shift = beta * tail.largest
    phi = _phi(beta * u, shift)
    whole, first, second = (mean(u ** (k + 1) * phi[k], tail) for k in range(3))
    return whole, first, second, shift


def _phi(z: Values, shift: Number) -> tuple[Values, Values, Values]:
    """(e^z − 1)/z and its first two derivatives, over e^shift; by series for z < 1, where the formulas cancel."""
    terms = 11 if z.dtype == jnp.float32 else 19
    near = jnp.minimum(z, 1)
    small = jnp.exp(-shift)
    # The j-th derivative is ∫₀¹ sʲ e^(zs) ds = Σ zᵏ / (k!·(k + j + 1)).
    near_zero = []
    for j in range(3):
        coefficients = [1 / (math.factorial(k) * (k + j + 1)) for k in range(terms)]
        near_zero.append(small * series(coefficients, near))
    far = jnp.maximum(z, 1)
    e = jnp.exp(far - shift)
    zeroth = (e - small) / far
    first = (e - zeroth) / far
    second = (e - 2 * first) / far
    at_0, at_1, at_2 = (jnp.where(z < 1, s, f) for s, f in zip(near_zero, (zeroth, first, second), strict=True))
    return at_0, at_1, at_2
