"""Bootstraps of the fit: replicates against an independent NumPy bootstrap, and the calibration of what they tell.

Random tests have fixed seeds. Where a threshold is statistical, the chance that a right program fails it for a random
seed is given.
"""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import LONG_LOOPS
from scipy import stats

from spectra.kernels import bootstrap, fit_power_law
from spectra.kernels.bootstrap import (
    FitIntervals,
    GoodnessOfFit,
    fit_intervals,
    goodness_and_intervals,
    goodness_from,
    goodness_of_fit,
    intervals_from,
    percentiles,
)
from spectra.kernels.power_law import PowerLawFit
from spectra.kernels.replicates import (
    Replicates,
    _fit_searched,
    _Sample,
    _semi_parametric,
    _sorted_indices,
    fit_replicates,
    split_keys,
)
from spectra.kernels.status import FitStatus

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
ROWS, SIZE, REPLICATES = 30, 60, 100
"""Samples, values that each has room for, and replicates of each. One shape, for each costs seconds of compilation."""

FIT = jax.jit(fit_power_law, compiler_options=LONG_LOOPS)
INTERVALS = jax.jit(intervals_from, static_argnums=2)
PERCENTILES = jax.jit(percentiles, static_argnums=1)


@partial(jax.jit, compiler_options=LONG_LOOPS)
def replicated(
    x: Any, fit: PowerLawFit, key: Any, where: Any, resampled: Any = False
) -> tuple[Replicates, GoodnessOfFit, FitIntervals]:
    """Replicates of a batch, and what is made of them."""
    replicates = fit_replicates(x, fit, key, REPLICATES, where, resampled=resampled)
    return replicates, goodness_from(fit, replicates), intervals_from(fit, replicates)


@jax.jit
def alone(x: Any, fit: PowerLawFit, key: Any, where: Any) -> Replicates:
    """31 replicates of one sample of 90 values in five chunks of seven, which are four too many."""
    return fit_replicates(x, fit, key, 31, where, at_once=90 * 7)


@partial(jax.jit, compiler_options=LONG_LOOPS)
def at_given_xmin(x: Any, key: Any, where: Any, xmin: Any) -> tuple[PowerLawFit, Replicates, GoodnessOfFit]:
    fit = fit_power_law(x, where, xmin)
    replicates = fit_replicates(x, fit, key, REPLICATES, where, search=False)
    return fit, replicates, goodness_from(fit, replicates)


def whole(x: Any, key: Any, where: Any) -> tuple[PowerLawFit, Replicates, GoodnessOfFit, FitIntervals]:
    """All that there is, for shapes and lowering."""
    fit = fit_power_law(x, where)
    replicates = fit_replicates(x, fit, key, 9, where)
    return fit, replicates, goodness_from(fit, replicates), intervals_from(fit, replicates)


