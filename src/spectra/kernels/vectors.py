"""Localisation: over how many coordinates the top singular vectors spread."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import digamma
from jaxtyping import Array, Bool, Float, Num

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, power_of_two, to_compute, to_mask
from spectra.kernels.marchenko_pastur import Numbers

SPARE = 8
"""Vectors that are iterated beside those asked for, which speeds the last of these up."""


class Localisation(NamedTuple):
    """How widely each vector spreads; both measures are 1 for equal magnitudes, and small for a few coordinates."""

    participation: Float[AnyArray, "*batch"]
    """Participation ratio as a share, (Σv²)²/(d·Σv⁴): from 1/d for one coordinate to 1; (d + 2)/(3d) at random."""
    entropy: Float[AnyArray, "*batch"]
    """−Σ p ln p / ln d with p = v²/Σv²: from 0 for one coordinate to 1; about 1 − 0.73/ln d at random."""


class TopVectors(NamedTuple):
    """Leading singular triplets, W ≈ U·diag(σ)·Vᵀ."""

    left: Float[AnyArray, "m k"]
    singular_values: Float[AnyArray, " k"]
    right: Float[AnyArray, "n k"]
    residual: Float[AnyArray, " k"]
    """‖WᵀWv − σ²v‖/σ_max²: how far each vector is from being one. Close singular values mix below it."""


@compiled()
def localisation(vectors: Num[AnyArray, "*batch d"], where: Bool[AnyArray, "*mask"] | None = None) -> Localisation:
    """Participation ratio and entropy of vectors along the last axis, of any length but 0.

    `where` says which coordinates count; d is their number. A zero vector or one with NaN or infinity gives NaN.
    Squared and not squared conventions differ: WeightWatcher's ‖v‖₂/‖v‖₄ is (d·participation)^¼.

    Source: Martin & Mahoney, JMLR 22 (2021), §2.2, "localization metrics".
    """
    v = to_compute(vectors)
    mask = to_mask(where, v)
    v = jnp.where(mask, v, 0)
    d = jnp.sum(mask, axis=-1).astype(v.dtype)
    unit = power_of_two(jnp.max(jnp.abs(v), axis=-1, initial=0))
    square = jnp.square(v / unit[..., None])
    norm = jnp.sum(square, axis=-1)
    known = jnp.isfinite(norm) & (norm > 0)
    p = square / jnp.where(known, norm, 1)[..., None]
    some = p > 0
    entropy = -jnp.sum(jnp.where(some, p * jnp.log(jnp.where(some, p, 1)), 0), axis=-1)
    fourth = jnp.sum(p * p, axis=-1)
    return Localisation(
        participation=jnp.where(known, 1 / (d * jnp.where(known, fourth, 1)), jnp.nan),
        entropy=jnp.where(known, jnp.where(d > 1, entropy / jnp.log(jnp.maximum(d, 2)), 1), jnp.nan),
    )


@compiled()
def random_localisation(d: Numbers) -> Localisation:
    """What a vector in a random direction of d dimensions has (Porter & Thomas, Phys. Rev. 104 (1956) 483).

    The participation ratio of the mean of Σv⁴, 3/(d + 2), and the mean entropy (ψ(d/2 + 1) − ψ(3/2))/ln d.
    """
    size = to_compute(jnp.asarray(d))
    entropy = (digamma(size / 2 + 1) - digamma(jnp.full_like(size, 1.5))) / jnp.log(jnp.maximum(size, 2))
    return Localisation((size + 2) / (3 * size), jnp.where(size > 1, entropy, 1))


@compiled("k", "tolerance", "most")
def top_singular_vectors(
    w: Num[AnyArray, "m n"],
    k: int,
    where: Bool[AnyArray, "#m #n"] | None = None,
    tolerance: float = 1e-4,
    most: int = 300,
) -> TopVectors:
    """The k leading singular vectors on both sides, by subspace iteration.

    Parameters
    ----------
    w
        A matrix; `vmap` over several.
    k
        How many, from 1 to the smaller dimension.
    where
        True for the entries that count; those outside count as 0.
    tolerance
        Iteration ends when the residuals of all k are at most this.
    most
        Largest number of iterations, 4·m·n·(2k + 8) flops each. `residual` tells what was reached.

    Returns
    -------
    TopVectors
        Each pair has the sign that makes the largest entry of the right vector positive. All NaN for a matrix with
        NaN or infinite entries.

    Raises
    ------
    ValueError
        If k is out of range.

    Notes
    -----
    Starting from fixed random vectors, V ← qr(Wᵀ(W·V)) with 2k + 8 columns; then V is turned to the singular vectors
    within the subspace (Halko, Martinsson & Tropp, SIAM Review 53 (2011) 217, §4.5). Vectors inside the bulk have close
    neighbours and converge slowly, and mean little; spikes take a few steps.
    """
    matrix = to_compute(w)
    if not 1 <= k <= min(matrix.shape):
        raise ValueError(f"from 1 to {min(matrix.shape)} vectors of a matrix of shape {matrix.shape}, not {k}")
    matrix = matrix if where is None else jnp.where(to_mask(where, matrix), matrix, 0)
    finite = jnp.all(jnp.isfinite(matrix))
    matrix = jnp.where(finite, matrix, 0)
    unit = power_of_two(jnp.max(jnp.abs(matrix)))
    found = _iterate(matrix / unit, k, tolerance, most)
    found = found._replace(singular_values=found.singular_values * unit)
    return TopVectors(*(jnp.where(finite, field, jnp.nan) for field in found))


def _product(a: Array | np.ndarray, b: Array | np.ndarray) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _iterate(matrix: Float[Array, "m n"], k: int, tolerance: float, most: int) -> TopVectors:
    size = min(2 * k + SPARE, *matrix.shape)
    start = jax.random.normal(jax.random.key(0), (matrix.shape[1], size), matrix.dtype)

    def ritz(v: Float[Array, "n p"]) -> TopVectors:
        """Singular triplets within the subspace, from W·V = U·R."""
        inner, values, turn = jnp.linalg.svd(_product(matrix, v), full_matrices=False)
        right = _product(v, turn.T)
        moved = _product(matrix.T, inner * values)
        top = jnp.where(values[0] > 0, values[0], 1)
        return TopVectors(inner, values, right, jnp.linalg.norm((moved - right * values**2) / top**2, axis=0))

    def step(state: tuple[Array, TopVectors]) -> tuple[Array, TopVectors]:
        count, found = state
        v, _ = jnp.linalg.qr(_product(matrix.T, found.left * found.singular_values))
        return count + 1, ritz(v)

    def unfinished(state: tuple[Array, TopVectors]) -> Array:
        count, found = state
        return (count < most) & (jnp.max(found.residual[:k]) > tolerance)

    first = ritz(jnp.linalg.qr(start)[0])
    _, found = lax.while_loop(unfinished, step, (jnp.int32(0), first))
    left, values, right, residual = (field[..., :k] for field in found)
    largest = jnp.take_along_axis(right, jnp.argmax(jnp.abs(right), axis=0)[None], axis=0)
    sign = jnp.where(largest < 0, -1, 1).astype(right.dtype)
    return TopVectors(left * sign, values, right * sign, residual)
