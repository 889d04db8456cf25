"""Singular values against NumPy's in float64, and the promise that what is reported as resolved is right."""

import functools
from typing import Any

import jax
import numpy as np
import pytest
from spectral_matrices import STRUCTURED, assert_promise, triangle, truth, with_spectrum

from spectra.kernels import Spectrum, eigenvalues, singular_values, spectrum

SPECTRUM = jax.jit(spectrum, static_argnames="method")
METHODS = ("gram", "svd", "auto")
TALL = [name for name in STRUCTURED if not name.startswith("square")]

methods = pytest.mark.parametrize("method", METHODS)


_stacks: dict[tuple[str, int], Spectrum] = {}


def structured(name: str, method: str) -> Spectrum:
    """The spectrum of one structured matrix, computed in one batch with all others of its shape."""
    group = TALL if name in TALL else [n for n in STRUCTURED if n not in TALL]
    key = (method, len(group))
    if key not in _stacks:
        _stacks[key] = SPECTRUM(np.stack([STRUCTURED[n] for n in group]).astype(np.float32), method=method)
    return jax.tree.map(lambda field: field[group.index(name)], _stacks[key])


# the promise


@pytest.mark.parametrize("method", ["gram", "svd"])
@pytest.mark.parametrize("name", [name for name in STRUCTURED if name != "zero"])
def test_structured_matrices(name: str, method: str) -> None:
    assert_promise(STRUCTURED[name].astype(np.float32), structured(name, method), method)


@methods
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (37, 3)])
def test_small_shapes(shape: tuple[int, int], method: str) -> None:
    w = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for signed in (w, -w):
        assert_promise(signed, SPECTRUM(signed, method=method), method)


@pytest.mark.parametrize("method", ["gram", "svd"])
@pytest.mark.parametrize("shape", [(96, 311), (600, 450)])
def test_random_shapes(shape: tuple[int, int], method: str) -> None:
    rng = np.random.default_rng(shape[1])
    m, n = shape
    rank = min(shape) // 3
    kinds = {
        "normal": rng.standard_normal(shape),
        "positive": rng.random(shape),
        "tenths": np.full(shape, 0.1),
        "student": rng.standard_t(2, shape),
        "low rank": rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n)),
        "identity + noise": np.eye(m, n) + 1e-3 * rng.standard_normal(shape),
    }
    w = np.stack(list(kinds.values())).astype(np.float32)
    result = SPECTRUM(w, method=method)
    for i, kind in enumerate(kinds):
        assert_promise(w[i], jax.tree.map(lambda field, i=i: field[i], result), method, kind)


def test_a_large_square_matrix() -> None:
    rng = np.random.default_rng(3)
    w = (rng.standard_normal((1500, 1500)) + 0.05).astype(np.float32)  # only half of its Gram matrix is formed
    assert_promise(w, SPECTRUM(w, method="gram"), "gram")


@pytest.mark.parametrize("method", ["gram", "svd"])
@pytest.mark.parametrize("kind", ["positive", "constant", "constant + identity"])
def test_a_long_embedding(kind: str, method: str) -> None:
    """10⁵ × 64: every entry of the Gram matrix is a sum of 10⁵ products."""
    rng = np.random.default_rng(4)
    shape = (100_000, 64)
    if kind == "positive":
        w = rng.random(shape, np.float32)
        same = triangle(w)
    else:
        w = np.full(shape, 0.3, np.float32) + ("identity" in kind) * np.eye(*shape, dtype=np.float32)
        square, row = w[:64].astype(np.float64), w[64:65].astype(np.float64)
        same = np.concatenate([square, np.sqrt(len(w) - 64) * row])  # all the other rows are this one
    result = SPECTRUM(w, method=method)
    assert_promise(same, result, method)


@pytest.mark.parametrize("columns", [2, 5])
def test_very_long_and_narrow_matrices(columns: int) -> None:
    """10⁶ products in a few sums: one float32 accumulator would be off by a percent."""
    w = (0.3 + 0.001 * np.random.default_rng(5).standard_normal((1_000_000, columns))).astype(np.float32)
    assert_promise(triangle(w), SPECTRUM(w, method="gram"), "gram")


# auto


@pytest.mark.parametrize("name", ["normal", "student", "power law", "graded 1…1e-3", "rank 3 + noise", "tiny", "huge"])
def test_auto_resolves_as_well_as_svd(name: str) -> None:
    w = STRUCTURED[name].astype(np.float32)
    auto = jax.tree.map(lambda field: field[0], SPECTRUM(np.stack([w, w])))
    by_gram, by_svd = structured(name, "gram"), structured(name, "svd")
    assert_promise(w, auto, "auto")
    better = by_gram if np.all(np.asarray(by_gram.singular_values) > 0) else by_svd
    np.testing.assert_allclose(auto.singular_values, better.singular_values, rtol=1e-4, atol=2 * float(better.floor))
    assert int(auto.num_unresolved) == np.sum(np.asarray(auto.singular_values) == 0)


