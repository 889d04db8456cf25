"""Student's t distribution about 0 above xmin: p(x) ∝ (1 + x²/(df·scale²))^(−(df + 1)/2).

With r = xmin²/(df·scale²), A = (df + 1)/2 and u = ln(x/xmin) the density of u is exp(u − A·T), up to a factor, where
T = ln((1 + r·e^(2u))/(1 + r)). For r → ∞ it is the power law of alpha = df + 1; for r → 0 with A·r fixed it is the tail
of a normal distribution. For a fixed r it is an exponential family in A, so what must be searched is r alone.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from spectra.kernels.families.base import Points, Tail, Values, mean
from spectra.kernels.roots import Number, find_root
from spectra.kernels.special import Rule, horizon, log_sum, node_count, panels

PARAMETERS = ("df", "scale")

LEAST_DF = 0.02
"""Smallest df; x would have to span hundreds of decades to fit less."""

COARSE = 16
"""Values of ln r that are looked at before the search, for the likelihood may have more than one maximum in r."""


def log_density(points: Points, params: tuple[Number, ...]) -> Values:
    """u − A·T less the logarithm of its integral."""
    A, log_r = _inner(points.xmin, params)
    return points.u - A * _log_growth(points.u, log_r) - log_sum(_rule(A, log_r).log_weights)


def log_ccdf(points: Points, params: tuple[Number, ...]) -> Values:
    """The integral from u on over that from 0 on."""
    A, log_r = _inner(points.xmin, params)

    def above(u: Number) -> Number:
        # From u on, with r' = r·e^(2u), it is the same integral again.
        return u - A * _log_growth(u, log_r) + log_sum(_rule(A, log_r + 2 * u).log_weights)

    return jnp.minimum(jax.vmap(above)(points.u) - log_sum(_rule(A, log_r).log_weights), 0)


def _inner(xmin: Number, params: tuple[Number, ...]) -> tuple[Number, Number]:
    df, scale = params
    return (df + 1) / 2, 2 * (jnp.log(xmin) - jnp.log(scale)) - jnp.log(df)


def _log_growth(u: Float[Array, "*shape"], log_r: Number) -> Float[Array, "*shape"]:
    """T = ln((1 + r·e^(2u))/(1 + r)), to full relative precision where it is small."""
    log_share = -jnp.logaddexp(0.0, -log_r)  # of ρ = r/(1 + r), with which T = ln(1 + ρ(e^(2u) − 1))
    z = 2 * u + log_share
    near = jnp.log1p(-jnp.expm1(-2 * u) * jnp.exp(jnp.minimum(z, 30)))
    return jnp.where(z > 30, z, near)


def _rule(A: Number, log_r: Number) -> Rule:
    """The measure exp(u − A·T) du on u ≥ 0: until the decay sets in, through the bend of T, and its straight part."""
    far = horizon(A.dtype) + 4
    a, w = lax.stop_gradient(A), lax.stop_gradient(log_r)
    log_share = -jnp.logaddexp(0.0, -w)
    knee = jnp.logaddexp(0.0, -log_share - jnp.log(a)) / 2
    bent = 1 + jnp.exp(-(w + 2 * knee))
    bend = jnp.minimum(jnp.log1p(jnp.expm1(jnp.minimum(1.2 * far / a, 50)) * bent) / 2, 3)
    straight = far / (2 * a - 1)
    edges = jnp.stack([jnp.zeros_like(knee), knee, knee + bend, knee + bend + straight])
    counts = tuple(node_count(A.dtype, *pair) for pair in ((24, 48), (24, 48), (32, 64)))
    u, log_width = panels(edges, counts)
    return Rule(u, log_width + u - A * _log_growth(u, log_r))


def fit(tail: Tail) -> tuple[Number, ...]:
    """For each r the A that gives the mean of T; the best of a few r, and from there the root of the derivative."""
    u = tail.points.u
    kind = jnp.finfo(u.dtype)
    lost = -jnp.log(jnp.asarray(kind.eps, u.dtype))  # beyond it a limit is reached to within rounding
    grid = jnp.linspace(-2 * tail.largest - lost, lost, COARSE).astype(u.dtype)

    def likelihood(log_r: Number) -> Number:
        average = mean(_log_growth(u, log_r), tail)
        A = _strength(average, log_r)
        return -A * average - log_sum(_rule(A, log_r).log_weights)

    best = jnp.argmax(lax.map(likelihood, grid))
    low, high = grid[jnp.maximum(best - 1, 0)], grid[jnp.minimum(best + 1, COARSE - 1)]

    def slope(log_r: Number) -> tuple[Number, Number, Number]:
        """Of the likelihood in ln r: what the model expects of ∂T/∂ln r, less its mean over the sample."""
        A = _strength(mean(_log_growth(u, log_r), tail), log_r)
        rule = _rule(A, log_r)
        weight = jnp.exp(rule.log_weights - jnp.max(rule.log_weights))
        weight = weight / jnp.sum(weight)
        growth, (change, bend) = _log_growth(rule.points, log_r), _changes(rule.points, log_r)
        found, found_bend = (mean(term, tail) for term in _changes(u, log_r))
        expected = jnp.sum(weight * change)
        off_growth, off_change = growth - jnp.sum(weight * growth), change - expected
        shared = jnp.sum(weight * off_growth * off_change)
        # A moves with r so that the mean of T stays that of the sample.
        moved = (expected - found - A * shared) / jnp.sum(weight * off_growth**2)
        steepness = jnp.sum(weight * bend) - found_bend - A * jnp.sum(weight * off_change**2) - shared * moved
        return expected - found, steepness, A

    tolerance = 1e-5 if u.dtype == jnp.float32 else 1e-11
    log_r, A = find_root(slope, low, high, grid[best], tolerance)
    df = 2 * A - 1
    return df, jnp.exp(jnp.log(tail.points.xmin) - (log_r + jnp.log(df)) / 2)


def _changes(u: Values, log_r: Number) -> tuple[Values, Values]:
    """∂T/∂ln r = S − S₀ with S = y²r/(1 + y²r) at y = eᵘ and S₀ at y = 1, as a product, and ∂²T/∂(ln r)²."""
    share, first = jax.nn.sigmoid(log_r + 2 * u), jax.nn.sigmoid(log_r)
    change = share * jax.nn.sigmoid(-log_r) * -jnp.expm1(-2 * u)
    return change, change * (1 - share - first)


def _strength(average: Number, log_r: Number) -> Number:
    """The A for which the mean of T is as given."""

    def shortfall(A: Number) -> tuple[Number, Number, Number]:
        rule = _rule(A, log_r)
        weight = jnp.exp(rule.log_weights - jnp.max(rule.log_weights))
        weight = weight / jnp.sum(weight)
        growth = _log_growth(rule.points, log_r)
        expected = jnp.sum(weight * growth)
        variance = jnp.sum(weight * (growth - expected) ** 2)
        return 1 / average - 1 / expected, -variance / expected**2, A

    low = jnp.asarray((1 + LEAST_DF) / 2, average.dtype)
    high = 1 + 1.01 / average  # the density of T falls faster than exp(−(A − 1)T)
    return find_root(shortfall, low, high, 0.5 + 1 / average, 8 * float(jnp.finfo(average.dtype).eps)).at
