"""Laplace distribution about 0, p(x) ∝ e^(−|x|/scale), above xmin.

The tail of a Laplace distribution above any xmin beyond its centre is a shifted exponential whatever the centre: this
is the exponential family with scale = 1/λ, and no data can tell the two apart. It has its own name for tables of
weights, whose whole distribution `fit_laplace` describes.
"""

from __future__ import annotations

from spectra.kernels.families import exponential
from spectra.kernels.families.base import Points, Tail, Values, mean_excess
from spectra.kernels.roots import Number

PARAMETERS = ("scale",)


def log_density(points: Points, params: tuple[Number, ...]) -> Values:
    """The exponential's with λ = 1/scale."""
    return exponential.log_density(points, (1 / params[0],))


def log_ccdf(points: Points, params: tuple[Number, ...]) -> Values:
    """−(x − xmin)/scale."""
    return exponential.log_ccdf(points, (1 / params[0],))


def fit(tail: Tail) -> tuple[Number, ...]:
    """scale = mean of x − xmin."""
    return (mean_excess(tail),)
