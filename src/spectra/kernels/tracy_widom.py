"""The Tracy–Widom law for real matrices (β = 1): how far the largest eigenvalue of pure noise scatters.

F₁ is the limit law of the largest eigenvalue of real symmetric noise, centred and scaled (Tracy & Widom, Comm. Math.
Phys. 177 (1996) 727). It has no closed form; F₁(s) = det(1 − B_s) with B_s(x, y) = Ai(x + y + s) on L²(0, ∞)
(Ferrari & Spohn, J. Phys. A 38 (2005) L557), a determinant that Gauss–Legendre points give to many digits
(Bornemann, Math. Comp. 79 (2010) 871). What is stored here are Chebyshev series of the normal score
z(s) = Φ⁻¹(F₁(s)) and of its inverse, both nearly straight lines; `tests/kernels/test_tracy_widom.py` computes them
anew from the determinant.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float, Num

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, to_compute

MEAN, VARIANCE = -1.2065335745820, 1.607781034581
"""Moments of F₁ [Bornemann 2010, table 10]."""

SCORE_CENTRE, SCORE_REACH = 1.0, 8.0
"""The series of the score holds for s within the reach of the centre, where F₁ goes from 5e-9 to 1 − 4e-10."""

SCORE = (
    0.9362750017,
    5.8124051301,
    -0.72330173261,
    0.1249689729,
    0.00078140200065,
    -0.0084621563458,
    0.0011616175908,
    0.00092116821705,
    -0.00031208841089,
    -0.00010720094737,
    7.1854611412e-05,
    9.8389331926e-06,
    -1.5643578692e-05,
    2.3829071224e-07,
    3.2437778398e-06,
    -5.1123424334e-07,
    -6.3188126155e-07,
    2.012774732e-07,
    1.1196337379e-07,
    -6.0612884019e-08,
    -1.6535480597e-08,
    1.5243165185e-08,
    1.3418327993e-09,
)

QUANTILE_REACH = 6.0
"""The series of the quantile holds for scores up to this size, probabilities 1e-9 to 1 − 1e-9."""

QUANTILE = (
    -0.23930810249,
    7.8840235713,
    0.99961356841,
    0.094788790531,
    -0.027303015963,
    -0.0097145054539,
    0.0022483384329,
    0.0017072642743,
    -0.00015508076715,
    -0.00034863011596,
    -2.4619179409e-05,
    7.1723994289e-05,
    1.8736456759e-05,
    -1.3344777772e-05,
    -7.2106013697e-06,
    1.8295000007e-06,
    2.2127942827e-06,
    1.0701588365e-08,
    -5.7279578539e-07,
    -1.3122340606e-07,
    1.2022278308e-07,
    5.7947593056e-08,
    -1.7430208618e-08,
)


@compiled()
def tracy_widom_cdf(s: Num[AnyArray, "*shape"] | float | int) -> Float[Array, "*shape"]:
    """Probability F₁(s) that the centred and scaled largest eigenvalue is at most s.

    Right to 1e-8 in float64 and 2e-7 in float32. Differentiable; the derivative is the density.

    Examples
    --------
    >>> import spectra.kernels as kernels
    >>> round(float(kernels.tracy_widom_cdf(0.9793)), 4)
    0.95
    """
    return ndtr(_score(to_compute(jnp.asarray(s))))


@compiled()
def tracy_widom_sf(s: Num[AnyArray, "*shape"] | float | int) -> Float[Array, "*shape"]:
    """Probability 1 − F₁(s) of a larger value, with a relative error below 1e-6 for s up to 9.

    Beyond 9 (probabilities under 4e-10) the score goes on as a straight line, which is too heavy a tail.
    """
    return ndtr(-_score(to_compute(jnp.asarray(s))))


@compiled()
def tracy_widom_quantile(p: Num[AnyArray, "*shape"] | float | int) -> Float[Array, "*shape"]:
    """The s with F₁(s) = p, right to 1e-6 for 1e-9 ≤ p ≤ 1 − 1e-9; −inf and inf for 0 and 1, else NaN outside.

    For p close to 1 give the other tail to `tracy_widom_isf`: float32 has no numbers between 1 − 6e-8 and 1.
    """
    return _quantile_of_score(ndtri(to_compute(jnp.asarray(p))))


@compiled()
def tracy_widom_isf(level: Num[AnyArray, "*shape"] | float | int) -> Float[Array, "*shape"]:
    """The s that is exceeded with probability `level`: 0.9793 for 0.05, 2.0234 for 0.01.

    Examples
    --------
    >>> import spectra.kernels as kernels
    >>> round(float(kernels.tracy_widom_isf(0.01)), 4)
    2.0234
    """
    return _quantile_of_score(-ndtri(to_compute(jnp.asarray(level))))


def _score(s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return _series(SCORE, (s - SCORE_CENTRE) / SCORE_REACH)


def _quantile_of_score(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return _series(QUANTILE, z / QUANTILE_REACH)


def _series(coefficients: Sequence[float], x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The Chebyshev series for |x| ≤ 1 by Clenshaw's recurrence; beyond, a straight line that goes on from its end."""
    inside = jnp.clip(x, -1, 1)

    def step(state: tuple[Array, Array], c: Array) -> tuple[tuple[Array, Array], None]:
        ahead, behind = state
        return (c + 2 * inside * ahead - behind, ahead), None

    start = (jnp.zeros_like(x), jnp.zeros_like(x))
    (ahead, behind), _ = lax.scan(step, start, jnp.asarray(coefficients[:0:-1], x.dtype))
    value = coefficients[0] + inside * ahead - behind
    upper = sum(k * k * c for k, c in enumerate(coefficients))
    lower = sum(-((-1) ** k) * k * k * c for k, c in enumerate(coefficients))
    return value + upper * jnp.maximum(x - 1, 0) + lower * jnp.minimum(x + 1, 0)