def test_auto_takes_svd_for_the_whole_batch_if_one_matrix_needs_it() -> None:
    w = np.stack([STRUCTURED["normal"], STRUCTURED["power law"]]).astype(np.float32)
    floors = np.asarray(SPECTRUM(w).floor) / np.array([truth(x)[0] for x in w])
    assert np.all(floors < 1e-4)


# exact and degenerate cases


def diagonal(*values: float) -> np.ndarray:
    """16 × 12, for one program a method."""
    w = np.zeros((16, 12), np.float32)
    w[range(len(values)), range(len(values))] = values
    return w


@methods
def test_zero_matrix_is_exact(method: str) -> None:
    result = SPECTRUM(diagonal(), method=method)
    assert np.all(np.asarray(result.singular_values) == 0)
    assert (int(result.num_evals), int(result.num_unresolved), float(result.floor)) == (12, 0, 0)


@methods
@pytest.mark.parametrize("shift", [-126, -70, -2, 0, 1, 60, 118])
def test_unresolved_values_are_counted_in_any_unit(shift: int, method: str) -> None:
    """Rank 5 of 12: the count of what is unresolved does not depend on the unit of the weights."""
    w = np.ldexp(diagonal(1, 2, 3, 4, 5), shift)
    result = SPECTRUM(w, method=method)
    np.testing.assert_allclose(result.singular_values, truth(w), rtol=3e-6)
    assert int(result.num_unresolved) == 7
    assert int(result.num_evals) == 12


@methods
@pytest.mark.parametrize("largest", [1e38, 1.8e38, 3.4e38, 1.2e-38])
def test_the_ends_of_the_range_of_float32(largest: float, method: str) -> None:
    w = diagonal(1, 0.5, 0.25) * np.float32(largest)
    np.testing.assert_allclose(np.asarray(SPECTRUM(w, method=method).singular_values)[:1], largest, rtol=1e-5)


def test_small_entries_beside_the_largest_float() -> None:
    w = diagonal(3e38, 3e37)
    np.testing.assert_allclose(SPECTRUM(w, method="svd").singular_values[:2], [3e38, 3e37], rtol=1e-5)


@methods
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_matrix_that_is_not_finite_gives_nan(bad: float, method: str) -> None:
    good = STRUCTURED["normal"].astype(np.float32)
    w = np.stack([good] * (2 if method == "auto" else len(TALL)))  # as many as the other tests have in a batch
    w[1, 3, 1] = bad
    result = SPECTRUM(w, method=method)
    assert np.isnan(result.singular_values[1]).all()
    assert np.isnan(result.floor[1])
    assert result.num_unresolved[:2].tolist() == [0, 120]
    assert_promise(good, jax.tree.map(lambda field: field[0], result), method)


def test_eigenvalues_are_ascending_squares() -> None:
    w = np.random.default_rng(0).standard_normal((37, 3)).astype(np.float32)

    @functools.partial(jax.jit, static_argnames="method")
    def all_three(w: jax.Array, method: str) -> tuple[jax.Array, ...]:
        return eigenvalues(w, method), singular_values(w, method), eigenvalues(w.T, method)

    for method in ("gram", "svd"):
        evals, values, evals_of_transpose = all_three(w, method)
        np.testing.assert_allclose(evals, truth(w)[::-1] ** 2, rtol=1e-5)
        np.testing.assert_allclose(values, truth(w), rtol=1e-5)
        np.testing.assert_allclose(evals_of_transpose, truth(w)[::-1] ** 2, rtol=1e-5)


@methods
def test_bad_arguments_are_refused(method: Any, unchecked: None) -> None:
    for shape in ((), (5,), (0, 5), (5, 0), (3, 0, 0)):
        with pytest.raises(ValueError, match="matrix"):
            spectrum(np.zeros(shape, np.float32), method)
    with pytest.raises(ValueError, match="unknown method"):
        spectrum(np.ones((2, 2), np.float32), "qr")  # type: ignore[arg-type]


def test_an_empty_batch_keeps_its_shape() -> None:
    result = SPECTRUM(np.zeros((0, 4, 3), np.float32), method="gram")
    assert result.singular_values.shape == (0, 3)


# masks


@methods
def test_padding_a_matrix(method: str) -> None:
    w = np.random.default_rng(6).standard_normal((50, 30)).astype(np.float32)
    padded = np.full((64, 48), np.nan, np.float32)
    padded[:50, :30] = w
    mask = np.zeros((64, 48), bool)
    mask[:50, :30] = True
    result = SPECTRUM(padded, method=method, where=mask)
    assert (int(result.num_evals), int(result.num_unresolved)) == (30, 0)
    np.testing.assert_allclose(result.singular_values[:30], truth(w), rtol=1e-5)
    assert np.all(np.asarray(result.singular_values[30:]) == 0)


