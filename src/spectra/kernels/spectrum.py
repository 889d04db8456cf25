"""Singular values and eigenvalues of WᵀW, with an account of what the arithmetic could not resolve.

Two routes: `gram` forms the smaller Gram matrix and takes its eigenvalues (fast: GEMMs and one symmetric
reduction), `svd` works on W itself (slow, resolves far smaller values). `auto` takes gram, and svd where gram left
something unresolved.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, eps, power_of_two, to_compute, to_mask
from spectra.kernels.symmetric import symmetric_eigenvalues

Method = Literal["auto", "gram", "svd"]
Route = Literal["gram", "svd"]

GRAM_ERROR, GRAM_ERROR_BY_SIZE, SVD_ERROR = 14.0, 1 / 14, 128.0
"""The error bounds in units of eps: gram |δλ| ≤ (14 + k/14)·λ_max + ‖λ‖₂, svd |δσ| ≤ 128·σ_max + ‖σ‖₂.

k is the smaller dimension; the norms cover many large values. Random matrices stay far below; what needs the room are
constant ones, where every rounding goes the same way. The tests try to break the bounds.
"""

HALVED, PANELS = 1024, 4
"""From this smaller dimension on only the lower triangle of the Gram matrix is formed, in this many panels."""

BLOCK = 4096
"""Rows whose products are summed in one go before blocks are added with compensation."""


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


@compiled("method")
def spectrum(
    w: Num[AnyArray, "*batch m n"], method: Method = "auto", where: Bool[AnyArray, "*mask"] | None = None
) -> Spectrum:
    """Singular values with the number of unresolved ones and the resolution limit.

    Parameters
    ----------
    w
        Matrices, shape ``(..., m, n)``.
    method
        ``gram``: eigenvalues of the smaller Gram matrix, error up to (14 + k/14)·eps·λ_max, so that in float32
        singular values under 1.5e-3·σ_max (k = 64) to 6e-3·σ_max (k = 4,096) are unresolved. ``svd``: error up to
        about 130·eps·σ_max. ``auto``: gram, then svd for the whole batch if gram left a value of any of its
        matrices unresolved.
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
    W is scaled by a power of two to max |w| near 1 first, so that neither tiny nor huge weights under- or overflow in
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
    matrix = jnp.where(finite[..., None, None], matrix, 0)
    scale = power_of_two(jnp.max(jnp.abs(matrix), axis=(-2, -1)))
    matrix = matrix / scale[..., None, None]
    size = num_evals.astype(matrix.dtype)
    match method:
        case "gram":
            values, floor = _by_gram(matrix, size)
        case "svd":
            values, floor = _by_svd(matrix)
        case "auto":
            values, floor = _by_gram(matrix, size)
            unclear = jnp.any(_unresolved(values, floor, num_evals) > 0)
            values, floor = lax.cond(unclear, _by_svd, lambda _: (values, floor), matrix)
        case _:
            raise ValueError(f"unknown method {method!r}: choose 'auto', 'gram' or 'svd'")

    return shown_spectrum(values, floor, num_evals, finite, scale)


def shown_spectrum(
    values: Float[Array, "*batch k"],
    floor: Float[Array, "*batch"],
    num_evals: Int[Array, "*batch"],
    finite: Bool[Array, "*batch"],
    scale: Float[Array, "*batch"],
) -> Spectrum:
    """The result in the units of the caller's matrix, which was divided by `scale`."""
    unresolved = jnp.where(finite, _unresolved(values, floor, num_evals), num_evals)
    # A value on the smallest normal number must not fall to 0 by a rounding while it counts as resolved.
    tiny = jnp.finfo(values.dtype).tiny
    on_the_edge = jnp.abs(values * (scale / tiny)[..., None] - 1) < 8 * eps(values)
    shown = jnp.where(on_the_edge, tiny, values * scale[..., None])
    shown = jnp.where(values > floor[..., None], shown, 0)
    return Spectrum(
        jnp.where(finite[..., None], shown, jnp.nan), num_evals, unresolved, jnp.where(finite, floor * scale, jnp.nan)
    )


@compiled("method")
def singular_values(
    w: Num[AnyArray, "*batch m n"], method: Method = "auto", where: Bool[AnyArray, "*mask"] | None = None
) -> Float[Array, "*batch k"]:
    """Singular values in descending order, shape ``(..., min(m, n))``.

    Values that the method cannot resolve are 0; `spectrum` tells how many those are and where the limit lies, and
    describes the parameters.

    Examples
    --------
    >>> import jax.numpy as jnp, spectra
    >>> [round(float(s), 3) for s in spectra.singular_values(jnp.diag(jnp.array([3.0, 4.0])))]
    [4.0, 3.0]
    """
    return spectrum(w, method, where).singular_values


