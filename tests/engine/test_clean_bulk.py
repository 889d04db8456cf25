"""Leading components alone: against NumPy's decomposition in float64, and against the truth in noise."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectra.engine.clean_bulk import keep_components, optimal_shrinker
from spectra.kernels.random_matrix import spike_eigenvalue

RNG = np.random.default_rng(4)


def truncated(w: np.ndarray, count: int) -> np.ndarray:
    u, s, vt = np.linalg.svd(w.astype(np.float64), full_matrices=False)
    return (u[:, :count] * s[:count]) @ vt[:count]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_one_matrix(rows: int, cols: int, data):
    w = np.random.default_rng(rows * 13 + cols).standard_normal((1, rows, cols))
    count = data.draw(st.integers(1, min(rows, cols)))
    kept = keep_components(w, count)
    assert kept.components == count
    np.testing.assert_allclose(kept.matrices[0], truncated(w[0], count), atol=1e-12)


@pytest.mark.parametrize("unit", [1e-150, 1.0, 1e150])
def test_blocks_and_units(unit: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("spectra.engine.clean_bulk.BLOCK", 16)
    w = RNG.standard_normal((50, 16)) * unit
    for matrix in (w, w.T):
        found = keep_components(matrix[None], 5).matrices[0]
        np.testing.assert_allclose(found, truncated(matrix, 5), atol=1e-12 * unit)


@pytest.mark.parametrize(
    ("dtype", "eps"), [("float32", 2**-24), ("float16", 2**-11), ("bfloat16", 2**-8), ("float8_e4m3fn", 2**-3)]
)
def test_the_result_is_off_by_one_rounding_only(dtype: str, eps: float):
    w = RNG.standard_normal((1, 30, 20)).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    found = keep_components(w, 7).matrices
    expected = truncated(w[0], 7)
    smallest = float(ml_dtypes.finfo(w.dtype).smallest_subnormal)
    assert found.dtype == w.dtype
    off = np.abs(found[0].astype(np.float64) - expected)
    assert np.all(off <= np.maximum(eps * np.abs(expected), smallest) * (1 + 1e-6) + 1e-12)


def test_a_dominating_component_does_not_blur_the_edge():
    """σ from 1e4 to 1.1 and a bulk of 1: in float32 WᵀW resolves nothing under 20."""
    u, v = (np.linalg.qr(RNG.standard_normal((size, 40)))[0] for size in (60, 40))
    s = np.concatenate([[1e4, 10, 1.1], np.linspace(1, 0.1, 37)])
    w = ((u * s) @ v.T).astype(np.float32)
    found = keep_components(w[None], 3).matrices[0].astype(np.float64)
    values = np.linalg.svd(found, compute_uv=False)
    np.testing.assert_allclose(values[:3], s[:3], rtol=1e-3)
    assert np.linalg.norm(found - truncated(w, 3)) < 1e-7 * 1e4 * 2


def test_matrices_of_a_layer_share_the_count():
    w = RNG.standard_normal((4, 10, 8)) * np.array([3.0, 1.0, 0.01, 2.0])[:, None, None]
    values = np.sort(np.linalg.svd(w, compute_uv=False).ravel())[::-1]
    for count in (1, 5, 17, 31):
        found = keep_components(w, count)
        own = [int(np.sum(np.linalg.svd(one, compute_uv=False) >= values[count - 1])) for one in w]
        assert sum(own) == found.components == count
        for one, new, k in zip(w, found.matrices, own, strict=True):
            np.testing.assert_allclose(new, truncated(one, k) if k else np.zeros_like(one), atol=1e-12)


def test_the_shrinker_is_gavish_and_donohos():
    """η(y) = √((y² − β − 1)² − 4β)/y for singular values y in units of √n·σ, above 1 + √β."""
    n, m, sigma = 300, 200, 0.7
    beta, unit = m / n, np.sqrt(n) * sigma
    factors = optimal_shrinker(*(sigma**2 * (np.sqrt(n) + sign * np.sqrt(m)) ** 2 for sign in (-1, 1)))
    y = np.linspace(1 + np.sqrt(beta) + 1e-6, 10, 50)
    expected = np.sqrt((y**2 - beta - 1) ** 2 - 4 * beta) / y
    np.testing.assert_allclose(factors((y * unit) ** 2) * y, expected, rtol=1e-6)
    assert not factors((np.array([0, 0.5, 1 + np.sqrt(beta)]) * unit) ** 2 * (1 - 1e-12)).any()


def test_shrinking_comes_closer_to_the_truth():
    n, m, strength = 300, 200, 1.4 * (300 * 200) ** 0.25
    u, v = (RNG.standard_normal(size) for size in (n, m))
    truth = strength * np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v))
    w = truth + RNG.standard_normal((n, m))
    shrinker = optimal_shrinker(*((np.sqrt(n) + sign * np.sqrt(m)) ** 2 for sign in (-1, 1)))
    shrunk, cut = keep_components(w[None], 1, shrinker), keep_components(w[None], 1)
    errors = [float(np.linalg.norm(kept.matrices[0] - truth)) for kept in (shrunk, cut)]
    assert errors[0] < 0.9 * errors[1]
    # As good as the best multiple of the component that was found, which needs the truth.
    component = cut.matrices[0] / np.linalg.norm(cut.matrices[0])
    best = np.linalg.norm(np.vdot(component, truth) * component - truth)
    assert errors[0] < 1.05 * best
    np.testing.assert_allclose(
        np.linalg.norm(cut.matrices[0]) ** 2, float(spike_eigenvalue(strength, 1.0, n, m)), rtol=0.1
    )


def test_what_shrinks_to_nothing_is_gone():
    w = RNG.standard_normal((1, 30, 20))
    largest = float(np.linalg.norm(w[0], 2)) ** 2
    kept = keep_components(w, 4, optimal_shrinker(0.0, 2 * largest))
    assert kept.components == 0 and not kept.matrices.any()
