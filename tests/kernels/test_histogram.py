"""Histograms against `numpy.histogram` on the same float32 edges, and exact counts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectra.kernels import Histogram, edges_between, histogram, merge_histograms, moments
from spectra.kernels.histogram import moments_and_histogram

MANY = 80_000  # several blocks and a part of one
LARGEST = np.finfo(np.float32).max
SMALLEST = np.finfo(np.float32).tiny  # the smallest normal number
HISTOGRAM = jax.jit(histogram, static_argnames=("bins", "scale"))
MOMENTS = jax.jit(moments)
BOTH = jax.jit(moments_and_histogram, static_argnames="bins")


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def assert_matches_numpy(result: Histogram, w: np.ndarray, edges: np.ndarray | None = None) -> None:
    """Counts are NumPy's on the same edges; what lies outside is told apart; nothing is lost."""
    values = np.asarray(w, np.float32).ravel()
    if edges is None:
        edges = np.asarray(result.edges)
    else:
        np.testing.assert_array_equal(result.edges, edges)
    numbers = values[~np.isnan(values)]
    np.testing.assert_array_equal(result.counts, np.histogram(numbers[np.isfinite(numbers)], edges)[0])
    assert int(result.underflow) == np.sum(numbers < edges[0])
    assert int(result.overflow) == np.sum(numbers > edges[-1])
    assert int(result.nan) == np.sum(np.isnan(values))
    assert total(result) == values.size


def total(result: Histogram) -> int:
    return int(np.sum(result.counts)) + int(result.underflow) + int(result.overflow) + int(result.nan)


# given edges


@given(
    edges=st.lists(st.integers(-6, 6), min_size=6, max_size=6).map(sorted),
    w=st.lists(
        st.one_of(st.integers(-8, 8), st.floats(-8, 8, width=32), st.sampled_from([np.nan, np.inf, -np.inf, -0.0])),
        min_size=40,
        max_size=40,
    ),
)
@settings(deadline=None, max_examples=200, derandomize=True)
def test_given_edges_with_values_on_them(edges: list[int], w: list[float]) -> None:
    edges, w = f32(*edges), f32(*w)
    w = np.where(np.abs(w) < SMALLEST, np.float32(0), w)  # subnormal numbers have a test of their own
    assert_matches_numpy(HISTOGRAM(w, edges), w, edges)


def test_uneven_edges_of_awkward_fractions() -> None:
    edges = (np.geomspace(1e-3, 1, 29) ** 1.3).astype(np.float32)
    neighbours = [np.nextafter(edges, np.float32(direction)) for direction in (-np.inf, np.inf)]
    w = np.concatenate([edges, *neighbours])
    assert_matches_numpy(HISTOGRAM(w, edges), w, edges)


def test_edges_are_compared_in_the_compute_type_of_the_entries() -> None:
    """0.1 in float64 lies below 0.1 in float32; the float32 entry 0.1 is on the edge, not above it."""
    result = HISTOGRAM(f32(0.1), np.array([0.0, 0.1]))
    assert result.edges.dtype == jnp.float32
    assert result.counts.tolist() == [1]


def test_the_last_bin_is_closed_and_the_others_are_half_open() -> None:
    result = HISTOGRAM(f32(0, 1, 2, 2, np.nextafter(np.float32(2), np.float32(3))), f32(0, 1, 2))
    assert result.counts.tolist() == [1, 3]
    assert int(result.overflow) == 1


def test_infinite_edges_hold_infinite_entries() -> None:
    result = HISTOGRAM(f32(-np.inf, 0, np.inf, np.nan), f32(-np.inf, 0, np.inf))
    assert result.counts.tolist() == [1, 2]
    assert int(result.nan) == 1


def test_both_zeros_are_the_same_number() -> None:
    for edge in (0.0, -0.0):
        assert HISTOGRAM(f32(0.0, -0.0), f32(edge, 1)).counts.tolist() == [2]


def test_mask_and_log_scale_with_given_edges() -> None:
    w = f32(-10, 0.5, -2, 0, 100, np.nan, 7)
    keep = np.array([1, 1, 1, 1, 1, 1, 0], bool)
    result = HISTOGRAM(w, f32(1, 5, 10), keep, scale="log")
    assert result.counts.tolist() == [1, 1]
    assert (int(result.underflow), int(result.overflow), int(result.nan)) == (2, 1, 1)


def test_subnormal_entries_count_in_their_bin_or_as_zero() -> None:
    """XLA takes subnormal numbers for 0 on the CPU; then a negative one counts as not negative, but it counts."""
    result = HISTOGRAM(f32(1e-40, 1e-45, -1e-40, -1e-45, SMALLEST, -SMALLEST), f32(0, 1, 2))
    assert total(result) == 6
    assert int(result.counts[0]) + int(result.underflow) == 6
    assert int(result.counts[0]) in (3, 5)


