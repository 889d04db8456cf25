"""Hill's estimator against its definition, closed forms, and TempBalance's indexing."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectra.kernels.hill import hill_alpha

HILL, GRADIENT = jax.jit(hill_alpha), jax.jit(jax.grad(hill_alpha))


def reference(x: np.ndarray, k: int | None = None) -> float:
    """As TempBalance has it: ascending, the tail from the middle on."""
    x = np.sort(np.asarray(x, np.float64))
    start = len(x) // 2 if k is None else len(x) - k
    tail = x[start:]
    return 1 + len(tail) / np.sum(np.log(tail / tail[0]))


@given(st.lists(st.floats(0.125, 1e6, width=32), min_size=12, max_size=12, unique=True), st.integers(2, 12))
@settings(deadline=None, max_examples=100, derandomize=True)
def test_against_the_definition(x: list[float], k: int) -> None:
    values = np.array(x, np.float32)
    assert float(HILL(values)) == pytest.approx(reference(values), rel=3e-5)
    assert float(HILL(values, k=k)) == pytest.approx(reference(values, k), rel=3e-5)


def test_digits_survive_narrow_samples() -> None:
    values = (1000 + np.random.default_rng(0).random(400)).astype(np.float32)
    assert float(HILL(values)) == pytest.approx(reference(values), rel=1e-5)


def test_known_exponent() -> None:
    """A Pareto sample is all tail: alpha within its standard error, and the same for every share."""
    x = ((1 - np.random.default_rng(1).random(40_000)) ** (-1 / 1.5)).astype(np.float32)
    for k in (None, 4000, 40_000):
        assert float(HILL(x, k=k)) == pytest.approx(2.5, abs=4 * 1.5 / (k or 20_000) ** 0.5)


def test_masks_batches_and_odd_sizes() -> None:
    rng = np.random.default_rng(2)
    x = rng.pareto(2, (2, 3, 21)).astype(np.float32) + 1
    keep = rng.random(21) < 0.6
    outside = np.where(keep, x, np.nan)
    wanted = np.array([[reference(row[keep]) for row in rows] for rows in x])
    np.testing.assert_allclose(HILL(outside, keep), wanted, rtol=1e-5)
    np.testing.assert_allclose(HILL(x, k=np.array([[5], [9]])[:, [0, 0, 0]])[1, 2], reference(x[1, 2], 9), rtol=1e-5)


@pytest.mark.parametrize(
    "x", [[1, 1, 1, 1], [0, 0, 0, 1], [1, 2, np.nan, 3], [1, 2, np.inf, 3], [-1, -2, 3, -4], [0, 0, 0, 0]]
)
def test_no_tail_gives_nan(x: list[float]) -> None:
    assert np.isnan(HILL(np.array(x, np.float32)))


def test_without_a_tail_the_gradient_is_finite() -> None:
    assert np.isfinite(GRADIENT(np.array([0, 0, 0, 1], np.float32))).all()


def test_bad_sizes_give_nan() -> None:
    x = np.array([1, 2, 3, 4], np.float32)
    assert np.isnan([HILL(x, k=k) for k in (0, 1, 5, -3)]).all()
    assert np.isfinite(HILL(x, k=4))


def test_scale_free_and_gradient() -> None:
    x = np.random.default_rng(3).pareto(2, 12).astype(np.float32) + 1
    assert float(HILL(x * np.float32(2.0**90))) == float(HILL(x))
    gradient = np.asarray(GRADIENT(x), np.float64)
    for i in range(12):
        step = np.eye(12)[i] * 1e-6
        wanted = (reference(x + step) - reference(x - step)) / 2e-6
        assert gradient[i] == pytest.approx(wanted, abs=1e-3 * np.abs(gradient).max())


def test_lowers_for_every_platform() -> None:
    x = jax.ShapeDtypeStruct((2, 30), np.float32)
    jax.export.export(HILL, platforms=["cpu", "cuda", "rocm", "tpu"])(x)
