"""FARMS: windows that cover, eigenvalues of the right sub-matrices, and an alpha without the bias of the shape."""

from functools import cache

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectra.kernels.farms import farms_alpha, farms_windows
from spectra.kernels.hill import hill_alpha
from spectra.kernels.marchenko_pastur import mp_density, mp_quantile

ALPHA = jax.jit(farms_alpha, static_argnames=("ratio", "width", "most"))
HILL_OF_240 = jax.jit(hill_alpha)
MEDIAN, DENSITY = (jax.jit(f) for f in (mp_quantile, mp_density))


def hill(values: np.ndarray) -> float:
    """Hill's alpha of up to 240 values: one program."""
    return float(HILL_OF_240(np.pad(values, (0, 240 - values.size)).astype(np.float32), np.arange(240) < values.size))


@cache
def alpha_of_noise(ratio: float) -> float:
    """Hill's alpha at the median of the Marchenko–Pastur law, 1 + ½/∫ ln(x/median)·density."""
    with jax.enable_x64(True):
        upper, median = (1 + ratio**0.5) ** 2, float(MEDIAN(np.float64(0.5), 1.0, float(ratio), 1.0))
        # Points that crowd at the upper edge, where the density is a root.
        t = (np.arange(20_000) + 0.5) / 20_000
        x = upper - (upper - median) * t**2
        density = np.asarray(DENSITY(x, 1.0, float(ratio), 1.0))
    return 1 + 0.5 / np.mean(np.log(x / median) * density * 2 * t * (upper - median))


@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_alpha_of_noise_is_that_of_the_ratio_whatever_the_shape(ratio: float) -> None:
    rng = np.random.default_rng(0)
    wanted = alpha_of_noise(ratio)
    plain, windows = [], []
    for shape in [(480, 240), (120, 3600)]:
        w = rng.uniform(-1, 1, shape).astype(np.float32)
        plain.append(hill(np.linalg.svd(w, compute_uv=False) ** 2))
        windows.append(float(ALPHA(w, ratio).alpha))
    np.testing.assert_allclose(windows, wanted, rtol=0.03)
    np.testing.assert_allclose(plain, [alpha_of_noise(q) for q in (2, 30)], rtol=0.06)
    assert max(plain) - min(plain) > 4  # the bias of the shape
    assert max(windows) - min(windows) < 0.05  # and what is left of it


def test_eigenvalues_are_those_of_the_windows() -> None:
    w = np.random.default_rng(1).standard_normal((50, 20)).astype(np.float32)
    windows = farms_windows(50, 20, 1.5, 8)
    rows, columns = windows.shape
    assert (rows, columns) == (12, 8) and windows.number == 5 * 3
    parts = [w[r : r + rows, c : c + columns] for r in windows.row_starts for c in windows.column_starts]
    wanted = np.sort(np.concatenate([np.linalg.svd(part, compute_uv=False) ** 2 for part in parts]))
    farms = ALPHA(w, 1.5, 8)
    np.testing.assert_allclose(farms.eigenvalues, wanted, rtol=1e-4, atol=1e-4)
    assert float(farms.alpha) == pytest.approx(hill(wanted), rel=1e-3)
    np.testing.assert_allclose(ALPHA(w.T, 1.5, 8).eigenvalues, wanted, rtol=1e-4, atol=1e-4)


@given(st.integers(1, 200), st.integers(1, 200), st.floats(1, 6))
@settings(deadline=None, max_examples=200, derandomize=True)
def test_windows_cover_the_matrix(rows: int, columns: int, ratio: float) -> None:
    if max(rows, columns) < ratio:
        with pytest.raises(ValueError, match="no window"):
            farms_windows(rows, columns, ratio)
        return
    windows = farms_windows(rows, columns, ratio)
    for size, part, starts in zip((rows, columns), windows.shape, windows[1:], strict=True):
        inside = np.zeros(size, bool)
        for start in starts:
            assert 0 <= start <= size - part
            inside[start : start + part] = True
        assert inside.all()
        assert len(starts) == -(-size // part)
    long, short = max(windows.shape), min(windows.shape)
    assert short * ratio - 1 <= long <= short * ratio + 1e-6
    assert (windows.shape[0] >= windows.shape[1]) == (rows >= columns) or long == short


def test_few_windows_are_spread_evenly() -> None:
    windows = farms_windows(1000, 100, 1.0, most=3)
    assert windows.row_starts == (0, 450, 900) and windows.column_starts == (0,)
    assert farms_windows(1000, 100, 1.0, most=1).row_starts == (450,)


@pytest.mark.parametrize(
    ("ratio", "width", "most", "message"),
    [
        (0.5, None, None, "at least 1"),
        (np.nan, None, None, "at least 1"),
        (1.0, 11, None, "no window"),
        (1.0, 0, None, "no window"),
        (1.0, None, 0, "one window"),
        (40.0, None, None, "no window"),
    ],
)
def test_windows_that_cannot_be(ratio: float, width: int | None, most: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        farms_windows(30, 10, ratio, width, most)


def test_vmap_and_lowering() -> None:
    w = np.random.default_rng(2).standard_normal((3, 40, 10)).astype(np.float32)
    together = jax.jit(jax.vmap(farms_alpha))(w)
    parts = np.linalg.svd(w.reshape(3, 4, 10, 10), compute_uv=False).reshape(3, 40) ** 2
    np.testing.assert_allclose(together.alpha, [hill(part) for part in parts], rtol=1e-3)
    jax.export.export(ALPHA, platforms=["cpu", "cuda", "rocm", "tpu"])(jax.ShapeDtypeStruct((40, 10), np.float32))
