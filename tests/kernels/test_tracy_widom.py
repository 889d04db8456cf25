"""The Tracy–Widom law against its Fredholm determinant, the Painlevé equation, and published tables."""

from functools import cache

import jax
import numpy as np
import pytest
from numpy.polynomial import chebyshev
from scipy.integrate import solve_ivp
from scipy.special import airy, ndtri, ndtri_exp

from spectra.kernels import tracy_widom as tw

CDF, SF, QUANTILE, ISF = (
    jax.jit(f) for f in (tw.tracy_widom_cdf, tw.tracy_widom_sf, tw.tracy_widom_quantile, tw.tracy_widom_isf)
)


@cache
def log_cdf(s: float, points: int = 140, length: float = 30.0) -> float:
    """The logarithm of F₁(s) = det(1 − B_s), B_s(x, y) = Ai(x + y + s) on (0, ∞), by Gauss–Legendre points."""
    x, weights = np.polynomial.legendre.leggauss(points)
    x, root = (x + 1) * length / 2, np.sqrt(weights * length / 2)
    upper = i, j = np.triu_indices(points)  # of a symmetric matrix
    kernel = np.zeros((points, points))
    kernel[upper] = root[i] * airy(x[i] + x[j] + s)[0] * root[j]
    return float(np.sum(np.log1p(-np.linalg.eigvalsh(kernel, UPLO="U"))))


def score(s: float) -> float:
    """The normal score Φ⁻¹(F₁(s)), from whichever tail is the smaller."""
    log_p = log_cdf(s)
    return float(ndtri_exp(log_p) if log_p < -0.7 else -ndtri(-np.expm1(log_p)))


def nodes(number: int) -> np.ndarray:
    """The points in (−1, 1) whose values fix a Chebyshev series of so many terms."""
    return np.cos(np.pi * (np.arange(number) + 0.5) / number)


def test_the_stored_series_come_from_the_determinant() -> None:
    """How SCORE was made, by interpolation; QUANTILE is its inverse, right in as many points as it has terms."""
    t = nodes(len(tw.SCORE))
    values = [score(float(s)) for s in tw.SCORE_CENTRE + tw.SCORE_REACH * t]
    np.testing.assert_allclose(tw.SCORE, chebyshev.chebfit(t, values, t.size - 1), atol=2e-8)
    t = nodes(len(tw.QUANTILE))
    scores = [score(float(s)) for s in chebyshev.chebval(t, tw.QUANTILE)]
    np.testing.assert_allclose(scores, tw.QUANTILE_REACH * t, atol=3e-8)


def test_distribution_function_against_the_determinant() -> None:
    s = np.linspace(-7, 9, 41)
    wanted = np.array([log_cdf(x) for x in s])
    with jax.enable_x64(True):
        np.testing.assert_allclose(CDF(s), np.exp(wanted), atol=1e-8, rtol=3e-7)
        np.testing.assert_allclose(SF(s), -np.expm1(wanted), atol=1e-12, rtol=1e-6)
    np.testing.assert_allclose(CDF(s.astype(np.float32)), np.exp(wanted), atol=5e-7)


def test_distribution_function_against_painleve() -> None:
    """F₁ = exp(−½∫(q + (x − s)q²)), q'' = xq + 2q³ q ~ Ai: another definition, a differential equation."""

    def slope(x: float, y: np.ndarray) -> list[float]:
        q, dq, total = y[:3]  # ∫q², ∫(x − s)q², ∫q from x to infinity
        return [dq, x * q + 2 * q**3, -(q**2), -total, -q]

    ai, slope_ai, _, _ = airy(8.0)
    beyond = (8.0 + np.linspace(0, 12, 4001), 12 / 4000)
    tail = airy(beyond[0])[0]
    y = [ai, slope_ai, np.trapezoid(tail**2, dx=beyond[1])]
    y += [np.trapezoid((beyond[0] - 8) * tail**2, dx=beyond[1]), np.trapezoid(tail, dx=beyond[1])]
    s = np.linspace(4, -5, 46)
    solved = solve_ivp(slope, (8, -5), y, method="DOP853", t_eval=s, rtol=1e-12, atol=1e-14)
    wanted = np.exp(-(solved.y[4] + solved.y[3]) / 2)
    with jax.enable_x64(True):
        np.testing.assert_allclose(CDF(s), wanted, atol=1e-7)


