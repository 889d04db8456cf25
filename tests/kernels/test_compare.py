"""Likelihood-ratio tests against the powerlaw package, published values and their own definition."""

import functools
import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import powerlaw
import pytest
import tail_reference as reference
from scipy import stats
from tail_programs import fit_in_float64, padded

from spectra.kernels.compare import NESTED, Comparison, compare_tails
from spectra.kernels.status import FitStatus
from spectra.kernels.tails import FAMILIES, TailFit, fit_tail

# Clauset, Shalizi & Newman, SIAM Review 51 (2009), table 6.1: R and p of the power law against lognormal, exponential
# and stretched exponential, and for the power law with cutoff the ratio itself, not normalised, and its p.
PUBLISHED = {
    "blackouts": ((-0.412, 0.68), (1.21, 0.23), (-0.417, 0.68), (-0.382, 0.38)),
    "cities": ((-0.090, 0.93), (3.65, 0.00), (0.204, 0.84), (-0.123, 0.62)),
    "fires": ((-1.78, 0.08), (4.00, 0.00), (-1.82, 0.07), (-5.02, 0.00)),
    "flares": ((-0.803, 0.42), (13.7, 0.00), (-0.546, 0.59), (-4.52, 0.00)),
}
ALTERNATIVES = ("lognormal", "exponential", "stretched_exponential", "truncated_power_law")


class Answers(NamedTuple):
    """Of one program, for they share nearly all of it."""

    default: Comparison
    not_nested: Comparison
    swapped: Comparison


@functools.cache
def comparer(one: str, other: str) -> Callable[..., Answers]:
    def answers(x: jax.Array, xmin: jax.Array, where: jax.Array, fits: tuple[TailFit, TailFit]) -> Answers:
        return Answers(
            compare_tails(x, one, other, xmin, where, fits),
            compare_tails(x, one, other, xmin, where, fits, nested=False),
            compare_tails(x, other, one, xmin, where, fits[::-1]),
        )

    return jax.jit(answers)


def compared(name: str, one: str, other: str, dtype: type = np.float64) -> Comparison:
    return answered(name, one, other, dtype).default


def answered(name: str, one: str, other: str, dtype: type = np.float64) -> Answers:
    return answered_on(*reference.dataset(name), fitted(name), one, other, dtype)


@functools.cache
def fitted(name: str) -> dict[str, TailFit]:
    """All fits of a data set, in float64."""
    return fitted_to(*reference.dataset(name))


def fitted_to(x: np.ndarray, xmin: float) -> dict[str, TailFit]:
    return {family: fit_in_float64(family, x, xmin) for family in FAMILIES}


def answered_on(x: np.ndarray, xmin: float, fits: dict[str, TailFit], one: str, other: str, dtype: type) -> Answers:
    """Compared in an element type, with the fits of float64 rounded to it."""
    values, mask = padded(x)

    def rounded(fit: TailFit) -> TailFit:
        return fit._replace(params=fit.params.astype(dtype), log_likelihood=fit.log_likelihood.astype(dtype))

    with jax.enable_x64(dtype is np.float64):
        pair = rounded(fits[one]), rounded(fits[other])
        return jax.tree.map(float, comparer(one, other)(values.astype(dtype), dtype(xmin), mask, pair))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values(name: str, dtype: type) -> None:
    """To the digits printed, but for three rows.

    Of the blackouts and the exponential ours is what powerlaw's paper prints (Alstott et al. 2014). The cities are a
    slightly different set. The stretched exponential's maxima are higher than the published search found for cities and
    flares (next test).
    """
    for family, (R, p) in zip(ALTERNATIVES, PUBLISHED[name], strict=True):
        got = compared(name, "power_law", family, dtype)
        value = got.log_ratio if family == "truncated_power_law" else got.R
        if (name, family) == ("blackouts", "exponential"):
            assert [got.p, got.log_ratio] == pytest.approx([0.152, 12.755], abs=6e-4) and round(got.R, 2) == 1.43
        elif (name, family) in (("cities", "stretched_exponential"), ("flares", "stretched_exponential")):
            assert got.R < R
        elif name == "cities":
            assert value == pytest.approx(R, abs=0.07) and got.p == pytest.approx(p, abs=0.03)
        else:
            assert value == pytest.approx(R, rel=0.02) and got.p == pytest.approx(p, abs=0.011)


@pytest.mark.parametrize("name", [*PUBLISHED, "surnames", "terrorism"])
def test_agrees_with_powerlaw(name: str) -> None:
    """Where powerlaw's fits are as good as ours, R and p are its own; else ours favour the alternative more."""
    x, xmin = reference.dataset(name)
    agreed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = powerlaw.Fit(x, xmin=xmin, discrete=False, verbose=False)
        for family in ALTERNATIVES:
            R, p = peer.distribution_compare("power_law", family, normalized_ratio=True)
            got = compared(name, "power_law", family)
            theirs = np.sum(getattr(peer, family).loglikelihoods(x))
            ours = np.sum(peer.power_law.loglikelihoods(x)) - got.log_ratio
            if abs(theirs - ours) < 1e-3:
                agreed += 1
                assert pytest.approx(R, abs=3e-3) == got.R and got.p == pytest.approx(p, abs=3e-3)
    assert agreed >= 2


