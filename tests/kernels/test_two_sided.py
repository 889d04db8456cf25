"""Student's t and Laplace fits of whole samples against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from spectra.kernels.status import FitStatus
from spectra.kernels.two_sided import Laplace, StudentT, _log_constant, fit_laplace, fit_student_t

STUDENT, LAPLACE = jax.jit(fit_student_t), jax.jit(fit_laplace)
LENGTH = 2000
WHOLE = np.ones(LENGTH, bool)


def samples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    n = LENGTH
    return {
        "weights": 0.02 * rng.standard_t(4, n) + 0.001,
        "cauchy": rng.standard_cauchy(n) + 10,
        "very heavy": rng.standard_t(0.5, n),
        "heaviest": rng.standard_t(0.2, n),
        "nearly normal": rng.standard_t(30, n),
        "laplace": rng.laplace(0, 3, n),
        "skewed": rng.exponential(1, n),
        "far from zero": 1 + 1e-3 * rng.standard_t(4, n),
        "two groups": np.concatenate([rng.normal(0, 1, n - 100), rng.normal(30, 1, 100)]),
        "an outlier": np.append(rng.standard_normal(n - 1), 1e8),
        "small units": 1e-30 * rng.standard_t(3, n),
        "large units": 1e30 * rng.standard_t(3, n),
    }


SAMPLES = samples()


def likelihood(x: np.ndarray, df: float, loc: float, scale: float) -> float:
    return float(np.sum(stats.t.logpdf(x, df, loc, scale)))


@pytest.mark.parametrize("name", SAMPLES)
def test_no_likelihood_of_student_t_is_higher(name: str) -> None:
    x = SAMPLES[name]
    with jax.enable_x64(True):
        fit = StudentT(*(float(field) for field in STUDENT(x, WHOLE)))
    assert fit.status == FitStatus.OK
    assert fit.log_likelihood == pytest.approx(likelihood(x, fit.df, fit.loc, fit.scale), rel=1e-9)

    def cost(q: np.ndarray) -> float:
        return -likelihood(x, np.exp(q[0]), q[1] * fit.scale + fit.loc, np.exp(q[2]))

    best = optimize.minimize(
        cost, [np.log(min(fit.df, 1e6)) + 0.1, 0.05, np.log(fit.scale) + 0.05], method="Nelder-Mead"
    )
    assert fit.log_likelihood >= -best.fun - 1e-7

    narrow = STUDENT(x.astype(np.float32), WHOLE)
    assert narrow.status == FitStatus.OK
    np.testing.assert_allclose(1 / float(narrow.df), 1 / fit.df, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(float(narrow.scale), fit.scale, rtol=1e-4)
    np.testing.assert_allclose(float(narrow.loc), fit.loc, atol=2e-3 * fit.scale)
    assert float(narrow.log_likelihood) == pytest.approx(
        fit.log_likelihood, abs=2e-5 * x.size * (1 + abs(np.log(fit.scale)) / 10)
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["uniform", "two values", "flat normal"])
def test_light_tails_are_a_normal_distribution(name: str, dtype: type) -> None:
    x = {
        "uniform": np.random.default_rng(1).uniform(1, 2, LENGTH),
        "two values": np.tile([1.0, 3.0], LENGTH // 2),
        "flat normal": stats.norm.ppf((np.arange(LENGTH) + 0.5) / LENGTH) + 5,
    }[name]
    with jax.enable_x64(dtype is np.float64):
        fit = StudentT(*(float(field) for field in STUDENT(x.astype(dtype), WHOLE)))
    assert fit.df == np.inf
    assert fit.loc == pytest.approx(x.mean(), rel=1e-5) and fit.scale == pytest.approx(x.std(), rel=1e-5)
    assert fit.log_likelihood == pytest.approx(stats.norm.logpdf(x, x.mean(), x.std()).sum(), rel=1e-6)


def test_constant_of_student_t() -> None:
    """Also for df where differences of gammaln lose all digits."""
    df = np.array([0.1, 0.5, 1, 3.3, 20, 1e3, 1e6, 1e9])
    want = [stats.t.logpdf(0, v) for v in df]
    got = jax.jit(jax.vmap(_log_constant))((1 / df).astype(np.float32))
    np.testing.assert_allclose(got, want, atol=2e-6)
    with jax.enable_x64(True):
        got = jax.jit(jax.vmap(_log_constant))(jnp.append(1 / df, 0.0))
        slope = jax.jit(jax.vmap(jax.grad(_log_constant)))(jnp.array([0.0]))
    np.testing.assert_allclose(got[:-2], want[:-1], atol=1e-10)
    np.testing.assert_allclose(got[-2:], -np.log(2 * np.pi) / 2, atol=1e-9)
    np.testing.assert_allclose(slope, -1 / 4, rtol=1e-12)


@pytest.mark.parametrize("name", SAMPLES)
def test_laplace_in_closed_form(name: str) -> None:
    x = SAMPLES[name].astype(np.float32)
    for mask in (WHOLE, np.arange(LENGTH) < LENGTH - 1):
        values = x[mask]
        fit = Laplace(*(float(field) for field in LAPLACE(x, mask)))
        exact = values.astype(np.float64)
        scale = np.abs(exact - np.median(exact)).mean()
        assert fit.loc == pytest.approx(np.median(exact), rel=1e-7)
        assert fit.scale == pytest.approx(scale, rel=2e-6)
        assert fit.log_likelihood == pytest.approx(-values.size * np.log(2 * np.e * scale), rel=1e-5, abs=1e-2)


BOTH = pytest.mark.parametrize("fit", [STUDENT, LAPLACE], ids=["student_t", "laplace"])


@BOTH
def test_order_masks_and_batches(fit: object) -> None:
    """80,000 values are read in three blocks; the second row has half of them twice."""
    rng = np.random.default_rng(2)
    x = rng.standard_t(3, 80_000).astype(np.float32)
    half = np.arange(80_000) < 40_000
    scattered = rng.permutation(half)
    some = np.full_like(x, np.nan)
    some[scattered] = rng.permutation(x[half])
    samples = np.stack([x, np.tile(x[half], 2), some])
    masks = np.stack([half, np.ones_like(half), scattered])
    one, twice, moved = (jax.tree.map(lambda f, k=k: f[k], fit(samples, masks)) for k in range(3))
    for name, first, second, third in zip(one._fields, one, twice, moved, strict=True):
        np.testing.assert_allclose(third, first, rtol=2e-5, atol=2e-6, err_msg=name)
        factor = 2 if name == "log_likelihood" else 1
        np.testing.assert_allclose(second, factor * first, rtol=2e-5, atol=2e-6, err_msg=name)


@BOTH
@pytest.mark.parametrize(
    ("x", "status"),
    [
        ([1, 2, np.nan], FitStatus.NOT_FINITE),
        ([1, 2, np.inf], FitStatus.NOT_FINITE),
        ([1], FitStatus.TOO_FEW),
        ([], FitStatus.TOO_FEW),
        ([4, 4, 4, 4], FitStatus.NO_SPREAD),
        ([-1, 0, 2, 3, 7, 1], FitStatus.OK),
    ],
)
def test_bad_input_has_a_status(fit: object, x: list[float], status: FitStatus) -> None:
    values, mask = np.zeros(LENGTH, np.float32), np.arange(LENGTH) < len(x)
    values[: len(x)] = x
    got = fit(values, mask)
    assert got.status == status
    numbers = np.array([field for name, field in zip(got._fields, got, strict=True) if name not in ("status", "df")])
    assert np.isfinite(numbers).all() == (status == FitStatus.OK)
    assert np.isnan(numbers).all() == (status != FitStatus.OK)


def test_a_point_mass_is_not_a_student_t() -> None:
    """Half of the values are zero: the likelihood has no bound, and the status says so."""
    x = np.random.default_rng(3).standard_normal(LENGTH).astype(np.float32)
    x[::2] = 0
    fit = STUDENT(x, WHOLE)
    assert fit.status == FitStatus.NOT_CONVERGED and np.isnan(fit.df)
    assert STUDENT(x, x != 0).status == FitStatus.OK


@BOTH
def test_lowers_for_every_platform(fit: object) -> None:
    x = jax.ShapeDtypeStruct((2, 40_000), jnp.bfloat16)
    platforms = ("cpu", "cuda", "rocm", "tpu")
    assert jax.export.export(fit, platforms=list(platforms))(x).platforms == platforms


def test_scalars_are_refused(unchecked: None) -> None:
    for fit in (fit_student_t, fit_laplace):
        with pytest.raises(ValueError, match="axis"):
            fit(np.float32(1))