@compiled("method")
def eigenvalues(
    w: Num[AnyArray, "*batch m n"], method: Method = "auto", where: Bool[AnyArray, "*mask"] | None = None
) -> Float[Array, "*batch k"]:
    """Eigenvalues λ = σ² of X = WᵀW, without 1/N, in ascending order, shape ``(..., min(m, n))``.

    The zeros that X has beyond min(m, n) are not listed. Values that the method cannot resolve are 0; `spectrum`
    describes the parameters.

    Examples
    --------
    >>> import jax.numpy as jnp, spectra
    >>> [round(float(x), 3) for x in spectra.eigenvalues(jnp.diag(jnp.array([3.0, 4.0])))]
    [9.0, 16.0]
    """
    return jnp.square(spectrum(w, method, where).singular_values)[..., ::-1]


def _unresolved(
    values: Float[Array, "*batch k"], floor: Float[Array, "*batch"], num_evals: Int[Array, "*batch"]
) -> Int[Array, "*batch"]:
    """Number of existing values that are not above the floor; the zero matrix (floor 0) has none."""
    resolved = jnp.sum(values > floor[..., None], axis=-1, dtype=jnp.int32)
    return jnp.where(floor > 0, num_evals - resolved, 0)


def _by_gram(
    w: Float[Array, "*batch m n"], size: Float[Array, "*batch"]
) -> tuple[Float[Array, "*batch k"], Float[Array, "*batch"]]:
    """Square roots of the eigenvalues of the smaller Gram matrix, descending, and their floor."""
    tall = w if w.shape[-2] >= w.shape[-1] else jnp.swapaxes(w, -1, -2)
    return spectrum_of_gram(gram_matrix(tall), size)


def spectrum_of_gram(
    gram: Float[Array, "*batch k k"], size: Float[Array, "*batch"]
) -> tuple[Float[Array, "*batch k"], Float[Array, "*batch"]]:
    """Square roots of the eigenvalues of a Gram matrix (lower triangle), descending, and the floor for `size` rows."""
    descending = symmetric_eigenvalues(gram)[..., ::-1]
    error = error_bound(lax.stop_gradient(descending), GRAM_ERROR + GRAM_ERROR_BY_SIZE * size)
    positive = descending > 0
    roots = jnp.where(positive, jnp.sqrt(jnp.where(positive, descending, 1)), 0)
    return roots, jnp.sqrt(jnp.maximum(error, 0))


def _half_product(rows: Float[Array, "*batch b m"]) -> Float[Array, "*batch m m"]:
    """RᵀR, of which the blocks above the diagonal are left 0 where that saves flops: five eighths of them remain."""
    m = rows.shape[-1]

    def product(left: Float[Array, "*batch b p"], right: Float[Array, "*batch b q"]) -> Float[Array, "*batch p q"]:
        return jnp.matmul(jnp.swapaxes(left, -1, -2), right, precision=lax.Precision.HIGHEST)

    if m < HALVED:
        return product(rows, rows)
    width = -(-m // PANELS)
    panels = [product(rows[..., start:], rows[..., start : start + width]) for start in range(0, m, width)]
    padding = [(0, 0)] * (rows.ndim - 2)
    return jnp.concatenate([jnp.pad(p, (*padding, (m - p.shape[-2], 0), (0, 0))) for p in panels], axis=-1)


def gram_matrix(tall: Float[Array, "*batch n m"]) -> Float[Array, "*batch m m"]:
    """Lower triangle of WᵀW; long sums in blocks of rows: one float32 sum of 10⁶ rows would be off by a percent."""
    product = _half_product

    whole = tall.shape[-2] // BLOCK
    if whole <= 1:
        return product(tall)

    def add(block: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
        total, lost = state  # Kahan's compensated sum
        term = product(lax.dynamic_slice_in_dim(tall, block * BLOCK, BLOCK, axis=-2)) - lost
        grown = total + term
        return grown, (grown - total) - term

    start = product(tall[..., whole * BLOCK :, :])
    return lax.fori_loop(0, whole, add, (start, jnp.zeros_like(start)))[0]


def _by_svd(w: Float[Array, "*batch m n"]) -> tuple[Float[Array, "*batch k"], Float[Array, "*batch"]]:
    """Singular values by LAPACK's (or the backend's) decomposition, descending, and their floor."""
    values = jnp.linalg.svd(w, full_matrices=False, compute_uv=False)
    return values, error_bound(lax.stop_gradient(values), SVD_ERROR)


def error_bound(descending: Any, factor: Any) -> Any:
    """Bound on the rounding error of computed eigenvalues or singular values, shapes (..., k) → (...).

    For JAX and NumPy arrays alike, so that both routes of the engine promise the same.
    """
    return eps(descending) * (factor * descending[..., 0] + (descending**2).sum(axis=-1) ** 0.5)
