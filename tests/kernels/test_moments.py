"""Moments against SciPy in float64, on data that break sums of powers."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from spectra.kernels import Moments, merge_moments, moments

MOMENTS = jax.jit(moments)
SIZE = 80_000  # several blocks and a part of one


def reference(w: np.ndarray) -> Moments:
    x = np.asarray(w, np.float64).ravel()
    l1, l2, root = np.abs(x).sum(), np.linalg.norm(x), np.sqrt(x.size)
    centred = (x - x.mean()) / x.std()
    return Moments(
        count=x.size,
        mean=x.mean(),
        std=x.std(),
        skewness=stats.skew(centred),
        kurtosis=stats.kurtosis(centred),
        min=x.min(),
        max=x.max(),
        l1=l1,
        l2=l2,
        zeros=np.sum(x == 0),
        hoyer=(root - l1 / l2) / (root - 1),
    )


def assert_close(actual: Moments, w: np.ndarray, *, tolerance: float = 2e-6) -> None:
    """Every field to `tolerance` of its natural size: the mean of std and |mean|, shapes of 1 and their own size."""
    want = reference(w)
    for name in ("count", "zeros", "min", "max"):
        assert getattr(actual, name) == getattr(want, name), name
    sizes = {
        "mean": abs(want.mean) + want.std,
        "std": want.std,
        "skewness": 1 + abs(want.skewness),
        "kurtosis": 3 + abs(want.kurtosis),
        "l1": want.l1,
        "l2": want.l2,
        "hoyer": 1,
    }
    for name, size in sizes.items():
        got, right = float(getattr(actual, name)), getattr(want, name)
        if right > np.finfo(actual.mean.dtype).max:
            assert got == np.inf, name
        else:
            assert abs(got - right) <= tolerance * size, (name, got, right)


def sample(kind: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    match kind:
        case "normal":
            x = rng.standard_normal(SIZE)
        case "student":
            x = rng.standard_t(2, SIZE)
        case "cauchy":
            x = rng.standard_cauchy(SIZE)
        case "pareto":
            x = rng.pareto(1, SIZE)
        case "tiny":
            x = rng.standard_normal(SIZE) * 1e-30
        case "huge":
            x = rng.standard_normal(SIZE) * 1e30
        case "largest":
            x = rng.standard_normal(SIZE) * 6e37
        case "shifted":
            x = rng.standard_normal(SIZE) + 1000
        case "uneven blocks":
            x = rng.standard_normal(SIZE) + 30 * (np.arange(SIZE) > SIZE / 2)
        case "mostly zero":
            x = rng.standard_normal(SIZE) * (rng.random(SIZE) < 0.01)
        case "outlier":
            x = np.append(1e-6 * rng.standard_normal(SIZE - 1), 1.0)
        case _:
            raise AssertionError(kind)
    return x.astype(np.float32)


KINDS = ("normal", "student", "cauchy", "pareto", "tiny", "huge", "uneven blocks", "mostly zero", "outlier")


@pytest.mark.as_users
@pytest.mark.parametrize("kind", [*KINDS, "largest"])
def test_against_scipy(kind: str) -> None:
    w = sample(kind)
    assert_close(MOMENTS(w), w)


@pytest.mark.as_users
@pytest.mark.parametrize("masked", [False, True], ids=["all", "first block masked out"])
@pytest.mark.parametrize(("mean", "tolerance"), [(1000, 1e-4), (1e5, 1e-2)])
def test_a_large_mean_costs_no_digits(mean: float, tolerance: float, masked: bool) -> None:
    """Skewness and kurtosis too: 1e-4 of their natural size where float32 entries have themselves 1e-4 of a std."""
    w = (np.random.default_rng(2).standard_normal(SIZE) + mean).astype(np.float32)
    where = np.arange(SIZE) >= 40_000 * masked
    result = MOMENTS(w, where)
    assert_close(result, w[where], tolerance=tolerance)
    assert float(result.std) == pytest.approx(w[where].std(dtype=np.float64), rel=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 1024, 1025, 32767, 32768, 65537])
def test_around_the_block_size(size: int) -> None:
    w = np.random.default_rng(size).standard_normal(size).astype(np.float32) + 3
    if size > 1:
        assert_close(MOMENTS(w), w)
    else:
        assert (MOMENTS(w).mean, MOMENTS(w).std) == (w[0], 0)


def assert_copies_nothing(program: jax.stages.Compiled, size: int) -> None:
    """No copy of the entries: temporaries of a twentieth of their size at most."""
    assert program.memory_analysis().temp_size_in_bytes < 0.05 * 4 * size


@pytest.mark.as_users
def test_a_hundred_million_entries_far_from_zero() -> None:
    """Mean 1000 times the std: a Weyl sequence, uniform on [1000, 1000 + √12), whose std is 1 and kurtosis −1.2."""
    size = 10**8

    @jax.jit
    def generate() -> jax.Array:
        bits = jax.lax.iota(jnp.uint32, size) * jnp.uint32(2654435761)
        return 1000 + (bits >> 8).astype(jnp.float32) * jnp.float32(2**-24 * 12**0.5)

    w = jax.block_until_ready(generate())
    program = MOMENTS.lower(w).compile()
    assert_copies_nothing(program, size)
    started = time.process_time()
    result = jax.block_until_ready(program(w))
    assert time.process_time() - started < 1  # one reading: 0.15 s where nothing else runs
    assert int(result.count) == size
    assert float(result.std) == pytest.approx(1, rel=1e-4)
    assert float(result.mean) == pytest.approx(1000 + 3**0.5, abs=1e-3)
    assert float(result.skewness) == pytest.approx(0, abs=1e-3)
    assert float(result.kurtosis) == pytest.approx(-1.2, abs=1e-3)
    assert float(result.l2) == pytest.approx((size * ((1000 + 3**0.5) ** 2 + 1)) ** 0.5, rel=1e-5)


@pytest.mark.parametrize(("size", "masked"), [(2**24, False), (2**24, True), (2**24 + 12_345, True)])
def test_each_entry_is_read_where_it_lies(size: int, masked: bool) -> None:
    """The test above has entries beside whole blocks without a mask."""
    w, where = jax.ShapeDtypeStruct((size,), jnp.float32), jax.ShapeDtypeStruct((size,), bool)
    assert_copies_nothing((MOMENTS.lower(w, where) if masked else MOMENTS.lower(w)).compile(), size)


def test_single_entry() -> None:
    m = MOMENTS(np.array([-3], np.float32))
    assert (int(m.count), float(m.mean), float(m.std), float(m.min), float(m.max)) == (1, -3, 0, -3, -3)
    assert (float(m.l1), float(m.l2), int(m.zeros)) == (3, 3, 0)
    assert np.isnan([m.skewness, m.kurtosis, m.hoyer]).all()


@pytest.mark.parametrize("value", [0.1, -7.3, 0, 1e-30, 1e30, 3.4e38])
@pytest.mark.parametrize("size", [5000, 10**6])
def test_constant_arrays_have_no_spread_and_no_shape(value: float, size: int) -> None:
    w = np.full(size, value, np.float32)
    m = MOMENTS(w)
    assert float(m.mean) == w[0]
    assert float(m.std) == 0
    assert np.isnan([m.skewness, m.kurtosis]).all()
    assert float(m.min) == float(m.max) == w[0]
    assert int(m.zeros) == size * (value == 0)
    if value:
        assert float(m.hoyer) == pytest.approx(0, abs=1e-6)
        np.testing.assert_allclose(m.l2, np.linalg.norm(w.astype(float)).astype(np.float32), rtol=1e-6)
    else:
        assert np.isnan(m.hoyer)


def test_one_entry_among_many_that_differs_by_a_rounding_step() -> None:
    """The variance is 4e-21 of the squared mean: its square leaves float32, the kurtosis n − 2 + 1/n does not."""
    w = np.ones(10**6, np.float32)
    w[5] = np.nextafter(np.float32(1), np.float32(0))
    m = MOMENTS(w)
    assert float(m.std) == pytest.approx(2**-24 * 1e-3, rel=1e-3)
    assert float(m.skewness) == pytest.approx(-1000, rel=1e-2)
    assert float(m.kurtosis) == pytest.approx(1e6, rel=1e-2)


def test_a_single_nonzero_among_many_has_hoyer_one() -> None:
    w = np.zeros(10**6, np.float32)
    w[77] = -4
    m = MOMENTS(w)
    assert float(m.hoyer) == pytest.approx(1, abs=1e-6)
    assert int(m.zeros) == 10**6 - 1
    assert_close(m, w, tolerance=2e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_entry_that_is_not_finite_spoils_every_number_but_no_count(bad: float) -> None:
    w = np.array([1, 0, bad, 2], np.float32)
    m = MOMENTS(w)
    assert (int(m.count), int(m.zeros)) == (4, 1)
    assert np.isnan([getattr(m, name) for name in Moments._fields if name not in ("count", "zeros")]).all()
    clean = MOMENTS(w, np.isfinite(w))
    assert (int(clean.count), float(clean.mean)) == (3, 1)


def test_no_entries() -> None:
    for m in (MOMENTS(np.zeros(0, np.float32)), MOMENTS(np.ones(4, np.float32), np.zeros(4, bool))):
        assert (int(m.count), int(m.zeros)) == (0, 0)
        assert np.isnan([getattr(m, name) for name in Moments._fields if name not in ("count", "zeros")]).all()


def test_too_many_entries_for_32_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="32-bit"):
        jax.eval_shape(moments, jax.ShapeDtypeStruct((2**16, 2**15), jnp.bfloat16))


@pytest.mark.parametrize("kind", ["student", "shifted", "tiny", "huge"])
def test_float64_to_twelve_digits(kind: str) -> None:
    w = sample(kind).astype(np.float64) * 1.000000001
    with jax.enable_x64(True):
        m = MOMENTS(w)
        assert m.mean.dtype == jnp.float64
        assert_close(m, w, tolerance=1e-12 if kind != "shifted" else 1e-10)


def test_gradients_in_closed_form() -> None:
    w = np.random.default_rng(3).standard_normal(50).astype(np.float32)
    x, n = w.astype(np.float64), w.size
    mean, std = x.mean(), x.std()
    z = (x - mean) / std
    skewness, kurtosis = np.mean(z**3), np.mean(z**4)
    want = {
        "mean": np.full(n, 1 / n),
        "std": z / n,
        "skewness": 3 / (n * std) * (z**2 - 1 - skewness * z),
        "kurtosis": 4 / (n * std) * (z**3 - skewness - kurtosis * z),
        "l1": np.sign(x),
        "l2": x / np.linalg.norm(x),
        "min": np.arange(n) == x.argmin(),
        "max": np.arange(n) == x.argmax(),
    }
    jacobian = jax.jit(jax.jacrev(lambda w: {name: getattr(moments(w), name) for name in want}))(w)
    for name, gradient in want.items():
        np.testing.assert_allclose(jacobian[name], gradient, rtol=1e-4, atol=1e-6, err_msg=name)


def test_derivatives_through_blocks_and_masks() -> None:
    """Along random directions, against differences in float64; forward and backward."""
    rng = np.random.default_rng(5)
    w, direction, where = rng.standard_normal(70_000) + 3, rng.standard_normal(70_000), rng.random(70_000) < 0.7

    def shape(w: jax.Array, where: jax.Array) -> jax.Array:
        m = moments(w, where)
        return m.mean + m.std + m.skewness + m.kurtosis + m.l1 / m.l2 + m.hoyer

    with jax.enable_x64(True):
        along = jax.jit(lambda w, d, where: jax.jvp(lambda w: shape(w, where), (w,), (d,)))
        ahead, behind = (float(along(w + sign * 1e-5 * direction, direction, where)[0]) for sign in (1, -1))
        forward = float(along(w, direction, where)[1])
        backward = float(np.dot(jax.jit(jax.grad(shape))(w, where), direction))
    assert forward == pytest.approx((ahead - behind) / 2e-5, rel=1e-5)
    assert backward == pytest.approx(forward, rel=1e-9)


# merging


@pytest.mark.parametrize("kind", KINDS)
def test_merging_chunks_is_measuring_the_whole(kind: str) -> None:
    w = sample(kind)[: 5001 + 65537]  # sizes of chunks that other tests have, too
    parts = [MOMENTS(chunk) for chunk in (w[:5000], w[5000:5000], w[5000:5001], w[5001:])]
    assert_close(merge_moments(*parts), w, tolerance=5e-6)
    assert_close(merge_moments(merge_moments(*parts[:2]), merge_moments(*parts[2:])), w, tolerance=5e-6)


def test_merging_chunks_far_from_zero() -> None:
    w = (np.random.default_rng(4).standard_normal(SIZE) + 1000).astype(np.float32)
    merged = merge_moments(*(MOMENTS(chunk) for chunk in np.split(w, SIZE // 5000)))
    assert_close(merged, w, tolerance=2e-4)


def test_merging_counts_beyond_32_bits() -> None:
    m = MOMENTS(np.array([0, 2], np.float32))
    for _ in range(36):
        m = merge_moments(m, m)
    assert (int(m.count), int(m.zeros), float(m.mean), float(m.std)) == (2**37, 2**36, 1, 1)


def test_merging_nothing_constants_and_bad_parts() -> None:
    with pytest.raises(ValueError, match="no moments"):
        merge_moments()
    empty = MOMENTS(np.zeros(0, np.float32))
    assert merge_moments(empty, empty).count == 0
    constant = merge_moments(*(MOMENTS(np.full(4, 2.5, np.float32)),) * 2)
    assert (constant.count, constant.mean, constant.std) == (8, 2.5, 0)
    assert np.isnan([constant.skewness, constant.kurtosis]).all()
    spoiled = merge_moments(MOMENTS(np.array([1, np.nan], np.float32)), MOMENTS(np.ones(3, np.float32)))
    assert spoiled.count == 5
    assert np.isnan([spoiled.mean, spoiled.std, spoiled.skewness, spoiled.min, spoiled.max, spoiled.l1]).all()