def padded(x: Any, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A sample with NaN behind it, and its mask."""
    x = np.asarray(x)
    return np.append(x, np.full(size - x.size, np.nan, x.dtype)), np.arange(size) < x.size


def batch(
    x: Any, seed: int, where: Any = True, resampled: bool = False
) -> tuple[PowerLawFit, Replicates, GoodnessOfFit, FitIntervals]:
    """100 replicates of each of 30 samples, as NumPy arrays."""
    mask = np.broadcast_to(where, x.shape)
    fit = FIT(x, mask)
    return jax.tree.map(np.asarray, (fit, *replicated(x, fit, jax.random.key(seed), mask, np.bool_(resampled))))


def bootstrapped(
    x: Any, seed: int, resampled: bool = False
) -> tuple[PowerLawFit, Replicates, GoodnessOfFit, FitIntervals]:
    """3,000 replicates of one sample: the same in all rows, of which each has a key of its own."""
    sample, where = padded(np.asarray(x, np.float32))
    return batch(np.tile(sample, (ROWS, 1)), seed, where, resampled)


def keys_of(seed: int) -> jax.Array:
    """The key of each row."""
    return jax.random.split(jax.random.key(seed), ROWS)


def with_body(rng: np.random.Generator, size: tuple[int, ...], alpha: float = 2.5, share: float = 0.5) -> np.ndarray:
    """Uniform below 1, and a power law for `share` of the values above."""
    u = 1 - rng.random(size)
    return np.where(rng.random(size) < share, u ** (-1 / (alpha - 1)), u).astype(np.float32)


def no_fit(batch: tuple[int, ...]) -> PowerLawFit:
    """Something of the right shape, where the numbers do not matter."""
    return PowerLawFit(*(np.full(batch, np.nan, np.float32),) * 4, *(np.ones(batch, np.int32),) * 2)


# against NumPy


def reference_fit(x: np.ndarray) -> tuple[float, float, float]:
    """alpha, xmin and D in float64, all candidates × all distinct values at once."""
    values, counts = np.unique(x.astype(np.float64), return_counts=True)
    in_tail = values >= values[:-1, None]
    logs = np.log(np.where(in_tail, values / values[:-1, None], 1))
    sizes = np.cumsum(counts[::-1])[::-1][:-1]
    slopes = sizes / np.sum(counts * logs, axis=1, where=in_tail)
    below = np.cumsum(counts) - counts
    share = (below - below[:-1, None]) / sizes[:, None]
    distances = np.max(np.abs(1 - np.exp(-slopes[:, None] * logs) - share), axis=1, where=in_tail, initial=0)
    best = np.argmin(distances)
    return 1 + slopes[best], values[best], distances[best]


def reference_replicates(x: np.ndarray, n: int, seed: int) -> np.ndarray:
    """The recipe of Clauset et al., word for word; rows alpha, xmin, D."""
    rng = np.random.default_rng(seed)
    alpha, xmin, _ = reference_fit(x)
    body, found = x[x < xmin].astype(np.float64), []
    for _ in range(n):
        in_tail = rng.random(x.size) < np.mean(x >= xmin)
        tail = xmin * (1 - rng.random(x.size)) ** (-1 / (alpha - 1))
        found.append(reference_fit(np.where(in_tail, tail, rng.choice(body, x.size) if body.size else tail)))
    return np.array(found).T


def reference_resamples(x: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Fits of samples drawn from the sample; rows alpha, xmin, D."""
    rng = np.random.default_rng(seed)
    return np.array([reference_fit(rng.choice(x, x.size)) for _ in range(n)]).T


def samples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "power law with body": with_body(rng, (SIZE,)),
        "exponential": rng.exponential(size=SIZE).astype(np.float32),
        "power law alone": (rng.pareto(1.5, SIZE) + 1).astype(np.float32),
        "ties": np.round(1 + rng.pareto(1, SIZE), 0).astype(np.float32),
    }


@pytest.mark.parametrize("name", samples())
def test_replicates_are_distributed_as_those_of_numpy(name: str) -> None:
    """Two-sample KS tests of alpha, xmin and D: a right program fails one of twelve with a chance of 1 %."""
    x = samples()[name]
    _, got, goodness, _ = bootstrapped(x, 2)
    want = reference_replicates(x, 1000, 3)
    for ours, theirs in zip((got.alpha, got.xmin, got.ks), want, strict=True):
        assert stats.ks_2samp(np.ravel(ours).astype(np.float64), theirs).pvalue > 1e-3
    p = np.mean(want[2] >= reference_fit(x)[2])
    assert np.mean(goodness.p) == pytest.approx(p, abs=4 * np.sqrt(max(p * (1 - p), 0.01) * (1 / 1000 + 1 / 3000)))


@pytest.mark.parametrize("name", ["power law with body", "ties"])
def test_resampled_replicates_are_distributed_as_those_of_numpy(name: str) -> None:
    """As above; a right program fails one of six with a chance of 0.6 %."""
    x = samples()[name]
    got = bootstrapped(x, 2, resampled=True)[1]
    for ours, theirs in zip((got.alpha, got.xmin, got.ks), reference_resamples(x, 1000, 3), strict=True):
        assert stats.ks_2samp(np.ravel(ours).astype(np.float64), np.float32(theirs)).pvalue > 1e-3


@partial(jax.jit, compiler_options=LONG_LOOPS)
def draw_and_fit(sample: Any, keys: jax.Array) -> Any:
    def one(key: jax.Array) -> Any:
        draws = _semi_parametric(sample, key)
        return draws, _fit_searched(sample, draws)

    return jax.vmap(one)(keys)


