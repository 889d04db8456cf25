"""The search for xmin by bounds against the search that computes every distance, and the sums that both stand on."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from spectra.kernels.scan import Tails, all_tails, best_start, best_tail, log_ratio, sums_from_the_top, total

EPS = float(np.finfo(np.float32).eps)


def families(rng: np.random.Generator) -> dict[str, Callable[[int], np.ndarray]]:
    """Samples that are random, tied, regular, clustered, or at the ends of the range."""
    return {
        "pareto": lambda n: (1 - rng.random(n)) ** (-1 / rng.uniform(0.3, 5)),
        "pareto with bulk": lambda n: np.append(rng.random(n // 2), 1 + rng.pareto(1.5, n - n // 2)),
        "lognormal": lambda n: np.exp(rng.uniform(0.1, 4) * rng.standard_normal(n)),
        "exponential": lambda n: rng.exponential(size=n),
        "half-normal": lambda n: np.abs(rng.standard_normal(n)),
        "student": lambda n: np.abs(rng.standard_t(3, n)),
        "uniform": lambda n: rng.random(n),
        "narrow": lambda n: 1000 + rng.random(n),
        "whole range": lambda n: 10.0 ** rng.uniform(-37, 38, n),
        "resampled": lambda n: rng.choice(1 + rng.pareto(1.5, n), n),
        "rounded": lambda n: np.abs(rng.standard_normal(n)).astype(np.float16),
        "geometric integers": lambda n: rng.geometric(0.1, n),
        "zipf integers": lambda n: np.minimum(rng.zipf(1.8, n), 10**7),
        "two values": lambda n: rng.choice([1.0, 1.5], n),
        "three values": lambda n: rng.choice([1.0, 2.0, 4.0], n),
        "clusters": lambda n: 10.0 ** rng.integers(0, 8, n) * (1 + 1e-3 * rng.random(n)),
        "equally spaced": lambda n: rng.integers(1, 50) + np.arange(n),
        "geometric sequence": lambda n: np.geomspace(1, 10.0 ** rng.uniform(1, 30), n),
        "quantiles of a Pareto law": lambda n: ((np.arange(n) + 0.5) / n) ** (-1 / rng.uniform(0.5, 4)),
        "stretched geometric sequence": lambda n: np.exp(-30 * np.linspace(1, 0, n) ** rng.uniform(0.1, 4)),
        "two geometric sequences": lambda n: np.append(
            np.geomspace(1, 1e6, n // 2), np.geomspace(2e6, 3e6, n - n // 2)
        ),
        "blocks": lambda n: (np.exp(2 * np.arange(1 + n // 10)[:, None] % 80) * (1 + rng.random(10))).ravel()[:n],
        "narrow, with outliers": lambda n: 1000 * np.append(1 + 1e-3 * rng.exponential(size=n - 1), 1e20),
        "random walk": lambda n: np.exp(np.abs(np.cumsum(rng.standard_normal(n))).clip(0, 80)),
    }


def sorted_samples(size: int, repeats: int, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples of all families in ascending order, a third of them shorter than the rest, and how many values each has.

    Behind the values there is +inf.
    """
    rng = np.random.default_rng(size)
    samples = np.stack([make(size) for make in families(rng).values() for _ in range(repeats)]).astype(np.float32)
    counts = np.where(rng.random(len(samples)) < 1 / 3, rng.integers(0, size + 1, len(samples)), size)
    samples[np.arange(size) >= counts[:, None]] = np.inf
    samples = np.pad(samples, ((0, 0), (0, room - size)), constant_values=np.inf)
    return np.sort(np.where(samples > 1.2e-38, samples, np.float32(1.2e-38))), counts.astype(np.int32)


