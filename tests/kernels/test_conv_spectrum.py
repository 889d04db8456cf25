"""Convolutions on a periodic image against the singular values of the dense matrix, built entry by entry."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export

from spectra.kernels.conv_spectrum import conv_singular_values, conv_spectrum

RNG = np.random.default_rng(5)


def dense(w: np.ndarray, sizes: tuple[int, ...], groups: int = 1) -> np.ndarray:
    """The matrix that takes an image (pixel, channel) to its periodic cross-correlation with w (*spatial, in, out)."""
    *spatial, inputs, outputs = w.shape
    pixels = list(itertools.product(*map(range, sizes)))
    number = {pixel: i for i, pixel in enumerate(pixels)}
    matrix = np.zeros((len(pixels), outputs, len(pixels), inputs * groups))
    for pixel, tap in itertools.product(pixels, itertools.product(*map(range, spatial))):
        seen = tuple((p + t) % n for p, t, n in zip(pixel, tap, sizes, strict=True))
        for o in range(outputs):
            group = o // (outputs // groups)
            place = slice(group * inputs, (group + 1) * inputs)
            matrix[number[pixel], o, number[seen], place] += w[(*tap, slice(None), o)]
    return matrix.reshape(len(pixels) * outputs, -1)


def truth(w: np.ndarray, sizes: tuple[int, ...], groups: int = 1) -> np.ndarray:
    """Singular values, descending, without the zeros that a block with more columns than rows adds."""
    outputs, inputs = w.shape[-1] // groups, w.shape[-2]
    count = int(np.prod(sizes)) * groups * min(outputs, inputs)
    return np.linalg.svd(dense(w.astype(np.float64), sizes, groups), compute_uv=False)[:count]


CASES = {
    "1-D": ((3, 4, 2), (7,), 1),
    "2-D odd, oblong": ((3, 2, 3, 2), (7, 4), 1),
    "3-D": ((2, 1, 3, 2, 2), (4, 2, 3), 1),
    "depthwise, two outputs each": ((3, 1, 6), (8,), 3),
    "two groups": ((3, 3, 2, 6), (4, 4), 2),
}


SPECTRUM = jax.jit(conv_spectrum, static_argnames=("size", "groups", "method"))
VALUES = jax.jit(conv_singular_values, static_argnames=("size", "groups", "method"))


@pytest.mark.parametrize(
    ("name", "method"), [*((name, "svd") for name in CASES), ("1-D", "gram"), ("2-D odd, oblong", "auto")]
)
def test_dense_matrix(name: str, method: str):
    shape, sizes, groups = CASES[name]
    w = RNG.standard_normal(shape).astype(np.float32)
    got = SPECTRUM(w, sizes, groups=groups, method=method)
    want = truth(w, sizes, groups)
    k = min(shape[-2], shape[-1] // groups)
    assert got.singular_values.shape == (*sizes, groups, k)
    assert got.floor.shape == got.num_evals.shape == got.num_unresolved.shape == (*sizes, groups)
    found = np.sort(np.asarray(got.singular_values), axis=None)[::-1]
    floor = float(got.floor.max())
    assert np.all(np.abs(found - want)[found > 0] <= floor)
    assert np.all(want[found == 0] <= 2 * floor)
    np.testing.assert_allclose(found[want > 0.05 * want[0]], want[want > 0.05 * want[0]], rtol=2e-5)


def test_each_value_stands_at_its_frequency():
    """NumPy's complex transform of the kernel, block by block."""
    w = RNG.standard_normal((3, 2, 3, 2)).astype(np.float32)
    want = np.linalg.svd(np.fft.fftn(w.astype(np.float64), s=(7, 4), axes=(0, 1)), compute_uv=False)
    got = SPECTRUM(w, (7, 4), groups=1, method="svd").singular_values[:, :, 0]
    np.testing.assert_allclose(got, want, rtol=1e-4)
    all_of_them = VALUES(w, (7, 4), method="svd")
    np.testing.assert_allclose(all_of_them, np.sort(want, axis=None)[::-1], rtol=1e-4)


def test_float64():
    w = RNG.standard_normal((3, 3, 3, 4))
    with jax.enable_x64(True):
        got = VALUES(w, 5, method="svd")
    np.testing.assert_allclose(got, truth(w, (5, 5)), rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([7, 8]), st.integers(-60, 60), st.integers(0, 2**32 - 1))