def drawn(x: np.ndarray, alpha: float, xmin: float, seed: int, border: float | None = None) -> tuple[np.ndarray, Any]:
    """4,200 replicates as values, and their fits."""
    sample = _Sample(np.sort(x), jnp.int32(x.size), *(jnp.float32(a) for a in (alpha, xmin, border or xmin)))
    draws, found = draw_and_fit(sample, jax.random.split(jax.random.key(seed), 140 * ROWS))
    values, excess = (np.asarray(field, np.float64) for field in draws)
    return values * np.exp(np.cumsum(excess, axis=1)), found


def test_a_replicate_is_fitted_as_fit_power_law_fits_its_values() -> None:
    values, found = drawn(with_body(np.random.default_rng(0), (SIZE,)), 2.4, 1.1, 0)
    parts = [FIT(part, np.ones((ROWS, SIZE), bool)) for part in values.astype(np.float32).reshape(-1, ROWS, SIZE)]
    want = jax.tree.map(lambda *fields: np.concatenate(fields), *parts)
    np.testing.assert_allclose(found.ks, want.ks, atol=3e-6)
    same = np.isclose(found.xmin, want.xmin, rtol=1e-6)  # rounding may decide between candidates of equal distance
    assert same.mean() > 0.98
    np.testing.assert_allclose(np.asarray(found.alpha)[same], np.asarray(want.alpha)[same], rtol=1e-5)


def test_values_of_replicates() -> None:
    """Sorted; a binomial number below xmin, each of them of the sample, all alike; above xmin the power law.

    A right program fails with a chance of 0.4 %.
    """
    x = with_body(np.random.default_rng(5), (SIZE,))
    xmin = float(np.sort(x)[20])
    values, _ = drawn(x, 2.2, xmin, 1)
    assert (np.diff(values, axis=1) >= 0).all()
    below = np.sum(values < xmin, axis=1)
    assert stats.chisquare(*binned(below, stats.binom(SIZE, 1 / 3))).pvalue > 1e-3
    kinds, counts = np.unique(values[values < xmin], return_counts=True)
    np.testing.assert_array_equal(kinds, np.sort(x)[:20])
    assert stats.chisquare(counts).pvalue > 1e-3
    tail = values[values >= xmin] / xmin
    assert stats.kstest(tail, stats.pareto(1.2).cdf).pvalue > 1e-3
    # Order statistics, too: the largest value of each replicate, given how many are in its tail.
    largest = stats.pareto(1.2).cdf(values[:, -1] / xmin) ** (SIZE - below)
    assert stats.kstest(largest, "uniform").pvalue > 1e-3


def test_values_of_resampled_replicates() -> None:
    """Sorted, as many as the sample has, and all of its values alike, though not of one replicate."""
    x = with_body(np.random.default_rng(5), (SIZE,))
    values, _ = drawn(x, 2.2, float(np.sort(x)[20]), 1, border=np.inf)
    assert values.shape[1] == SIZE and (np.diff(values, axis=1) >= 0).all()
    kinds, counts = np.unique(values, return_counts=True)
    np.testing.assert_array_equal(kinds, np.sort(x))
    assert stats.chisquare(counts).pvalue > 1e-3
    missing = np.array([SIZE - np.unique(row).size for row in values])
    assert missing.mean() == pytest.approx(SIZE * (1 - 1 / SIZE) ** SIZE, rel=0.01)


def binned(counts: np.ndarray, law: Any) -> tuple[np.ndarray, np.ndarray]:
    """Observed and expected numbers in cells of about equal probability."""
    edges = np.unique(law.ppf(np.linspace(0, 1, 11)[1:-1]))
    probability = np.diff(np.concatenate([[0], law.cdf(edges), [1]]))
    return np.bincount(np.searchsorted(edges, counts), minlength=probability.size), probability * counts.size


@pytest.mark.parametrize("choices", [1_000_000, 37])
def test_a_million_sorted_indices(choices: int) -> None:
    """float32 sums of a million terms still draw uniformly; a right program fails with a chance of 0.2 %."""
    size = 1_000_000
    spacing = jax.random.exponential(jax.random.key(0), (size + 1,))
    index = np.asarray(jax.jit(_sorted_indices)(spacing, spacing[size], jnp.int32(size), jnp.int32(choices)))
    # The rounding of the sums may put neighbours in the wrong order, one apart, which the search takes for a tie.
    assert np.diff(index).min() >= -1
    assert np.mean(np.diff(index) < 0) < 1e-3
    assert index.min() >= 0
    assert index.max() < choices
    counts = np.bincount(index, minlength=choices)
    if choices == 37:
        assert stats.chisquare(counts).pvalue > 1e-3
    else:
        assert stats.kstest((index + 0.5) / size, "uniform").pvalue > 1e-3
        assert np.mean(counts == 0) == pytest.approx(np.exp(-1), abs=0.003)
        assert np.var(counts) == pytest.approx(1, abs=0.01)