@pytest.mark.parametrize(("one", "other"), [("exponential", "stretched_exponential"), ("lognormal", "exponential")])
def test_by_definition(one: str, other: str) -> None:
    """R, p and the ratio from SciPy's densities at the fitted parameters."""
    x, xmin = reference.dataset("surnames")
    fits = fitted("surnames")
    each = reference.log_density(one, x, fits[one].params, xmin) - reference.log_density(
        other, x, fits[other].params, xmin
    )
    got = compared("surnames", one, other)
    R = each.sum() / (each.std() * x.size**0.5)
    assert got.log_ratio == pytest.approx(each.sum(), rel=1e-8)
    assert pytest.approx(R, rel=1e-8) == got.R
    nested = frozenset((one, other)) in NESTED
    p = stats.chi2.sf(2 * abs(each.sum()), 1) if nested else 2 * stats.norm.sf(abs(R))
    assert got.p == pytest.approx(p, rel=1e-7)


def test_order_of_the_two_families_changes_the_sign() -> None:
    ahead, _, behind = answered("fires", "power_law", "lognormal")
    assert pytest.approx(-behind.R) == ahead.R and ahead.log_ratio == pytest.approx(-behind.log_ratio)
    assert ahead.p == pytest.approx(behind.p)


def test_nested_families_and_how_to_override() -> None:
    """powerlaw knows the exponential to be in the stretched exponential, but not in the truncated power law."""
    ours, theirs, _ = answered("blackouts", "exponential", "truncated_power_law")
    assert ours.R == theirs.R
    assert ours.p == pytest.approx(stats.chi2.sf(2 * abs(ours.log_ratio), 1), rel=1e-7)
    assert theirs.p == pytest.approx(2 * stats.norm.sf(abs(ours.R)), rel=1e-7)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fits_that_are_the_same_are_not_told_apart(dtype: type) -> None:
    """Of a sample heavier than a power law three alternatives become one: R = 0 and p = 1, not 0/0 or rounding."""
    u = np.random.default_rng(5).exponential(1, 1000)
    x = np.exp(0.3 * np.where(u > 1.5, 2 * u, u / 2))
    fits = fitted_to(x, 1)
    for other in ("lognormal", "stretched_exponential", "truncated_power_law"):
        got = answered_on(x, 1, fits, "power_law", other, dtype).default
        assert got == Comparison(R=0, p=1, log_ratio=0, status=0), other


def test_without_fits_and_in_batches() -> None:
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(0, 1, (2, 2, 96))).astype(np.float32)
    where = np.arange(96) < 90
    starts = np.array([[0.5, 1], [0.7, 0.2]], np.float32)
    pair = ("power_law", "exponential")

    @jax.jit
    def whole_and_fits(x: jax.Array) -> tuple[Comparison, tuple[TailFit, ...]]:
        return compare_tails(x, *pair, starts, where), tuple(fit_tail(x, family, starts, where) for family in pair)

    whole, fits = whole_and_fits(x)
    given = compare_tails(x, *pair, starts, where, fits)
    assert whole.R.shape == whole.p.shape == whole.status.shape == (2, 2)
    for field, other in zip(whole, given, strict=True):
        np.testing.assert_allclose(field, other, rtol=1e-5)
    alone = compare_tails(x[1, 0, :90], *pair, 0.7)
    for field, other in zip(whole, alone, strict=True):
        np.testing.assert_allclose(field[1, 0], other, rtol=1e-4)


@pytest.mark.parametrize(
    ("x", "xmin", "status"),
    [
        ([1, 2, np.nan], 1, FitStatus.NOT_FINITE),
        ([1, 2, 3], 0, FitStatus.BAD_XMIN),
        ([1, 2, 3], 3, FitStatus.TOO_FEW),
        ([3, 3, 3], 1, FitStatus.NO_SPREAD),
        ([1, 2, 4], 1, FitStatus.OK),
    ],
)
def test_bad_input_has_a_status(x: list[float], xmin: float, status: FitStatus) -> None:
    got = compare_tails(np.array(x, np.float32), "power_law", "exponential", xmin)
    assert got.status == status
    assert np.isnan([got.R, got.p, got.log_ratio]).all() == (status != FitStatus.OK)


def test_unknown_families_are_refused(unchecked: None) -> None:
    with pytest.raises(ValueError, match="no family 'zipf'"):
        compare_tails(np.ones(3), "power_law", "zipf", 1)


@pytest.mark.parametrize("other", ["lognormal", "truncated_power_law"])
def test_lowers_for_every_platform(other: str) -> None:
    x = jax.ShapeDtypeStruct((2, 96), jnp.float32)
    exported = jax.export.export(
        jax.jit(lambda x: compare_tails(x, "power_law", other, 1.5)), platforms=["cpu", "cuda", "rocm", "tpu"]
    )
    assert exported(x).platforms == ("cpu", "cuda", "rocm", "tpu")
