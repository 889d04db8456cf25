"""The incomplete gamma function of negative order against mpmath, and the root finder."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from spectra.kernels.families.base import excess_share, total
from spectra.kernels.families.lognormal import cut_normal
from spectra.kernels.roots import find_root
from spectra.kernels.special import log_upper_gamma

ORDERS = (1, 0.999, 0.5, 1e-3, 1e-6, 0, -1e-6, -0.3, -1, -1.0000001, -1.5, -2, -3.7, -5, -10, -20, -25)
ARGUMENTS = (1e-30, 1e-10, 1e-6, 1e-3, 0.03, 0.5, 0.99, 1, 1.01, 3, 10, 50, 100)
LOG_GAMMA = jax.jit(log_upper_gamma)
CUT_NORMAL = jax.jit(cut_normal)


def reference(orders: np.ndarray, arguments: np.ndarray) -> np.ndarray:
    with mpmath.workdps(30):
        rows = [[mpmath.log(mpmath.gammainc(float(s), float(x))) for x in arguments] for s in orders]
        return np.array(rows, float)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 3e-6)])
def test_incomplete_gamma_against_mpmath(dtype: type, tolerance: float) -> None:
    """Also between the integers, where the usual formulas have poles, and at them."""
    s, x = np.array(ORDERS, dtype), np.array(ARGUMENTS, dtype)
    want = reference(s, x)
    with jax.enable_x64(dtype is np.float64):
        got = np.asarray(LOG_GAMMA(s[:, None], x))
    assert got.dtype == dtype
    assert np.max(np.abs(got - want) / np.maximum(1, np.abs(want))) < tolerance


def test_derivatives_of_the_incomplete_gamma() -> None:
    """∂Γ/∂x = −x^(s−1)e^(−x) exactly; ∂/∂s by mpmath's numerical differentiation."""
    s, x = (a.ravel() for a in np.meshgrid(ORDERS[2:], ARGUMENTS[1:], indexing="ij"))
    with jax.enable_x64(True):
        in_s, in_x = jax.jit(jax.vmap(jax.grad(log_upper_gamma, argnums=(0, 1))))(s, x)
        value = np.asarray(LOG_GAMMA(s, x))
    np.testing.assert_allclose(in_x, -np.exp((s - 1) * np.log(x) - x - value), rtol=1e-9)
    with mpmath.workdps(30):
        for k in range(0, s.size, 7):
            want = mpmath.diff(lambda order, k=k: mpmath.log(mpmath.gammainc(order, x[k])), s[k])
            assert float(in_s[k]) == pytest.approx(float(want), rel=1e-9, abs=1e-9)


def test_derivatives_of_the_incomplete_gamma_are_finite_in_float32() -> None:
    s, x = (a.ravel().astype(np.float32) for a in np.meshgrid(ORDERS, ARGUMENTS))
    for slope in jax.jit(jax.vmap(jax.grad(log_upper_gamma, argnums=(0, 1))))(s, x):
        assert np.isfinite(slope).all()


@pytest.mark.parametrize(("s", "x"), [(1.5, 1), (0, 0), (0, -1), (np.nan, 1), (0, np.nan)])
def test_incomplete_gamma_outside_its_domain(s: float, x: float) -> None:
    assert np.isnan(LOG_GAMMA(np.float32(s), np.float32(x)))


@pytest.mark.parametrize("t", [-1e4, -30, -3, -0.1, 0, 0.1, 2, 10, 1e3, 1e8])
def test_moments_of_a_cut_normal_distribution(t: float) -> None:
    """The ratios that decide between lognormal and power law, where the formulas by the Mills ratio cancel."""
    with mpmath.workdps(60):
        z = mpmath.mpf(t)
        hazard = mpmath.npdf(z) / (mpmath.erfc(z / mpmath.sqrt(2)) / 2)
        mean = hazard - z
        variance = 1 + z * hazard - hazard**2
        third = hazard * ((hazard - z) * (2 * hazard - z) - 1)
        want = [float(mean), float(variance), float(third)]
    with jax.enable_x64(True):
        got = [float(m) for m in CUT_NORMAL(jnp.float64(t))]
    assert got[:2] == pytest.approx(want[:2], rel=1e-11)
    assert got[2] == pytest.approx(want[2], rel=1e-9, abs=1e-12)


def test_excess_share_to_the_last_digits() -> None:
    u = np.geomspace(1e-12, 80, 200)
    with mpmath.workdps(40):
        want = np.array([float(1 - (1 + mpmath.mpf(v)) * mpmath.exp(-v)) for v in u])
    with jax.enable_x64(True):
        np.testing.assert_allclose(excess_share(jnp.asarray(u)), want, rtol=1e-14)
    np.testing.assert_allclose(excess_share(jnp.asarray(u, jnp.float32)), want, rtol=2e-6)


@pytest.mark.parametrize("size", [0, 1, 1000, 2**15 + 3, 3 * 10**6])
def test_total_does_not_lose_digits(size: int) -> None:
    x = np.random.default_rng(0).random(size, np.float32)
    assert float(jax.jit(total)(x)) == pytest.approx(np.sum(x, dtype=np.float64), rel=2e-6)


# roots

SQUARE = jax.jit(
    lambda low, high, start: find_root(lambda x: (2 - x * jnp.abs(x), -2 * jnp.abs(x), x), low, high, start, 1e-6)
)


@pytest.mark.parametrize(("low", "high"), [(0, 2), (1.4, 1.5), (-1e6, 1e6), (0, 1e9)])
@pytest.mark.parametrize("start", [-5, 0, 1.45, 1e3])
def test_root_inside_a_bracket(low: float, high: float, start: float) -> None:
    assert float(SQUARE(*np.float32([low, high, start])).at) == pytest.approx(2**0.5, rel=2e-6)


def test_root_outside_a_bracket_is_the_end_next_to_it() -> None:
    assert SQUARE(*np.float32([2, 3, 2.5])).at == 2
    assert SQUARE(*np.float32([0, 1, 0.5])).at == 1
    assert SQUARE(*np.float32([0, 1, 0.5])).extra == 1


def test_root_without_a_slope_is_bisected() -> None:
    find = jax.jit(lambda: find_root(lambda x: (1 - x**3, jnp.zeros_like(x), x), *jnp.float32([0, 7, 3]), 1e-6))
    assert float(find().at) == pytest.approx(1, abs=1e-5)


def test_a_function_that_is_nan_ends_the_search_at_once() -> None:
    calls = []

    def f(x: jax.Array) -> tuple[jax.Array, ...]:
        jax.debug.callback(lambda: calls.append(1))
        return x * jnp.nan, x, x

    found = jax.jit(lambda low: find_root(f, low, low + 1, low, 1e-6))(np.float32(3))
    jax.effects_barrier()
    assert found.at == 3 and found.extra == 3 and len(calls) == 1