# what a result may depend on


def test_neither_padding_nor_chunks_nor_number_change_the_replicates() -> None:
    """Nor do zeros and negative values, which lie outside every power law."""
    x = with_body(np.random.default_rng(6), (50,))
    fit, want, *_ = bootstrapped(x, 3)
    longer, where = np.full(90, np.nan, np.float32), np.random.default_rng(7).permutation(90) < 50
    longer[where] = x
    mixed = np.append(x, np.array([0, -1, -3, 0] * 10, np.float32))
    for sample, mask in ((longer, where), (mixed, np.ones(90, bool))):
        got = alone(sample, PowerLawFit(*(field[0] for field in fit)), keys_of(3)[0], mask)
        assert got.ks.shape == (31,)
        for ours, theirs in zip(got[:3], want[:3], strict=True):
            np.testing.assert_allclose(ours, theirs[0, :31], rtol=1e-5)


def test_the_key_decides() -> None:
    x = with_body(np.random.default_rng(8), (SIZE,))
    first, again, other = (bootstrapped(x, seed)[1].ks.ravel()[:1000] for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other, atol=1e-7).any()
    assert np.unique(first).size > 990


def test_a_batch_is_as_its_samples_with_a_key_each() -> None:
    x = with_body(np.random.default_rng(9), (ROWS, SIZE))
    x[2] = x[0]
    fit, got, *_ = batch(x, 6)
    for i in (0, 2, ROWS - 1):
        sample, where = padded(x[i], 90)
        want = alone(sample, PowerLawFit(*(field[i] for field in fit)), keys_of(6)[i], where)
        np.testing.assert_allclose(got.ks[i, :31], want.ks, atol=1e-6)
        np.testing.assert_allclose(got.alpha[i, :31], want.alpha, rtol=1e-5)
    assert not np.isclose(got.ks[0], got.ks[2], atol=1e-7).any()
    shapes = jax.eval_shape(whole, jnp.ones((2, 3, 5)), jax.random.key(0), jnp.ones(5, bool))
    assert shapes[1].ks.shape == (2, 3, 9)
    assert shapes[2].p.shape == shapes[3].alpha_low.shape == (2, 3)


def test_split_keys() -> None:
    """One for each sample: split, or as given; of the new kind and the old."""
    data = jax.random.key_data
    key, batch = jax.random.key(6), jax.random.split(jax.random.key(6), (2, 3))
    np.testing.assert_array_equal(data(split_keys(key, ())), data(key))
    np.testing.assert_array_equal(data(split_keys(key, (2, 3))), data(batch))
    np.testing.assert_array_equal(data(split_keys(batch, (2, 3))), data(batch))
    np.testing.assert_array_equal(data(split_keys(jax.random.PRNGKey(6), (2, 3))), data(batch))
    np.testing.assert_array_equal(data(split_keys(data(batch), (2, 3))), data(batch))
    for shape in ((2,), (3, 2), ()):
        with pytest.raises(ValueError, match="keys of the batch shape"):
            split_keys(batch, shape)


def test_other_units_change_nothing_but_xmin() -> None:
    x = with_body(np.random.default_rng(10), (SIZE,))
    want = bootstrapped(x, 7)[1]
    for exponent in (-100, 100):
        got = bootstrapped(np.ldexp(x, exponent), 7)[1]
        np.testing.assert_array_equal(got.ks, want.ks)
        np.testing.assert_array_equal(got.alpha, want.alpha)
        np.testing.assert_allclose(np.ldexp(got.xmin, -exponent), want.xmin, rtol=1e-6)