def test_energy_is_kept(size: int, power: int, seed: int):
    """Σσ² of the operator is the number of pixels times Σw² (Parseval), in any unit."""
    w = (np.random.default_rng(seed).standard_t(3, (5, 1, 3)) * 2.0**power).astype(np.float32)
    values = SPECTRUM(w, size, method="svd").singular_values
    np.testing.assert_allclose(
        np.sum(np.square(values, dtype=np.float64)), size * np.sum(np.square(w, dtype=np.float64)), rtol=1e-5
    )


def test_what_the_transform_cannot_tell_from_zero_is_unresolved():
    """A mean over three pixels has exact zeros at frequencies 1/3 and 2/3, where the transform leaves rounding."""
    mean = np.full((3, 1, 1), 1 / 3, np.float32)
    found = SPECTRUM(mean, 3, method="svd")
    np.testing.assert_array_equal(found.singular_values[1:, 0, 0], 0)
    np.testing.assert_array_equal(found.num_unresolved[:, 0], [0, 1, 1])
    nothing = SPECTRUM(np.zeros((3, 1, 1), np.float32), 3, method="svd")
    assert not nothing.num_unresolved.any() and not nothing.floor.any()


def test_no_value_is_off_by_more_than_its_floor():
    """A kernel as wide as the image, of prime length; each kind is a group, with blocks of very different size."""
    n = 97
    kinds = [
        RNG.standard_normal((n, 3, 4)),
        np.exp(-(np.arange(n) ** 2) / 8)[:, None, None] * (1 + RNG.random((3, 4))),
        1000 + RNG.standard_normal((n, 3, 4)),
    ]
    w = np.concatenate(kinds, axis=2).astype(np.float32)
    blocks = np.fft.fft(w.astype(np.float64), axis=0).reshape(n, 3, len(kinds), 4)
    want = np.linalg.svd(blocks.transpose(0, 2, 1, 3), compute_uv=False)
    for method in ("gram", "svd"):
        found = SPECTRUM(w, n, groups=len(kinds), method=method)
        got, floor = np.asarray(found.singular_values), np.asarray(found.floor)[..., None]
        resolved = got > 0
        assert np.all(np.abs(got - want)[resolved] <= np.broadcast_to(floor, got.shape)[resolved]), method
        assert np.all(want[~resolved] <= 2 * np.broadcast_to(floor, got.shape)[~resolved]), method
        assert resolved.mean() > 0.5, method
    assert resolved.mean() == 1  # svd leaves nothing open here


def test_gradient_of_the_largest():
    """dσ = u* dŵ v: against differences of the dense matrix in float64."""
    w = RNG.standard_normal((3, 2, 3))
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(lambda x: conv_singular_values(x, 5, method="svd")[0]))(jnp.asarray(w))
    step = 1e-6
    for place in ((0, 0, 0), (2, 1, 2), (1, 0, 1)):
        moved = np.zeros_like(w)
        moved[place] = step
        want = (truth(w + moved, (5,))[0] - truth(w - moved, (5,))[0]) / (2 * step)
        np.testing.assert_allclose(slope[place], want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("shape", "size", "groups", "says"),
    [
        ((4, 5), 8, 1, "one to three spatial axes"),
        ((2, 2, 2, 2, 4, 5), 8, 1, "one to three spatial axes"),
        ((3, 0, 5), 8, 1, "one to three spatial axes"),
        ((5, 3, 2, 2), (8, 2), 1, r"\(8, 2\) pixels is smaller than the kernel \(5, 3\)"),
        ((5, 3, 2, 2), (8,), 1, "1 numbers for 2 spatial axes"),
        ((3, 1, 4), 8, 3, "4 output channels cannot be divided into 3 groups"),
    ],
)
def test_what_cannot_be(shape: tuple[int, ...], size: int | tuple[int, ...], groups: int, says: str):
    with pytest.raises(ValueError, match=says):
        conv_spectrum(np.zeros(shape, np.float32), size, groups=groups)


def test_nan_spoils_its_own_group_only():
    w = RNG.standard_normal((3, 1, 2)).astype(np.float32)
    w[1, 0, 1] = np.nan
    found = SPECTRUM(w, 4, groups=2, method="svd")
    assert np.isfinite(found.singular_values[:, 0]).all() and np.isnan(found.singular_values[:, 1]).all()
    np.testing.assert_array_equal(found.num_unresolved[:, 1], 1)


def test_lowers_everywhere():
    program = jax.jit(lambda w: conv_singular_values(w, 8, groups=2))
    shape = jax.ShapeDtypeStruct((3, 3, 4, 6), jnp.float32)
    lowered = export.export(program, platforms=["cpu", "cuda", "rocm", "tpu"])(shape)
    assert set(lowered.platforms) == {"cpu", "cuda", "rocm", "tpu"}
