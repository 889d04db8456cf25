"""The CPU's own route: LAPACK on the caller's arrays, with the promises of the kernel."""

from __future__ import annotations

import threading
from unittest import mock

import jax
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from spectral_matrices import STRUCTURED, assert_promise, truth
from threadpoolctl import threadpool_limits

from spectra.engine import host, lapack
from spectra.engine.host import gram_numbers, host_spectrum
from spectra.engine.two_stage import two_stage
from spectra.kernels import Spectrum, spectrum

ROUTES = ("gram", "svd")
routes = pytest.mark.parametrize("route", ROUTES)
types = pytest.mark.parametrize("dtype", [np.float32, np.float64])
RNG = np.random.default_rng(11)


def as_spectrum(w: np.ndarray, route: str) -> Spectrum:
    values, floor = host_spectrum(w, route)
    unresolved = int(np.sum(values == 0)) if floor > 0 else 0
    return Spectrum(values, np.asarray(values.size), np.asarray(unresolved), np.asarray(floor))


@pytest.mark.parametrize("size", [31, 32, 33, 64])
def test_blocks_of_a_long_sum_may_be_square(size: int):
    """As those of 4096×32000 are, whose blocks are 4096×4096."""
    w = np.ascontiguousarray(RNG.standard_normal((size, 500)) * np.geomspace(1, 30, size)[:, None])
    with mock.patch.object(host, "BLOCK", 32):
        for matrix in (w, np.ascontiguousarray(w.T)):
            np.testing.assert_allclose(host_spectrum(matrix, "gram")[0], np.linalg.svd(w, compute_uv=False), rtol=1e-9)


@routes
@pytest.mark.parametrize("name", [name for name in STRUCTURED if name != "zero"])
def test_structured_matrices(name: str, route: str):
    w = STRUCTURED[name].astype(np.float32)
    for matrix in (w, np.ascontiguousarray(w.T)):
        assert_promise(matrix, as_spectrum(matrix, route), route, name)


@routes
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2), (37, 3), (3, 37), (96, 311), (600, 450)])
def test_shapes(shape: tuple[int, int], route: str):
    for w in (RNG.standard_normal(shape), RNG.random(shape), np.full(shape, 0.1), np.full(shape, -3.0)):
        w = w.astype(np.float32)
        assert_promise(w, as_spectrum(w, route), route)


@routes
@types
def test_the_zero_matrix_is_exact(route: str, dtype: type):
    values, floor = host_spectrum(np.zeros((20, 7), dtype), route)
    assert not values.any() and floor == 0


@pytest.mark.parametrize("kind", ["positive", "constant", "constant + identity"])
@pytest.mark.parametrize("shape", [(100_000, 64), (64, 100_000), (1_000_000, 2), (20_000, 300)])
def test_long_sums(kind: str, shape: tuple[int, int]):
    """Every entry of the Gram matrix is a sum of up to 10⁶ products, all rounded the same way where w is constant."""
    match kind:
        case "positive":
            w = np.random.default_rng(4).random(shape, np.float32)
        case _:
            w = np.full(shape, 0.3, np.float32) + ("identity" in kind) * np.eye(*shape, dtype=np.float32)
    tall = w if shape[0] > shape[1] else w.T
    gram = tall.astype(np.float64).T @ tall  # in float64, exact enough: a square root of it would be our own route
    want = np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0))
    got, floor = host_spectrum(w, "gram")
    resolved = got > 0
    assert np.max(np.abs(got**2 - want**2), where=resolved, initial=0) <= floor**2
    assert np.all(want[~resolved] <= 2 * floor)


@types
def test_the_input_is_left_alone(dtype: type):
    w = RNG.standard_normal((60, 40)).astype(dtype)
    for unit in (1.0, 1e-20, 1e20):
        given_ = (w * dtype(unit)).astype(dtype)
        kept = given_.copy()
        for route in ROUTES:
            host_spectrum(given_, route)
            np.testing.assert_array_equal(given_, kept)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(ROUTES), st.integers(-90, 90), st.integers(0, 2**32 - 1))
def test_agrees_with_the_kernel_in_any_unit(rows: int, cols: int, route: str, power: int, seed: int):
    w = (np.random.default_rng(seed).standard_t(3, (rows, cols)) * 2.0**power).astype(np.float32)
    ours = as_spectrum(w, route)
    assert_promise(w, ours, route)
    unscaled, floor = host_spectrum((w / np.float32(2.0**power)).astype(np.float32), route)
    np.testing.assert_allclose(ours.singular_values, unscaled * 2.0**power, rtol=1e-3)
    np.testing.assert_allclose(ours.floor, floor * 2.0**power, rtol=1e-3)


