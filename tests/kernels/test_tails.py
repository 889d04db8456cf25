"""Families of tails against SciPy in float64, the powerlaw package and closed forms."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import powerlaw
import pytest
import tail_reference as reference
from tail_programs import LENGTH, fit_in_float64, fitter, padded

from spectra.kernels.families import MODULES
from spectra.kernels.status import FitStatus
from spectra.kernels.tails import FAMILIES, PARAMETERS, TailFit, fit_tail, log_density, tail_ccdf

ALL = tuple(MODULES)
ROWS = 6
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

PLANTED = {
    "power_law": (2.4,),
    "truncated_power_law": (1.6, 0.15),
    "lognormal": (0.3, 1.1),
    "exponential": (0.7,),
    "stretched_exponential": (-0.4, 0.6),
    "student_t": (3.0, 1.3),
    "laplace": (1.4,),
}
SAMPLES = {
    family: (reference.sample(family, params, 1.5, 1500, np.random.default_rng(7)), 1.5)
    for family, params in PLANTED.items()
} | {
    "narrow": (1000 + np.random.default_rng(8).exponential(1, 900), 1000.0),
    "far above xmin": (np.exp(np.random.default_rng(9).normal(3, 0.2, 700)), 1.0),
    "uniform": (np.random.default_rng(10).uniform(1, 2, 500), 1.0),
    "ties": (np.round(1 + np.random.default_rng(11).pareto(1.5, 800), 1), 1.0),
    "wide": (10 ** np.random.default_rng(12).uniform(0, 9, 400), 1.0),
    "two": (np.array([1.5, 4.0]), 1.0),
}

every_family = pytest.mark.parametrize("family", ALL)


@functools.cache
def double(family: str, name: str) -> TailFit:
    """The fit of a sample in float64."""
    return fit_in_float64(family, *(SAMPLES[name] if name in SAMPLES else reference.dataset(name)))


def single(family: str, samples: list[np.ndarray], starts: list[float]) -> list[TailFit]:
    """Fits of up to six samples in float32, in one batch."""
    filled = [*samples, *[samples[0]] * (ROWS - len(samples))]
    values, masks = (np.stack(parts) for parts in zip(*map(padded, filled), strict=True))
    xmin = np.array([*starts, *[starts[0]] * (ROWS - len(starts))], np.float32)
    fits = jax.tree.map(np.asarray, fitter(family)(values.astype(np.float32), xmin=xmin, where=masks))
    return [TailFit(*(field[i] for field in fits)) for i in range(len(samples))]


def assert_fit(fit: TailFit, want: TailFit, params: float, likelihood: float) -> None:
    assert fit.status == want.status
    assert fit.n_tail == want.n_tail
    np.testing.assert_allclose(fit.params, want.params, rtol=params, atol=params * 1e-3)
    assert float(fit.log_likelihood) == pytest.approx(float(want.log_likelihood), abs=likelihood * want.n_tail)


# against SciPy


@pytest.mark.parametrize(
    ("family", "name"),
    # A sample of its own, one of a power law, and all those of none of the families.
    [(family, name) for family in ALL for name in SAMPLES if name not in PLANTED or name in (family, "power_law")],
)
def test_no_likelihood_is_higher(family: str, name: str) -> None:
    """Nelder–Mead from several starts finds nothing better, and the likelihood is that of SciPy's density."""
    x, xmin = SAMPLES[name]
    fit = double(family, name)
    assert fit.status == FitStatus.OK and fit.n_tail == x.size
    assert fit.log_likelihood >= reference.best(family, x, xmin) - 1e-6
    if limit(family, fit, x, xmin) is None:  # limits are beyond the textbook formulas
        exact = reference.likelihood(family, x, fit.params, xmin)
        assert float(fit.log_likelihood) == pytest.approx(exact, rel=1e-8, abs=1e-6)


