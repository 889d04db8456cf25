"""Singular values and eigenvalues of WᵀW, with an account of what the arithmetic could not resolve.

Two routes: `gram` forms the smaller Gram matrix and takes its eigenvalues (fast: GEMMs and one symmetric
reduction), `svd` works on W itself (slow, resolves far smaller values). `auto` takes gram, and svd where gram left
something unresolved.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.dtypes import AnyArray, eps, to_compute, to_mask
from spectra.kernels.symmetric import symmetric_eigenvalues

Method = Literal["auto", "gram", "svd"]

SAFETY = 8.0
"""Factor on eps·λ_max in the error bound of both routes; measured errors stay below half of the bound."""


class Spectrum(NamedTuple):
    """Singular values of a matrix and what is known of their accuracy."""

    singular_values: Float[Array, "*batch k"]
    """Descending. 0 stands for "at most `floor`": the value is unresolved, what was computed there was rounding."""
    num_evals: Int[Array, "*batch"]
    """How many singular values the matrix has: its smaller dimension, inside the mask."""
    num_unresolved: Int[Array, "*batch"]
    """How many of them the method could not tell from zero; 0 for a zero matrix, whose values are exact."""
    floor: Float[Array, "*batch"]
    """The singular value below which this method in this precision sees only rounding."""


def spectrum(
    w: Num[AnyArray, "*batch m n"], method: Method = "auto", where: Bool[AnyArray, "*mask"] | None = None
) -> Spectrum:
    """Singular values with the number of unresolved ones and the resolution limit.

    Parameters
    ----------
    w
        Matrices, shape ``(..., m, n)``.
    method
        ``gram``: eigenvalues of the smaller Gram matrix, error about eps·λ_max, so that singular values under
        about √(8·eps)·σ_max (1e-3·σ_max in float32) are unresolved. ``svd``: error about eps·σ_max. ``auto``: gram,
        then svd for the whole batch if gram left a value of any of its matrices unresolved.
    where
        True for the entries that count, broadcast to the shape of `w`; entries outside count as 0, and rows and
        columns that are wholly outside do not add singular values. Padding a matrix with masked rows and columns
        appends zeros to its singular values and changes nothing else.

    Returns
    -------
    Spectrum
        `singular_values` has shape ``(..., min(m, n))``. A matrix with NaN or infinite entries gives NaN
        throughout, with every value unresolved.

    Raises
    ------
    ValueError
        For fewer than two axes, an empty matrix, or an unknown method.

    Notes
    -----
    W is scaled by a power of two to max |w| = 1 first, so that neither tiny nor huge weights under- or overflow in
    the Gram matrix. Gradients are those of simple singular values, dσᵢ = uᵢᵀ dW vᵢ, and 0 for unresolved ones.
    Under `vmap`, ``auto`` computes both routes: pass leading batch axes instead.
    """
    matrix = to_compute(w)
    if matrix.ndim < 2 or 0 in matrix.shape[-2:]:
        raise ValueError(f"a matrix with at least one row and one column is needed, got shape {matrix.shape}")
    mask = None if where is None else to_mask(where, matrix)
    rows, cols = (jnp.full(matrix.shape[:-2], size, jnp.int32) for size in matrix.shape[-2:])
    if mask is not None:
        matrix = jnp.where(mask, matrix, 0)
        rows = jnp.sum(jnp.any(mask, axis=-1), axis=-1, dtype=jnp.int32)
        cols = jnp.sum(jnp.any(mask, axis=-2), axis=-1, dtype=jnp.int32)
    num_evals = jnp.minimum(rows, cols)

    finite = jnp.all(jnp.isfinite(matrix), axis=(-2, -1))
    matrix, scale = _to_unit(jnp.where(finite[..., None, None], matrix, 0))
    match method:
        case "gram":
            values, floor = _by_gram(matrix)
        case "svd":
            values, floor = _by_svd(matrix)
        case "auto":
            values, floor = _by_gram(matrix)
            unclear = jnp.any(_unresolved(values, floor, num_evals) > 0)
            values, floor = lax.cond(unclear, _by_svd, lambda _: (values, floor), matrix)
        case _:
            raise ValueError(f"unknown method {method!r}: choose 'auto', 'gram' or 'svd'")

    known = values > floor[..., None]
    values = jnp.where(finite[..., None], jnp.where(known, values, 0) * scale[..., None], jnp.nan)
    unresolved = jnp.where(finite, _unresolved(jnp.where(known, values, 0), floor, num_evals), num_evals)
    return Spectrum(values, num_evals, unresolved, jnp.where(finite, floor * scale, jnp.nan))


def singular_values(
    w: Num[AnyArray, "*batch m n"], method: Method = "auto", where: Bool[AnyArray, "*mask"] | None = None
) -> Float[Array, "*batch k"]:
    """Singular values in descending order, shape ``(..., min(m, n))``.

    Values that the method cannot resolve are 0; `spectrum` tells how many those are and where the limit lies, and
    describes the parameters.

    Examples
    --------
    >>> import jax.numpy as jnp, spectra
    >>> spectra.singular_values(jnp.diag(jnp.array([3.0, 4.0]))).round(3).tolist()
    [4.0, 3.0]
    """
    return spectrum(w, method, where).singular_values


def eigenvalues(
    w: Num[AnyArray, "*batch m n"], method: Method = "auto", where: Bool[AnyArray, "*mask"] | None = None
) -> Float[Array, "*batch k"]:
    """Eigenvalues λ = σ² of X = WᵀW, without 1/N, in ascending order, shape ``(..., min(m, n))``.

    The zeros that X has beyond min(m, n) are not listed. Values that the method cannot resolve are 0; `spectrum`
    describes the parameters.

    Examples
    --------
    >>> import jax.numpy as jnp, spectra
    >>> spectra.eigenvalues(jnp.diag(jnp.array([3.0, 4.0]))).round(3).tolist()
    [9.0, 16.0]
    """
    return jnp.square(spectrum(w, method, where).singular_values)[..., ::-1]


def _to_unit(w: Float[Array, "*batch m n"]) -> tuple[Float[Array, "*batch m n"], Float[Array, "*batch"]]:
    """W over a power of two that brings max |w| into [1, 2), and that power; exact, 1 for a zero matrix."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(w), axis=(-2, -1)))
    _, exponent = jnp.frexp(jnp.where(largest > 0, largest, 1))
    scale = jnp.ldexp(jnp.ones_like(largest), exponent - 1)
    return w / scale[..., None, None], scale