# automatic edges


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("unit", [1e-30, 1e-3, 1, 1e5, 1e30])
def test_automatic_edges_hold_all_finite_entries(scale: Any, unit: float) -> None:
    rng = np.random.default_rng(0)
    w = (rng.standard_t(2, 500) * unit).astype(np.float32)
    w[:6] = [np.nan, np.inf, -np.inf, 0, 0, np.nan]
    result = HISTOGRAM(w, bins=17, scale=scale)
    counted = np.abs(w) if scale == "log" else w
    finite = counted[np.isfinite(counted) & ((counted > 0) | (scale == "linear"))]
    assert result.counts.shape == (17,)
    assert (result.edges[0], result.edges[-1]) == (finite.min(), finite.max())
    assert_matches_numpy(result, counted)
    assert np.sum(result.counts) == finite.size
    space = np.geomspace if scale == "log" else np.linspace
    wanted = space(finite.min().astype(float), finite.max().astype(float), 18)
    np.testing.assert_allclose(result.edges, wanted, rtol=3e-5 if scale == "log" else 0, atol=1e-6 * wanted[-1])


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize(
    "w",
    [
        (3, 3, 3),
        (-2, -2, -2),
        (0, 0, 0),
        (1e38, 1e38, 1e38),
        (LARGEST, LARGEST, LARGEST),
        (-LARGEST, -LARGEST, -LARGEST),
        (LARGEST, -LARGEST, 1e38),
        (1e-30, 1e-30, 1e-30),
        (1e-37, 1e-37, 1e-37),
        (1, np.nextafter(np.float32(1), np.float32(2)), 1),
        (np.nan, np.nan, np.nan),
        (np.inf, -np.inf, np.inf),
        (np.inf, 5, np.nan),
    ],
    ids=str,
)
def test_automatic_edges_of_degenerate_data(w: tuple[float, ...], scale: Any) -> None:
    w = f32(*w)
    result = HISTOGRAM(w, bins=4, scale=scale)
    edges = np.asarray(result.edges)
    assert np.all(np.isfinite(edges))
    assert np.all(np.diff(edges) >= 0)
    assert edges[0] < edges[-1]
    assert_matches_numpy(result, np.abs(w) if scale == "log" else w)
    usable = np.isfinite(w) & ((w != 0) | (scale == "linear"))
    assert np.sum(result.counts) == usable.sum()


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_empty_arrays_and_masks_that_leave_nothing(scale: Any) -> None:
    for result in (HISTOGRAM(f32(), bins=3, scale=scale), HISTOGRAM(f32(1, 2), where=np.zeros(2, bool), bins=3)):
        assert total(result) == 0
        assert np.all(np.diff(result.edges) > 0)


def test_the_range_of_float32_is_covered_by_ten_bins() -> None:
    w = f32(-LARGEST, -1e38, 0, 1e38, LARGEST)
    result = HISTOGRAM(w, bins=10)
    assert_matches_numpy(result, w)
    np.testing.assert_allclose(np.diff(np.asarray(result.edges, float)), float(LARGEST) / 5, rtol=1e-6)


@pytest.mark.parametrize("ends", [(0.0, 1.0), (0, 1), (np.float32(0), np.float32(1))], ids=str)
def test_edges_between_takes_any_real_numbers(ends: tuple[Any, Any], unchecked: None) -> None:
    np.testing.assert_allclose(edges_between(*ends, 5), np.linspace(0, 1, 6), atol=1e-7)


# counts


def test_more_equal_entries_than_a_float32_counter_could_hold() -> None:
    size = 2**24 + 5
    result = HISTOGRAM(jnp.ones(size, jnp.bfloat16), f32(0, 0.5, 1))
    assert result.counts.tolist() == [0, size]
    assert result.counts.dtype == jnp.int32


def test_merging_is_exact_beyond_32_bits() -> None:
    size = 2**20 + 1
    merged = HISTOGRAM(np.ones(size, np.float32), f32(0, 0.5, 1))
    other = HISTOGRAM(f32(0.2, -1, 7, np.nan), f32(0, 0.5, 1))
    for _ in range(40):
        merged = merge_histograms(merged, merged)
    merged = merge_histograms(merged, other, other)
    assert merged.counts.dtype == np.int64
    assert merged.counts.tolist() == [2, size * 2**40]
    assert (int(merged.underflow), int(merged.overflow), int(merged.nan)) == (2, 2, 2)


def test_merging_chunks_is_counting_the_whole() -> None:
    w = np.random.default_rng(1).standard_normal(999).astype(np.float32)
    edges = np.linspace(-2, 2, 12, dtype=np.float32)
    merged = merge_histograms(*(HISTOGRAM(chunk, edges) for chunk in np.split(w, 3)))
    for got, want in zip(merged, HISTOGRAM(w, edges), strict=True):
        np.testing.assert_array_equal(got, want)


def test_merging_refuses_nothing_and_different_edges() -> None:
    with pytest.raises(ValueError, match="no histogram"):
        merge_histograms()
    with pytest.raises(ValueError, match="same edges"):
        merge_histograms(HISTOGRAM(f32(1, 2), bins=4), HISTOGRAM(f32(1, 3), bins=4))