def test_float64_and_values_beyond_the_range_of_floats() -> None:
    """With alpha = 1.02 a replicate has values of 10^100 and more, of which float32 needs the logarithms only."""
    x = 10.0 ** np.random.default_rng(11).uniform(-35, 35, SIZE)
    single = bootstrapped(x, 8)
    alpha, xmin, ks = (np.full(ROWS, field) for field in reference_fit(x))
    fit = PowerLawFit(alpha, xmin, ks, ks, *(np.zeros(ROWS, np.int32),) * 2)
    with jax.enable_x64(True):
        double = replicated(np.tile(x, (ROWS, 1)), fit, jax.random.key(8), np.ones((ROWS, SIZE), bool))
        assert double[0].ks.dtype == double[1].p.dtype == double[2].alpha_low.dtype == jnp.float64
    assert single[1].ks.dtype == jnp.float32
    assert np.isfinite(single[1].ks).all()
    assert (single[0].alpha < 1.1).all()
    # float64 draws other numbers.
    assert stats.ks_2samp(np.ravel(single[1].ks), np.ravel(double[0].ks)).pvalue > 1e-3
    assert stats.ks_2samp(np.ravel(single[1].alpha), np.ravel(double[0].alpha)).pvalue > 1e-3


# definitions


def test_p_is_the_share_of_distances_as_large_as_the_sample_s() -> None:
    ks = jnp.array([[0.1, 0.2, 0.3, 0.4], [0.1, jnp.nan, 0.3, 0.2], [jnp.nan] * 4], jnp.float32)
    replicates = Replicates(ks, ks, ks, jnp.array([0, 0, 1], jnp.int32))
    fit = PowerLawFit(*(jnp.array([0.2, 0.3, jnp.nan], jnp.float32),) * 4, *(jnp.array([0, 0, 1], jnp.int32),) * 2)
    got = jax.jit(goodness_from)(fit, replicates)
    np.testing.assert_allclose(got.p, [0.75, 1 / 3, np.nan], rtol=1e-6)
    np.testing.assert_allclose(got.error, [(0.75 * 0.25 / 4) ** 0.5, (2 / 27) ** 0.5, np.nan], rtol=1e-6)
    assert got.num_replicates.tolist() == [4, 3, 0]
    assert got.status.tolist() == [0, 0, 1]


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_percentiles(level: float) -> None:
    alpha, xmin = np.random.default_rng(0).random((2, 3, 101)).astype(np.float32)
    alpha[1, :50] = xmin[1, :50] = np.nan
    got = PERCENTILES(Replicates(alpha, xmin, xmin, np.zeros(3, np.int32)), level)
    for low, high, values in ((got.alpha_low, got.alpha_high, alpha), (got.xmin_low, got.xmin_high, xmin)):
        want = np.nanpercentile(values, [50 - 50 * level, 50 + 50 * level], axis=-1)
        np.testing.assert_allclose([low, high], want, rtol=1e-5)


@pytest.mark.parametrize(("level", "few", "more"), [(0.95, 0.006, 0.001), (0.99, 0.008, 0.0025)])
def test_the_interval_of_alpha_holds_the_exact_one_for_the_xmin_found(level: float, few: float, more: float) -> None:
    """On a side each, and on both; with errors in χ² that are small against the interval, for few points and more."""
    n = np.array([2, 3, 5, 8, 50, 10**7])
    fit = no_fit(n.shape)._replace(alpha=np.full(n.size, 3, np.float32), n_tail=n, status=np.zeros(n.size, np.int32))
    want = 1 + 2 * stats.chi2(2 * n - 2).ppf(np.array([[(1 - level) / 2], [(1 + level) / 2]])) / (2 * n)
    length = want[1] - want[0]
    within = np.where(n < 8, few, more) * length + 1e-6
    for low, high in ((3, 3), (1, 3), (3, 100), (1, 100)):
        alpha = np.tile(np.linspace(low, high, 1001, dtype=np.float32), (n.size, 1))
        replicates = Replicates(alpha, alpha, alpha, fit.status)
        alone, got = PERCENTILES(replicates, level), INTERVALS(fit, replicates, level)
        assert (np.abs(got.alpha_low - np.minimum(want[0], alone.alpha_low)) <= within).all()
        assert (np.abs(got.alpha_high - np.maximum(want[1], alone.alpha_high)) <= within).all()
        np.testing.assert_array_equal(got[2:], alone[2:])