def limit(family: str, fit: TailFit, x: np.ndarray, xmin: float) -> str | None:
    """The simpler distribution at which the fit arrived, if any."""
    match family:
        case "lognormal" if fit.params[1] > 1e6 * np.log(x / xmin).mean():
            return "power_law"
        case "stretched_exponential" if fit.params[1] * np.log(x / xmin).mean() < 1e-8:
            return "power_law"
        case "student_t" if fit.params[0] > 1e6:
            return "normal"
        case "student_t" if fit.params[1] < 1e-3 * xmin:
            return "power_law"
    return None


@every_family
def test_densities_and_ccdfs_are_those_of_scipy(family: str) -> None:
    x = np.append([-1, 0, 1.4], np.geomspace(1.5, 60, 40))
    params = np.array(PLANTED[family])

    @jax.jit
    def curves(x: jax.Array) -> tuple[jax.Array, ...]:
        ccdf, back = jax.vjp(lambda x: tail_ccdf(x, family, params, 1.5), x)
        return log_density(x, family, params, 1.5), ccdf, back(jnp.ones_like(x))[0]

    with jax.enable_x64(True):
        density, ccdf, slope = (np.asarray(curve) for curve in curves(x))
    assert np.isneginf(density[:3]).all() and (ccdf[:4] == 1).all()
    np.testing.assert_allclose(density[3:], reference.log_density(family, x[3:], params, 1.5), rtol=1e-10, atol=1e-10)
    assert (np.diff(ccdf[3:]) < 0).all()
    np.testing.assert_allclose(-slope[4:], np.exp(density[4:]), rtol=1e-8)  # the density is the derivative


@every_family
def test_planted_parameters_are_found(family: str) -> None:
    x = reference.sample(family, PLANTED[family], 1.5, LENGTH, np.random.default_rng(3))
    (fit,) = single(family, [x], [1.5])
    spread = 0.25 if len(fit.params) == 2 else 0.07
    np.testing.assert_allclose(fit.params, PLANTED[family], rtol=spread, atol=spread)


@every_family
def test_float32_is_close_to_float64(family: str) -> None:
    names = [name for name in SAMPLES if name not in ("narrow", "wide", "two")]
    for group in (names[:5], names[5:]):
        fits = single(family, [SAMPLES[n][0] for n in group], [SAMPLES[n][1] for n in group])
        for name, fit in zip(group, fits, strict=True):
            want = double(family, name)
            at_limit = limit(family, want, *SAMPLES[name]) is not None
            if at_limit:  # parameters that run away to infinity
                fit, want = fit._replace(params=np.zeros(1)), want._replace(params=np.zeros(1))
            assert_fit(fit, want, 2e-3, 1e-5)


@pytest.mark.parametrize("name", ["narrow", "wide", "two"])
@every_family
def test_float32_likelihood_of_difficult_samples(family: str, name: str) -> None:
    x, xmin = SAMPLES[name]
    x = x.astype(np.float32).astype(float)  # what float32 is given
    want = fit_in_float64(family, x, xmin)
    (fit,) = single(family, [x], [xmin])
    assert float(fit.log_likelihood) == pytest.approx(float(want.log_likelihood), abs=3e-5 * x.size)


# against powerlaw

PEERS = {
    "power_law": powerlaw.Power_Law,
    "truncated_power_law": powerlaw.Truncated_Power_Law,
    "lognormal": powerlaw.Lognormal,
    "exponential": powerlaw.Exponential,
    "stretched_exponential": powerlaw.Stretched_Exponential,
}


@pytest.mark.parametrize("name", ["blackouts", "cities", "fires", "flares", "surnames", "terrorism"])
def test_agrees_with_powerlaw_or_is_better(name: str) -> None:
    """Likelihoods by SciPy at the parameters of both: powerlaw's own sums replace densities that underflow."""
    x, xmin = reference.dataset(name)
    agreed = 0
    for family, peer in PEERS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = np.array(list(peer(data=x, xmin=xmin, verbose=0).parameters.values()))
        if family == "stretched_exponential":
            theirs[0] = np.log(theirs[0])
        fit = double(family, name)
        lead = float(fit.log_likelihood) - reference.likelihood(family, x, theirs, xmin)
        assert lead > -1e-7
        if lead < 1e-3:
            agreed += 1
            np.testing.assert_allclose(fit.params, theirs, rtol=4e-3)
    assert agreed >= 3


