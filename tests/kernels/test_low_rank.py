"""Products of low rank against the dense product in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export

from spectra.kernels.low_rank import low_rank_singular_values, low_rank_spectrum

RNG = np.random.default_rng(2)
SPECTRUM = jax.jit(low_rank_spectrum, static_argnames="method")


def factors(rows: int, rank: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(RNG.standard_normal(shape).astype(np.float32) for shape in ((rows, rank), (rank, cols)))


def truth(b: np.ndarray, a: np.ndarray) -> np.ndarray:
    values = np.linalg.svd(b.astype(np.float64) @ a.astype(np.float64), compute_uv=False)
    return values[..., : b.shape[-1]]


def assert_promise(b: np.ndarray, a: np.ndarray, method: str = "svd") -> None:
    found, want = SPECTRUM(b, a, method), truth(b, a)
    got, floor = np.asarray(found.singular_values), float(found.floor)
    resolved = got > 0
    assert got.shape == want.shape and int(found.num_evals) == got.size
    assert int(found.num_unresolved) == np.sum(~resolved)
    assert np.all(np.abs(got - want)[resolved] <= floor)
    assert np.all(want[~resolved] <= 2 * floor)


@pytest.mark.parametrize("shape", [(60, 4, 50), (50, 1, 70), (6, 16, 50)])
def test_dense_product(shape: tuple[int, int, int]):
    b, a = factors(*shape)
    np.testing.assert_allclose(SPECTRUM(b, a).singular_values, truth(b, a), rtol=2e-5)
    assert_promise(b, a)


@pytest.mark.parametrize("method", ["gram", "svd"])
def test_hard_factors(method: str):
    """Graded, far from zero, nearly cancelling, of lower rank than they look: the floor tells what is left."""
    b, a = factors(80, 6, 60)
    q = np.linalg.qr(RNG.standard_normal((80, 7)))[0]
    cancelling = q[:, :6] @ np.diag([1, 1, 1, 1, 1, 1e-7])
    for left, right in [
        (b * np.logspace(0, -6, 6), a),
        (b + 1000, a - 1000),
        (b @ np.ones((6, 6)), a),
        (cancelling, np.linalg.inv(q[:6, :6] + np.eye(6)) @ a),
        (np.repeat(b[:, :1], 6, axis=1), a),
    ]:
        assert_promise(left.astype(np.float32), right.astype(np.float32), method)


@settings(max_examples=20, deadline=None)
@given(st.integers(-60, 60), st.integers(-60, 60), st.integers(0, 2**32 - 1))
def test_units_move_through(one: int, other: int, seed: int):
    """Each factor may be in any unit, and a basis change between them changes nothing."""
    rng = np.random.default_rng(seed)
    b, a = rng.standard_normal((30, 3)).astype(np.float32), rng.standard_normal((3, 20)).astype(np.float32)
    plain = np.asarray(SPECTRUM(b, a).singular_values)
    scaled = SPECTRUM(b * np.float32(2.0**one), a * np.float32(2.0**other)).singular_values
    np.testing.assert_array_equal(np.asarray(scaled), plain * np.float32(2.0 ** (one + other)))
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    turned = SPECTRUM((b @ turn).astype(np.float32), (turn.T @ a).astype(np.float32))
    np.testing.assert_allclose(turned.singular_values, plain, atol=1e-5 * plain[0])


def test_batches_and_float64():
    b, a = RNG.standard_normal((2, 3, 20, 4)), RNG.standard_normal((2, 3, 4, 25))
    with jax.enable_x64(True):
        got = jax.jit(low_rank_singular_values)(b, a)
    np.testing.assert_allclose(got, truth(b, a), rtol=1e-12)


def test_nothing_and_not_a_number():
    b, a = factors(20, 3, 10)
    nothing = SPECTRUM(b, 0 * a)
    assert not nothing.singular_values.any() and int(nothing.num_unresolved) == 0 and float(nothing.floor) == 0
    b[3, 1] = np.nan
    broken = SPECTRUM(b, a)
    assert np.isnan(broken.singular_values).all() and int(broken.num_unresolved) == 3


@pytest.mark.parametrize(
    ("b", "a", "says"),
    [
        ((20, 0), (0, 10), "at least one row and column"),
        ((20, 3), (4, 10), "no product"),
        ((2, 20, 3), (3, 10), "no product"),
        ((20,), (3, 10), "at least one row and column"),
    ],
)
def test_what_cannot_be(unchecked: None, b: tuple[int, ...], a: tuple[int, ...], says: str):
    with pytest.raises(ValueError, match=says):
        low_rank_spectrum(np.zeros(b, np.float32), np.zeros(a, np.float32))


def test_gradient():
    """dσ = uᵀ dW v of the product, carried to a factor."""
    b, a = (factor.astype(np.float64) for factor in factors(9, 2, 8))
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(lambda x: low_rank_singular_values(x, jnp.asarray(a))[0]))(jnp.asarray(b))
    u, _, vt = np.linalg.svd(b @ a)
    np.testing.assert_allclose(slope, np.outer(u[:, 0], vt[0] @ a.T), atol=1e-10)


def test_lowers_everywhere():
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((40, 4), (4, 30))]
    lowered = export.export(jax.jit(low_rank_singular_values), platforms=["cpu", "cuda", "rocm", "tpu"])(*shapes)
    assert set(lowered.platforms) == {"cpu", "cuda", "rocm", "tpu"}
