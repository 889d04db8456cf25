"""Sparsity measures and quantiles against NumPy in float64 and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import LONG_LOOPS
from scipy import stats

from spectra.kernels import gini, moments, quantiles, small_counts, sparsity

SPARSITY = jax.jit(sparsity)
GINI = jax.jit(gini)
QUANTILES = jax.jit(quantiles)
Q = jnp.array([0, 0.01, 0.25, 0.5, 0.9, 1], jnp.float32)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def gini_reference(w: np.ndarray) -> float:
    """Half the mean absolute difference of all pairs over the mean: another formula than the kernel's."""
    x = np.abs(np.asarray(w, np.float64)).ravel()
    return float(np.abs(x[:, None] - x).mean() / (2 * x.mean()))


def sample(kind: str, size: int = 1000) -> np.ndarray:
    rng = np.random.default_rng(11)
    make = {
        "normal": lambda: rng.standard_normal(size),
        "cauchy": lambda: rng.standard_cauchy(size),
        "uniform": lambda: rng.random(size),
        "tiny": lambda: 1e-30 * rng.standard_normal(size),
        "huge": lambda: 3e37 * rng.standard_normal(size),
        "nearly constant": lambda: 1 + 1e-3 * rng.random(size),
        "mostly zero": lambda: rng.standard_normal(size) * (rng.random(size) < 0.05),
    }
    return make[kind]().astype(np.float32)


KINDS = ("normal", "cauchy", "uniform", "tiny", "huge", "nearly constant", "mostly zero")


@pytest.mark.parametrize("kind", KINDS)
def test_gini_is_half_the_relative_mean_difference(kind: str) -> None:
    w = sample(kind)
    assert float(GINI(w)) == pytest.approx(gini_reference(w), abs=2e-6)
    assert float(SPARSITY(w).gini) == pytest.approx(gini_reference(w), abs=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_shares_of_small_entries(kind: str) -> None:
    w = sample(kind)
    x = np.abs(w.astype(np.float64))
    result = SPARSITY(w)
    assert float(result.zero_fraction) == pytest.approx(np.mean(w == 0), abs=1e-7)
    assert float(result.near_zero_std) == pytest.approx(np.mean(x < 0.1 * w.astype(np.float64).std()), abs=1e-7)
    assert float(result.near_zero_max) == pytest.approx(np.mean(x < 0.01 * x.max()), abs=1e-7)


def test_the_gaussian_has_the_shares_that_the_documentation_quotes() -> None:
    w = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000).astype(np.float32)
    result = SPARSITY(w)
    assert float(result.near_zero_std) == pytest.approx(0.0797, abs=1e-4)
    assert float(result.gini) == pytest.approx(2**0.5 - 1, abs=1e-4)


@pytest.mark.parametrize("size", [2, 7, 1000])
def test_extremes_of_gini_and_hoyer(size: int) -> None:
    one = np.zeros(size, np.float32)
    one[-1] = -3
    assert float(SPARSITY(one).gini) == pytest.approx(1 - 1 / size, abs=1e-6)
    assert float(SPARSITY(one).hoyer) == pytest.approx(1, abs=1e-6)
    signs = np.where(np.arange(size) % 2, -0.1, 0.1).astype(np.float32)
    assert float(SPARSITY(signs).gini) == pytest.approx(0, abs=1e-6)
    assert float(SPARSITY(signs).hoyer) == pytest.approx(0, abs=1e-6)


def test_a_million_entries() -> None:
    x = np.abs(np.random.default_rng(5).standard_normal(10**6)).astype(np.float32)
    ordered = np.sort(x.astype(np.float64))
    rank = np.arange(1, x.size + 1)
    want = 2 * np.sum(rank * ordered) / (x.size * ordered.sum()) - (x.size + 1) / x.size
    assert float(GINI(x)) == pytest.approx(want, abs=2e-6)


def test_no_entries_zeros_and_entries_that_are_not_finite() -> None:
    for w in (f32(), f32(1, np.nan), f32(np.inf, 1), f32(-np.inf, 1)):
        assert np.isnan(SPARSITY(w)).all()
    zeros = SPARSITY(f32(0, 0, 0))
    assert (float(zeros.zero_fraction), float(zeros.near_zero_max)) == (1, 0)
    assert np.isnan([zeros.near_zero_std, zeros.hoyer, zeros.gini]).all()
    assert float(SPARSITY(f32(5)).gini) == 0