@pytest.mark.parametrize(
    ("p", "s"),
    # Johnstone 2001, table 1, to two digits; Bejan 2005, table 2, to four.
    [
        (0.01, -3.90),
        (0.05, -3.18),
        (0.10, -2.78),
        (0.30, -1.91),
        (0.50, -1.27),
        (0.70, -0.59),
        (0.90, 0.45),
        (0.95, 0.98),
        (0.99, 2.02),
        (0.900, 0.4501),
        (0.950, 0.9793),
        (0.990, 2.0234),
    ],
)
def test_published_quantiles(p: float, s: float) -> None:
    digits = 1e-4 if round(s, 2) != s else 6e-3
    assert float(QUANTILE(p)) == pytest.approx(s, abs=digits)
    assert float(ISF(1 - p)) == pytest.approx(s, abs=digits)


def test_published_probabilities() -> None:
    """1 − F₁ from the table of EIGENSOFT (Patterson, Price & Reich, PLoS Genet. 2 (2006) e190), 5e-9 rounded."""
    table = {
        -5.0: 0.999722082,
        -4.0: 0.992432322,
        -3.0: 0.930399881,
        -2.0: 0.725679802,
        -1.0: 0.416210105,
        0.0: 0.168091934,
        1.0: 0.048578763,
        2.0: 0.010402429,
        3.0: 0.001706520,
        4.0: 0.000220344,
        5.0: 0.000022872,
        6.0: 0.000001941,
        7.0: 0.000000136,
    }
    with jax.enable_x64(True):
        np.testing.assert_allclose(SF(np.array(list(table))), list(table.values()), atol=3e-8)


def test_published_moments() -> None:
    """Mean, variance, skewness and excess kurtosis of Bornemann 2010, table 10, from the derivative."""
    s = np.linspace(-9, 10, 3801)
    with jax.enable_x64(True):
        density = np.asarray(jax.jit(jax.vmap(jax.grad(CDF)))(s))
    assert density.min() >= 0

    def mean_of(values: np.ndarray) -> float:
        return float(np.trapezoid(values * density, s))

    mean = mean_of(s)
    moments = [mean_of((s - mean) ** k) for k in (2, 3, 4)]
    assert mean_of(np.ones_like(s)) == pytest.approx(1, abs=1e-7)
    assert mean == pytest.approx(tw.MEAN, abs=1e-6)
    assert moments[0] == pytest.approx(tw.VARIANCE, abs=1e-6)
    assert moments[1] / moments[0] ** 1.5 == pytest.approx(0.29346452408, abs=1e-6)
    assert moments[2] / moments[0] ** 2 - 3 == pytest.approx(0.1652429384, abs=1e-5)


def test_quantile_is_the_inverse_in_float32_too() -> None:
    level = np.geomspace(1e-9, 0.5, 60).astype(np.float32)
    np.testing.assert_allclose(SF(ISF(level)), level, rtol=3e-5)
    level = level[level > 6e-9]  # the series of the score begins at s = −7
    np.testing.assert_allclose(CDF(QUANTILE(level)), level, rtol=3e-5)


def test_rises_everywhere_and_ends_at_0_and_1() -> None:
    s = np.linspace(-40, 40, 4001).astype(np.float32)
    values = np.asarray(CDF(s))
    assert np.all(np.diff(values) >= 0)
    assert values[0] == 0 and values[-1] == 1
    ends = np.asarray(QUANTILE(np.array([0, 1, -0.1, 1.1], np.float32)))
    assert ends[0] == -np.inf and ends[1] == np.inf and np.isnan(ends[2:]).all()


def test_gradient_of_the_quantile() -> None:
    slope = jax.jit(jax.grad(tw.tracy_widom_isf))(0.05)
    density = jax.jit(jax.grad(tw.tracy_widom_cdf))(ISF(0.05))
    assert float(slope) == pytest.approx(-1 / float(density), rel=1e-4)
