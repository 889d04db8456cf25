"""The Marchenko–Pastur law against numerical integration, its moments, and random matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from spectra.kernels import marchenko_pastur as mp

CDF, DENSITY, QUANTILE, EDGES = (jax.jit(f) for f in (mp.mp_cdf, mp.mp_density, mp.mp_quantile, mp.mp_edges))
SLOPES = jax.jit(jax.vmap(jax.grad(mp.mp_cdf), in_axes=(0, None, None, None)))
SHAPES = [(100, 100), (1001, 1000), (300, 100), (5000, 100), (10**6, 10), (3, 1), (10**9, 2)]


def reference(x: float, variance: float, n: int, m: int) -> float:
    """The distribution function by integration over the angle, where the density is smooth."""
    centre, reach = variance * (n + m), 2 * variance * np.sqrt(n * m)
    theta = np.arccos(np.clip((x - centre) / reach, -1, 1))

    def density(t: float) -> float:
        return (reach * np.sin(t)) ** 2 / (2 * np.pi * variance * m * (centre + reach * np.cos(t)))

    return 1 - quad(density, 0, theta, epsabs=1e-12, limit=200)[0]


@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_distribution_function_against_integration(n: int, m: int) -> None:
    with jax.enable_x64(True):
        edges = EDGES(0.7, np.float64(n), np.float64(m))
        x = np.linspace(float(edges.lower), float(edges.upper), 23)
        wanted = [reference(value, 0.7, n, m) for value in x]
        np.testing.assert_allclose(CDF(x, 0.7, n, m), wanted, atol=2e-8)
    rough = 2e-6 + 3e-7 * (n / m) ** 0.5  # how finely float32 divides so narrow a bulk
    np.testing.assert_allclose(CDF(x.astype(np.float32), 0.7, n, m), wanted, atol=rough)


@pytest.mark.parametrize(("n", "m"), [(100, 100), (300, 100), (5000, 100)])
def test_density_is_the_derivative(n: int, m: int) -> None:
    with jax.enable_x64(True):
        edges = EDGES(0.7, np.float64(n), np.float64(m))
        x = np.linspace(float(edges.lower), float(edges.upper), 25)[1:-1]
        step = 1e-6 * float(edges.upper - edges.lower)
        slope = (CDF(x + step, 0.7, n, m) - CDF(x - step, 0.7, n, m)) / (2 * step)
        density = DENSITY(x, 0.7, n, m)
        np.testing.assert_allclose(density, slope, rtol=1e-5)
        np.testing.assert_allclose(SLOPES(x, 0.7, float(n), float(m)), density, rtol=1e-12)
        ends = np.array([float(edges.lower) - 1, float(edges.upper), float(edges.upper) + 1])
        np.testing.assert_array_equal(DENSITY(ends, 0.7, n, m), 0)
        gradients = SLOPES(ends, 0.7, float(n), float(m))
        np.testing.assert_array_equal(gradients, 0)


def test_moments() -> None:
    """Means of λ and λ²: σ²N and σ⁴N(N + M), whatever the law of the entries."""
    n, m, variance = 700, 300, 0.3
    with jax.enable_x64(True):
        lower, upper = (float(edge) for edge in EDGES(variance, float(n), float(m)))
        theta = (np.arange(4000) + 0.5) * np.pi / 4000
        x = (upper + lower) / 2 + (upper - lower) / 2 * np.cos(theta)
        weight = np.asarray(DENSITY(x, variance, n, m)) * (upper - lower) / 2 * np.sin(theta) * np.pi / 4000
    assert weight.sum() == pytest.approx(1, rel=1e-6)
    assert weight @ x == pytest.approx(variance * n, rel=1e-6)
    assert weight @ x**2 == pytest.approx(variance**2 * n * (n + m), rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(100, 100), (300, 100), (5000, 100), (10**6, 10)])
def test_quantile_is_the_inverse(n: int, m: int) -> None:
    p = np.linspace(0.01, 0.99, 15)
    with jax.enable_x64(True):
        np.testing.assert_allclose(CDF(QUANTILE(p, 2.5, n, m), 2.5, n, m), p, atol=1e-7)
    x = QUANTILE(p.astype(np.float32), 2.5, n, m)
    np.testing.assert_allclose(CDF(x, 2.5, n, m), p, atol=3e-5 + 3e-7 * (n / m) ** 0.5)
    assert np.all(np.diff(np.asarray(x)) > 0)


def test_median_of_square_matrices() -> None:
    """0.6528 in units of σ²N, as tabulated by Gavish & Donoho (2014): their 4/√3 is 1/√0.6528 times 1.866."""
    assert float(QUANTILE(0.5, 1.0, 1, 1)) == pytest.approx((4 / np.sqrt(3) / 2.858) ** 2, rel=1e-3)


@given(st.floats(-20, 20), st.integers(1, 500), st.integers(1, 500), st.floats(0, 3))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_scaling(exponent: float, n: int, m: int, place: float) -> None:
    n, m = max(n, m), min(n, m)
    unit = 2.0 ** round(exponent)
    share = float(CDF(place * n, 1.0, float(n), float(m)))
    assert float(CDF(place * n * unit, unit, float(n), float(m))) == share
    assert 0 <= share <= 1


def test_edges() -> None:
    edges = EDGES(0.5, 400, 100)
    assert float(edges.lower) == pytest.approx(50) and float(edges.upper) == pytest.approx(450)
    assert float(EDGES(0.5, 100, 100).lower) == 0
    assert float(EDGES(1.0, 10**6 + 1, 10**6).lower) == pytest.approx(0.25e-6, rel=1e-3)
    broadcast = EDGES(jnp.ones((3, 1)), jnp.array([4, 9]), 1)
    np.testing.assert_allclose(broadcast.upper, np.broadcast_to([9, 16], (3, 2)))


def test_eigenvalues_of_a_large_random_matrix_follow_the_law() -> None:
    rng = np.random.default_rng(0)
    for n, m in [(400, 400), (1600, 400)]:
        values = np.linalg.svd(rng.uniform(-1, 1, (n, m)).astype(np.float32), compute_uv=False)[::-1] ** 2
        shares = np.asarray(CDF(values, 1 / 3, n, m))
        assert np.max(np.abs(shares - (np.arange(m) + 0.5) / m)) < 0.01
