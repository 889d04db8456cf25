"""Integrals that the families of tails need: the upper incomplete gamma function of negative order, and moments.

JAX has Γ(s, x) for s > 0 only. Here it is taken by quadrature, which serves the derivatives and the moments of the
truncated power law at the same time.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from spectra.kernels.dtypes import AnyArray, to_compute


class Rule(NamedTuple):
    """Points and log-weights of a quadrature; the last axis runs over the points."""

    points: Float[Array, "*batch nodes"]
    log_weights: Float[Array, "*batch nodes"]


@cache
def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Legendre nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


def panels(ends: Float[Array, "*batch edges"], counts: tuple[int, ...]) -> Rule:
    """Gauss–Legendre on each of the intervals between consecutive edges, and the logarithms of the weights."""
    points, weights = [], []
    for k, count in enumerate(counts):
        nodes, shares = _legendre(count)
        low, length = ends[..., k, None], ends[..., k + 1, None] - ends[..., k, None]
        points.append(low + length * jnp.asarray(nodes, ends.dtype))
        weights.append(
            jnp.log(jnp.maximum(length, jnp.finfo(ends.dtype).tiny)) + jnp.asarray(np.log(shares), ends.dtype)
        )
    return Rule(jnp.concatenate(points, -1), jnp.concatenate(weights, -1))


def horizon(dtype: np.dtype) -> float:
    """Exponents below −horizon contribute nothing to a sum near 1 in this element type."""
    return 20.0 if dtype == jnp.float32 else 42.0


def node_count(dtype: np.dtype, single: int, double: int) -> int:
    """How many nodes a panel has."""
    return single if dtype == jnp.float32 else double


def log_sum(terms: Float[Array, "*batch nodes"]) -> Float[Array, "*batch"]:
    """ln Σ exp over the last axis."""
    largest = lax.stop_gradient(jnp.max(terms, -1, keepdims=True))
    return jnp.log(jnp.sum(jnp.exp(terms - largest), -1)) + largest[..., 0]


def cutoff_rule(a: Float[Array, "*batch"], log_b: Float[Array, "*batch"]) -> Rule:
    """The measure exp(−a·u − b·(eᵘ − 1)) du on u ≥ 0, with b = exp(log_b), as points and the logarithms of weights.

    That is the truncated power law y^(−a−1) e^(−by) dy in u = ln y, scaled to 1 at u = 0; a ≥ −1 and b > 0. It is flat
    or decays like e^(−au) up to u = −ln b, and then falls off like exp(−eᵘ): one panel for each part.
    """
    far = horizon(a.dtype)
    counts = node_count(a.dtype, 32, 64), node_count(a.dtype, 20, 32)
    fixed_a, fixed_b = lax.stop_gradient(a), lax.stop_gradient(log_b)
    decayed = far / jnp.maximum(fixed_a, jnp.finfo(a.dtype).tiny * 1e3)
    knee = jnp.maximum(-fixed_b, 0)
    fall = jnp.minimum(jnp.log1p((far + 5) * jnp.exp(-jnp.maximum(fixed_b, 0))), decayed)
    first = jnp.minimum(knee, decayed)
    flat = panels(jnp.stack([jnp.zeros_like(knee), first], -1), counts[:1])
    steep = panels(jnp.stack([knee, knee + fall], -1), counts[1:])
    u = jnp.concatenate([flat.points, steep.points], -1)
    log_width = jnp.concatenate([flat.log_weights, steep.log_weights], -1)
    excess = -jnp.expm1(-u) * jnp.exp(u + log_b[..., None])  # b·(eᵘ − 1), where neither factor need be representable
    return Rule(u, log_width - a[..., None] * u - excess)


def log_cutoff_integral(a: Float[Array, "*batch"], log_b: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """ln ∫₀^∞ exp(−a·u − b·(eᵘ − 1)) du = ln(b^a e^b Γ(−a, b)), for a ≥ −1 and b = exp(log_b) > 0."""
    return log_sum(cutoff_rule(a, log_b).log_weights)


def log_upper_gamma(s: Float[AnyArray, "*s"], x: Float[AnyArray, "*x"]) -> Float[Array, "*batch"]:
    """ln Γ(s, x), the logarithm of the upper incomplete gamma function, for orders s ≤ 1, negative ones too.

    Parameters
    ----------
    s, x
        Order and argument, broadcast against each other; x > 0.

    Returns
    -------
    Array
        NaN where s > 1 or x ≤ 0. Differentiable in both.

    Notes
    -----
    Γ(s, x) = x^s e^(−x) ∫₀^∞ exp(s·u − x·(eᵘ − 1)) du (substitute t = x·eᵘ in NIST DLMF 8.2.2), by two panels of
    Gauss–Legendre quadrature. Against mpmath, for −25 ≤ s ≤ 1 and 1e-10 ≤ x ≤ 100: 1e-12 of max(1, |ln Γ|) in
    float64 and 2e-6 in float32.
    """
    order, argument = jnp.broadcast_arrays(to_compute(s), to_compute(x))
    known = (order <= 1) & (argument > 0)
    order, argument = jnp.where(known, order, 0), jnp.where(known, argument, 1)
    log_x = jnp.log(argument)
    return jnp.where(known, order * log_x - argument + log_cutoff_integral(-order, log_x), jnp.nan)
