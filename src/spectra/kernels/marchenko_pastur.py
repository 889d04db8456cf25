"""The Marchenko–Pastur law: the eigenvalues of X = WᵀW for an N×M matrix of independent noise, N ≥ M.

Marchenko & Pastur, Math. USSR Sb. 1 (1967) 457; in the units of X, without 1/N. Everything is written in the angle θ
with x = σ²(N + M + 2√(NM)·cos θ), in which nothing is singular at the edges, square matrices (λ₋ = 0) included.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Num

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, to_compute

Numbers: TypeAlias = Num[AnyArray, "..."] | float | int
"""A number, or an array that is broadcast with the other arguments."""

THIN = 0.05
"""Below this √(M/N) the distribution function is a series in it; its closed form would lose digits."""


class Edges(NamedTuple):
    """Where the law begins and ends."""

    lower: Float[Array, "*shape"]
    upper: Float[Array, "*shape"]


def mp_edges(variance: Numbers, N: Numbers, M: Numbers) -> Edges:
    """Edges λ± = σ²N(1 ± 1/√Q)² = σ²(√N ± √M)².

    Parameters
    ----------
    variance
        σ², the variance of the entries of W.
    N, M
        The larger and the smaller dimension of W.
    """
    variance, n, m = _together(variance, N, M)
    # The difference of the roots without cancellation for nearly square matrices.
    return Edges(variance * ((n - m) / (jnp.sqrt(n) + jnp.sqrt(m))) ** 2, variance * (jnp.sqrt(n) + jnp.sqrt(m)) ** 2)


@compiled()
def mp_density(x: Numbers, variance: Numbers, N: Numbers, M: Numbers) -> Float[Array, ...]:
    """Density √((λ₊ − x)(x − λ₋)) / (2πσ²Mx) of the M eigenvalues, in 1/units of x; 0 outside the edges."""
    x, variance, n, m = _together(x, variance, N, M)
    lower, upper = mp_edges(variance, n, m)
    inside = (x > lower) & (x < upper)
    safe = jnp.where(inside, x, (lower + upper) / 2)
    root = jnp.sqrt(upper - safe) * jnp.sqrt(safe - lower)
    return jnp.where(inside, root / (2 * jnp.pi * m * safe) / variance, 0)


@compiled()
def mp_cdf(x: Numbers, variance: Numbers, N: Numbers, M: Numbers) -> Float[Array, "*shape"]:
    """Share of the eigenvalues at or below x, to about 3e-6 in float32.

    In the angle θ of x, 1 − F = (θ − sin θ/s + (1 − s²)·φ/s²)/π with s = √(M/N) and φ the argument of 1 + s·e^{iθ}.
    Differentiable in x and the variance, not in the dimensions.
    """
    x, variance, n, m = _together(x, variance, N, M)
    return _cdf(x / (variance * n), jnp.sqrt(m / n))


@compiled()
def mp_quantile(p: Numbers, variance: Numbers, N: Numbers, M: Numbers) -> Float[Array, "*shape"]:
    """The x at which a share p of the eigenvalues lies below, by bisection; not differentiable."""
    p, variance, n, m = _together(p, variance, N, M)
    s = jnp.sqrt(m / n)

    def halve(_: Int[Array, ""], bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) / 2
        short = _survival(middle, s) < 1 - p
        return jnp.where(short, middle, low), jnp.where(short, high, middle)

    low, high = lax.fori_loop(0, jnp.finfo(s.dtype).nmant + 4, halve, (jnp.zeros_like(s), jnp.full_like(s, jnp.pi)))
    half = jnp.sin((low + high) / 4)  # 1 + s² + 2s·cos θ = (1 + s)² − 4s·sin²(θ/2)
    return variance * n * ((1 + s) ** 2 - 4 * s * half**2)


@jax.custom_jvp
def _cdf(u: Float[Array, "*shape"], s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """F at u = x/(σ²N)."""
    # sin²(θ/2) keeps its digits at the upper edge, where cos θ is close to 1.
    half = jnp.sqrt(jnp.clip(((1 + s) ** 2 - u) / (4 * s), 0, 1))
    return jnp.clip(1 - _survival(2 * jnp.arcsin(half), s), 0, 1)


@_cdf.defjvp
def _cdf_jvp(
    primals: tuple[Float[Array, "*shape"], Float[Array, "*shape"]],
    tangents: tuple[Float[Array, "*shape"], Float[Array, "*shape"]],
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The density; through the angle it would be 0·∞ at the edges."""
    u, s = primals
    return _cdf(u, s), mp_density(u, 1.0, 1.0, s**2) * tangents[0]


def _survival(theta: Float[Array, "*shape"], s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Share of the eigenvalues beyond the angle θ, counted from the upper edge."""
    sin, cos = jnp.sin(theta), jnp.cos(theta)
    phase = jnp.arctan2(s * sin, 1 + s * cos)
    closed = theta - sin / s + (1 - s**2) * phase / s**2
    # φ = s·sin θ − s²·rest with rest = sin 2θ/2 − s·sin 3θ/3 + …
    rest = sum((-s) ** (k - 2) * jnp.sin(k * theta) / k for k in range(2, 7))
    series = theta - s * sin - (1 - s**2) * rest
    return jnp.where(s < THIN, series, closed) / jnp.pi


def _together(*numbers: Numbers) -> list[Float[Array, "*shape"]]:
    """The arguments as floats of one type and shape."""
    arrays = [to_compute(jnp.asarray(number)) for number in numbers]
    dtype = jnp.result_type(*numbers, jnp.float32)
    return list(jnp.broadcast_arrays(*(a.astype(dtype) for a in arrays)))