@pytest.mark.parametrize("shape", [(2**31,), (2**16, 2**15), (3, 2**30)])
def test_too_many_entries_for_32_bits_are_refused(shape: tuple[int, ...]) -> None:
    w = jax.ShapeDtypeStruct(shape, jnp.bfloat16)
    with pytest.raises(ValueError, match="merge_histograms"):
        jax.eval_shape(histogram, w)


def test_the_largest_allowed_array_is_accepted() -> None:
    result = jax.eval_shape(histogram, jax.ShapeDtypeStruct((2**31 - 1,), jnp.bfloat16))
    assert result.counts.shape == (100,)


def test_bad_arguments_are_refused(unchecked: None) -> None:
    w = f32(1, 2, 3)
    with pytest.raises(ValueError, match="unknown scale"):
        histogram(w, scale="cubic")
    for edges in (f32(), f32(1), f32(1, 2, 3, 4).reshape(2, 2)):
        with pytest.raises(ValueError, match="edges"):
            histogram(w, edges)
    with pytest.raises(ValueError, match="bin"):
        histogram(w, bins=0)


def test_float64_bins_resolve_what_float32_cannot() -> None:
    w = 1 + np.arange(10) * 1e-12
    with jax.enable_x64(True):
        result = HISTOGRAM(w, bins=9)
        assert result.edges.dtype == jnp.float64
        np.testing.assert_array_equal(result.counts, np.histogram(w, np.asarray(result.edges))[0])
    assert np.count_nonzero(result.counts) > 5


# many entries


@pytest.mark.parametrize(
    ("size", "scale", "masked"),
    [(32_767, "linear", False), (32_768, "linear", True), (MANY, "linear", False), (MANY, "log", True)],
)
def test_blocks_and_what_is_left(size: int, scale: Any, masked: bool) -> None:
    w = (np.random.default_rng(size).standard_t(2, size) + 0.3).astype(np.float32)
    w[[5, 70, -1]] = [np.inf, np.nan, -np.inf]
    where = np.arange(size) % 3 > 0 if masked else None
    kept = w if where is None else w[where]
    assert_matches_numpy(HISTOGRAM(w, None, where, bins=77, scale=scale), np.abs(kept) if scale == "log" else kept)


@given(
    low=st.floats(-(2.0**126), 2.0**126, width=32), width=st.floats(0, 1, width=32), bins=st.sampled_from([1, 7, 40])
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_computed_bins_are_exact_at_their_edges(low: float, width: float, bins: int) -> None:
    """Entries on the automatic edges and next to them."""
    low = 0.0 if abs(low) < SMALLEST * 1e7 else low
    ends = f32(low, low + abs(low) * width)
    edges = np.asarray(HISTOGRAM(np.append(ends, np.full(3 * (bins + 1), ends[0])), bins=bins).edges)
    near = np.concatenate([edges, *(np.nextafter(edges, f32(direction)) for direction in (-np.inf, np.inf))])
    near = np.where(np.abs(near) < SMALLEST, np.float32(0), near)
    w = np.append(ends, np.where((near >= ends[0]) & (near <= ends[1]), near, ends[0]))
    result = HISTOGRAM(w, bins=bins)
    np.testing.assert_array_equal(result.edges, edges)
    assert_matches_numpy(result, w)


@pytest.mark.parametrize(("masked", "given"), [(False, False), (True, True)])
@pytest.mark.parametrize("bad", [1.0, np.inf, np.nan])
def test_moments_and_histogram_are_what_the_two_give(masked: bool, given: bool, bad: float) -> None:
    w = np.random.default_rng(8).standard_normal(MANY).astype(np.float32)
    w[17] = bad
    where = np.arange(w.size) % 5 > 0 if masked else None
    edges = np.linspace(-3, 2, 12, dtype=np.float32) if given else None
    m, h = BOTH(w, edges, where, bins=77)
    for got, want in zip(h, HISTOGRAM(w, edges, where, bins=77), strict=True):
        np.testing.assert_array_equal(got, want)
    for got, want in zip(m, MOMENTS(w, where), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_moments_and_histogram_run_over_batches_for_every_platform() -> None:
    w = np.random.default_rng(9).standard_normal((3, 500)).astype(np.float32)
    program = jax.jit(jax.vmap(moments_and_histogram))
    _, h = program(w)
    for row, counts in zip(w, h.counts, strict=True):
        np.testing.assert_array_equal(counts, HISTOGRAM(row).counts)
    platforms = ("cpu", "cuda", "rocm", "tpu")
    assert jax.export.export(program, platforms=list(platforms))(w).platforms == platforms


def test_counting_copies_no_entries() -> None:
    w = jax.ShapeDtypeStruct((2**24 + 999,), jnp.float32)
    program = jax.jit(moments_and_histogram).lower(w).compile()
    assert program.memory_analysis().temp_size_in_bytes < 0.05 * 4 * w.size
