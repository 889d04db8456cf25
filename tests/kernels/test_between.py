"""Distances and overlaps of two matrices against NumPy and SciPy in float64, and against chance."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from spectral_matrices import STRUCTURED, orthonormal, with_spectrum

from spectra.kernels import between
from spectra.kernels.between import (
    esd_distance,
    matrix_distance,
    subspace_overlap,
    top_vectors,
)

RNG = np.random.default_rng(3)
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

distance = jax.jit(matrix_distance)
vectors = partial(jax.jit, static_argnames="k")(top_vectors)
overlap = partial(jax.jit, static_argnames="k")(between.overlap)
ranks = jax.jit(esd_distance)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def true_overlap(a: np.ndarray, b: np.ndarray, k: int) -> tuple[float, float]:
    """Mean squared cosine of the principal angles, by SciPy, left and right."""
    (u, _, v), (s, _, t) = (np.linalg.svd(np.asarray(w, np.float64), full_matrices=False) for w in (a, b))
    angles = (scipy.linalg.subspace_angles(one, other) for one, other in ((u[:, :k], s[:, :k]), (v[:k].T, t[:k].T)))
    left, right = (float(np.mean(np.cos(angle) ** 2)) for angle in angles)
    return left, right


# distances


@pytest.mark.parametrize(("shape", "scale"), [((30, 20), 1), ((30, 20), 1e-30), ((30, 20), 1e30), ((1, 17), 1)])
def test_distance_against_numpy(shape: tuple[int, int], scale: float):
    a, b = normal(*shape) * np.float32(scale), normal(*shape) * np.float32(scale)
    x, y = a.astype(np.float64), b.astype(np.float64)
    found = distance(a, b)
    np.testing.assert_allclose(found.norm, np.linalg.norm(y - x), rtol=1e-5)
    np.testing.assert_allclose(found.relative, np.linalg.norm(y - x) / np.linalg.norm(x), rtol=1e-5)
    np.testing.assert_allclose(found.sv_max, np.linalg.norm(y - x, 2), rtol=1e-4)
    np.testing.assert_allclose(found.stable_rank, (np.linalg.norm(y - x) / np.linalg.norm(y - x, 2)) ** 2, rtol=2e-4)


def test_long_sums_keep_their_digits():
    """Equal entries, whose squares are all rounded the same way."""
    a = np.full((6000, 300), 0.1, np.float32)
    want = np.sqrt(a.size) * float(a[0, 0])
    np.testing.assert_allclose(distance(np.zeros_like(a), a).norm, want, rtol=1e-5)
    np.testing.assert_allclose(distance(a, 2 * a).relative, 1, rtol=1e-5)


def test_distance_of_equal_and_of_zero_matrices():
    w = normal(30, 20)
    same = distance(w, w)
    assert float(same.norm) == 0 and float(same.relative) == 0 and float(same.sv_max) == 0
    assert np.isnan(same.stable_rank)  # of no change at all
    from_zero = distance(np.zeros_like(w), w)
    assert np.isnan(from_zero.relative)
    np.testing.assert_allclose(from_zero.norm, np.linalg.norm(w), rtol=1e-6)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100))
@settings(deadline=None, max_examples=15, derandomize=True)
def test_laws_of_the_distance(seed: int, factor: float):
    rng = np.random.default_rng(seed)
    a, b, c = rng.standard_normal((3, 30, 20)).astype(np.float32)
    ab, ba, bc, ac = (distance(*pair).norm for pair in ((a, b), (b, a), (b, c), (a, c)))
    assert float(ab) == float(ba)
    assert float(ac) <= (float(ab) + float(bc)) * (1 + 1e-6)
    scaled = distance(a * np.float32(factor), b * np.float32(factor))
    np.testing.assert_allclose(scaled.relative, distance(a, b).relative, rtol=1e-5)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 50]))
@settings(deadline=None, max_examples=15, derandomize=True)
def test_esd_distance_against_scipy(seed: int, size: int):
    rng = np.random.default_rng(seed)
    x, y = rng.pareto(1.5, (2, size)).astype(np.float32)
    want = stats.wasserstein_distance(x.astype(np.float64), y.astype(np.float64)) / x.mean(dtype=np.float64)
    np.testing.assert_allclose(ranks(x, y), want, rtol=1e-5)


def test_esd_distance_at_the_edges():
    assert np.isnan(ranks(np.zeros(4, np.float32), np.ones(4, np.float32)))
    assert float(ranks(np.ones(4, np.float32), np.ones(4, np.float32))) == 0
    huge = np.full(4, 3e38, np.float32)  # their sum is beyond float32
    np.testing.assert_allclose(ranks(huge, huge / 2), 0.5, rtol=1e-6)


# leading directions


@pytest.mark.parametrize("name", STRUCTURED)
def test_vectors_are_singular_vectors(name: str):
    """Orthonormal, and W takes one to the other, as far as they are resolved; whatever the matrix."""
    w = STRUCTURED[name].astype(np.float32)
    found, k = vectors(w, 6), 6
    left, right, resolved = np.float64(found.left), np.float64(found.right), int(found.resolved)
    x = w.astype(np.float64)
    true = np.linalg.svd(x, compute_uv=False)
    for q in (left, right):
        np.testing.assert_allclose(q.T @ q, np.eye(k), atol=1e-5)
    images = np.linalg.norm(x @ right, axis=0)
    np.testing.assert_allclose(images[:resolved], true[:resolved], rtol=0.05, atol=2e-3 * true[0])
    np.testing.assert_allclose(
        np.abs(left.T @ x @ right)[range(resolved), range(resolved)], images[:resolved], rtol=0.02, atol=1e-3 * true[0]
    )
    assert resolved >= min(k, np.sum(true > 0.01 * true[0])) if true[0] > 0 else resolved == 0


@pytest.mark.parametrize("shape", [(80, 50), (50, 80)])
def test_overlap_against_scipy(shape: tuple[int, int]):
    spectrum = np.geomspace(1, 0.01, min(shape))  # well apart
    a = with_spectrum(spectrum, max(shape), seed=1)
    b = a + 0.01 * RNG.standard_normal(a.shape)
    a, b = (w if shape[0] >= shape[1] else w.T for w in (a, b))
    found = overlap(a.astype(np.float32), b.astype(np.float32), 7)
    np.testing.assert_allclose((found.left, found.right), true_overlap(a, b, 7), atol=2e-5)
    assert 0.1 < float(found.left) < 0.999
    (u, _, v), (s, _, t) = (np.linalg.svd(w) for w in (a, b))
    cosines = np.sum(u[:, :7] * s[:, :7], axis=0), np.sum(v[:7] * t[:7], axis=1)
    expected = [np.sqrt(np.mean(np.square(values))) for values in cosines]
    np.testing.assert_allclose((found.left_cos, found.right_cos), expected, atol=2e-4)
    assert int(found.k) == 7


def test_independent_gaussian_matrices_overlap_at_chance():
    """Mean k/d and the standard deviation that the docstring states; mean square of uᵢ·uᵢ′ is 1/d."""
    pairs, m, n, k = 600, 40, 24, 5
    a, b = RNG.standard_normal((2, pairs, m, n)).astype(np.float32)
    found = overlap(a, b, k)
    for values, d in ((found.left, m), (found.right, n)):
        spread = np.sqrt(2) * (1 - k / d) / np.sqrt((d - 1) * (d + 2))
        assert abs(np.mean(values) - k / d) < 4 * spread / np.sqrt(pairs)
        assert abs(np.std(values) / spread - 1) < 4 / np.sqrt(2 * pairs)
    for values, d in ((found.left_cos, m), (found.right_cos, n)):
        error = np.std(np.square(values)) / np.sqrt(pairs)
        assert abs(np.mean(np.square(values)) - 1 / d) < 4 * error


def test_equal_matrices_overlap_fully():
    w = normal(30, 20)
    for other in (w, -3 * w):
        found = overlap(w, other, 8)
        np.testing.assert_allclose([found.left, found.right, found.left_cos, found.right_cos], 1, atol=1e-6)
        assert max(float(found.left), float(found.right)) <= 1


def test_half_of_the_directions_kept():
    """Four of eight directions stay on the left, all on the right."""
    u, v = orthonormal(RNG, 30, 12), orthonormal(RNG, 20, 8)
    values = np.linspace(4, 2, 8)
    a = (u[:, :8] * values) @ v.T
    b = (u[:, [0, 1, 2, 3, 8, 9, 10, 11]] * values) @ v.T
    found = overlap(a.astype(np.float32), b.astype(np.float32), 8)
    np.testing.assert_allclose((found.left, found.right), (0.5, 1), atol=1e-5)
    np.testing.assert_allclose(found.left_cos, np.sqrt(0.5), atol=1e-4)


def test_directions_beyond_the_rank_do_not_count():
    low = (orthonormal(RNG, 30, 3) * [3.0, 2.0, 1.0]) @ orthonormal(RNG, 20, 3).T
    found = overlap(low.astype(np.float32), low.astype(np.float32), 8)
    assert int(found.k) == 3
    np.testing.assert_allclose((found.left, found.right), 1, atol=1e-5)
    none = overlap(np.zeros((30, 20), np.float32), normal(30, 20), 8)
    assert int(none.k) == 0 and np.isnan(none.left) and np.isnan(none.right_cos)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1)])
def test_a_single_row_or_column(shape: tuple[int, int]):
    a, b = normal(*shape), normal(*shape)
    found = overlap(a, b, 1)
    cosine = (a.ravel() @ b.ravel()) / np.linalg.norm(a) / np.linalg.norm(b)
    long, short = (found.left, found.right) if shape[0] > 1 else (found.right, found.left)
    np.testing.assert_allclose((long, short), (cosine**2, 1), rtol=1e-4)


def test_padding_changes_nothing():
    a, b = normal(25, 17), normal(25, 17)
    padded = overlap(*(np.pad(w, ((0, 5), (0, 3))) for w in (a, b)), 8)
    plain = overlap(a, b, 8)
    for got, want in zip(padded, plain, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3)


def test_batches_are_what_vmap_and_single_matrices_give():
    a, b = normal(3, 30, 20), normal(3, 30, 20)
    a[1, 0, 0] = np.nan  # stays with its matrix
    apart, shared = distance(a, b), overlap(a, b, 8)
    single = [distance(x, y) for x, y in zip(a, b, strict=True)]
    mapped = jax.jit(jax.vmap(partial(overlap, k=8)))(a, b)
    for i, got in enumerate(apart):
        np.testing.assert_allclose(got, [s[i] for s in single], rtol=1e-4)
    for got, want in zip(mapped, shared, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
    assert np.isnan(apart.norm).tolist() == np.isnan(shared.left).tolist() == [False, True, False]
    assert np.asarray(shared.k).tolist() == [8, 0, 8]


def test_narrow_types_are_widened():
    a, b = normal(30, 20).astype(jnp.bfloat16), (8 * normal(30, 20)).astype(np.int8)
    wide = [np.asarray(w, np.float32) for w in (a, b)]
    for got, want in zip(distance(a, b), distance(*wide), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_float64_is_computed_in_float64():
    with jax.enable_x64(True):
        a, b = RNG.standard_normal((2, 30, 20))
        found, apart = overlap(a, b, 6), distance(a, b)
        np.testing.assert_allclose((found.left, found.right), true_overlap(a, b, 6), rtol=1e-9)
        np.testing.assert_allclose(apart.sv_max, np.linalg.norm(b - a, 2), rtol=1e-12)


@pytest.mark.usefixtures("unchecked")
def test_wrong_shapes_are_refused():
    w = normal(6, 4)
    with pytest.raises(ValueError, match="same shape"):
        matrix_distance(w, w[:5])
    with pytest.raises(ValueError, match="equal size"):
        esd_distance(w[0], w[0, :3])
    for k in (0, 5):
        with pytest.raises(ValueError, match="k from 1"):
            top_vectors(w, k)
    with pytest.raises(ValueError, match="equal shape"):
        subspace_overlap(vectors(w, 2), vectors(w, 3))
    with pytest.raises(ValueError, match="same shape"):
        between.overlap(w, w[:5], 2)


def test_overlap_is_that_of_the_vectors():
    a, b = normal(7, 30, 20), normal(7, 30, 20)
    found, want = overlap(a, b, 4), subspace_overlap(vectors(a, 4), vectors(b, 4))
    for name, values in want._asdict().items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("platforms", [PLATFORMS, ("tpu",), ("rocm",)], ids="+".join)
def test_lowers_for_every_platform(platforms: tuple[str, ...]):
    w = jax.ShapeDtypeStruct((2, 20, 12), jnp.float32)

    @jax.jit
    def everything(a, b):
        ranks = esd_distance(jnp.sum(a, -1), jnp.sum(b, -1))
        return matrix_distance(a, b), subspace_overlap(top_vectors(a, 3), top_vectors(b, 3)), ranks

    assert jax.export.export(everything, platforms=list(platforms))(w, w).platforms == platforms