def test_floors_are_those_of_the_kernel():
    w = RNG.standard_t(3, (300, 200)).astype(np.float32)
    for route in ROUTES:
        kernel = jax.jit(spectrum, static_argnums=1)(w, route)
        values, floor = host_spectrum(w, route)
        np.testing.assert_allclose(floor, kernel.floor, rtol=1e-3)
        np.testing.assert_allclose(values, kernel.singular_values, rtol=1e-3)


def test_float64_resolves_what_float32_cannot():
    w = RNG.standard_normal((120, 100))
    values, _ = host_spectrum(w, "svd")
    np.testing.assert_allclose(values, truth(w), rtol=1e-9)
    by_gram, floor = host_spectrum(w, "gram")
    assert floor < 1e-5 * values[0]
    np.testing.assert_allclose(by_gram, truth(w), rtol=1e-6)


@types
@pytest.mark.parametrize("band", [1, 2, 7, 16, 48])
@pytest.mark.parametrize("n", [2, 3, 47, 48, 49, 50, 95, 96, 97, 98, 145, 300])
def test_two_stages_keep_the_eigenvalues(n: int, band: int, dtype: type):
    a = RNG.standard_normal((n, n))
    a = np.asfortranarray((a + a.T).astype(dtype))
    want = scipy.linalg.eigvalsh(a.astype(np.float64))
    a[np.triu_indices(n, 1)] = np.nan  # only the lower triangle counts
    d, e = two_stage(a, band)
    assert d.shape == (n,) and e.shape == (n - 1,)
    got = lapack.sterf(d, e)
    np.testing.assert_allclose(got, want, atol=40 * np.finfo(dtype).eps * np.abs(want).max())


@types
def test_two_stages_of_rank_one_end_in_zeros(dtype: type):
    """Not in the subnormal numbers that rounding of roundings comes to, a hundred times slower."""
    a = np.full((300, 300), 0.7, dtype, order="F")
    d, e = two_stage(a)
    left = np.abs(np.concatenate([d, e]))
    assert np.all((left == 0) | (left > np.finfo(dtype).tiny))
    np.testing.assert_allclose(lapack.sterf(d, e)[-1], 210, rtol=40 * np.finfo(dtype).eps)


def test_large_matrices_go_in_two_stages(monkeypatch):
    """From a size on, lowered here; heavy tails, and a spectrum known beforehand."""
    monkeypatch.setattr(host, "LARGE", 500)
    n, reflections = 500, 4
    values = np.sort(np.random.default_rng(5).pareto(1.5, n) + 0.05)[::-1].astype(np.float64)
    w = np.diag(values)
    for _ in range(reflections):  # orthogonal from both sides
        for axis in (0, 1):
            v = RNG.standard_normal(n)
            v /= np.linalg.norm(v)
            w -= 2 * np.outer(v, v @ w) if axis == 0 else 2 * np.outer(w @ v, v)
    with mock.patch.object(host, "two_stage", wraps=two_stage) as stages:
        got, floor = host_spectrum(w.astype(np.float32), "gram")
    assert stages.call_count == 1
    resolved = got > 0
    assert np.max(np.abs(got**2 - values**2), where=resolved, initial=0) <= floor**2
    np.testing.assert_allclose(got[:50], values[:50], rtol=1e-5)


@pytest.mark.parametrize("size", [120, 400, 800, 1600, 3100])
def test_large_constant_matrices(size: int):
    """Every rounding goes the same way, with one thread the more so: λ off by up to 150 eps·λ_max."""
    with threadpool_limits(1, user_api="blas"):
        for value in (0.7, 0.1, 0.3, 1 / 3, 0.55) if size < 3000 else (0.1,):  # the largest goes in two stages
            w = np.full((size, size), value, np.float32)
            got, floor = host_spectrum(w, "gram")
            assert abs(got[0] ** 2 - (float(w[0, 0]) * size) ** 2) <= floor**2
            assert not got[1:].any(), (value, got[1] / floor)


def test_threads_do_not_disturb_each_other():
    """Routines run without the interpreter's lock: many at once, of both types, each with its own right answer."""
    matrices = [RNG.standard_normal((80 + i, 60)).astype((np.float32, np.float64)[i % 2]) for i in range(24)]
    found: list[np.ndarray | None] = [None] * len(matrices)

    def work(i: int) -> None:
        for _ in range(5):
            found[i] = host_spectrum(matrices[i], ROUTES[i % 3 == 0])[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(matrices))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for w, values in zip(matrices, found, strict=True):
        np.testing.assert_allclose(values, truth(w), rtol=1e-3)


def test_lapack_reports_a_failure():
    d, e = np.full(5, np.nan, np.float32), np.ones(4, np.float32)
    with pytest.raises(lapack.LapackError, match="LAPACK's sterf failed with info="):
        lapack.sterf(d, e)  # not a number keeps the iteration from converging


def test_compensated_sums_take_three_matrices_where_sums_are_long():
    assert gram_numbers(4096, 4096) == 4096**2
    assert gram_numbers(100_000, 64) == 3 * 64**2
