"""Reduction of a large symmetric matrix to tridiagonal form in two stages: to a band by matrix products, then on.

LAPACK's sytrd spends half of its flops in matrix–vector products, which read the whole matrix once for each column and
so run at the speed of memory. Reducing to a band first does nearly all of the work in matrix–matrix products; the
rest, from band to tridiagonal form, is O(n²·band). Source: Bischof, Lang & Sun, "A framework for symmetric band
reduction", ACM TOMS 26 (2000).
"""

from __future__ import annotations

import numpy as np

from spectra.engine import lapack

BAND = 48
"""Wide enough for efficient products; a wider band costs more in the second stage than it gains in the first."""

LARGE = 3072
"""From this size on two stages win; below it the matrix stays in the cache. On one core of an EPYC with 32 MB of cache:
2,048 0.28 s instead of 0.26 s, 3,072 0.85 s instead of 0.87 s, 4,096 1.9 s instead of 2.8 s (benchmarks/reduction.py).
"""


def two_stage(a: np.ndarray, band: int = BAND) -> tuple[np.ndarray, np.ndarray]:
    """Tridiagonal form of a symmetric matrix (lower triangle, Fortran order), which is overwritten."""
    return lapack.sbtrd(_to_band(a, max(1, min(band, a.shape[0] - 1))))


def _to_band(a: np.ndarray, band: int) -> np.ndarray:
    """Reduce in place; the band as LAPACK stores it, shape (band + 1, n)."""
    n = a.shape[0]
    largest = np.abs(np.diagonal(a)).max()
    for k in range(0, n - band - 1, band):
        panel, rest = a[k + band :, k : k + band], a[k + band :, k + band :]
        height = np.abs(panel).max()
        largest = max(largest, height)
        if height <= _negligible(largest):
            panel[:] = 0
            continue
        tau = lapack.geqrf(panel)
        v = np.array(panel[:, : tau.size], order="F")
        v[: tau.size] = np.tril(v[: tau.size], -1)
        v[range(tau.size), range(tau.size)] = 1
        t = lapack.larft(v, tau)
        # QᵀAQ with Q = I − V T Vᵀ is A − V Wᵀ − W Vᵀ, where W = X − ½ V Tᵀ Vᵀ X and X = A V T.
        x = lapack.symm(rest, lapack.gemm(v, t))
        inner = lapack.gemm(t, lapack.gemm(v, x, transposed=True), transposed=True)
        w = lapack.gemm(v, inner * a.dtype.type(0.5), add_to=x)
        lapack.syr2k(rest, v, w)
    packed = np.zeros((band + 1, n), a.dtype, order="F")
    for i in range(band + 1):
        packed[i, : max(n - i, 0)] = np.diagonal(a, -i)
    packed[np.abs(packed) <= _negligible(largest)] = 0
    return packed


def _negligible(largest: np.floating) -> np.floating:
    """What lies below the rounding of roundings, eps², is taken for zero.

    A matrix of rank one is used up after its first panel. Each further panel would shrink what rounding left of it by
    another eps, soon to subnormal numbers, with which a processor is a hundred times slower.
    """
    return largest * np.finfo(largest.dtype).eps ** 2