# edges of the families


@pytest.mark.parametrize("name", ["ties", "power_law", "wide", "narrow", "exponential", "uniform"])
def test_a_family_is_never_worse_than_what_it_contains_or_approaches(name: str) -> None:
    n = SAMPLES[name][0].size
    least = {family: float(double(family, name).log_likelihood) - 1e-9 * n for family in ("power_law", "exponential")}
    for family in ("truncated_power_law", "lognormal", "stretched_exponential", "student_t"):
        assert double(family, name).log_likelihood >= least["power_law"]
    for family in ("truncated_power_law", "stretched_exponential"):
        assert double(family, name).log_likelihood >= least["exponential"]
    assert float(double("laplace", name).log_likelihood) == pytest.approx(
        float(double("exponential", name).log_likelihood), rel=1e-12, abs=1e-9
    )


def heavier_than_a_power_law() -> np.ndarray:
    """u = ln x of variance above mean², and a mean of x above that of the fitted power law."""
    u = np.random.default_rng(5).exponential(1, 1000)
    return np.exp(0.3 * np.where(u > 1.5, 2 * u, u / 2))


def test_limits_that_are_the_power_law() -> None:
    x = heavier_than_a_power_law()
    u = np.log(x)
    assert u.var() > u.mean() ** 2 and u.mean() < 1 and x.mean() > 1 / (1 - u.mean())
    power_law, truncated, lognormal, stretched = (
        single(f, [x], [1.0])[0] for f in ("power_law", "truncated_power_law", "lognormal", "stretched_exponential")
    )
    alpha = float(power_law.params[0])
    assert truncated.params.tolist() == [pytest.approx(alpha, rel=1e-6), 0]
    t = -lognormal.params[0] / lognormal.params[1]
    assert t == pytest.approx(1e8, rel=1e-4)
    assert t / lognormal.params[1] == pytest.approx(alpha - 1, rel=1e-4)
    assert stretched.params[1] * u.mean() == pytest.approx(1e-14, rel=1e-4)
    for fit in (truncated, lognormal, stretched):
        assert fit.status == FitStatus.OK
        assert float(fit.log_likelihood) == pytest.approx(float(power_law.log_likelihood), abs=1e-3)
    grid = np.geomspace(1, 1e4, 50).astype(np.float32)
    straight = tail_ccdf(grid, "power_law", power_law.params, 1)
    for family, fit in (
        ("truncated_power_law", truncated),
        ("lognormal", lognormal),
        ("stretched_exponential", stretched),
    ):
        np.testing.assert_allclose(tail_ccdf(grid, family, fit.params, 1), straight, rtol=2e-4)


def test_a_truncated_power_law_that_would_rise_is_exponential() -> None:
    x = SAMPLES["uniform"][0]
    fit, exponential = (single(f, [x], [1.0])[0] for f in ("truncated_power_law", "exponential"))
    assert fit.params[0] == 0
    assert fit.params[1] == exponential.params[0] == pytest.approx(1 / (x.mean() - 1), rel=1e-5)


# closed forms, many values, extreme values


def test_closed_forms() -> None:
    x, xmin = SAMPLES["lognormal"]
    above = np.log(x / xmin)
    (fit,) = single("power_law", [x], [xmin])
    assert float(fit.params[0]) == pytest.approx(1 + 1 / above.mean(), rel=1e-6)
    rate = 1 / (x - xmin).mean()
    assert float(single("exponential", [x], [xmin])[0].params[0]) == pytest.approx(rate, rel=1e-6)
    assert float(single("laplace", [x], [xmin])[0].params[0]) == pytest.approx(1 / rate, rel=1e-6)