def test_whole_functions_pass_on_what_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    x, key, where = np.ones((3, 5), np.float32), jax.random.key(0), np.ones(5, bool)
    ks = np.random.default_rng(0).random((3, 101)).astype(np.float32)
    replicates = Replicates(ks + 1, ks, ks, np.zeros(3, np.int32))
    fit = no_fit((3,))._replace(alpha=ks[:, 5] + 1, ks=ks[:, 3], n_tail=np.array([3, 40, 500]))
    seen = []
    monkeypatch.setattr(
        bootstrap, "fit_replicates", lambda *given, resampled=False: (seen.append((*given, resampled)), replicates)[1]
    )
    # By programs that nobody else will call.
    p = jax.jit(lambda: goodness_of_fit.__wrapped__(x, fit, key, 7, where, False, 9))()
    intervals = jax.jit(lambda: fit_intervals.__wrapped__(x, fit, key, 7, where, 0.5, True, 9))()
    for given, (search, resampled) in zip(seen, [(False, False), (True, True)], strict=True):
        assert all(a is b for a, b in zip(given, (x, fit, key, 7, where, search, 9, resampled), strict=True))
    np.testing.assert_array_equal(p.p, jax.jit(lambda: goodness_from(fit, replicates))().p)
    np.testing.assert_array_equal(
        intervals.alpha_low, jax.jit(lambda: intervals_from(fit, replicates, 0.5))().alpha_low
    )
    assert np.isfinite([p.p, *intervals[:4]]).all()


def test_both_by_one_program_are_each_from_its_own_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (3,)
    x, where = np.ones((*shape, 5), np.float32), np.ones(5, bool)
    ks = np.random.default_rng(0).random((2, *shape, 101)).astype(np.float32)
    fit = no_fit(shape)._replace(alpha=ks[0, ..., 5] + 1, ks=ks[0, ..., 3], n_tail=np.array([3, 40, 500]))
    seen = []

    def replicates(x: Any, fit: Any, keys: Any, n: int, where: Any, *, resampled: Any) -> Replicates:
        seen.append((x.shape, fit.ks.shape, n, keys, resampled))
        return Replicates(ks + 1, ks, ks, np.zeros((2, *shape), np.int32))

    def program() -> Any:
        return goodness_and_intervals.__wrapped__(x, fit, jax.random.key(0), 101, where, 0.5), seen

    monkeypatch.setattr(bootstrap, "fit_replicates", replicates)
    (goodness, intervals), given = jax.jit(program)()
    assert jax.tree.map(int, [one[:3] for one in given]) == [((2, *x.shape), (2, *shape), 101)]
    keys, resampled = given[0][3:]
    assert keys.shape == (2, *shape) and np.unique(jax.random.key_data(keys).reshape(-1, 2), axis=0).shape[0] == 6
    assert np.ravel(resampled).tolist() == [False, True]
    drawn, resampled = (Replicates(k + 1, k, k, np.zeros(shape, np.int32)) for k in ks)
    np.testing.assert_array_equal(goodness.p, jax.jit(lambda: goodness_from(fit, drawn))().p)
    for ours, theirs in zip(intervals, jax.jit(lambda: intervals_from(fit, resampled, 0.5))(), strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_array_equal(ours, theirs)


def test_arguments_out_of_range_are_refused() -> None:
    x, key = with_body(np.random.default_rng(12), (SIZE,)), jax.random.key(0)
    fit = no_fit(())
    with pytest.raises(ValueError, match="replicate"):
        goodness_of_fit(x, fit, key, 0)
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ValueError, match="level"):
            intervals_from(fit, Replicates(x, x, x, np.int32(0)), level)


# degenerate samples


WITHOUT_FIT = [
    ([], FitStatus.TOO_FEW),
    ([3], FitStatus.TOO_FEW),
    ([0, -1, -2], FitStatus.TOO_FEW),
    ([0, 5, 0], FitStatus.TOO_FEW),
    ([4, 4, 4], FitStatus.NO_SPREAD),
    ([1, 2, np.nan], FitStatus.NOT_FINITE),
    ([1, 2, np.inf], FitStatus.NOT_FINITE),
]


