"""The leading singular vectors of a layer's matrices: by LAPACK on the CPU, or by the JAX kernel elsewhere."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from spectra.engine.backends import Backend
from spectra.engine.host import SAFE, _gram
from spectra.engine.lapack import _call, _check
from spectra.engine.padding import pad_to
from spectra.engine.programs import fetch
from spectra.kernels.between import TopVectors, top_vectors
from spectra.kernels.spectrum import GRAM_ERROR, GRAM_ERROR_BY_SIZE
from spectra.models.matrices import MatrixView

Column = float | int | None


class Directions(NamedTuple):
    """Leading singular vectors of the matrices of one layer, of shape (matrices, N or M, k)."""

    long: np.ndarray
    """Those in R^N, the larger side: the columns of U."""
    short: np.ndarray
    """Those in R^M: the columns of V."""
    resolved: np.ndarray
    """Shape (matrices,): how many of the k belong to singular values above rounding."""


def directions_wanted(view: MatrixView, top: int) -> int:
    """How many directions are compared: at most half of the smaller side, of which all would always agree."""
    return min(top, max(view.M // 2, 1))


def leading_directions(matrices: np.ndarray, k: int, dtype: np.dtype, backend: Backend) -> Directions:
    """The k leading singular vectors of each of some finite matrices, shape (matrices, rows, cols)."""
    found = []
    for matrix in matrices:
        w = np.ascontiguousarray(matrix, dtype)
        found.append(_on_device(w, k, backend) if backend.name == "jax" else host_vectors(w, k))
    wide = matrices.shape[1] < matrices.shape[2]
    left, right, resolved = (np.stack([np.asarray(part) for part in parts]) for parts in zip(*found, strict=True))
    return Directions(right, left, resolved) if wide else Directions(left, right, resolved)


def host_vectors(w: np.ndarray, k: int) -> TopVectors:
    """What `spectra.kernels.between.top_vectors` does, for one finite C-ordered matrix.

    LAPACK finds k of M eigenvectors in a fraction of the time of all; XLA has no such routine.
    """
    largest = max(float(w.max()), -float(w.min()))
    if not 1 / SAFE < largest < SAFE and largest > 0:
        w = w * w.dtype.type(np.exp2(np.clip(-np.floor(np.log2(largest)), -126, 126)))
    gram = _gram(w)
    size = gram.shape[0]
    # That of its eigenvalues; above the diagonal there are zeros.
    norm = np.sqrt(2 * np.linalg.norm(gram) ** 2 - np.linalg.norm(gram.diagonal()) ** 2)
    values, short = _top_eigenvectors(gram, k)
    wide = w.shape[0] < w.shape[1]
    long = np.linalg.qr((w.T if wide else w) @ short)[0]
    floor = np.finfo(w.dtype).eps * ((GRAM_ERROR + GRAM_ERROR_BY_SIZE * size) * values[0] + norm)
    resolved = np.asarray(np.sum(values > floor))
    return TopVectors(short, long, resolved) if wide else TopVectors(long, short, resolved)


def _top_eigenvectors(gram: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues, descending, and their vectors, of a lower triangle in Fortran order, overwritten.

    LAPACK's syevr, called without the interpreter's lock (see `lapack`).
    """
    n, real = gram.shape[0], gram.dtype
    values, vectors = np.empty(n, real), np.empty((n, k), real, order="F")
    support, found, info = np.empty(2 * n, np.int32), ctypes.c_int(0), ctypes.c_int(0)
    before = ("V", "I", "L", n, gram, n, 0.0, 0.0, n - k + 1, n, 0.0, found, values, vectors, n, support)
    work, numbers = np.empty(1, real), np.empty(1, np.int32)
    _call("syevr", *before, work, -1, numbers, -1, info, like=gram)
    work, numbers = np.empty(int(work[0]), real), np.empty(int(numbers[0]), np.int32)
    _call("syevr", *before, work, work.size, numbers, numbers.size, info, like=gram)
    _check("syevr", info)
    return values[:k][::-1], vectors[:, ::-1]


def _on_device(w: np.ndarray, k: int, backend: Backend) -> TopVectors:
    """By the kernel, padded to the shape of a program that many layers share."""
    rows, cols = w.shape
    long, short = backend.bucket(max(w.shape), min(w.shape))
    padded = pad_to(w, (short, long) if rows < cols else (long, short))
    device = jax.local_devices()[0]
    found = fetch(lambda: _top(jax.device_put(padded, device), k), device)
    return TopVectors(found.left[:rows], found.right[:cols], found.resolved)


_top = partial(jax.jit, static_argnames="k")(top_vectors)


def overlap_columns(one: Directions, other: Directions) -> dict[str, Column]:
    """Overlaps of the leading subspaces, averaged over the matrices, each with its level by chance.

    `overlap` is ‖U₁ᵀU₂‖_F²/k, by chance k/d; `cos` the root mean square of uᵢ·uᵢ′, by chance 1/√d. Only directions
    that are resolved in both matrices count, and matrices that have none are left out.
    """
    used = np.minimum(one.resolved, other.resolved)
    columns: dict[str, Column] = {"top": int(used.max()) if used.any() else None}
    for side, first, second in (("u", one.long, other.long), ("v", one.short, other.short)):
        squares = [
            np.square((a[:, :k].T @ b[:, :k]).astype(np.float64))
            for a, b, k in zip(first, second, used, strict=True)
            if k > 0
        ]
        size = first.shape[1]
        columns |= {
            f"overlap_{side}": _mean([min(float(s.sum()) / len(s), 1.0) for s in squares]),
            f"chance_{side}": _mean([len(s) / size for s in squares]),
            f"cos_{side}": _root(_mean([min(float(np.trace(s)) / len(s), 1.0) for s in squares])),
            f"chance_cos_{side}": _root(1 / size if squares else None),
        }
    return columns


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _root(value: float | None) -> float | None:
    return None if value is None else float(np.sqrt(value))
