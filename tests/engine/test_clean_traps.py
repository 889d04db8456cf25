"""What makes correlation traps is found where it was planted, and nothing else is removed."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectra.engine.clean_traps import SHARE, Cause, find_causes, remove_traps, without

RNG = np.random.default_rng(3)
N, M = 60, 40
SIGMA = 0.02
STRENGTH = SIGMA * (N * M) ** 0.25
"""From which on something of rank one leaves the bulk."""


def noise(*shape: int) -> np.ndarray:
    return SIGMA * RNG.standard_normal(shape)


def not_reached(_: np.ndarray) -> int:
    raise AssertionError("there is nothing to try")


def test_noise_has_no_causes():
    causes = find_causes(noise(1, 200, 100))
    assert causes.found == [] and not causes.problem
    np.testing.assert_allclose(causes.threshold, SIGMA * 20000**0.25, rtol=0.02)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e15])
def test_entries_and_means_are_found_where_they_are(dtype: type, unit: float):
    w = noise(3, N, M)
    w[0, 5, 7], w[0, 6, 7], w[2, 59, 39] = 9 * STRENGTH, -1.5 * STRENGTH, 3 * STRENGTH
    w[1] += 4 * STRENGTH / np.sqrt(N * M)
    w = (w * unit).astype(dtype)
    causes = find_causes(w)
    assert [(cause.position, cause.entry) for cause in causes.found] == [
        (0, 5 * M + 7),
        (1, None),
        (2, N * M - 1),
        (0, 6 * M + 7),
    ]
    # The reference leaves the planted entries out of all numbers.
    w = w.astype(np.float64)
    rest = [np.delete(w[0].ravel(), [5 * M + 7, 6 * M + 7]), w[1].ravel(), w[2].ravel()[:-1]]
    means = np.array([part.mean() for part in rest])
    sigma = np.sqrt(np.sum([np.sum((part - part.mean()) ** 2) for part in rest]) / sum(part.size for part in rest))
    np.testing.assert_allclose(causes.means, means, rtol=1e-9)
    np.testing.assert_allclose(causes.threshold, sigma * (N * M) ** 0.25, rtol=1e-9)
    values = (w[0, 5, 7] - means[0], means[1] * np.sqrt(N * M), w[2, 59, 39] - means[2], means[0] - w[0, 6, 7])
    np.testing.assert_allclose([cause.strength for cause in causes.found], values, rtol=1e-9)


def test_a_huge_entry_does_not_hide_another():
    w = noise(1, N, M)
    w[0, 1, 2], w[0, 3, 4] = 1e8, 2 * STRENGTH
    assert [cause.entry for cause in find_causes(w).found] == [1 * M + 2, 3 * M + 4]


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.eye(M), "more than 20 entries stand out"),
        (RNG.standard_cauchy((N, M)), "more than 20 entries stand out"),
        (np.pad(np.full((1, 1), 5.0), ((0, N - 1), (0, M - 1))), "nothing would vary"),
        (np.full((N, M), 3.0), "nothing would vary"),
    ],
)
def test_not_a_few_odd_entries_in_noise(matrix: np.ndarray, words: str):
    assert words in find_causes(matrix[None]).problem
    removed = remove_traps(matrix[None], 3, not_reached)
    assert removed.matrices is None and (removed.entries, removed.means) == (0, 0) and words in removed.note


def test_without_traps_nothing_is_looked_for():
    w = noise(1, N, M)
    w[0, 0, 0] = 9 * STRENGTH
    assert remove_traps(w, 0, not_reached) == (None, 0, 0, "")


def strong_and_weak() -> np.ndarray:
    """Two entries that are certain causes, three that are considered."""
    w = noise(1, N, M)
    w[0, 0, :5] = np.array([3.0, -2.0, 1.2, 0.95, -0.85]) * STRENGTH
    return w


@pytest.mark.parametrize(
    ("trapped", "removed"),
    [
        (1.5, 2),  # what is certain is enough
        (1.1, 3),
        (0.9, 4),
        (0.8, 5),
    ],
)
def test_weaker_causes_go_only_as_far_as_traps_are_left(trapped: float, removed: int):
    w, tried = strong_and_weak(), []

    def count(matrices: np.ndarray) -> int:
        tried.append(int(np.count_nonzero(matrices != w)))
        return int(np.count_nonzero(np.abs(matrices) > trapped * STRENGTH))

    found = remove_traps(w, count(w), count)
    assert (found.entries, found.means, found.note) == (removed, 0, "")
    np.testing.assert_array_equal(np.flatnonzero(found.matrices != w), np.arange(removed))
    assert not found.matrices[0, 0, :removed].any()
    assert max(tried) <= 5


def test_what_nothing_explains_is_said_and_left():
    w = strong_and_weak()
    found = remove_traps(w, 3, lambda _: 1)  # one by chance, whatever is removed
    assert found.entries == 2 and found.note == "1 trap that no entry and no mean explains, perhaps by chance"
    bare = noise(1, N, M)
    found = remove_traps(bare, 1, not_reached)
    assert found.matrices is None and "1 trap that no entry" in found.note
    assert remove_traps(bare, 2, not_reached).note.startswith("2 traps that")
    weak = np.where(np.abs(w) > 1.5 * STRENGTH, 0, w)  # removing weak causes does not help: none is removed
    assert remove_traps(weak, 1, lambda _: 1)[:3] == (None, 0, 0)


def test_a_mean_is_subtracted_to_the_nearest_value():
    w = (noise(2, N, M) + 0.7).astype(ml_dtypes.bfloat16)
    means = np.array([0.7001, 0.4])
    changed = without(w, [Cause(1.0, 0, None), Cause(0.9, 0, 3)], means)
    exact = w[0].astype(np.float64) - means[0]
    error = np.abs(changed[0].astype(np.float64) - exact)
    assert changed[0, 0, 3] == 0 and np.all(np.delete(error <= 2.0**-8 * np.abs(exact), 3))
    assert changed[1].tobytes() == w[1].tobytes() and changed.dtype == w.dtype


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["float32", "float16", "bfloat16", "float8_e5m2"]))
def test_all_else_keeps_its_bits(seed: int, dtype: str):
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((2, 7, 5)).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    w[rng.random(w.shape) < 0.1] = -0.0
    places = rng.choice(70, rng.integers(0, 10), replace=False)
    causes = [Cause(1.0, int(place) // 35, int(place) % 35) for place in places]
    expected = w.copy()
    expected.reshape(-1)[places] = 0
    turned = np.asfortranarray(w)
    for given_order in (w, turned):
        assert without(given_order, causes, np.zeros(2)).tobytes() == expected.tobytes()


def test_the_limit_is_where_it_is_said_to_be():
    w = noise(1, N, M)
    sigma = float(np.std(np.delete(w.ravel(), 0)))
    for share, found in ((SHARE - 0.02, 0), (SHARE + 0.02, 1)):
        w[0, 0, 0] = share * sigma * (N * M) ** 0.25 + float(np.mean(w.ravel()[1:]))
        assert len(find_causes(w).found) == found
