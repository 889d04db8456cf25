"""p(x) ∝ x^(−alpha), alpha > 1 [CSN09, table 2.1]."""

from __future__ import annotations

import jax.numpy as jnp

from spectra.kernels.families.base import Points, Tail, Values
from spectra.kernels.roots import Number

PARAMETERS = ("alpha",)


def log_density(points: Points, params: tuple[Number, ...]) -> Values:
    """In u an exponential distribution of rate alpha − 1."""
    rate = params[0] - 1
    return jnp.log(rate) - rate * points.u


def log_ccdf(points: Points, params: tuple[Number, ...]) -> Values:
    """(x/xmin)^(1 − alpha)."""
    return -(params[0] - 1) * points.u


def fit(tail: Tail) -> tuple[Number, ...]:
    """alpha = 1 + n/Σu [CSN09, eq. 3.1]."""
    return (1 + 1 / tail.mean,)
