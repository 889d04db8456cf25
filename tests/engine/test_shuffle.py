"""Shuffling on the host: every permutation equally likely, in the buckets too."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from spectra.engine import shuffle
from spectra.engine.shuffle import shuffled

SHAPES = [(1,), (0, 3), (20, 30), (700, 600), (1100, 1001)]


@pytest.mark.parametrize(
    ("shape", "dtype"), [*product(SHAPES, (np.float32, np.float64, np.int8)), ((2**22 + 1,), np.float32)]
)
def test_entries_are_kept(shape: tuple[int, ...], dtype: type) -> None:
    w = np.random.default_rng(0).integers(-100, 100, shape).astype(dtype)
    before = w.copy()
    got = shuffled(w, 3)
    assert got.shape == shape and got.dtype == dtype
    np.testing.assert_array_equal(w, before)
    np.testing.assert_array_equal(np.sort(got, axis=None), np.sort(w, axis=None))
    np.testing.assert_array_equal(shuffled(w, 3), got)
    if w.size > 100:
        assert np.any(shuffled(w, 4) != got)
        assert np.any(shuffled(w, (3, 1)) != got)


def test_views_count_in_the_order_of_rows() -> None:
    w = np.arange(24.0).reshape(4, 6)
    np.testing.assert_array_equal(shuffled(w.T, 1), shuffled(w.T.copy(), 1))


@pytest.mark.parametrize(("cached", "whole"), [(8, 8), (3, 3), (1, 1), (0, 8), (0, 3)])
def test_every_permutation_is_equally_likely(cached: int, whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 24 orders of four entries: sorted where there are more than `cached`, dealt to buckets beyond `whole`. χ²."""
    monkeypatch.setattr(shuffle, "CACHED", cached)
    monkeypatch.setattr(shuffle, "WHOLE", whole)
    monkeypatch.setattr(shuffle, "MOST", 2)
    monkeypatch.setattr(shuffle, "BUCKET", 1)
    monkeypatch.setattr(shuffle, "DEALT", 2)
    rng = np.random.Generator(np.random.SFC64(1))
    source, target, counts = np.arange(4), np.empty(4, int), {}
    for _ in range(2400):
        shuffle._shuffle_into(target, source, rng)
        order = tuple(target.tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_entries_that_drew_the_same_number_are_permuted_too() -> None:
    """Groups of one, two and three: all 12 orders equally often, and nothing crosses a border."""
    rng, counts = np.random.default_rng(2), {}
    for _ in range(2400):
        halves = np.array([[10, 0], [11, 1], [12, 1], [13, 5], [14, 7], [15, 7], [16, 7]], "<u4")
        shuffle._order_ties(halves, rng)
        order = tuple(halves[:, 0].tolist())
        counts[order] = counts.get(order, 0) + 1
        np.testing.assert_array_equal(halves[:, 1], [0, 1, 1, 5, 7, 7, 7])
    assert len(counts) == 12 and all(order[0] == 10 and order[3] == 13 for order in counts)
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_two_million_small_numbers_tie_and_stay_uniform() -> None:
    """Among two million entries about 500 pairs draw the same 32 bits."""
    got = shuffled(np.arange(2**21, dtype=np.float32), 5)
    np.testing.assert_array_equal(np.sort(got), np.arange(2**21))
    cells = np.histogram2d(np.arange(2**21), got, bins=30)[0]
    assert stats.chisquare(cells.ravel(), ddof=58).pvalue > 1e-4


def test_places_of_a_large_array_are_uniform_and_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle, "CACHED", 2**12)
    monkeypatch.setattr(shuffle, "WHOLE", 2**14)
    monkeypatch.setattr(shuffle, "BUCKET", 2**12)
    monkeypatch.setattr(shuffle, "DEALT", 2**15)
    n = 400_000
    got = shuffled(np.arange(n), 7)
    np.testing.assert_array_equal(np.sort(got), np.arange(n))
    cells = np.histogram2d(np.arange(n), got, bins=20)[0]
    assert stats.chisquare(cells.ravel(), ddof=38).pvalue > 1e-4
    assert abs(np.corrcoef(got[1:], got[:-1])[0, 1]) < 5 / n**0.5
    fixed = np.sum(got == np.arange(n))
    assert fixed <= 8
    steps = np.bincount(np.minimum((got[1:] - got[:-1]) % n, 50), minlength=51)[1:50]
    assert steps.sum() < 49 + 6 * 49**0.5  # neighbours stay neighbours no more often than by chance
