"""The permutation null: nothing but places changes, the law is uniform, and each statistic is what it says."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from spectra.kernels.permutation import compare_with_null, permutation_null, permute_entries, permuted_eigenvalues
from spectra.kernels.random_matrix import fit_bulk

KEY = jax.random.key(0)
PERMUTE, JITTED = jax.jit(permute_entries), jax.jit(compare_with_null)
NULL, SPECTRA = (jax.jit(f, static_argnames="n") for f in (permutation_null, permuted_eigenvalues))
FIT = jax.jit(fit_bulk)


def compare(real: np.ndarray, null: np.ndarray, n: int, m: int, keep: Any = True, kurtosis: float = 0.0) -> Any:
    """`compare_with_null`, always of four permutations of fifty values: one program."""
    return JITTED(real, null, n, m, np.broadcast_to(keep, 50), 0.05, float(kurtosis))


def noise(m: int, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((m, n)).astype(np.float32)


def largest_permuted(w: np.ndarray) -> float:
    """Mean of the largest eigenvalues of the four permutations that `NULL` makes."""
    permuted = [PERMUTE(w, jax.random.fold_in(KEY, i)) for i in range(4)]
    return float(np.mean(np.linalg.norm(permuted, 2, axis=(1, 2)) ** 2))


def test_entries_are_kept_and_places_change() -> None:
    w = noise(200, 100)
    permuted = np.asarray(PERMUTE(w, KEY))
    np.testing.assert_array_equal(np.sort(permuted, axis=None), np.sort(w, axis=None))
    assert np.mean(permuted == w) < 0.01
    np.testing.assert_array_equal(PERMUTE(w, KEY), permuted)
    assert np.any(PERMUTE(w, jax.random.key(1)) != permuted)


@pytest.mark.parametrize("masked", [False, True])
def test_every_permutation_is_equally_likely(masked: bool) -> None:
    """All 720 orders of six entries, 36,000 draws: χ²."""
    w = np.full((3, 4), np.nan, np.float32) if masked else np.zeros((2, 3), np.float32)
    mask = (np.arange(3)[:, None] > 0) & (np.arange(4) < 3) if masked else np.ones((2, 3), bool)
    w[mask] = np.arange(6)
    keys = jax.random.split(jax.random.key(5), 36_000)
    where = mask if masked else None
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: permute_entries(w, key, where)))(keys))
    np.testing.assert_array_equal(drawn[:, ~mask], 0)
    orders, counts = np.unique(drawn[:, mask], axis=0, return_counts=True)
    assert len(orders) == 720
    assert stats.chisquare(counts).pvalue > 1e-4


def test_padding_stays_outside_and_more_permutations_only_add_rows() -> None:
    w = noise(40, 20)
    mask = (np.arange(48) < 40)[:, None] & (np.arange(25) < 20)
    padded = np.full((48, 25), np.inf, np.float32)
    padded[:40, :20] = w
    permuted = [np.asarray(PERMUTE(padded, jax.random.fold_in(KEY, i), mask)) for i in range(4)]
    for matrix in permuted:
        np.testing.assert_array_equal(np.sort(matrix[mask]), np.sort(w, axis=None))
        np.testing.assert_array_equal(matrix[~mask], 0)
    direct = np.linalg.svd([matrix[:40, :20] for matrix in permuted], compute_uv=False)[:, ::-1] ** 2

    values = np.asarray(SPECTRA(padded, KEY, 2, where=mask))
    np.testing.assert_array_equal(values[:, :5], 0)
    np.testing.assert_allclose(values[:, 5:], direct[:2], rtol=1e-4)
    assert np.all(np.diff(values, axis=1) >= 0)
    np.testing.assert_allclose(values.sum(axis=1), np.sum(w**2), rtol=1e-5)

    got = NULL(padded, KEY, 4, where=mask)
    real = np.linalg.svd(w, compute_uv=False)[::-1] ** 2
    kurtosis = stats.kurtosis(w, axis=None)
    wanted = compare(np.pad(real, (30, 0)), np.pad(direct, ((0, 0), (30, 0))), 40, 20, np.arange(50) >= 30, kurtosis)
    for field, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(field, other, rtol=1e-4)


def test_signal_is_lost_and_noise_is_not() -> None:
    w = noise(200, 100)
    rng = np.random.default_rng(1)
    signal = w + 2 * np.outer(rng.standard_normal(200), rng.standard_normal(100)).astype(np.float32)
    null = NULL(w, KEY, 4)
    assert float(null.softrank) == pytest.approx(1, abs=0.1)
    assert float(null.w1_distance) < 0.02
    assert float(null.max_rand_eval) == pytest.approx(largest_permuted(w), rel=1e-4)
    learned = NULL(signal, KEY, 4)
    assert float(learned.softrank) < 0.1
    assert float(learned.w1_distance) > 0.5
    assert int(learned.num_spikes) == 0
    trapped = w.copy()
    trapped[7, 9] = 100
    trap = NULL(trapped, KEY, 4)
    assert int(trap.num_spikes) == 1
    assert float(trap.max_rand_eval) == pytest.approx(1e4, rel=0.05) and float(trap.bulk_edge) < 1000


def test_statistics_are_what_they_say() -> None:
    rng = np.random.default_rng(2)
    real, null = rng.gamma(1.0, 3.0, 50).astype(np.float32), rng.gamma(9.0, 0.3, (4, 50)).astype(np.float32)
    got = compare(real, null, 80, 50)
    largest = null.max(axis=1).mean()
    assert float(got.max_rand_eval) == pytest.approx(largest, rel=1e-6)
    assert float(got.softrank) == pytest.approx(largest / real.max(), rel=1e-6)
    assert float(got.maxdist) == pytest.approx(real.max() - largest, rel=1e-5)
    distance = stats.wasserstein_distance(real, null.ravel())
    assert float(got.w1_distance) == pytest.approx(distance / real.mean(), rel=1e-5)
    fits = FIT(null, 80, 50)
    assert int(got.num_spikes) == sorted(np.asarray(fits.num_spikes))[1]
    assert float(got.bulk_edge) == pytest.approx(float(np.mean(fits.edge)), rel=1e-5)


def test_masked_places_do_not_count() -> None:
    rng = np.random.default_rng(4)
    real, null = rng.gamma(1.0, 3.0, 20).astype(np.float32), rng.gamma(9.0, 0.3, (4, 20)).astype(np.float32)
    keep = rng.permutation(50) < 20
    scattered, rows = np.full(50, np.nan, np.float32), np.full((4, 50), np.inf, np.float32)
    scattered[keep], rows[:, keep] = real, null
    behind = np.pad(real, (30, 0)), np.pad(null, ((0, 0), (30, 0)))
    wanted = compare(*behind, 80, 20, np.arange(50) >= 30)
    for field, other in zip(compare(scattered, rows, 80, 20, keep), wanted, strict=True):
        np.testing.assert_allclose(field, other, rtol=1e-5)


def test_distance_of_a_scaled_spectrum() -> None:
    """λ and 3λ: ∫|F − G| is twice the mean."""
    real = np.random.default_rng(3).gamma(2.0, 1.0, 50).astype(np.float32)
    assert float(compare(real, np.stack([3 * real] * 4), 80, 50).w1_distance) == pytest.approx(2, rel=1e-5)
    assert float(compare(real, np.stack([real] * 4), 80, 50).w1_distance) == 0


def test_zero_and_bad_spectra() -> None:
    zero = compare(np.zeros(50, np.float32), np.zeros((4, 50), np.float32), 80, 50)
    assert float(zero.softrank) == 1 and float(zero.maxdist) == 0 and float(zero.w1_distance) == 0
    assert int(zero.num_spikes) == 0 and np.isnan(zero.bulk_edge)
    bad = np.ones((4, 50), np.float32)
    bad[1, 3] = np.nan
    got = compare(np.ones(50, np.float32), bad, 80, 50)
    assert np.isnan([got.max_rand_eval, got.softrank, got.maxdist, got.w1_distance]).all()
    constant = NULL(np.full((200, 100), 2, np.float32), KEY, 4)
    assert float(constant.softrank) == pytest.approx(1) and int(constant.num_spikes) == 0


def test_lowers_for_every_platform() -> None:
    w = jax.ShapeDtypeStruct((20, 12), jnp.bfloat16)
    where = jax.ShapeDtypeStruct((20, 12), bool)
    key = jax.eval_shape(lambda: jax.random.key(0))
    for masks in ({}, {"where": where}):
        jax.export.export(NULL, platforms=["cpu", "cuda", "rocm", "tpu"])(w, key, n=2, **masks)
