"""What a family of tails is given, and the sums over a tail that several of them need.

A family is a module with

    PARAMETERS                        the names of its parameters
    log_density(points, params)       ln of the density of u = ln(x/xmin), which is x·p(x | x ≥ xmin), at u ≥ 0
    log_ccdf(points, params)          ln P(X ≥ x | X ≥ xmin)
    fit(tail)                         its parameters by maximum likelihood

of one sample: scalars for the parameters, `vmap` for batches. To add a family is to add a file, and a line to the
table in `__init__.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spectra.kernels.dtypes import power_of_two
from spectra.kernels.moments import BLOCK, SMALL_BLOCK, fold
from spectra.kernels.roots import Number, series

Values = Float[Array, " n"]


class Points(NamedTuple):
    """Values x ≥ xmin, as themselves and as u = ln(x/xmin), which is exact also where x is close to xmin."""

    x: Values
    u: Values
    xmin: Number


class Tail(NamedTuple):
    """The part of a sample from xmin upwards; values outside stand at x = xmin, u = 0."""

    points: Points
    inside: Bool[Array, " n"]
    size: Number
    """Number of values inside."""
    largest: Number
    """Largest u."""
    mean: Number
    """Mean of u."""
    variance: Number
    """Of u about its mean."""


def total(terms: Values) -> Number:
    """Sum of n terms whose rounding does not grow with n."""
    if terms.size < SMALL_BLOCK:
        return jnp.sum(terms)
    return fold(jnp.add, jnp.pad(terms, (0, -terms.size % (BLOCK if terms.size > BLOCK else SMALL_BLOCK))))


def mean(terms: Values, tail: Tail) -> Number:
    """Mean over the tail."""
    return total(jnp.where(tail.inside, terms, 0)) / tail.size


def mean_excess(tail: Tail) -> Number:
    """Mean of x − xmin, also where the sum would leave the range of floats."""
    x, xmin = tail.points.x, tail.points.xmin
    unit = power_of_two(jnp.max(x))
    return mean((x - xmin) / unit, tail) * unit


def excess_share(u: Values) -> Values:
    """r(u) = 1 − (1 + u)e^(−u) for u ≥ 0, by its series where the difference would cancel; eᵘ·r(u) = eᵘ − 1 − u."""
    near = jnp.minimum(u, 1)
    # ∫₀ᵘ t e^(−t) dt = u² Σ (−u)ᵏ / (k!·(k + 2))
    terms = 11 if u.dtype == jnp.float32 else 19
    coefficients, factorial = [], 1.0
    for k in range(terms):
        factorial *= max(k, 1)
        coefficients.append((-1) ** k / (factorial * (k + 2)))
    return jnp.where(u < 1, near**2 * series(coefficients, near), 1 - (1 + u) * jnp.exp(-u))