def test_samples_without_a_fit() -> None:
    """Beside some that have one."""
    rows = [padded(np.asarray(x, np.float32)) for x, _ in WITHOUT_FIT]
    rows += [padded(np.arange(1, 9, dtype=np.float32))] * (ROWS - len(rows))
    samples, masks = (np.stack(part) for part in zip(*rows, strict=True))
    _, replicates, goodness, intervals = batch(samples, 0, masks)
    want = [status for _, status in WITHOUT_FIT] + [FitStatus.OK] * (ROWS - len(WITHOUT_FIT))
    for found in (replicates, goodness, intervals):
        assert found.status.tolist() == want
    lacking = np.arange(ROWS) < len(WITHOUT_FIT)
    for field in (goodness.p, goodness.error, *intervals[:4]):
        np.testing.assert_array_equal(np.isnan(field), lacking)
    for field in replicates[:3]:
        np.testing.assert_array_equal(np.isnan(field).all(axis=1), lacking)
    np.testing.assert_array_equal(goodness.num_replicates, np.where(lacking, 0, REPLICATES))


@pytest.mark.parametrize("size", [0, 1, 2])
def test_the_smallest_shapes(size: int) -> None:
    x = jax.ShapeDtypeStruct((3, size), jnp.float32)
    shapes = jax.eval_shape(whole, x, jax.random.key(0), jnp.ones(size, bool))
    assert shapes[1].ks.shape == (3, 9)


def test_two_values() -> None:
    """The distance of two values is 1/2 − (1 − e^−2): the same for all, so none is smaller than the sample's."""
    _, replicates, goodness, _ = bootstrapped([1, 3], 1)
    np.testing.assert_allclose(replicates.ks, abs(0.5 - (1 - np.exp(-2))), atol=1e-6)
    assert (goodness.num_replicates == REPLICATES).all()


# a given xmin


def given_xmin(x: Any, xmin: float) -> tuple[PowerLawFit, Replicates, GoodnessOfFit]:
    """30,000 replicates of one sample, in 300 rows."""
    sample, where = padded(np.asarray(x, np.float32))
    return at_given_xmin(np.tile(sample, (300, 1)), jax.random.key(0), where, np.float32(xmin))


def test_replicates_at_a_given_xmin() -> None:
    """As many in the tail as binomial, and there Clauset's recipe without a search; fails with a chance of 0.2 %."""
    x = with_body(np.random.default_rng(16), (SIZE,))
    fit, got, _ = given_xmin(x, 1.5)
    rng, want = np.random.default_rng(1), []
    for _ in range(3000):
        tail = np.sort((1 - rng.random(rng.binomial(SIZE, np.mean(x >= 1.5)))) ** (-1 / (float(fit.alpha[0]) - 1)))
        slope = tail.size / np.sum(np.log(tail))
        want.append((1 + slope, np.max(np.abs(1 - tail**-slope - np.arange(tail.size) / tail.size))))
    for ours, theirs in zip((got.alpha, got.ks), np.array(want).T, strict=True):
        assert stats.ks_2samp(np.ravel(ours).astype(np.float64), theirs).pvalue > 1e-3
    np.testing.assert_array_equal(got.xmin, np.float32(1.5))


def test_replicates_with_fewer_than_two_values_above_a_given_xmin_have_no_fit() -> None:
    """Of six values two are above; four standard errors."""
    fit, got, goodness = given_xmin([1, 1, 1, 1, 5, 6], 5)
    without, chance = np.isnan(got.ks), stats.binom(6, 1 / 3).cdf(1)
    assert without.mean() == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 30_000) ** 0.5)
    np.testing.assert_array_equal(goodness.num_replicates, 100 - without.sum(axis=1))
    want = np.sum(np.asarray(got.ks) >= np.asarray(fit.ks)[:, None], axis=1) / (100 - without.sum(axis=1))
    np.testing.assert_allclose(goodness.p, want, rtol=1e-5)


def test_the_interval_at_a_given_xmin_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """2n(alpha − 1)/(its estimate − 1) has the χ² distribution with 2n degrees of freedom; three standard errors."""
    x = with_body(np.random.default_rng(18), (7,), share=1)
    fit, replicates, _ = given_xmin(x, 1)
    pooled = jax.tree.map(lambda field: np.ravel(field), replicates)._replace(status=np.int32(0))
    one = PowerLawFit(*(np.asarray(field[0]) for field in fit))

    def with_these(replicates: Replicates) -> FitIntervals:
        monkeypatch.setattr(bootstrap, "fit_replicates", lambda *_, resampled: replicates)
        return fit_intervals.__wrapped__(x, one, jax.random.key(0), search=False)

    got = jax.jit(with_these)(pooled)
    want = 1 + (float(one.alpha) - 1) * stats.chi2(14).ppf([0.025, 0.975]) / 14
    np.testing.assert_allclose([got.alpha_low, got.alpha_high], want, rtol=0.01)
    assert got.xmin_low == got.xmin_high == 1


