"""p(x) ∝ x^(−alpha) e^(−λx), alpha ≥ 0, λ ≥ 0: the power law with cutoff [CSN09, table 2.1].

An exponential family, so the likelihood is concave in (alpha, λ) and has one maximum. It may lie at either end: at
λ = 0, where this is the power law, or at alpha = 0, where it is the exponential distribution. Negative alpha would be
a density that first rises, which nobody means by a truncated power law; powerlaw excludes it too. It also stops at
alpha = 3, which is not done here.
"""

from __future__ import annotations

import jax.numpy as jnp

from spectra.kernels.families.base import Points, Tail, Values, excess_share, mean, mean_excess
from spectra.kernels.roots import Number, find_root
from spectra.kernels.special import cutoff_rule, log_cutoff_integral

PARAMETERS = ("alpha", "lambda")


def log_density(points: Points, params: tuple[Number, ...]) -> Values:
    """(1 − alpha)u − λ(x − xmin) less the logarithm of its integral over u."""
    alpha, rate = params
    return (1 - alpha) * points.u - rate * (points.x - points.xmin) - _log_integral(alpha, rate, points.xmin)


def log_ccdf(points: Points, params: tuple[Number, ...]) -> Values:
    """The same integral from x on, over that from xmin on."""
    alpha, rate = params
    above = _log_integral(alpha, rate, points.x)
    decay = (1 - alpha) * points.u - rate * (points.x - points.xmin)
    return jnp.minimum(decay + above - _log_integral(alpha, rate, points.xmin), 0)


def _log_integral(alpha: Number, rate: Number, start: Number | Values) -> Number | Values:
    """ln ∫ (x/start)^(−alpha) e^(−λ(x − start)) dln x from `start` on; without cutoff, ln 1/(alpha − 1)."""
    cut = rate > 0
    log_b = jnp.log(jnp.where(cut, rate, 1)) + jnp.log(start)
    a = jnp.broadcast_to(alpha - 1, log_b.shape)
    return jnp.where(cut, log_cutoff_integral(a, log_b), -jnp.log(jnp.where(cut, 1, a)))


def fit(tail: Tail) -> tuple[Number, ...]:
    """Means of u and of x as in the sample: for each λ the alpha that gives the one, and the λ that gives the other.

    Instead of x, q = eᵘ − 1 − u is matched, which is not the same as u to many digits where all x are close to xmin.
    """
    u, xmin = tail.points.u, tail.points.xmin
    excess = mean_excess(tail)
    steepest = 1 / tail.mean  # alpha − 1 of the power law, which no cutoff exceeds
    log_q = jnp.log(mean(excess_share(u) * jnp.exp(u - tail.largest), tail)) + tail.largest
    shallow = jnp.log(xmin) - jnp.log(excess)  # ln(λ·xmin) of the exponential distribution, likewise
    precision = float(jnp.finfo(u.dtype).eps)
    invisible = jnp.log(jnp.asarray(precision, u.dtype)) - tail.largest

    def surplus(log_b: Number) -> tuple[Number, Number, Number]:
        def shortfall(a: Number) -> tuple[Number, Number, tuple[Number, Number]]:
            mean_u, mean_q, variance, residual = _model(a, log_b)
            return 1 / tail.mean - 1 / mean_u, -variance / mean_u**2, (mean_q, residual)

        low = jnp.asarray(-1, log_b.dtype)
        a, (mean_q, residual) = find_root(shortfall, low, steepest, steepest - jnp.exp(log_b), 4 * precision)
        return jnp.log(mean_q) - log_b - log_q, -residual / mean_q, a

    log_b, a = find_root(surplus, invisible, shallow, shallow - 1, 8 * precision)

    # Where the exponential's mean of u is below the sample's, alpha would be negative.
    plain = _model(jnp.asarray(-1, log_b.dtype), shallow)[0] <= tail.mean
    rate = jnp.where(plain, 1 / excess, jnp.exp(log_b - jnp.log(xmin)))
    uncut = ~plain & ((log_b <= invisible) | (rate < jnp.finfo(u.dtype).tiny))
    alpha = jnp.where(uncut, 1 + steepest, jnp.where(plain, 0, 1 + a))
    return alpha, jnp.where(uncut, 0, rate)


def _model(a: Number, log_b: Number) -> tuple[Number, Number, Number, Number]:
    """Means of u and of Q = b·(eᵘ − 1 − u), the variance of u, and that of what u does not explain of Q."""
    rule = cutoff_rule(a, log_b)
    weight = jnp.exp(rule.log_weights - jnp.max(rule.log_weights))
    weight = weight / jnp.sum(weight)
    u, q = rule.points, jnp.exp(rule.points + log_b) * excess_share(rule.points)
    mean_u, mean_q = jnp.sum(weight * u), jnp.sum(weight * q)
    off_u, off_q = u - mean_u, q - mean_q
    variance = jnp.sum(weight * off_u**2)
    residual = jnp.sum(weight * (off_q - jnp.sum(weight * off_u * off_q) / variance * off_u) ** 2)
    return mean_u, mean_q, variance, residual
