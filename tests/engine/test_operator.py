"""The engine's own route to operators that are never formed, against NumPy in float64 and against the kernels."""

from __future__ import annotations

import numpy as np
import pytest

from spectra.engine.backends import JaxBackend
from spectra.engine.host import host_spectrum
from spectra.engine.operator import AT_ONCE, conv_spectra, low_rank_spectra, working_bytes
from spectra.kernels.conv_spectrum import conv_spectrum
from spectra.models.operators import LowRank, PeriodicConv

RNG = np.random.default_rng(9)
ROUTES = ("gram", "svd")


def lapack(matrices: np.ndarray, route: str) -> tuple[np.ndarray, np.ndarray]:
    found = [host_spectrum(matrix, route) for matrix in matrices]
    return np.stack([values for values, _ in found]), np.asarray([floor for _, floor in found])


def kernel_of(taps: tuple[int, ...], outputs: int, inputs: int, kind: str = "normal") -> np.ndarray:
    """In PyTorch's order, (out, in, …)."""
    shape = (outputs, inputs, *taps)
    if kind == "blur":
        distance = sum((np.arange(k) - k // 2)[(...,) + (None,) * (len(taps) - 1 - i)] ** 2 for i, k in enumerate(taps))
        return (np.exp(-distance / 2) * (1 + 0.1 * RNG.random((outputs, inputs) + (1,) * len(taps)))).astype(np.float32)
    return RNG.standard_normal(shape).astype(np.float32)


def view_of(w: np.ndarray, size: tuple[int, ...], groups: int = 1) -> PeriodicConv:
    return PeriodicConv(w.shape, tuple(range(2, w.ndim)), (0,), (1,), size=size, groups=groups)


def truth(w: np.ndarray, size: tuple[int, ...], groups: int = 1) -> np.ndarray:
    """NumPy's full complex transform, shape (frequencies·groups, M)."""
    spatial = np.moveaxis(w.astype(np.float64), (0, 1), (-2, -1))
    blocks = np.fft.fftn(spatial, s=size, axes=tuple(range(len(size))))
    blocks = blocks.reshape(-1, w.shape[0] // groups, w.shape[1])
    return np.linalg.svd(blocks, compute_uv=False)


CASES = {
    "1-D": ((3,), 5, 4, (8,), 1),
    "2-D": ((3, 3), 6, 4, (8, 8), 1),
    "2-D odd, oblong": ((3, 5), 4, 6, (7, 5), 1),
    "3-D": ((2, 3, 1), 3, 2, (4, 3, 1), 1),
    "one input": ((3, 3), 6, 1, (5, 6), 1),
    "one output": ((3, 3), 1, 6, (5, 6), 1),
    "depthwise": ((7, 7), 9, 1, (8, 8), 9),
    "two outputs a group": ((3,), 8, 1, (6,), 4),
    "groups": ((3, 3), 6, 2, (4, 4), 3),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("kind", ["normal", "blur"])
def test_against_numpy(name: str, route: str, kind: str):
    taps, outputs, inputs, size, groups = CASES[name]
    w = kernel_of(taps, outputs, inputs, kind)
    view = view_of(w, size, groups)
    values, floor = conv_spectra(view, view.matrices(w), route, lapack)
    want = truth(w, size, groups)
    assert values.shape == want.shape == (view.rf, view.M) and values.size == view.num_evals
    assert floor.shape == (view.rf,)
    resolved = values > 0
    limit = np.broadcast_to(floor[:, None], values.shape)
    assert np.all(np.diff(values, axis=1) <= 0)
    assert np.all(np.abs(values - want)[resolved] <= limit[resolved])
    assert np.all(want[~resolved] <= 2 * limit[~resolved])
    assert resolved.mean() > 0.2


def test_in_float64_to_twelve_digits():
    w = kernel_of((3, 3), 5, 4).astype(np.float64)
    view = view_of(w, (6, 6))
    values, _ = conv_spectra(view, view.matrices(w), "svd", lapack)
    np.testing.assert_allclose(values, truth(w, (6, 6)), rtol=1e-12)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch):
    w = kernel_of((3, 3), 5, 4)
    view = view_of(w, (6, 6))
    whole = conv_spectra(view, view.matrices(w), "gram", lapack)
    monkeypatch.setattr("spectra.engine.operator.AT_ONCE", 250)
    seen: list[int] = []

    def watched(matrices: np.ndarray, route: str) -> tuple[np.ndarray, np.ndarray]:
        seen.append(matrices.size)
        return lapack(matrices, route)

    pieces = conv_spectra(view, view.matrices(w), "gram", watched)
    assert max(seen) <= 250 and sum(seen) == view.distinct * 4 * 20
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_both_backends_and_the_kernel_agree():
    w = kernel_of((3, 3), 5, 4)
    view = view_of(w, (8, 8))
    backend = JaxBackend({}, {})
    ours = conv_spectra(view, view.matrices(w), "gram", lapack)[0]
    theirs = conv_spectra(view, view.matrices(w), "gram", backend.spectra)[0]
    np.testing.assert_allclose(theirs, ours, atol=1e-5 * ours.max())
    kernel = conv_spectrum(w.transpose(2, 3, 1, 0), 8, method="svd").singular_values.reshape(ours.shape)
    np.testing.assert_allclose(kernel, ours, atol=1e-5 * ours.max())


def test_memory_follows_the_kernel_and_not_the_image():
    """Little more than the kernel itself, however many frequencies there are."""
    view = PeriodicConv((512, 512, 3, 3), (2, 3), (0,), (1,), size=(64, 64))
    embedded = 4 * 512 * 512 * 4 * view.distinct
    assert working_bytes(view) < embedded / 50
    assert working_bytes(view) >= 8 * (512 * 512 * 9 + AT_ONCE)


@pytest.mark.parametrize(("rows", "cols", "rank"), [(40, 30, 4), (30, 50, 1), (6, 50, 16), (50, 6, 16), (5, 5, 5)])
def test_low_rank_against_the_product(rows: int, cols: int, rank: int):
    left, right = RNG.standard_normal((rows, rank)), RNG.standard_normal((rank, cols))
    tensor = np.concatenate([left, right.T]).astype(np.float32)
    view = LowRank(tensor.shape, (), (0,), (1,), left=rows, scale=-0.5)
    product = 0.5 * tensor[:rows].astype(np.float64) @ tensor[rows:].astype(np.float64).T
    values, floor = low_rank_spectra(view, view.matrices(tensor))
    assert values.shape == (1, view.num_evals) and view.num_evals == min(rows, cols, rank)
    assert sorted((rows, cols)) == [view.M, view.N]
    np.testing.assert_allclose(values[0], np.linalg.svd(product, compute_uv=False)[: view.num_evals], rtol=1e-11)
    assert 0 < floor[0] < 1e-11


def test_a_rank_that_is_not_there_is_unresolved():
    left = np.repeat(RNG.standard_normal((40, 1)), 3, axis=1)
    tensor = np.concatenate([left, RNG.standard_normal((30, 3))])
    view = LowRank(tensor.shape, (), (0,), (1,), left=40)
    values, floor = low_rank_spectra(view, view.matrices(tensor))
    assert values[0, 0] > 0 and not values[0, 1:].any() and floor[0] > 0
    nothing, floor = low_rank_spectra(view, np.zeros((1, 70, 3)))
    assert not nothing.any() and not floor.any()