def test_a_given_xmin_that_leaves_no_tail_has_no_p() -> None:
    _, _, goodness = given_xmin([1, 2, 3], 50)
    assert np.isnan(goodness.p).all()
    assert (goodness.status == FitStatus.TOO_FEW).all()


# calibration, small; benchmarks/calibration.py has the full simulation


@cache
def calibrated(kind: str, resampled: bool = False) -> tuple[PowerLawFit, Replicates, GoodnessOfFit, FitIntervals]:
    """300 samples of 60 values, in ten batches."""
    rng = np.random.default_rng(13)
    x = with_body(rng, (300, SIZE)) if kind == "power law" else rng.exponential(size=(300, SIZE)).astype(np.float32)
    parts = [batch(part, 90 + i, resampled=resampled) for i, part in enumerate(x.reshape(-1, ROWS, SIZE))]
    return jax.tree.map(lambda *fields: np.concatenate(fields), *parts)


def test_p_is_uniform_on_power_law_data_with_a_known_xmin() -> None:
    """A right program fails with a chance of 0.1 %."""
    x = (np.random.default_rng(17).pareto(1.5, (300, SIZE)) + 1).astype(np.float32)
    goodness = at_given_xmin(x, jax.random.key(0), np.ones(SIZE, bool), np.float32(1))[2]
    p = (np.asarray(goodness.p) * 100 + np.random.default_rng(0).random(300)) / 101
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_power_laws_are_seldom_rejected_and_exponentials_often() -> None:
    """The full simulation rejects some 7 % of the former; more than 13 % of 300 then has a chance of 0.01 %."""
    power_law, exponential = (np.asarray(calibrated(kind)[2].p) for kind in ("power law", "exponential"))
    assert np.mean(power_law <= 0.1) < 0.13
    assert np.mean(exponential <= 0.1) > 1.5 * np.mean(power_law <= 0.1)
    assert np.mean(exponential) < np.mean(power_law) - 0.05


def test_intervals_cover() -> None:
    """The full simulation finds 98 %; 94 % of 300 or less, or all of them, then have a chance of 0.2 %."""
    assert 0.94 < np.mean(holding(calibrated("power law", resampled=True)[3])) < 1


def test_intervals_of_ten_values_cover_and_percentiles_do_not() -> None:
    """Simulated in full, 94 % and 73 %; a right program fails with a chance of 0.1 %."""
    x = (np.random.default_rng(19).pareto(1.5, (300, SIZE)) + 1).astype(np.float32).reshape(-1, ROWS, SIZE)
    parts = [batch(part, 70 + i, np.arange(SIZE) < 10, resampled=True) for i, part in enumerate(x)]
    assert np.mean([holding(intervals) for *_, intervals in parts]) > 0.89
    assert np.mean([holding(percentiles(replicates)) for _, replicates, *_ in parts]) < 0.82


def holding(intervals: FitIntervals) -> np.ndarray:
    """Whether each interval holds alpha = 2.5."""
    return np.asarray((intervals.alpha_low <= 2.5) & (intervals.alpha_high >= 2.5))


# lowering


def test_lowers_for_every_platform() -> None:
    x, where = jax.ShapeDtypeStruct((3, SIZE), jnp.bfloat16), jax.ShapeDtypeStruct((SIZE,), bool)
    for platforms in (PLATFORMS, ("tpu",)):
        exported = jax.export.export(jax.jit(whole), platforms=list(platforms))(x, jax.random.key(0), where)
        assert exported.platforms == platforms


def test_gradients_are_zero() -> None:
    x = with_body(np.random.default_rng(12), (SIZE,))
    fit = no_fit(())._replace(alpha=np.float32(2.5), xmin=np.float32(1), status=np.int32(0))
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(fit_replicates(x, fit, jax.random.key(0), 4).alpha)))(x)
    np.testing.assert_array_equal(gradient, 0)
