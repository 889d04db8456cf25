"""Matrices on which singular values are hard to get right, and what a route to them promises."""

from typing import Any

import numpy as np
import scipy.linalg

from spectra.kernels import Spectrum


def truth(w: Any) -> np.ndarray:
    return np.linalg.svd(np.asarray(w, np.float64), compute_uv=False)


def triangle(w: np.ndarray) -> np.ndarray:
    """R of the QR decomposition of so many thousand rows in float64: few rows with the same singular values.

    Of a thousand rows at a time, and then of their R: LAPACK takes ten times as long for a very long matrix as a whole.
    """
    parts = np.linalg.qr(w.astype(np.float64).reshape(-1, 1000, w.shape[1]), mode="r")
    return np.linalg.qr(parts.reshape(-1, w.shape[1]), mode="r")


def assert_promise(w: np.ndarray, result: Spectrum, method: str, label: str = "") -> None:
    """Resolved values are above the floor and within it of the truth; unresolved ones are 0, counted, and small."""
    want = truth(w)
    got, floor = np.asarray(result.singular_values, np.float64), float(result.floor)
    resolved = got > 0
    by_gram = method == "gram" or (method == "auto" and floor > 4e-4 * want[0])
    assert got.shape == want.shape, label
    assert int(result.num_evals) == want.size, label
    assert np.all(np.diff(got) <= 0), label
    assert np.all(got[resolved] > floor), label
    assert int(result.num_unresolved) == np.sum(~resolved), label
    assert np.all(want[~resolved] <= 2 * floor), label
    error = np.abs(got**2 - want**2) / floor**2 if by_gram else np.abs(got - want) / floor
    assert np.max(error, where=resolved, initial=0) <= 1, (label, f"{np.max(error[resolved]):.2f} of the floor")
    well_above = resolved & (want > 10 * floor)
    relative = np.abs(got / np.where(want > 0, want, 1) - 1)
    assert np.max(relative, where=well_above, initial=0) < (0.01 if by_gram else 0.1), label


def orthonormal(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((rows, cols)))[0]


def with_spectrum(values: np.ndarray, rows: int, seed: int = 0) -> np.ndarray:
    """A matrix (rows × len(values)) with the given singular values."""
    rng = np.random.default_rng(seed)
    return (orthonormal(rng, rows, values.size) * values) @ orthonormal(rng, values.size, values.size).T


def tall_matrices() -> dict[str, np.ndarray]:
    """200 × 120, one stack: one compilation a method."""
    m, n = 200, 120
    rng = np.random.default_rng(1)
    normal = rng.standard_normal((m, n))
    near = np.concatenate([np.ones(60), np.full(60, 1.5e-3)])
    return {
        "normal": normal,
        "uniform": rng.random((m, n)),
        "student": rng.standard_t(2, (m, n)),
        "cauchy": rng.standard_cauchy((m, n)),
        "ones": np.ones((m, n)),
        "tenths": np.full((m, n), 0.1),
        "block": np.kron(np.eye(10), np.ones((20, 12))),
        "rank 3": rng.standard_normal((m, 3)) @ rng.standard_normal((3, n)),
        "rank 3 + noise": rng.standard_normal((m, 3)) @ rng.standard_normal((3, n)) + 1e-4 * normal,
        "orthogonal": orthonormal(rng, m, n),
        "graded rows": np.logspace(0, -10, m)[:, None] * normal,
        "graded columns": normal * np.logspace(0, -10, n),
        "graded both": np.logspace(0, -6, m)[:, None] * normal * np.logspace(0, -6, n),
        "graded 1…1e-10": with_spectrum(np.logspace(0, -10, n), m),
        "graded 1…1e-3": with_spectrum(np.logspace(0, -3.2, n), m),
        "repeated": with_spectrum(np.repeat([1, 0.5, 0.1, 0.01], n // 4), m),
        "repeated by the floor": with_spectrum(near, m),
        "power law": with_spectrum(np.arange(1, n + 1) ** -1.5, m),
        "mean far from zero": 1 + 0.01 * normal,
        "sparse": normal * (rng.random((m, n)) < 0.005),
        "one-hot": np.eye(n)[rng.integers(0, n, m)],
        "outlier": np.where(rng.random((m, n)) < 1e-4, 1e4, normal),
        "one column": normal * (np.arange(n) == 7),
        "identity + noise": np.eye(m, n) + 1e-3 * normal,
        "Toeplitz": scipy.linalg.toeplitz(0.9 ** np.arange(m))[:, :n],
        "zero": np.zeros((m, n)),
        "tiny": 1e-30 * normal,
        "huge": 1e30 * normal,
        "quarter": 0.25 * normal,
        "hundredfold": 100 * normal,
    }


def square_matrices() -> dict[str, np.ndarray]:
    n = 128
    rng = np.random.default_rng(2)
    symmetric = rng.standard_normal((n, n))
    return {
        "Hadamard": scipy.linalg.hadamard(n).astype(float),
        "identity": np.eye(n),
        "diagonal": np.diag(np.logspace(0, -10, n)),
        "triangle": np.tril(np.ones((n, n))),
        "Hilbert": scipy.linalg.hilbert(n),
        "Wilkinson": np.diag(np.abs(np.arange(n) - n / 2)) + np.eye(n, k=1) + np.eye(n, k=-1),
        "circulant": scipy.linalg.circulant(rng.standard_normal(n)),
        "Toeplitz": scipy.linalg.toeplitz(0.9 ** np.arange(n)),
        "symmetric": symmetric + symmetric.T,
        "orthogonal": orthonormal(rng, n, n),
        "Vandermonde": np.vander(np.linspace(0, 1, n)),
        "random signs": np.sign(rng.standard_normal((n, n))),
        "identity + noise": np.eye(n) + 1e-3 * rng.standard_normal((n, n)),
        "1-2-1": 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1),
        "permutation": np.eye(n)[rng.permutation(n)],
    }


STRUCTURED = {**tall_matrices(), **{f"square {name}": w for name, w in square_matrices().items()}}
