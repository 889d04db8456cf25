"""p(x) ∝ e^(−λx) [CSN09, table 2.1]."""

from __future__ import annotations

import jax.numpy as jnp

from spectra.kernels.families.base import Points, Tail, Values, mean_excess
from spectra.kernels.roots import Number

PARAMETERS = ("lambda",)


def log_density(points: Points, params: tuple[Number, ...]) -> Values:
    """ln(λx) − λ(x − xmin), the logarithm taken term by term so that no product underflows."""
    (rate,) = params
    return jnp.log(rate) + jnp.log(points.xmin) + points.u - rate * (points.x - points.xmin)


def log_ccdf(points: Points, params: tuple[Number, ...]) -> Values:
    """−λ(x − xmin)."""
    return -params[0] * (points.x - points.xmin)


def fit(tail: Tail) -> tuple[Number, ...]:
    """λ = 1 / mean of x − xmin."""
    return (1 / mean_excess(tail),)
