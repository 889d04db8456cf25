"""Two matrices of one shape: how far apart they are, and how much of their leading directions they share."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Num

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, power_of_two, to_compute
from spectra.kernels.spectrum import GRAM_ERROR, GRAM_ERROR_BY_SIZE, error_bound, gram_matrix, spectrum


class Distance(NamedTuple):
    """How far a matrix B is from a matrix A of its shape, by ΔW = B − A."""

    norm: Float[AnyArray, "*batch"]
    """‖ΔW‖_F, in the units of the matrices."""
    relative: Float[AnyArray, "*batch"]
    """‖ΔW‖_F / ‖A‖_F; NaN for A = 0."""
    sv_max: Float[AnyArray, "*batch"]
    """Largest singular value of ΔW."""
    stable_rank: Float[AnyArray, "*batch"]
    """‖ΔW‖_F² / σ_max(ΔW)²; NaN for ΔW = 0."""


class TopVectors(NamedTuple):
    """The leading singular vectors of a matrix of m rows and n columns; each is determined up to its sign."""

    left: Float[AnyArray, "*batch m k"]
    """Orthonormal columns u₁ … u_k, in the order of descending singular values."""
    right: Float[AnyArray, "*batch n k"]
    resolved: Int[AnyArray, "*batch"]
    """How many of the k singular values are above rounding; the vectors behind those point anywhere."""


class Overlap(NamedTuple):
    """How much two leading singular subspaces share; NaN where no direction of both is resolved."""

    left: Float[AnyArray, "*batch"]
    """‖U₁ᵀU₂‖_F² / k, the mean squared cosine of the principal angles: 1 for equal subspaces, k/m by chance."""
    right: Float[AnyArray, "*batch"]
    """The same of the right vectors, k/n by chance."""
    left_cos: Float[AnyArray, "*batch"]
    """Root mean square of uᵢ·uᵢ′, vector by vector in their order: 1 for equal vectors, 1/√m by chance."""
    right_cos: Float[AnyArray, "*batch"]
    k: Int[AnyArray, "*batch"]
    """How many directions were compared: those that are resolved in both matrices."""


@compiled()
def matrix_distance(a: Num[AnyArray, "*batch m n"], b: Num[AnyArray, "*batch m n"]) -> Distance:
    """Norms of the difference of two matrices, absolute and relative to the first.

    Parameters
    ----------
    a, b
        Matrices of the same shape, ``(..., m, n)``, with leading batch axes.

    Returns
    -------
    Distance
        Fields of the batch shape; NaN for matrices that hold NaN or infinite entries.

    Raises
    ------
    ValueError
        For shapes that differ, fewer than two axes, or an empty matrix.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> d = matrix_distance(jnp.eye(2), jnp.diag(jnp.array([1.0, 3.0])))
    >>> float(d.norm), float(d.sv_max), float(d.stable_rank)
    (2.0, 2.0, 1.0)
    """
    first, second = to_compute(a), to_compute(b)
    if first.shape != second.shape:
        raise ValueError(f"matrices of the same shape are needed, got {first.shape} and {second.shape}")
    unit = power_of_two(jnp.max(jnp.maximum(jnp.abs(first), jnp.abs(second)), axis=(-2, -1)))
    scaled = first / unit[..., None, None]
    change = second / unit[..., None, None] - scaled
    norm = _frobenius(change)
    top = spectrum(change, "gram").singular_values[..., 0]
    return Distance(
        norm=norm * unit,
        relative=_ratio(norm, _frobenius(scaled)),
        sv_max=top * unit,
        stable_rank=jnp.square(_ratio(norm, top)),
    )


@compiled()
def esd_distance(x: Num[AnyArray, "*batch n"], y: Num[AnyArray, "*batch n"]) -> Float[Array, "*batch"]:
    """Wasserstein-1 distance of two spectra of equal size, over the mean of the first.

    For samples of equal size the optimal transport joins the values in their order: W₁ = mean |x₍ᵢ₎ − y₍ᵢ₎|
    (Peyré & Cuturi, Computational Optimal Transport, 2019, remark 2.28).

    Parameters
    ----------
    x, y
        Eigenvalues in any order, shape ``(..., n)``.

    Returns
    -------
    Array
        Shape ``(...)``, without unit; NaN where the mean of `x` is 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(esd_distance(jnp.array([1.0, 3.0]), jnp.array([4.0, 2.0])))
    0.5
    """
    first, second = jnp.sort(to_compute(x), axis=-1), jnp.sort(to_compute(y), axis=-1)
    if first.shape != second.shape:
        raise ValueError(f"spectra of equal size are needed, got {first.shape} and {second.shape}")
    unit = power_of_two(jnp.max(jnp.abs(first), axis=-1, keepdims=True))
    return _ratio(jnp.mean(jnp.abs(second / unit - first / unit), axis=-1), jnp.mean(first / unit, axis=-1))


@compiled("k")
def top_vectors(w: Num[AnyArray, "*batch m n"], k: int) -> TopVectors:
    """The left and right singular vectors of the k largest singular values.

    Those of the smaller side are eigenvectors of the Gram matrix; those of the other side are their images under W,
    made orthonormal in their order (QR).

    Parameters
    ----------
    w
        Matrices, shape ``(..., m, n)``. Rows and columns of zeros add nothing to the vectors, so matrices may be
        padded.
    k
        How many, from 1 to min(m, n); static under `jit`.

    Returns
    -------
    TopVectors
        ``left`` of shape ``(..., m, k)``, ``right`` of ``(..., n, k)``. NaN throughout, with nothing resolved, for a
        matrix with NaN or infinite entries.

    Raises
    ------
    ValueError
        For fewer than two axes, or a k that the matrix does not have.

    Notes
    -----
    A vector is determined only as well as its singular value is apart from its neighbours: its error is about
    eps·λ_max/gap, with the gap to the nearest other eigenvalue of WᵀW. The span of all k has the same error with the
    gap behind the k-th.
    """
    matrix = to_compute(w)
    if matrix.ndim < 2 or not 1 <= k <= min(matrix.shape[-2:]):
        raise ValueError(f"k from 1 to the smaller side of a matrix is needed, got k={k} and shape {matrix.shape}")
    finite = jnp.all(jnp.isfinite(matrix), axis=(-2, -1))
    matrix = jnp.where(finite[..., None, None], matrix, 0)
    matrix = matrix / power_of_two(jnp.max(jnp.abs(matrix), axis=(-2, -1)))[..., None, None]
    wide = matrix.shape[-2] < matrix.shape[-1]
    tall = jnp.swapaxes(matrix, -1, -2) if wide else matrix

    half = gram_matrix(tall)
    gram = jnp.tril(half) + jnp.swapaxes(jnp.tril(half, -1), -1, -2)
    values, vectors = jnp.linalg.eigh(gram, symmetrize_input=False)
    values, short = values[..., ::-1], vectors[..., ::-1][..., :k]
    long = jnp.linalg.qr(jnp.matmul(tall, short, precision=lax.Precision.HIGHEST))[0]
    floor = error_bound(values, GRAM_ERROR + GRAM_ERROR_BY_SIZE * values.shape[-1])
    resolved = jnp.sum(values[..., :k] > floor[..., None], axis=-1, dtype=jnp.int32)

    def known(vectors: Float[Array, "*batch d k"]) -> Float[Array, "*batch d k"]:
        return jnp.where(finite[..., None, None], vectors, jnp.nan)

    left, right = (short, long) if wide else (long, short)
    return TopVectors(known(left), known(right), jnp.where(finite, resolved, 0))


@compiled("k")
def overlap(a: Num[AnyArray, "*batch m n"], b: Num[AnyArray, "*batch m n"], k: int) -> Overlap:
    """How much the leading singular subspaces of two matrices share.

    Parameters
    ----------
    a, b
        Matrices of the same shape, ``(..., m, n)``, with leading batch axes.
    k
        How many directions of each, from 1 to min(m, n); static under `jit`. Fewer are compared where a matrix has
        fewer that are resolved.

    Returns
    -------
    Overlap
        Fields of the batch shape; NaN for matrices that hold NaN or infinite entries.

    Raises
    ------
    ValueError
        For shapes that differ, fewer than two axes, or a k that the matrices do not have.

    Notes
    -----
    Both matrices are decomposed as one batch. Two batches at once, ``top_vectors(a, k)`` and ``top_vectors(b, k)`` in
    one program, can wait for each other for ever on a CPU of two cores: each holds a thread of XLA's pool while its
    parts wait for one (``ParallelBatchMap`` of jaxlib 0.10.2).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> a, b = jnp.diag(jnp.array([3.0, 2.0, 1.0])), jnp.diag(jnp.array([3.0, 1.0, 2.0]))
    >>> shared = overlap(a, b, 2)  # the first of two directions
    >>> round(float(shared.left), 6), int(shared.k)
    (0.5, 2)
    """
    first, second = to_compute(a), to_compute(b)
    if first.shape != second.shape:
        raise ValueError(f"matrices of the same shape are needed, got {first.shape} and {second.shape}")
    both = top_vectors(jnp.stack([first, second]), k)
    return subspace_overlap(TopVectors(*(field[0] for field in both)), TopVectors(*(field[1] for field in both)))


@compiled()
def subspace_overlap(one: TopVectors, other: TopVectors) -> Overlap:
    """How much two leading singular subspaces share; `overlap` computes them as well.

    Parameters
    ----------
    one, other
        From `top_vectors`, with the same k. Fewer directions are compared where a matrix has fewer that are resolved.

    Returns
    -------
    Overlap
        Fields of the batch shape.

    Notes
    -----
    Against an independent, uniformly random subspace of R^d the overlap has mean k/d and standard deviation
    √2·(1 − k/d)/√((d − 1)(d + 2)), about √2/d whatever k is.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> vectors = top_vectors(jnp.diag(jnp.array([3.0, 2.0, 1.0])), 2)
    >>> round(float(subspace_overlap(vectors, vectors).left), 6)
    1.0
    """
    if one.left.shape != other.left.shape or one.right.shape != other.right.shape:
        raise ValueError(f"vectors of equal shape are needed, got {one.left.shape} and {other.left.shape}")
    used = jnp.minimum(one.resolved, other.resolved)
    mask = jnp.arange(one.left.shape[-1]) < used[..., None]
    left, left_cos = _shared(one.left, other.left, mask)
    right, right_cos = _shared(one.right, other.right, mask)
    return Overlap(left, right, left_cos, right_cos, used)


def _shared(
    one: Float[AnyArray, "*batch d k"], other: Float[AnyArray, "*batch d k"], mask: Array
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """‖UᵀV‖_F²/k and the root mean square of its diagonal, over the directions inside the mask."""
    cosines = jnp.matmul(jnp.swapaxes(one, -1, -2), other, precision=lax.Precision.HIGHEST)
    squares = jnp.where(mask[..., :, None] & mask[..., None, :], jnp.square(cosines), 0)
    count = jnp.sum(mask, axis=-1).astype(squares.dtype)
    whole = _ratio(jnp.sum(squares, axis=(-2, -1)), count)
    paired = _ratio(jnp.trace(squares, axis1=-2, axis2=-1), count)
    # Rounding must not make equal subspaces more than equal.
    return jnp.minimum(whole, 1), jnp.sqrt(jnp.minimum(paired, 1))


def _frobenius(w: Float[Array, "*batch m n"]) -> Float[Array, "*batch"]:
    """√Σw² of entries near 1: of the rows first, so that no float32 sum grows long."""
    return jnp.sqrt(jnp.sum(jnp.sum(jnp.square(w), axis=-1), axis=-1))


def _ratio(value: Float[AnyArray, "*batch"], of: Float[AnyArray, "*batch"]) -> Float[Array, "*batch"]:
    return jnp.where(of == 0, jnp.nan, value / jnp.where(of == 0, 1, of))
