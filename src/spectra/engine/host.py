"""The spectrum on the CPU: LAPACK on the caller's array, one thread a matrix, nothing to compile, nothing padded.

The counterpart of `kernels/spectrum.py`, with its routes and its bounds on what rounding leaves unresolved. XLA's CPU
backend calls the same LAPACK, but compiles a program for every shape first and holds copies of its operands.
"""

from __future__ import annotations

import numpy as np

from spectra.engine import lapack
from spectra.engine.two_stage import LARGE, two_stage
from spectra.kernels.spectrum import BLOCK, GRAM_ERROR, GRAM_ERROR_BY_SIZE, SVD_ERROR, Route, error_bound

SAFE = 2.0**16
"""Largest magnitudes within this factor of 1 keep λ² in float32's range; beyond, the matrix is scaled first."""


def host_spectrum(w: np.ndarray, route: Route) -> tuple[np.ndarray, float]:
    """Singular values of one finite C-ordered matrix, descending, 0 where unresolved, and the resolution limit.

    Parameters
    ----------
    w
        Shape (n, m), float32 or float64, each row contiguous.
    route
        As in `spectra.spectrum`.

    Returns
    -------
    tuple
        min(n, m) singular values in float64, and the floor under which the route sees only rounding.
    """
    largest = max(float(w.max()), -float(w.min()))
    unit = 1.0
    if not 1 / SAFE < largest < SAFE and largest > 0:
        unit = float(np.exp2(np.floor(np.log2(largest))))
        w = (w / w.dtype.type(unit)).astype(w.dtype)
    values, floor = _by_gram(w) if route == "gram" else _by_svd(w)
    values = np.where(values > floor, values, 0)
    return values.astype(np.float64) * unit, float(floor) * unit


def _by_gram(w: np.ndarray) -> tuple[np.ndarray, float]:
    gram = _gram(w)
    diagonal, off_diagonal = (two_stage if gram.shape[0] >= LARGE else lapack.sytrd)(gram)
    descending = lapack.sterf(diagonal, off_diagonal)[::-1]
    error = error_bound(descending, GRAM_ERROR + GRAM_ERROR_BY_SIZE * descending.size)
    return np.sqrt(np.maximum(descending, 0)), float(np.sqrt(np.maximum(error, 0)))


def gram_numbers(n: int, m: int) -> int:
    """How many numbers the Gram matrix of an n×m matrix (n ≥ m) takes, with what its compensated sum needs."""
    return m * m * (3 if _compensated(n, m) else 1)


def _compensated(n: int, m: int) -> bool:
    """Whether the sums are so long that their rounding could exceed the bound, which grows with m."""
    return n > BLOCK * (1 + m / 1024)


def _gram(w: np.ndarray) -> np.ndarray:
    """The smaller Gram matrix, lower triangle; long sums in blocks that are added with compensation."""
    tall = w.shape[0] >= w.shape[1]
    length, size = max(w.shape), min(w.shape)
    total = np.zeros((size, size), w.dtype, order="F")
    if not _compensated(length, size):
        lapack.syrk(w, total, tall)
        return total
    lost, term = np.zeros_like(total), np.zeros_like(total)
    for start in range(0, length, BLOCK):
        lapack.syrk(w[start : start + BLOCK] if tall else w[:, start : start + BLOCK], term, tall)
        _add(total, term, lost)
    return total


def _add(total: np.ndarray, term: np.ndarray, lost: np.ndarray, columns: int = 64) -> None:
    """Kahan's compensated sum, in place, a few columns at a time so that temporaries stay in the cache."""
    for j in range(0, total.shape[1], columns):
        part = np.s_[:, j : j + columns]
        corrected = term[part] - lost[part]
        grown = total[part] + corrected
        lost[part] = (grown - total[part]) - corrected
        total[part] = grown


def _by_svd(w: np.ndarray) -> tuple[np.ndarray, float]:
    values = lapack.gesdd(np.array(w, order="C"))
    return values, float(error_bound(values, SVD_ERROR))