def all_distances(ordered: jax.Array, count: jax.Array, *, tile: int) -> jax.Array:
    """D of every candidate and +inf elsewhere, in square tiles over the candidates and the values of their tails."""
    tails, n = all_tails(ordered, count), ordered.shape[0]
    tiles = -(-n // tile)
    size = jnp.maximum(count - jnp.arange(n), 1).astype(ordered.dtype)
    slope, depth, rest, first = (
        jnp.pad(a, (0, tiles * tile - n)) for a in (tails.slope, tails.depth, tails.rest, tails.first)
    )
    size = jnp.pad(size, (0, tiles * tile - n), constant_values=1)
    place = jnp.arange(tile)

    def part(a: jax.Array, number: jax.Array) -> jax.Array:
        return lax.dynamic_slice_in_dim(a, number * tile, tile)

    def candidates(i: jax.Array, found: jax.Array) -> jax.Array:
        def widen(j: jax.Array, largest: jax.Array) -> jax.Array:
            below, lacking = (part(a, j)[:, None] - part(a, i) for a in (depth, rest))
            model = 1 - jnp.exp(jnp.clip(part(slope, i) * (below + lacking), -60, 0))
            rank = (j - i) * tile + place[:, None] - place
            difference = jnp.abs(model - rank.astype(model.dtype) / part(size, i))
            return jnp.maximum(largest, jnp.max(difference, 0, where=part(first, j)[:, None] & (rank >= 0), initial=0))

        largest = lax.fori_loop(i, tiles, widen, jnp.zeros(tile, found.dtype))
        return lax.dynamic_update_slice_in_dim(found, largest, i * tile, axis=0)

    distances = lax.fori_loop(0, tiles, candidates, jnp.zeros_like(slope))[:n]
    return jnp.where(tails.candidate, distances, jnp.inf)


@jax.jit
@jax.vmap
def compiled(x: jax.Array, count: jax.Array) -> Any:
    return best_start(x, count), all_distances(x, count, tile=min(512, x.shape[0]))


def both(samples: np.ndarray, counts: np.ndarray) -> Any:
    """The search and the full search, always for the same number of samples at a time: few shapes are compiled."""
    rows = {17: 200, 200: 100, 2500: 20}[samples.shape[1]]
    whole = [np.concatenate([a, a[:1].repeat(-len(a) % rows, axis=0)]) for a in (samples, counts)]
    parts = [compiled(*(a[i : i + rows] for a in whole)) for i in range(0, len(samples), rows)]
    return jax.tree.map(lambda *fields: np.concatenate(fields)[: len(samples)], *parts)


SAMPLES = {4: (150, 17), 17: (80, 17), 64: (40, 200), 200: (15, 200), 700: (5, 2500), 2500: (1, 2500)}
"""Samples of each family by their size, and the room that they are in."""


@pytest.mark.as_users
@pytest.mark.parametrize("size", SAMPLES)
def test_is_the_full_search(size: int) -> None:
    """Nearly six thousand samples. Where two distances are within rounding of each other, either may win."""
    samples, counts = sorted_samples(size, *SAMPLES[size])
    found, distances = both(samples, counts)
    least = distances.min(axis=1)
    exists = np.isfinite(least)
    assert exists.mean() > (0.7 if size > 4 else 0.5)
    np.testing.assert_array_equal(exists, np.isfinite(found.ks))
    np.testing.assert_array_equal(exists, np.isfinite(found.alpha))
    assert not found.index[~exists].any()

    np.testing.assert_allclose(found.ks[exists], least[exists], rtol=0, atol=2 * EPS)
    chosen = distances[np.arange(len(samples)), found.index]
    same = found.index == distances.argmin(axis=1)
    assert (same | (chosen <= least + 2 * EPS))[exists].all()
    assert same[exists].sum() >= 0.99 * exists.sum()
    assert found.rounds[exists].mean() < 10
    assert found.rounds.max() < 40


@jax.jit
def many(x: jax.Array) -> Any:
    count = jnp.int32(x.size)
    return best_start(x, count), all_distances(x, count, tile=512)


@pytest.mark.as_users
@pytest.mark.parametrize("family", ["pareto with bulk", "resampled"])
def test_is_the_full_search_among_many_values(family: str) -> None:
    found, distances = many(np.sort(families(np.random.default_rng(5))[family](40_000).astype(np.float32)))
    distances = np.asarray(distances)
    assert float(found.ks) == pytest.approx(distances.min(), abs=2 * EPS)
    assert distances[found.index] <= distances.min() + 2 * EPS


HARD = {
    "geometric": lambda n: np.geomspace(1, 1e3, n),
    "geometric over the whole range": lambda n: np.geomspace(1e-37, 1e38, n),
    "stretched geometric": lambda n: np.exp(-20 * np.linspace(1, 0, n) ** 4),
    "compressed geometric": lambda n: np.exp(-20 * np.linspace(1, 0, n) ** 0.1),
    "geometric with jitter": lambda n: np.exp(np.linspace(0, 14, n) + 14 / n * np.random.default_rng(0).random(n)),
    "geometric in bfloat16": lambda n: jnp.geomspace(1e-20, 1e20, n).astype(jnp.bfloat16).astype(jnp.float32),
    "equally spaced": lambda n: 1.0 + np.arange(n),
    "two scales": lambda n: np.append(np.geomspace(1, 1e6, n // 2), np.geomspace(1.01e6, 1.02e6, n // 2)),
    "staircase": lambda n: np.repeat(np.geomspace(1, 1e6, n // 100), 100),
    "few values": lambda n: np.repeat(np.geomspace(1, 1e3, 8), n // 8),
    "blocks": lambda n: np.exp(np.linspace(0, 60, 200))[:, None] * np.geomspace(1, 1.15, n // 200),
    "quantiles of a Pareto law": lambda n: ((np.arange(n) + 0.5) / n) ** -0.7,
    "clusters": lambda n: 10.0 ** np.random.default_rng(0).integers(0, 8, n) * np.linspace(1, 1.001, n),
}
"""Samples in which many tails are alike, so that many distances are equal or nearly so."""


@pytest.mark.parametrize("family", HARD)
def test_many_equal_distances_take_few_rounds(family: str) -> None:
    """Where the witnesses of one tail told nothing of the others it took up to √n, or with rounding n."""
    x = np.sort(np.ravel(HARD[family](40_000)).astype(np.float32))
    found = jax.jit(best_start)(x, np.int32(x.size))
    assert 0 < int(found.rounds) < 96
    assert 0 < float(found.ks) < 0.4


def test_values_behind_the_count_do_not_matter() -> None:
    samples, _ = sorted_samples(200, 5, 200)
    counts = np.full(len(samples), 120, np.int32)
    expected, _ = both(np.where(np.arange(200) < 120, samples, np.float32(7)), counts)
    for filling in (np.nan, np.inf, 0.0, 1e30):
        found, _ = both(np.where(np.arange(200) < 120, samples, np.float32(filling)), counts)
        for got, want in zip(found, expected, strict=True):
            np.testing.assert_array_equal(got, want)


def test_the_lowest_wins_among_equals() -> None:
    """Tails made up so that 0, 3 and 1 are looked at in this order, of which 3 and 1 have the same distance.

    Tail 0 is furthest off at value 4, where tail 3 seems better than tail 1. Both of these are furthest off at value 7.
    """
    candidate = np.isin(np.arange(8), [0, 1, 3])
    tails = Tails(
        slope=np.where(np.arange(8) == 0, 10, 0).astype(np.float32),
        depth=np.where(np.arange(8) < 4, 1, 0).astype(np.float32),
        share=np.array([0.01, 1 / 8, 0, 3 / 16, 0, 0, 0, 0], np.float32),
        rest=np.zeros(8, np.float32),
        count=np.int32(8),
        first=np.ones(8, bool),
        candidate=candidate,
    )
    found = jax.jit(best_tail)(tails)
    assert float(found.ks) == 6 / 8 == 4 * 3 / 16
    assert int(found.index) == 1


def test_no_sample() -> None:
    found = jax.jit(best_start)(np.zeros(0, np.float32), np.int32(0))
    assert (int(found.index), float(found.ks)) == (0, np.inf)
    assert np.isnan(found.alpha)


def test_exponents_of_all_tails() -> None:
    """Every alpha of a sample of 10⁵ values, among them some that differ by one part in 10⁷, against float64."""
    rng = np.random.default_rng(1)
    x = np.append(1 + rng.pareto(1.5, 90_000), 1000 + 1e-4 * rng.integers(0, 9, 10_000)).astype(np.float32)
    x.sort()
    tails = jax.jit(all_tails)(x, np.int32(x.size))
    step = np.log1p(np.diff(x.astype(np.float64)) / x[:-1])
    left = np.arange(x.size - 1, 0, -1)
    log_sum = np.append(np.cumsum((step * left)[::-1])[::-1], 0)
    candidate = np.asarray(tails.candidate)
    assert candidate.sum() > 50_000
    want = (np.append(left + 1, 1) / np.where(log_sum > 0, log_sum, 1))[candidate]
    np.testing.assert_allclose(np.asarray(tails.slope)[candidate], want, rtol=2e-6)
    depth = np.asarray(tails.depth, np.float64) + np.asarray(tails.rest)
    np.testing.assert_allclose(depth[:-1], np.cumsum(step[::-1])[::-1], rtol=1e-6)
    # Depths are 8, and the steps of the smallest values some 1e-5; the difference of any two is right nonetheless.
    apart = depth[:1000, None] - depth[:1000]
    want = np.append(0, np.cumsum(step))[:1000]
    np.testing.assert_allclose(apart, want - want[:, None], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 4097, 2_000_000])
def test_sums(size: int) -> None:
    x = np.random.default_rng(size).pareto(2, size).astype(np.float32)
    want = np.cumsum(x[::-1], dtype=np.float64)[::-1]
    np.testing.assert_allclose(jax.jit(sums_from_the_top)(x), want, rtol=1e-6)
    assert float(jax.jit(total)(x)) == pytest.approx(want[0] if size else 0, rel=1e-6)


@pytest.mark.parametrize("spread", [1e-7, 1e-3, 0.9, 1.5, 1e3, 1e30])
def test_log_ratio_over_the_whole_range(spread: float) -> None:
    """Four units in the last place from 1.2e-38 to 3e38, where differences and reciprocals may be subnormal."""
    rng = np.random.default_rng(0)
    start = np.append(10.0 ** rng.uniform(-37.92, 38.5, 4000), [1.1754944e-38, 3.4028235e38]).astype(np.float32)
    x = np.minimum(start * (1 + spread * rng.random(start.size)), np.finfo(np.float32).max).astype(np.float32)
    got, want = jax.jit(log_ratio)(x, start), np.log1p((x.astype(np.float64) - start) / start)
    np.testing.assert_allclose(got, want, rtol=4 * EPS)
