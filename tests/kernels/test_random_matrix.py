"""Bulk fits: false spikes as often as stated, planted spikes where theory puts them, and what must not break."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from spectra.kernels import random_matrix as rm
from spectra.kernels.status import FitStatus

JITTED, EDGE = jax.jit(rm.fit_bulk), jax.jit(rm.tracy_widom_edge)
CDF, THRESHOLD, SPIKE = (jax.jit(f) for f in (rm.mp_cdf, rm.spike_threshold, rm.spike_eigenvalue))
AT_ONCE, LONGEST = 100, 200  # one shape for nearly all tests: each would be compiled
LAWS: dict[str, Any] = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "signs": lambda rng, shape: rng.choice([-1.0, 1.0], shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
}


def fit_bulk(values: np.ndarray, n: int, m: int, kurtosis: Any = 0.0, level: float = 0.05, slices: int = 1) -> Any:
    """`fit_bulk` of one spectrum or a batch, padded."""
    batch = np.atleast_2d(values)
    kurtosis = np.broadcast_to(np.float32(kurtosis), batch.shape[:1])
    rows = -len(batch) % AT_ONCE
    padded = np.pad(batch, ((0, rows), (0, LONGEST - batch.shape[1])), constant_values=np.nan)
    kurtosis = np.pad(kurtosis, (0, rows))
    inside = np.arange(LONGEST) < batch.shape[1]
    fits = [
        JITTED(padded[i : i + AT_ONCE], n, m, inside, level, kurtosis[i : i + AT_ONCE], slices)
        for i in range(0, len(padded), AT_ONCE)
    ]
    together = rm.BulkFit(*(np.concatenate(fields)[: len(batch)] for fields in zip(*fits, strict=True)))
    return together if values.ndim > 1 else rm.BulkFit(*(field[0] for field in together))


def spectrum(w: np.ndarray) -> np.ndarray:
    return np.linalg.eigvalsh(np.swapaxes(w, -1, -2) @ w).astype(np.float32)


def kurtosis(w: np.ndarray) -> np.ndarray:
    return stats.kurtosis(w.reshape(*w.shape[:-2], -1), axis=-1).astype(np.float32)


def planted(rng: np.random.Generator, n: int, m: int, strengths: list[float]) -> np.ndarray:
    """Gaussian noise with signals of these strengths, in units of the threshold."""
    u, v = (np.linalg.qr(rng.standard_normal((size, len(strengths))))[0] for size in (n, m))
    return rng.standard_normal((n, m)) + (u * np.array(strengths) * (n * m) ** 0.25) @ v.T


def test_edge_of_a_known_variance() -> None:
    """Share of largest eigenvalues of Gaussian noise beyond it, within what chance allows and the limit law errs."""
    rng = np.random.default_rng(0)
    for n, m in [(100, 20), (40, 40)]:
        largest = spectrum(rng.standard_normal((2000, n, m)))[:, -1]
        for level in (0.1, 0.01):
            beyond = int(np.sum(largest > float(EDGE(1.0, n, m, level))))
            low, high = stats.binom.interval(0.999, 2000, level)
            assert 0.7 * low <= beyond <= 1.3 * high
    assert float(EDGE(0.25, 300, 100)) == pytest.approx(0.25 * float(EDGE(1.0, 300, 100)), rel=1e-6)
    assert float(EDGE(1.0, 300, 100)) == pytest.approx(float(EDGE(1.0, 100, 300)), rel=1e-6)


def test_edge_is_johnstones_for_large_matrices() -> None:
    n, m = 10**6, 250_000
    centre = (np.sqrt(n - 1) + np.sqrt(m)) ** 2
    scale = (np.sqrt(n - 1) + np.sqrt(m)) * (1 / np.sqrt(n - 1) + 1 / np.sqrt(m)) ** (1 / 3)
    with jax.enable_x64(True):
        edge = float(EDGE(1.0, np.float64(n), np.float64(m), 0.05))
    assert (edge - centre) / scale == pytest.approx(0.9793, abs=0.01)


# Shares of false spikes. benchmarks/false_spikes.py measures them with more matrices and more shapes.


@pytest.mark.parametrize(
    ("law", "n", "m"),
    [(law, n, m) for law in ("gaussian", "uniform") for n, m in [(10, 10), (500, 10), (50, 50)]]
    + [("signs", 50, 50), ("laplace", 50, 50), ("gaussian", 120, 120)],
)
def test_noise_has_spikes_as_often_as_stated(law: str, n: int, m: int) -> None:
    rng = np.random.default_rng([n, m])
    number = 1000 if n * m < 10_000 else 400
    w = LAWS[law](rng, (number, n, m))
    fit = fit_bulk(spectrum(w), n, m, kurtosis(w))
    beyond = int(np.sum(fit.num_spikes > 0))
    # A binomial number of a probability between 0.035 and 0.065: how exact the corrections are down to M = 10.
    low, high = stats.binom.ppf(0.0005, number, 0.035), stats.binom.ppf(0.9995, number, 0.065)
    assert low <= beyond <= high
    assert np.mean(fit.num_spikes) < 1.4 * high / number
    # The wrong kurtosis would be far off, so the interval says something.
    if (law, n) == ("laplace", 50):
        assert np.mean(fit_bulk(spectrum(w), n, m).num_spikes > 0) > 0.15


def test_level_is_for_all_slices_together() -> None:
    rng = np.random.default_rng(3)
    w = rng.standard_normal((600, 9, 60, 20))
    pooled = spectrum(w).reshape(600, -1)
    spikes = fit_bulk(pooled, 60, 20, slices=9).num_spikes
    low, high = stats.binom.ppf([0.0005, 0.9995], 600, [0.035, 0.065])
    assert low <= np.sum(spikes > 0) <= high


def test_variance_is_unbiased_in_noise() -> None:
    rng = np.random.default_rng(4)
    for n, m in [(10, 10), (50, 50), (500, 10)]:
        fit = fit_bulk(spectrum(0.3 * rng.standard_normal((400, n, m))), n, m)
        error = 0.09 * (2 / (n * m) / 400) ** 0.5
        assert float(np.mean(fit.variance)) == pytest.approx(0.09, abs=4 * error + 1e-3 * 0.09)


@pytest.mark.parametrize(("n", "m"), [(200, 200), (900, 100)])
def test_planted_spikes_are_found_where_theory_puts_them(n: int, m: int) -> None:
    rng = np.random.default_rng([n, 1])
    strong = spectrum(np.stack([planted(rng, n, m, [3.0, 2.0]) for _ in range(20)]))
    fit = fit_bulk(strong, n, m)
    assert np.mean(fit.num_spikes == 2) >= 0.8
    threshold = float(THRESHOLD(1.0, n, m))
    assert threshold == pytest.approx((n * m) ** 0.25)
    for place, strength in ((-1, 3.0), (-2, 2.0)):
        wanted = float(SPIKE(strength * threshold, 1.0, n, m))
        scatter = float(strong[:, place].std()) / 20**0.5
        assert float(strong[:, place].mean()) == pytest.approx(wanted, abs=4 * scatter + 0.01 * wanted)
    assert float(np.mean(fit.variance)) == pytest.approx(1, abs=0.01)

    weak = spectrum(np.stack([planted(rng, n, m, [0.5]) for _ in range(40)]))
    assert np.sum(fit_bulk(weak, n, m).num_spikes > 0) <= stats.binom.ppf(0.9995, 40, 0.065)
    edge = float(SPIKE(0.5 * threshold, 1.0, n, m))
    assert edge == pytest.approx((n**0.5 + m**0.5) ** 2)
    assert float(weak[:, -1].mean()) == pytest.approx(edge, rel=0.03)


def test_equal_spikes_do_not_hide_each_other() -> None:
    """Forty-eight signals in a hundred raise the mean so far that none stands out of all the rest."""
    rng = np.random.default_rng(7)
    values = spectrum(planted(rng, 200, 100, [5.0] * 48))
    assert values[-1] < float(EDGE(float(values.mean()) / 200, 200, 100))
    fit = fit_bulk(values, 200, 100)
    assert int(fit.num_spikes) == 48
    assert float(fit.variance) == pytest.approx(1, abs=0.1)
    assert float(fit.ks) < 0.1


def test_heavy_entries_do_not_break_the_fit() -> None:
    """One huge entry is a spike of its own and leaves the bulk alone, though it makes the kurtosis enormous."""
    rng = np.random.default_rng(8)
    w = rng.standard_normal((200, 100))
    w[3, 4] = 2000
    fit = fit_bulk(spectrum(w), 200, 100, kurtosis(w))
    assert int(fit.num_spikes) == 1
    assert float(fit.variance) == pytest.approx(1, abs=0.05)


def test_fields_are_what_they_say() -> None:
    rng = np.random.default_rng(12)
    n, m = 120, 60
    values = spectrum(0.5 * planted(rng, n, m, [3.0]))
    fit = fit_bulk(values, n, m)
    variance = float(fit.variance)
    assert variance == pytest.approx(values[:-1].sum(dtype=np.float64) / ((n - 1) * (m - 1)), rel=1e-5)
    assert float(fit.lambda_plus) == pytest.approx(variance * (n**0.5 + m**0.5) ** 2, rel=1e-5)
    assert float(fit.lambda_minus) == pytest.approx(variance * (n**0.5 - m**0.5) ** 2, rel=1e-5)
    assert float(fit.softrank) == pytest.approx(float(fit.lambda_plus) / values[-1], rel=1e-5)
    assert int(fit.num_spikes) == np.sum(values > float(fit.edge)) == 1
    law = stats.kstest(values[:-1], lambda x: np.asarray(CDF(x.astype(np.float32), variance, n - 1, m - 1)))
    assert float(fit.ks) == pytest.approx(law.statistic, abs=1e-4)
    scaled = fit_bulk(values * np.float32(2.0**40), n, m)
    assert float(scaled.variance) == variance * 2.0**40 and int(scaled.num_spikes) == 1


def test_masks_order_and_batches() -> None:
    rng = np.random.default_rng(10)
    values = spectrum(planted(rng, 90, 30, [3.0, 2.5]))
    plain = fit_bulk(values, 90, 30)
    keep = rng.permutation(LONGEST) < 30
    scattered = np.full(LONGEST, -np.inf, np.float32)
    scattered[keep] = rng.permutation(values)
    dimensions = np.full((2, 1), 90), np.full((2, 1), 30)
    both = JITTED(np.stack([scattered, 4 * scattered])[:, None], *dimensions, keep)
    for place, factor in enumerate((1, 4)):
        for got, want, size in zip(both, plain, rm.BulkFit(factor, factor, factor, factor, 1, 1, 1, 1), strict=True):
            np.testing.assert_allclose(got[place, 0], want * size, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "n", "m", "status", "spikes"),
    [
        ([0.0, 0.0, 0.0, 100.0], 9, 4, FitStatus.NO_SPREAD, 0),  # a constant matrix: one spike, and no bulk behind it
        ([0.0, 0.0, 0.0, 0.0], 9, 4, FitStatus.NO_SPREAD, 0),
        ([1.0, np.nan, 2.0, 3.0], 9, 4, FitStatus.NOT_FINITE, 0),
        ([1.0, np.inf, 2.0, 3.0], 9, 4, FitStatus.NOT_FINITE, 0),
        ([3.0], 9, 1, FitStatus.TOO_FEW, 0),
        ([1.0, 1.0, 1.0, 1.0], 9, 4, FitStatus.OK, 0),  # orthogonal: far from the law, but no spike
        ([1.0, 1.0, 1.0, 1.0], 10**9, 4, FitStatus.OK, 0),  # the bulk is a line
        ([1.0, 1.0, 1.0, 1.1], 10**9, 4, FitStatus.OK, 1),
        ([1.0, 2.0], 2, 2, FitStatus.OK, 0),
    ],
)
def test_degenerate_spectra(values: list[float], n: int, m: int, status: FitStatus, spikes: int) -> None:
    fit = fit_bulk(np.array(values, np.float32), n, m)
    assert FitStatus(int(fit.status)) is status
    assert int(fit.num_spikes) == spikes
    numbers = np.array([fit.variance, fit.lambda_minus, fit.lambda_plus, fit.edge, fit.ks, fit.softrank])
    assert np.isfinite(numbers).all() if status is FitStatus.OK else np.isnan(numbers).all()


def test_variance_has_a_gradient() -> None:
    rng = np.random.default_rng(11)
    values = spectrum(planted(rng, 90, 30, [3.0]))
    gradient = jax.jit(jax.grad(lambda x: rm.fit_bulk(x, 90, 30).variance))(values)
    np.testing.assert_allclose(gradient, np.where(np.arange(30) < 29, 1 / (89 * 29), 0), atol=1e-8)


def test_lowers_for_every_platform() -> None:
    x = jax.ShapeDtypeStruct((3, 40), jnp.float32)
    for platforms in (["cpu", "cuda", "rocm", "tpu"], ["tpu"]):
        jax.export.export(JITTED, platforms=platforms)(x, 90.0, 40.0)


def test_float64_stays_float64() -> None:
    values = np.linspace(1, 3, 30)
    with jax.enable_x64(True):
        fit = JITTED(values, 60, 30)
        assert all(np.asarray(field).dtype == np.float64 for field in fit if np.asarray(field).dtype.kind == "f")