def _unresolved(
    values: Float[Array, "*batch k"], floor: Float[Array, "*batch"], num_evals: Int[Array, "*batch"]
) -> Int[Array, "*batch"]:
    """Number of existing values that are not above the floor; the zero matrix (floor 0) has none."""
    resolved = jnp.sum(values > floor[..., None], axis=-1, dtype=jnp.int32)
    return jnp.where(floor > 0, num_evals - resolved, 0)


def _by_gram(w: Float[Array, "*batch m n"]) -> tuple[Float[Array, "*batch k"], Float[Array, "*batch"]]:
    """Square roots of the eigenvalues of the smaller Gram matrix, descending, and their floor."""
    left, right = (w, jnp.swapaxes(w, -1, -2)) if w.shape[-2] <= w.shape[-1] else (jnp.swapaxes(w, -1, -2), w)
    gram = jnp.matmul(left, right, precision=lax.Precision.HIGHEST)
    descending = symmetric_eigenvalues(gram)[..., ::-1]
    # The error of an eigenvalue is a few eps·λ_max for the largest and grows with the number of large ones.
    error = eps(w) * (SAFETY * descending[..., 0] + jnp.linalg.norm(lax.stop_gradient(descending), axis=-1))
    positive = descending > 0
    roots = jnp.where(positive, jnp.sqrt(jnp.where(positive, descending, 1)), 0)
    return roots, jnp.sqrt(lax.stop_gradient(jnp.maximum(error, 0)))


def _by_svd(w: Float[Array, "*batch m n"]) -> tuple[Float[Array, "*batch k"], Float[Array, "*batch"]]:
    """Singular values by LAPACK's (or the backend's) decomposition, descending, and their floor."""
    values = jnp.linalg.svd(w, full_matrices=False, compute_uv=False)
    error = eps(w) * (SAFETY * values[..., 0] + jnp.linalg.norm(values, axis=-1))
    return values, lax.stop_gradient(error)
