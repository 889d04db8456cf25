"""BLAS and LAPACK on NumPy arrays, called so that several threads of Python can be in them at once.

SciPy's own wrappers hold the interpreter's lock while they compute; the routines behind them, which
`scipy.linalg.cython_blas` and `cython_lapack` publish as C pointers, do not when called through ctypes. Symmetric
matrices are stored as their lower triangle in Fortran order; what lies above the diagonal is undefined.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

_get_name = ctypes.pythonapi.PyCapsule_GetName
_get_name.restype, _get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype, _get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


@functools.cache
def _routine(name: str) -> Any:
    """The C function of a BLAS or LAPACK routine, by its Fortran name."""
    library = cython_lapack if name in cython_lapack.__pyx_capi__ else cython_blas
    capsule = library.__pyx_capi__[name]
    # Fortran takes everything by address; BLAS functions used here return nothing.
    return ctypes.CFUNCTYPE(None)(_get_pointer(capsule, _get_name(capsule)))


class LapackError(ArithmeticError):
    """LAPACK reported a failure; `finite` input never causes one in the routines used here."""


def _call(name: str, *arguments: Any, like: np.ndarray) -> None:
    """Call the routine for the element type of `like`: int, float, str and arrays become what Fortran expects."""
    real = ctypes.c_double if like.dtype == np.float64 else ctypes.c_float
    passed: list[Any] = []
    for value in arguments:
        if isinstance(value, np.ndarray):
            passed.append(ctypes.c_void_p(value.ctypes.data))
        elif isinstance(value, str):
            passed.append(ctypes.c_char_p(value.encode()))
        elif isinstance(value, int):
            passed.append(ctypes.byref(ctypes.c_int(value)))
        elif isinstance(value, float):
            passed.append(ctypes.byref(real(value)))
        else:
            passed.append(ctypes.byref(value))
    _routine(("d" if like.dtype == np.float64 else "s") + name)(*passed)


def _check(name: str, info: ctypes.c_int) -> None:
    if info.value:
        raise LapackError(f"LAPACK's {name} failed with info={info.value}")


def _workspace(name: str, before: tuple[Any, ...], like: np.ndarray) -> np.ndarray:
    """The work array that a routine asks for; its arguments end in work, lwork, info."""
    size, info = np.empty(1, like.dtype), ctypes.c_int(0)
    _call(name, *before, size, -1, info, like=like)
    return np.empty(max(int(size[0]), 1), like.dtype)


def syrk(w: np.ndarray, out: np.ndarray, tall: bool = True) -> None:
    """Lower triangle of WᵀW, or of WWᵀ where not `tall`, into `out`: half the flops of a product.

    `w` has rows with unit stride, such as slices of rows or columns of a C-ordered matrix.
    """
    rows, cols = w.shape
    stride = w.strides[0] // w.itemsize
    # In Fortran's eyes a C-ordered W is its transpose.
    trans, k = ("N", rows) if tall else ("T", cols)
    n = out.shape[0]
    _call("syrk", "L", trans, n, k, 1.0, w, max(stride, 1), 0.0, out, n, like=w)


def sytrd(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce a symmetric matrix to tridiagonal form, in place: its diagonal and off-diagonal."""
    n = a.shape[0]
    d, e, tau = np.empty(n, a.dtype), np.empty(max(n - 1, 1), a.dtype), np.empty(max(n - 1, 1), a.dtype)
    arguments = ("L", n, a, n, d, e, tau)
    work, info = _workspace("sytrd", arguments, a), ctypes.c_int(0)
    _call("sytrd", *arguments, work, work.size, info, like=a)
    _check("sytrd", info)
    return d, e[: n - 1]


def sterf(d: np.ndarray, e: np.ndarray) -> np.ndarray:
    """Eigenvalues of a symmetric tridiagonal matrix, ascending; `d` and `e` are overwritten."""
    info = ctypes.c_int(0)
    _call("sterf", d.size, d, e if e.size else d, info, like=d)
    _check("sterf", info)
    return d