@pytest.mark.parametrize("family", ["power_law", "exponential", "lognormal"])
def test_two_million_values_in_float32(family: str) -> None:
    """Sums over them do not lose digits; parameters by float64 sums in NumPy."""
    x = reference.sample(family, PLANTED[family], 1.5, 2 * 10**6, np.random.default_rng(1)).astype(np.float32)
    fit = fitter(family)(x, xmin=np.float32(1.5))
    exact = x.astype(np.float64)
    if family == "lognormal":
        np.testing.assert_allclose(fit.params, PLANTED[family], atol=0.01)
    else:
        want = 1 + 1 / np.log(exact / 1.5).mean() if family == "power_law" else 1 / (exact - 1.5).mean()
        assert float(fit.params[0]) == pytest.approx(want, rel=3e-6)
    want = reference.likelihood(family, exact, np.asarray(fit.params, float), 1.5)
    assert float(fit.log_likelihood) == pytest.approx(want, rel=3e-6)


@every_family
@pytest.mark.parametrize("unit", [2.0**-110, 2.0**-20, 2.0**90])
def test_units_do_not_matter(family: str, unit: float) -> None:
    """Values from 1e-33 to 1e30; parameters in the new unit, log-likelihood less n·ln(unit)."""
    x, xmin = SAMPLES["truncated_power_law"]
    plain, other = single(family, [x, x * unit], [xmin, xmin * unit])
    factor = {"lambda": 1 / unit, "scale": unit}
    shift = {"mu": np.log(unit), "log_lambda": -np.log(unit)}
    want = [
        value * factor.get(name, 1) + shift.get(name, 0)
        for name, value in zip(PARAMETERS[family], plain.params, strict=True)
    ]
    np.testing.assert_allclose(other.params, want, rtol=3e-3)
    assert float(other.log_likelihood) == pytest.approx(
        float(plain.log_likelihood) - x.size * np.log(unit), abs=1e-5 * x.size * (1 + abs(np.log(unit)) / 10)
    )


@every_family
def test_the_whole_range_of_float32(family: str) -> None:
    """From 1e-37 to 3e38 the ratio x/xmin and the products of parameters leave float32."""
    u = np.random.default_rng(2).exponential(20, 400)
    x = (
        np.float32(1e-37)
        * np.exp(np.minimum(u, 87)).astype(np.float32)
        * np.exp(np.clip(u - 87, 0, 85), dtype=np.float32)
    )
    x = np.append(x, np.float32([1e38, 3e38]))
    assert np.isfinite(x).all()
    (fit,) = single(family, [x.astype(float)], [1e-37])
    if fit.status == FitStatus.OK:
        want = fit_in_float64(family, x, float(np.float32(1e-37)))
        assert float(fit.log_likelihood) == pytest.approx(float(want.log_likelihood), rel=1e-4)
    else:
        assert fit.status == FitStatus.NOT_CONVERGED and np.isnan(fit.params).all()
        assert family in ("exponential", "laplace"), fit


# laws


@every_family
def test_order_and_values_outside_do_not_matter(family: str) -> None:
    x, xmin = SAMPLES["lognormal"]
    rng = np.random.default_rng(4)
    below = rng.uniform(-3, xmin, 200)
    kept, moved, extended = single(family, [x, rng.permutation(x), rng.permutation(np.append(x, below))], [xmin] * 3)
    for other in (moved, extended):
        assert_fit(other, kept, 1e-4, 1e-6)


@pytest.mark.parametrize("family", ["power_law", "lognormal", "stretched_exponential"])
def test_a_batch_is_a_loop_and_a_mask_is_slicing(family: str) -> None:
    """The batch is padded and masked, the loop is over bare samples of one length."""
    x, xmin = SAMPLES["student_t"]
    rows = [x[:600], x[600:1200]]
    batch = single(family, rows, [xmin] * 2)
    for row, got in zip(rows, batch, strict=True):
        want = jax.tree.map(np.asarray, fitter(family)(row.astype(np.float32), xmin=np.float32(xmin)))
        assert_fit(got, want, 1e-4, 1e-6)