def test_masks_of_any_form_make_zeros_and_wholly_masked_lines_do_not_count() -> None:
    w = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
    mask = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]], bool)
    result = spectrum(w, "svd", mask)
    assert int(result.num_evals) == 2
    np.testing.assert_allclose(result.singular_values, truth(np.where(mask, w, 0)), atol=1e-5)
    nothing = spectrum(w, "gram", np.zeros((4, 3), bool))
    assert (int(nothing.num_evals), int(nothing.num_unresolved)) == (0, 0)
    assert np.all(np.asarray(nothing.singular_values) == 0)


# gradients


@methods
def test_gradient_of_simple_singular_values(method: str) -> None:
    """∂σᵢ/∂W = uᵢ vᵢᵀ."""
    w = with_spectrum(np.array([5, 3, 2, 1.0]), 7).astype(np.float32)
    u, _, vt = np.linalg.svd(w.astype(np.float64), full_matrices=False)
    jacobian = jax.jit(jax.jacrev(lambda w: spectrum(w, method).singular_values))(w)
    for i in range(4):
        np.testing.assert_allclose(jacobian[i], np.outer(u[:, i], vt[i]), atol=2e-5)


@methods
def test_gradients_at_repeated_and_unresolved_values(method: str) -> None:
    """Of repeated values the sum has a gradient, Σ uᵢ vᵢᵀ over all of them; unresolved values have 0."""
    w = with_spectrum(np.array([3, 2, 2, 2, 0, 0.0]), 9).astype(np.float32)
    u, _, vt = np.linalg.svd(w.astype(np.float64), full_matrices=False)
    jacobian = np.asarray(jax.jit(jax.jacrev(lambda w: spectrum(w, method).singular_values))(w))
    assert np.all(np.isfinite(jacobian))
    np.testing.assert_allclose(jacobian[0], np.outer(u[:, 0], vt[0]), atol=2e-5)
    np.testing.assert_allclose(jacobian[1:4].sum(axis=0), u[:, 1:4] @ vt[1:4], atol=2e-5)
    assert np.all(jacobian[4:] == 0)


@pytest.mark.parametrize("w", [np.zeros((4, 3)), np.eye(4, 3), np.ones((4, 3)), np.full((4, 3), np.nan)], ids=str)
@methods
def test_gradients_never_become_nan(w: np.ndarray, method: str) -> None:
    gradient = gradient_of_two(method)(w.astype(np.float32))
    assert np.all(np.isfinite(gradient)) or np.isnan(w).all()


@functools.cache
def gradient_of_two(method: str):
    return jax.jit(jax.grad(lambda w: spectrum(w, method).singular_values[:2].sum()))


# float64


@pytest.mark.parametrize("method", ["gram", "svd"])
@pytest.mark.parametrize("name", ["normal", "graded 1…1e-10", "repeated", "student"])
def test_float64_to_twelve_digits(name: str, method: str) -> None:
    w = STRUCTURED[name]
    with jax.enable_x64(True):
        result = SPECTRUM(w, method=method)
    got, want = np.asarray(result.singular_values), truth(w)
    assert got.dtype == np.float64
    assert float(result.floor) < (1e-6 if method == "gram" else 1e-13) * want[0]
    resolved = got > 0
    error = np.abs(got**2 - want**2) / want[0] ** 2 if method == "gram" else np.abs(got - want) / want[0]
    assert np.max(error[resolved]) < 1e-12
    assert int(result.num_unresolved) == np.sum(~resolved)
    assert np.all(want[~resolved] <= 2 * float(result.floor))


# where LAPACK's float32 is at its worst


@pytest.mark.parametrize("method", ["gram", "svd"])
@pytest.mark.parametrize(("size", "value"), [(800, 0.7), (800, 1), (1600, 0.7)])
def test_large_constant_matrices(size: int, value: float, method: str) -> None:
    """Every rounding goes the same way: off by 20 eps·λ_max in the reduction and by 90 eps·σ_max in the SVD."""
    w = np.full((size, size), value, np.float32)
    result = SPECTRUM(w, method=method)
    want, got, floor = float(w[0, 0]) * size, np.asarray(result.singular_values, np.float64), float(result.floor)
    assert (abs(got[0] ** 2 - want**2) <= floor**2) if method == "gram" else (abs(got[0] - want) <= floor)
    assert np.all(got[1:] <= floor)


@pytest.mark.parametrize("size", [50, 100])
def test_identity_with_noise(size: int) -> None:
    """Singular values within 1e-2 to 1e-5 of each other: the SVD is off by 20 to 45 eps, whatever the size."""
    rng = np.random.default_rng(0)
    levels = np.repeat([1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5], 10)
    w = (np.eye(size) + levels[:, None, None] * rng.standard_normal((levels.size, size, size))).astype(np.float32)
    result = SPECTRUM(w, method="svd")
    for i, level in enumerate(levels):
        assert_promise(w[i], jax.tree.map(lambda field, i=i: field[i], result), "svd", f"noise {level}")
