"""A matrix without its bulk: the leading singular components alone, as they are or shrunk.

With V the leading eigenvectors of WᵀW the matrix that is left is W·V·D·Vᵀ, D = 1, or the factors by which singular
values shrink; U is never needed. Everything is in float64 until the result is rounded to the type of the checkpoint: in
float32 the Gram matrix could not tell the components next to the edge apart where another one dominates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from spectra.engine import lapack
from spectra.engine.compare_vectors import _top_eigenvectors
from spectra.models.rounding import rounded

BLOCK = 2048
"""Rows that are widened at a time."""

Shrinker = Callable[[np.ndarray], np.ndarray]
"""From eigenvalues λ of WᵀW to the factors for the singular values."""


class Kept(NamedTuple):
    """A layer of which components were kept."""

    matrices: np.ndarray
    """In the type of the checkpoint."""
    components: int
    """How many are left in all matrices together."""


def keep_components(matrices: np.ndarray, count: int, shrinker: Shrinker | None = None) -> Kept:
    """Keep the `count` components of the largest singular values, over all matrices of a layer together.

    Parameters
    ----------
    matrices
        Shape (matrices, rows, cols), finite, in the type of the checkpoint; computed in float64.
    count
        From 1 to all of them.
    shrinker
        Factors for the singular values; a component with the factor 0 is gone too. None: 1 for all.
    """
    largest = max(float(matrices.max()), -float(matrices.min()))
    unit = float(np.exp2(np.floor(np.log2(largest)))) if largest > 0 else 1.0
    changed = np.zeros(matrices.shape, matrices.dtype)
    components = 0
    for matrix, new, own in zip(matrices, changed, _shares(matrices, unit, count), strict=True):
        if own:
            components += _project(_tall(matrix), _tall(new), unit, own, shrinker)
    return Kept(changed, components)


def optimal_shrinker(bulk_min: float, bulk_max: float) -> Shrinker:
    """Factors that leave the smallest expected squared error of a signal of low rank in noise.

    η(s) = √((λ − λ₊)(λ − λ₋))/s with λ = s², 0 up to λ₊: Gavish & Donoho, IEEE Trans. Inf. Theory 63 (2017) 2137,
    equation 7, written with the edges λ± of the Marchenko–Pastur bulk.
    """

    def factors(evals: np.ndarray) -> np.ndarray:
        beyond = np.maximum(evals - bulk_max, 0)
        return np.sqrt(beyond * (evals - bulk_min)) / np.where(evals > 0, evals, 1)

    return factors


def _project(tall: np.ndarray, new: np.ndarray, unit: float, count: int, shrinker: Shrinker | None) -> int:
    """Write the leading components of a matrix with rows ≥ cols to `new`, and return how many there are."""
    evals, vectors = _top_eigenvectors(_gram(tall, unit), count)
    scaled = vectors
    if shrinker is not None:
        factors = shrinker(evals * unit**2)
        count = int(np.count_nonzero(factors))
        scaled = vectors * factors
    for start in range(0, tall.shape[0], BLOCK):
        block = tall[start : start + BLOCK].astype(np.float64)
        new[start : start + BLOCK] = rounded((block @ scaled) @ vectors.T, new.dtype)
    return count


def _shares(matrices: np.ndarray, unit: float, count: int) -> list[int]:
    """How many of the `count` largest eigenvalues of all matrices are in each."""
    if len(matrices) == 1:
        return [count]
    evals = np.stack([lapack.sterf(*lapack.sytrd(_gram(_tall(matrix), unit))) for matrix in matrices])
    largest = np.argsort(-evals, axis=None, kind="stable")[:count]
    return np.bincount(largest // evals.shape[1], minlength=len(matrices)).tolist()


def _tall(matrix: np.ndarray) -> np.ndarray:
    return matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T


def _gram(tall: np.ndarray, unit: float) -> np.ndarray:
    """WᵀW over unit², the lower triangle, in float64; a block of rows is widened at a time."""
    size = tall.shape[1]
    total, term = np.zeros((size, size), order="F"), np.zeros((size, size), order="F")
    for start in range(0, tall.shape[0], BLOCK):
        lapack.syrk(np.ascontiguousarray(tall[start : start + BLOCK], np.float64) / unit, term)
        total += term
    return total