def test_shapes_of_batches_and_of_xmin() -> None:
    x = np.abs(np.random.default_rng(0).standard_normal((2, 3, 40))).astype(np.float32) + 1
    fit = fit_tail(x, "exponential", xmin=1)
    assert fit.params.shape == (2, 3, 1) and fit.status.shape == fit.n_tail.shape == fit.log_likelihood.shape == (2, 3)
    starts = np.array([1, 1.5, 2], np.float32)
    each = fit_tail(x, "power_law", xmin=starts)
    assert each.n_tail.tolist() == (x >= starts[:, None]).sum(-1).tolist()
    assert log_density(x, "exponential", fit.params, 1).shape == x.shape
    assert tail_ccdf(x, "exponential", fit.params, starts).shape == x.shape
    assert fit_tail(np.zeros((4, 0), np.float32), "power_law", 1).status.tolist() == [FitStatus.TOO_FEW] * 4


@pytest.mark.parametrize("family", ["truncated_power_law", "lognormal"])
def test_log_likelihood_has_the_right_gradient(family: str) -> None:
    """The parameters move with the sample, which does not count at a maximum."""
    x, xmin = SAMPLES[family][0][:60].copy(), 1.4
    with jax.enable_x64(True):
        value = jax.jit(jax.value_and_grad(lambda x: fit_tail(x, family, xmin).log_likelihood))
        gradient = np.asarray(value(x)[1])
        step = np.random.default_rng(0).standard_normal(60) * 1e-5
        assert float(value(x + step)[0] - value(x - step)[0]) / 2 == pytest.approx(
            float(gradient @ step), rel=1e-4, abs=1e-9
        )


@every_family
def test_lowers_for_every_platform(family: str) -> None:
    x = jax.ShapeDtypeStruct((2, 96), jnp.bfloat16)
    where, xmin = jax.ShapeDtypeStruct(x.shape, bool), jax.ShapeDtypeStruct((2,), jnp.float32)
    exported = jax.export.export(jax.jit(lambda x, w, s: fit_tail(x, family, s, w)), platforms=list(PLATFORMS))
    assert exported(x, where, xmin).platforms == PLATFORMS


# bad input


@pytest.mark.parametrize(
    ("x", "xmin", "status"),
    [
        ([1, 2, np.nan], 1, FitStatus.NOT_FINITE),
        ([1, 2, np.inf], 1, FitStatus.NOT_FINITE),
        ([1, 2, -np.inf], 1, FitStatus.NOT_FINITE),
        ([1, 2, 3], 0, FitStatus.BAD_XMIN),
        ([1, 2, 3], -1, FitStatus.BAD_XMIN),
        ([1, 2, 3], np.nan, FitStatus.BAD_XMIN),
        ([1, 2, 3], np.inf, FitStatus.BAD_XMIN),
        ([1, 2, 3], 4, FitStatus.TOO_FEW),
        ([1, 2, 3], 2.5, FitStatus.TOO_FEW),
        ([-1, 0, -5], 1, FitStatus.TOO_FEW),
        ([3, 3, 3, 1], 2, FitStatus.NO_SPREAD),
        ([1, 2, 3, -4, 0], 1, FitStatus.OK),
        ([2, 3], 1e-3, FitStatus.OK),
    ],
)
def test_bad_input_has_a_status(x: list[float], xmin: float, status: FitStatus) -> None:
    for family in ALL:
        (fit,) = single(family, [np.array(x, float)], [xmin])
        assert fit.status == status, family
        assert np.isnan([*fit.params, fit.log_likelihood]).all() == (status != FitStatus.OK), family
        assert np.isfinite([*fit.params, fit.log_likelihood]).all() == (status == FitStatus.OK), family


def test_unknown_families_and_scalars_are_refused(unchecked: None) -> None:
    for call in (
        lambda: fit_tail(np.ones(3), "pareto", 1),
        lambda: log_density(np.ones(3), "pareto", np.ones(1), 1),
        lambda: tail_ccdf(np.ones(3), "pareto", np.ones(1), 1),
    ):
        with pytest.raises(ValueError, match="no family 'pareto'"):
            call()
    with pytest.raises(ValueError, match="axis"):
        fit_tail(np.float32(3), "power_law", 1)


def test_names() -> None:
    assert set(FAMILIES) < set(ALL) == set(PARAMETERS)
    for family in ALL:
        assert double(family, "two").params.shape == (len(PARAMETERS[family]),)
