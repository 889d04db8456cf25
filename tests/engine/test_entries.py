"""Statistics of entries against NumPy in float64: any order, ties, magnitudes from 1e-38 to 1e38, sizes at borders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spectra.engine import cells, entries, ordered, pieces
from spectra.engine.cells import Cells, distinct
from spectra.engine.entries import QUANTILES, Entries, describe_entries, edges_between
from spectra.engine.ordered import Ordered
from spectra.kernels import edges_between as kernel_edges

LARGE = entries.FEW + 1
"""Enough entries not to be sorted."""


def gini(x: np.ndarray) -> float:
    ascending = np.sort(np.abs(x).ravel())
    n, total = ascending.size, np.sum(ascending / ascending[-1])
    return float(np.dot(2 * np.arange(n) + 1 - n, ascending / ascending[-1] / total) / n)


def assert_right(w: np.ndarray, found: Entries, rtol: float = 2e-6) -> None:
    """Counts exactly, numbers to `rtol` of their natural size: of std and mean, of 1, of the neighbouring entries."""
    x, c, n = w.astype(np.float64).ravel(), found.columns, w.size
    low, high = x.min(), x.max()
    unit = max(-low, high) or 1.0
    scaled = x / unit
    mean = scaled.mean()
    std = 0.0 if low == high else np.sqrt(np.mean((scaled - mean) ** 2))
    assert (c["count"], c["min"], c["max"]) == (n, low, high)
    np.testing.assert_allclose(c["mean"] / unit, mean, rtol=0, atol=rtol * (abs(mean) + std))
    np.testing.assert_allclose(c["std"] / unit, std, rtol=rtol)
    if std > 0:
        z = (scaled - mean) / std
        skewness, kurtosis = np.mean(z**3), np.mean(z**4)
        np.testing.assert_allclose(c["skewness"], skewness, rtol=5 * rtol, atol=5 * rtol)
        np.testing.assert_allclose(c["kurtosis"] + 3, kurtosis, rtol=5 * rtol)
    else:
        assert c["skewness"] is None and c["kurtosis"] is None and c["near_zero_std"] is None
    np.testing.assert_allclose([c[name] for name in QUANTILES], np.quantile(scaled, list(QUANTILES.values())) * unit,
                               rtol=2e-7, atol=0 if low == high else 1e-12 * unit)  # fmt: skip

    assert c["zero_fraction"] == np.mean(x == 0)
    assert c["near_zero_max"] == np.mean(np.abs(w) < w.dtype.type(0.01 * unit)) if np.any(w) else True
    if std > 0:
        assert c["near_zero_std"] == np.mean(np.abs(w) < w.dtype.type(0.1 * c["std"]))
    linear, log = found.linear, found.log
    np.testing.assert_array_equal(linear.counts, np.histogram(w, linear.edges)[0])
    assert (linear.counts.sum(), linear.underflow, linear.overflow) == (n, 0, 0)
    magnitude = np.abs(w)
    np.testing.assert_array_equal(log.counts, np.histogram(magnitude, log.edges)[0])
    assert (log.counts.sum(), log.underflow, log.overflow) == (np.sum(w != 0), np.sum(w == 0), 0)
    if np.any(w):
        norm = np.linalg.norm(scaled)
        np.testing.assert_allclose(c["gini"], gini(x), atol=1.5e-6)
        if n > 1:
            root = np.sqrt(n)
            hoyer = (root - np.abs(scaled).sum() / norm) / (root - 1)
            np.testing.assert_allclose(c["hoyer"], np.clip(hoyer, 0, 1), atol=2e-6)
    else:
        assert c["gini"] is None and c["hoyer"] is None


def spread(n: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(n)
    x = rng.standard_normal(n)
    match kind:
        case "normal":
            return x * 0.02
        case "uniform":
            return rng.random(n)
        case "student":
            return rng.standard_t(2, n)
        case "cauchy":
            return rng.standard_cauchy(n)
        case "shifted":
            return x * 1e-3 + 1
        case "far":
            return x + 1e5
        case "tiny":
            return x * 1e-37
        case "huge":
            return x * 5e37
        case "every magnitude":
            return np.sign(x) * 10.0 ** rng.uniform(-38, 38, n)
        case "sparse":
            return x * (rng.random(n) < 0.05)
        case "signed zeros":
            return np.where(rng.random(n) < 0.5, -0.0, np.where(rng.random(n) < 0.5, 0.0, x))
        case "zeros and subnormal":
            return np.where(rng.random(n) < 0.5, 0.0, np.where(rng.random(n) < 0.5, 1e-42 * x, x * 1e-38))
        case "integers":
            return np.round(x * 40) * 0.013
        case "two values":
            return np.where(x > 0, 0.1, -0.3)
        case "one other":
            return np.where(np.arange(n) == n // 2, 1 + 2**-23, 1.0)
        case "positive":
            return np.abs(x) + 1e-3
        case "negative":
            return -np.exp(x)
        case "in one cell":
            return 1 + 5e-4 * rng.random(n)
        case "half tiny half huge":
            return x * np.where(np.arange(n) < n // 2, 1e-30, 1e30)
        case "half constant":
            return np.where(np.arange(n) < n // 2, 0.1, x)
        case "constant":
            return np.full(n, 0.1)
    raise AssertionError(kind)


KINDS = (
    "normal", "uniform", "student", "cauchy", "shifted", "far", "tiny", "huge", "every magnitude", "sparse",
    "signed zeros", "zeros and subnormal", "integers", "two values", "one other", "positive", "negative",
    "in one cell", "half tiny half huge", "half constant", "constant",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1000, LARGE + 70_000])
def test_every_kind_of_entries(size: int, dtype: Any, kind: str) -> None:
    w = spread(size, kind).astype(dtype)
    assert_right(w, describe_entries(w))


@pytest.mark.parametrize("order", [np.sort, lambda x: np.sort(x)[::-1], lambda x: x[np.argsort(np.abs(x))]],
                         ids=["ascending", "descending", "by magnitude"])  # fmt: skip
@pytest.mark.parametrize("kind", ["normal", "cauchy", "sparse", "far", "every magnitude"])
def test_the_order_of_entries_does_not_matter(kind: str, order: Callable[[np.ndarray], np.ndarray]) -> None:
    w = spread(3 * pieces.PIECE + 17, kind).astype(np.float32)
    assert_right(order(w), describe_entries(order(w)))


def test_gaussian_yardstick() -> None:
    c = describe_entries(np.random.default_rng(7).standard_normal(2_000_000).astype(np.float32)).columns
    assert abs(c["near_zero_std"] - 0.0797) < 0.001
    assert abs(c["gini"] - (2**0.5 - 1)) < 0.001
    assert abs(c["kurtosis"]) < 0.02


@pytest.mark.parametrize("border", [entries.FEW, ordered.ROW, 2 * pieces.PIECE])
@pytest.mark.parametrize("step", [-1, 0, 1])
def test_sizes_around_borders(border: int, step: int) -> None:
    w = spread(border + step, "student").astype(np.float32)
    assert_right(w, describe_entries(w))


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("value", [0.0, -0.0, 1e-38, -0.1, 3e38])
def test_few_equal_entries(n: int, value: float) -> None:
    w = np.full(n, value, np.float32)
    assert_right(w, describe_entries(w))


VALUES = st.one_of(
    st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.1, 1e-38, -1e-38, 3e38, -3e38, 2.0**-126]),
)


@given(w=st.lists(VALUES, min_size=1, max_size=60))
@settings(deadline=None, max_examples=300, derandomize=True)
def test_few_entries_of_any_value(w: list[float]) -> None:
    w = np.array(w, np.float32)
    assert_right(w, describe_entries(w), rtol=1e-9)


@given(
    values=st.lists(VALUES, min_size=1, max_size=12),
    seed=st.integers(0, 2**32 - 1),
    noise=st.sampled_from([0.0, 1e-6, 1e-3, 1.0]),
    size=st.integers(1, 6000),
    order=st.booleans(),
    double=st.booleans(),
)
@settings(deadline=None, max_examples=200, derandomize=True)
def test_counting_in_cells_is_sorting(
    values: list[float], seed: int, noise: float, size: int, order: bool, double: bool
) -> None:
    """Mixtures around a few values, in small pieces, through `Cells` itself."""
    rng = np.random.default_rng(seed)
    w = rng.choice(np.array(values), size) * (1 + noise * rng.uniform(-0.5, 0.1, size))
    w = (np.sort(w) if order else w).astype(np.float64 if double else np.float32)
    thresholds = np.concatenate([rng.choice(w, 20), rng.uniform(-1, 1, 20) * w[0], [0.0, -0.0, 3e38, -3e38]])
    thresholds = thresholds.astype(w.dtype)
    ranks = np.append(rng.integers(0, size, 7), [0, size - 1])
    ascending = np.sort(w)
    assume(np.any(w))
    found = Cells(w).rank(thresholds, ranks)
    np.testing.assert_array_equal(found.below, np.searchsorted(ascending, thresholds))
    np.testing.assert_array_equal(found.entries, ascending[ranks])
    np.testing.assert_allclose(found.gini, gini(w.astype(np.float64)), atol=1.5e-6)
    few, many = Ordered(ascending).summary(), Cells(w).summary()
    for name in ("count", "min", "max", "smallest", "zeros"):
        assert getattr(few, name) == getattr(many, name), name
    rms = few.l2 / np.sqrt(size)
    for name, natural in {"mean": rms, "std": rms, "l1": few.l1, "l2": few.l2}.items():
        np.testing.assert_allclose(getattr(many, name), getattr(few, name), rtol=0, atol=2e-6 * natural, err_msg=name)


@pytest.mark.parametrize("narrow", ["float16", "bfloat16"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_narrow_entries_are_read_once(narrow: str, dtype: Any) -> None:
    import ml_dtypes

    w = spread(LARGE, "normal").astype(np.float32).astype(getattr(ml_dtypes, narrow, narrow)).astype(dtype)
    if (narrow, dtype) != ("float16", np.float64):
        assert distinct(w) is not None
    assert_right(w, describe_entries(w), rtol=1e-9)


def test_one_entry_that_is_not_narrow_is_noticed_wherever_it_is() -> None:
    w = np.ones(3 * pieces.PIECE, np.float32)
    w[-1] = 0.1
    assert distinct(w) is None
    assert_right(w, describe_entries(w))


def test_ties_that_only_sorting_can_tell_from_spread() -> None:
    """A tenth of the entries in one cell: their Gini index could be any up to 2⁻¹¹, so the cell is opened."""
    rng = np.random.default_rng(0)
    x = np.where(rng.random(LARGE) < 0.1, 1 + 2.0**-10 * np.round(rng.random(LARGE)) * 0.9, rng.standard_normal(LARGE))
    w = x.astype(np.float32)
    assert_right(w, describe_entries(w))


def test_a_failure_leaves_no_counts_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    w = spread(LARGE, "normal").astype(np.float32)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cells, "summary_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            describe_entries(w)
    assert_right(w, describe_entries(w))


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize(
    ("low", "high"),
    [(-1.0, 2.0), (1e-30, 5.0), (3e38, 3e38), (0.5, 0.5), (-3.4e38, 3.4e38), (np.inf, 0.0), (1e-37, 3e38)],
)
def test_edges_are_those_of_the_kernel(low: float, high: float, scale: Any) -> None:
    if scale == "log" and low < 0:
        low = -low / 1e10
    if scale == "linear" and low > high:
        low, high = 0.0, 1.0
    edges = edges_between(low, high, np.dtype(np.float32), log=scale == "log")
    wanted = np.asarray(kernel_edges(low, high, entries.BINS, scale))
    np.testing.assert_allclose(edges[[0, -1]], wanted[[0, -1]], rtol=3e-7)
    assert np.all(np.diff(edges) >= 0)
    rtol, atol = (1e-4, 0) if scale == "log" else (0, 1e-6 * abs(edges).max())
    np.testing.assert_allclose(edges, wanted, rtol=rtol, atol=atol)
