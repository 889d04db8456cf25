"""Localisation against closed forms and chance, and leading singular vectors against LAPACK's."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectra.kernels.vectors import localisation, random_localisation, top_singular_vectors

MEASURE, RANDOM = jax.jit(localisation), jax.jit(random_localisation)
TOP = jax.jit(top_singular_vectors, static_argnames=("k", "tolerance", "most"))


@given(st.lists(st.floats(-8, 8, width=32), min_size=9, max_size=9), st.lists(st.booleans(), min_size=9, max_size=9))
@settings(deadline=None, max_examples=100, derandomize=True)
def test_against_the_definitions(x: list[float], keep: list[bool]) -> None:
    x, keep = np.where(np.abs(x) < 1e-4, 0, x).astype(np.float32), np.array(keep)
    got = MEASURE(np.where(keep, x, np.nan), keep)
    v = x[keep].astype(np.float64)
    if not v.any():
        assert np.isnan(got.participation) and np.isnan(got.entropy)
        return
    p = v**2 / np.sum(v**2)
    assert float(got.participation) == pytest.approx(1 / (v.size * np.sum(p**2)), rel=1e-5)
    nats = -np.sum(p[p > 0] * np.log(p[p > 0]))
    assert float(got.entropy) == pytest.approx(nats / np.log(v.size) if v.size > 1 else 1, abs=1e-5)


def test_extremes() -> None:
    """Vectors of 1, 2, 10 and 1,000 entries."""
    sizes = np.array([1, 2, 10, 1000])
    keep = np.arange(1000) < sizes[:, None]
    flat = np.where(keep, np.float32(-3), np.float32(np.nan))
    single = np.where(keep, np.eye(1, 1000, dtype=np.float32) * np.float32(1e-30), np.float32(np.nan))
    flat, single = MEASURE(flat, keep), MEASURE(single, keep)
    np.testing.assert_allclose(flat.participation, 1, rtol=1e-5)
    np.testing.assert_allclose(flat.entropy, 1, rtol=1e-5)
    np.testing.assert_allclose(single.participation, 1 / sizes, rtol=1e-6)
    np.testing.assert_allclose(single.entropy, sizes == 1, atol=1e-6)


def test_bad_vectors_give_nan_and_leave_others_alone() -> None:
    x = np.ones((4, 5), np.float32)
    x[0], x[1, 2], x[2, 2] = 0, np.nan, np.inf
    got = MEASURE(x)
    assert np.isnan(got.participation[:3]).all() and np.isnan(got.entropy[:3]).all()
    assert float(got.participation[3]) == pytest.approx(1) and float(got.entropy[3]) == pytest.approx(1)


@pytest.mark.parametrize("d", [2, 30, 400])
def test_chance_level(d: int) -> None:
    """Means over random directions: of Σp², and of the entropy."""
    x = np.random.default_rng(d).standard_normal((20_000, d)).astype(np.float32)
    got, wanted = MEASURE(x), RANDOM(d)
    inverse, entropy = 1 / np.float64(got.participation), np.float64(got.entropy)
    assert 1 / inverse.mean() == pytest.approx(float(wanted.participation), rel=5 * float(inverse.std()) / 141 + 1e-4)
    assert entropy.mean() == pytest.approx(float(wanted.entropy), abs=5 * float(entropy.std()) / 141 + 1e-5)


def spiked(m: int, n: int) -> np.ndarray:
    rng = np.random.default_rng([m, n])
    u, v = np.linalg.qr(rng.standard_normal((m, 3)))[0], np.linalg.qr(rng.standard_normal((n, 3)))[0]
    return (rng.standard_normal((m, n)) + (u * np.array([5, 4, 3]) * (m * n) ** 0.25) @ v.T).astype(np.float32)


@pytest.mark.parametrize(("m", "n", "k"), [(90, 40, 3), (40, 90, 3), (30, 30, 30)])
def test_vectors_against_lapack(m: int, n: int, k: int) -> None:
    w = spiked(m, n)
    got = TOP(w, k)
    u, s, vt = np.linalg.svd(w.astype(np.float64))
    np.testing.assert_allclose(got.singular_values, s[:k], rtol=1e-4, atol=1e-4 * s[0])
    assert np.max(got.residual) <= 1e-4
    for side, wanted in ((got.left, u[:, :3]), (got.right, vt[:3].T)):
        side = np.asarray(side, np.float64)
        np.testing.assert_allclose(np.abs(np.sum(side[:, :3] * wanted, axis=0)), 1, atol=1e-4)
        np.testing.assert_allclose(side.T @ side, np.eye(k), atol=2e-4)
    largest = np.argmax(np.abs(got.right), axis=0)
    assert np.all(np.asarray(got.right)[largest, np.arange(k)] > 0)
    product = np.asarray(got.left) * np.asarray(got.singular_values) @ np.asarray(got.right).T
    best = (u[:, :k] * s[:k]) @ vt[:k]
    assert np.linalg.norm(product - best) < 3e-3 * s[0]


def test_masks_and_scale() -> None:
    w = spiked(90, 40)
    mask = (np.arange(100) < 90)[:, None] & (np.arange(60) < 40)
    padded = np.full((100, 60), np.nan, np.float32)
    padded[:90, :40] = w * np.float32(2.0**60)
    plain, masked = TOP(w, 3), TOP(padded, 3, where=mask)
    np.testing.assert_allclose(masked.singular_values, plain.singular_values * 2.0**60, rtol=1e-5)
    np.testing.assert_allclose(masked.right[:40], plain.right, atol=3e-3)
    np.testing.assert_array_equal(masked.right[40:], 0)


def test_matrices_without_vectors() -> None:
    zero = TOP(np.zeros((90, 40), np.float32), 3)
    np.testing.assert_array_equal(zero.singular_values, 0)
    assert np.isfinite(zero.right).all()
    bad = spiked(90, 40)
    bad[2, 3] = np.nan
    assert all(np.isnan(field).all() for field in TOP(bad, 3))
    one = TOP(np.ones((90, 40), np.float32), 3)
    np.testing.assert_allclose(one.singular_values, [60, 0, 0], atol=1e-3)
    assert float(MEASURE(np.asarray(one.right)[:, 0]).participation) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("k", [0, 41])
def test_too_many_vectors(k: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 40"):
        top_singular_vectors(spiked(90, 40), k)


def test_lowers_for_every_platform() -> None:
    w = jax.ShapeDtypeStruct((20, 12), np.float32)
    jax.export.export(jax.jit(lambda x: top_singular_vectors(x, 2)), platforms=["cpu", "cuda", "rocm", "tpu"])(w)