def test_small_counts_are_integers() -> None:
    w = sample("mostly zero")
    counts = jax.jit(lambda w: small_counts(w, moments(w)))(w)
    assert [c.dtype for c in counts] == [jnp.int32] * 2
    assert int(counts[0]) >= np.sum(w == 0)


@pytest.mark.parametrize("masked", [False, True])
def test_small_counts_of_many_entries(masked: bool) -> None:
    """Blocks and what is left; no copy of the entries, with the moments neither."""
    size = 2**22 + 5
    w = sample("cauchy", size)
    where = np.arange(w.size) % 4 > 0 if masked else None
    x = w if where is None else w[where]

    @jax.jit
    def both(w: jax.Array, where: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        return small_counts(w, moments(w, where), where)

    magnitude = np.abs(x).astype(np.float64)
    want = [np.sum(magnitude < 0.1 * x.std(dtype=np.float64)), np.sum(magnitude < 0.01 * magnitude.max())]
    program = both.lower(w, where).compile()
    np.testing.assert_allclose(program(w, where), want, atol=1)
    assert program.memory_analysis().temp_size_in_bytes < 0.05 * 4 * size


def test_float64_to_twelve_digits() -> None:
    w = np.random.default_rng(1).standard_cauchy(500)
    with jax.enable_x64(True):
        assert float(GINI(w)) == pytest.approx(gini_reference(w), abs=1e-12)
        np.testing.assert_allclose(QUANTILES(w, np.asarray(Q, float)), np.quantile(w, np.asarray(Q, float)), rtol=1e-12)


def test_gini_gradient_in_closed_form() -> None:
    """∂G/∂|w|₍ₖ₎ = (2k − n − 1)/(n Σ) − G/Σ."""
    w = sample("normal", 40)
    x = np.abs(w.astype(np.float64))
    rank = stats.rankdata(x)
    want = ((2 * rank - x.size - 1) / x.size - gini_reference(w)) / x.sum() * np.sign(w)
    np.testing.assert_allclose(jax.grad(GINI)(w), want, rtol=1e-4, atol=1e-7)


# quantiles


@given(
    w=st.lists(st.floats(-1e6, 1e6, width=32), min_size=17, max_size=17),
    keep=st.lists(st.booleans(), min_size=17, max_size=17).filter(any),
)
@settings(deadline=None, max_examples=100, derandomize=True)
def test_quantiles_are_numpys(w: list[float], keep: list[bool]) -> None:
    w, keep = f32(*w), np.array(keep)
    w = np.where(np.abs(w) < 1e-30, np.float32(0), w)
    want = np.quantile(w[keep].astype(np.float64), np.asarray(Q, np.float64))
    np.testing.assert_allclose(QUANTILES(w, Q, keep), want, rtol=2e-6, atol=2e-6 * np.abs(w[keep]).max())


def test_quantiles_take_a_numpy_vector() -> None:
    assert jax.jit(lambda w: quantiles(w, np.array([0, 0.5, 1])))(f32(1, 2, 4)).tolist() == [1, 2, 4]


def test_quantiles_of_the_whole_range_do_not_overflow() -> None:
    big = float(np.finfo(np.float32).max)
    assert QUANTILES(f32(-big, big), jnp.array([0, 0.5, 1.0])).tolist() == [-big, 0, big]


def test_quantiles_of_nothing_and_with_nan() -> None:
    for result in (QUANTILES(f32(), Q), QUANTILES(f32(1, np.nan), Q), QUANTILES(f32(1, 2), Q, np.zeros(2, bool))):
        assert result.shape == Q.shape
        assert np.isnan(result).all()
    assert QUANTILES(f32(1, np.nan, 3), Q, np.array([True, False, True])).tolist()[3] == 2


def test_quantiles_that_fall_on_an_entry_are_that_entry_even_beside_infinity() -> None:
    """The median of 1, 2, ∞ is 2: nothing is to be interpolated. NumPy gives NaN here, which helps nobody."""
    assert QUANTILES(f32(1, 2, np.inf), jnp.array([0, 0.5, 1.0])).tolist() == [1, 2, np.inf]


def test_the_last_quantile_of_more_entries_than_float32_can_number() -> None:
    """The last rank 2²⁴ + 3 rounds up to 2²⁴ + 4, which lies outside the mask."""
    size = 2**24 + 8
    w = jnp.arange(size, dtype=jnp.float32) / size
    program = jax.jit(quantiles, compiler_options=LONG_LOOPS)
    result = program(w, jnp.array([0.5, 1.0]), jnp.arange(size) < size - 4)
    assert float(result[1]) == float(w[size - 5])
    assert float(result[0]) == pytest.approx(0.5, abs=1e-6)