def gesdd(a: np.ndarray) -> np.ndarray:
    """Singular values of a C-ordered matrix, descending; the matrix is overwritten."""
    n, m = a.shape  # Fortran sees the m×n transpose, which has the same singular values
    s, nothing = np.empty(min(n, m), a.dtype), np.empty(1, a.dtype)
    pivots, info = np.empty(8 * min(n, m), np.int32), ctypes.c_int(0)
    before = ("N", m, n, a, m, s, nothing, 1, nothing, 1)
    size = np.empty(1, a.dtype)
    _call("gesdd", *before, size, -1, pivots, info, like=a)
    work = np.empty(int(size[0]), a.dtype)
    _call("gesdd", *before, work, work.size, pivots, info, like=a)
    _check("gesdd", info)
    return s


def geqrf(a: np.ndarray) -> np.ndarray:
    """QR of a panel (a Fortran-ordered view) in place: R above, the reflectors below the diagonal; their factors."""
    rows, cols = a.shape
    lda = a.strides[1] // a.itemsize
    tau, info = np.empty(min(rows, cols), a.dtype), ctypes.c_int(0)
    before = (rows, cols, a, lda, tau)
    work = _workspace("geqrf", before, a)
    _call("geqrf", *before, work, work.size, info, like=a)
    _check("geqrf", info)
    return tau


def larft(v: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """The upper triangular T with H₁H₂… = I − V T Vᵀ for reflectors V (Fortran order, unit lower trapezoidal)."""
    rows, cols = v.shape
    t = np.zeros((cols, cols), v.dtype, order="F")
    _call("larft", "F", "C", rows, cols, v, v.strides[1] // v.itemsize, tau, t, cols, like=v)
    return t


def gemm(a: np.ndarray, b: np.ndarray, transposed: bool = False, add_to: np.ndarray | None = None) -> np.ndarray:
    """A·B (or AᵀB), or C − A·B in place of C, of Fortran-ordered matrices.

    Not NumPy's product: that comes from a second BLAS, whose threads would fight with those of this one.
    """
    n, k = (a.shape[1], a.shape[0]) if transposed else a.shape
    m = b.shape[1]
    out = np.empty((n, m), a.dtype, order="F") if add_to is None else add_to
    scale, keep = (1.0, 0.0) if add_to is None else (-1.0, 1.0)
    _call("gemm", "T" if transposed else "N", "N", n, m, k, scale, a, a.shape[0], b, b.shape[0], keep, out, n, like=a)
    return out


def symm(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A·B for a symmetric A, of which a Fortran-ordered view is given, and a Fortran-ordered B."""
    out = np.empty_like(b, order="F")
    n, k = b.shape
    lda = a.strides[1] // a.itemsize
    _call("symm", "L", "L", n, k, 1.0, a, lda, b, n, 0.0, out, n, like=a)
    return out


def syr2k(a: np.ndarray, v: np.ndarray, w: np.ndarray) -> None:
    """A ← A − V Wᵀ − W Vᵀ for a symmetric A, in place."""
    n, k = v.shape
    lda = a.strides[1] // a.itemsize
    _call("syr2k", "L", "N", n, k, -1.0, v, n, w, n, 1.0, a, lda, like=a)


def sbtrd(band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce a symmetric band matrix to tridiagonal form, in place: its diagonal and off-diagonal.

    `band` has shape (bandwidth + 1, n), Fortran order; row i holds the i-th diagonal below the main one.
    """
    width, n = band.shape[0] - 1, band.shape[1]
    d, e, work = (np.empty(size, band.dtype) for size in (n, max(n - 1, 1), n))
    info = ctypes.c_int(0)
    _call("sbtrd", "N", "L", n, width, band, width + 1, d, e, work[:1], 1, work, info, like=band)
    _check("sbtrd", info)
    return d, e[: n - 1]
