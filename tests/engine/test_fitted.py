"""What stands behind a verdict: alternatives, goodness of fit and intervals in the analyzer, and the weights' tails."""

from __future__ import annotations

import numpy as np
import pandas as pd
import powerlaw
import pytest
from scipy import stats

import spectra
from spectra.engine.fitted import ALTERNATIVES, Sample, fit_sample, rivals
from spectra.engine.options import Options
from spectra.engine.weight_tails import weight_tails
from spectra.errors import InputError

RNG = np.random.default_rng(11)
BOOTSTRAP = ("gof_p", "alpha_low", "alpha_high", "xmin_low", "xmin_high")


def with_spectrum(evals: np.ndarray, n: int) -> np.ndarray:
    """A matrix of n rows whose WᵀW has these eigenvalues."""
    left, _ = np.linalg.qr(RNG.standard_normal((n, evals.size)))
    right, _ = np.linalg.qr(RNG.standard_normal((evals.size, evals.size)))
    return ((left * np.sqrt(evals)) @ right.T).astype(np.float32)


def pareto(n: int, alpha: float) -> np.ndarray:
    return (1 - RNG.random(n)) ** (-1 / (alpha - 1))


LENGTH = 224
"""To which samples of 200 are padded: with other lengths the tests would compile everything anew."""

MODEL = {
    "a.kernel": with_spectrum(pareto(200, 2.5), 220),
    "b.kernel": with_spectrum(1 + RNG.exponential(0.25, 200), 220),
    "c.kernel": with_spectrum(pareto(200, 7.5), 260),
}


@pytest.fixture(scope="module")
def tested() -> spectra.Report:
    return spectra.analyze(MODEL, gof=400)


def test_columns_are_there_only_when_asked_for(tested: spectra.Report):
    plain = spectra.analyze(MODEL)
    few = spectra.analyze({"few.kernel": RNG.standard_normal((30, 20)).astype(np.float32)})["few"]
    assert few.metrics["verdict"] == "too few"
    columns = {*BOOTSTRAP, *(f"{kind}_{family}" for family in ALTERNATIVES for kind in "Rp")}
    assert columns <= set(tested.to_pandas().columns)
    assert not columns & set(plain.to_pandas().columns)
    assert [layer.metrics["verdict"] for layer in plain] == ["not tested"] * 3
    assert [layer.metrics["alpha"] for layer in plain] == [layer.metrics["alpha"] for layer in tested]


def test_verdicts_of_known_spectra(tested: spectra.Report):
    verdicts = {layer.name[0]: layer.metrics["verdict"] for layer in tested}
    assert verdicts["a"] == "power law plausible"
    assert tested["a"].metrics["gof_p"] > 0.1
    assert verdicts["b"] == "not a power law" or verdicts["b"].startswith("better: ")
    assert tested["b"].metrics["R_exponential"] < 0 or tested["b"].metrics["gof_p"] <= 0.1
    # alpha of b is above 6, but a rejected fit is not called under-trained; that of c is plausible, and is.
    assert tested["b"].metrics["alpha"] > 6 and "under-trained" not in tested["b"].warning
    assert verdicts["c"] == "power law plausible" and "under-trained" in tested["c"].warning


def test_intervals_hold_the_planted_exponent(tested: spectra.Report):
    m = tested["a"].metrics
    assert m["alpha_low"] < 2.5 < m["alpha_high"] and m["alpha_low"] < m["alpha"] < m["alpha_high"]
    assert m["xmin_low"] <= m["xmin"] <= m["xmin_high"]
    assert m["alpha_high"] - m["alpha_low"] > 2 * 1.96 * m["sigma"] * 0.9  # the search for xmin adds to sigma


def test_numbers_depend_on_seed_and_name_alone(tested: spectra.Report):
    alone = spectra.analyze({"a.kernel": MODEL["a.kernel"]}, gof=400)["a"]
    assert {name: alone.metrics[name] for name in BOOTSTRAP} == {name: tested["a"].metrics[name] for name in BOOTSTRAP}
    other = spectra.analyze({"a.kernel": MODEL["a.kernel"]}, gof=400, seed=1)["a"]
    assert other.metrics["alpha_low"] != alone.metrics["alpha_low"]
    np.testing.assert_allclose(other.metrics["alpha_low"], alone.metrics["alpha_low"], rtol=0.1)
    renamed = spectra.analyze({"z.kernel": MODEL["a.kernel"]}, gof=400)["z"]
    assert renamed.metrics["alpha_low"] != alone.metrics["alpha_low"]


def test_alternatives_are_powerlaws(tested: spectra.Report):
    """R and p of powerlaw's distribution_compare on the very eigenvalues, with the same tail."""
    layer = tested["a"]
    xmin = layer.metrics["xmin"] * (1 - 1e-6)  # fitted in float32, which may round it up
    fit = powerlaw.Fit(layer.eigenvalues, xmin=xmin, verbose=0)
    ratio, p = fit.distribution_compare("power_law", "exponential", normalized_ratio=True)
    np.testing.assert_allclose(layer.metrics["R_exponential"], ratio, rtol=1e-3)
    np.testing.assert_allclose(layer.metrics["p_exponential"], p, rtol=1e-2, atol=1e-6)
    assert layer.metrics["R_truncated_power_law"] <= 0  # it contains the power law
    assert layer.families["power_law"] == pytest.approx((layer.metrics["alpha"],), rel=1e-4)


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_units_do_not_matter(scale: float):
    x = 1 + RNG.exponential(0.7, 200)
    found = []
    for values in (x, x * scale):
        sample = Sample.of(values, np.dtype(np.float32), LENGTH)
        fit = fit_sample(sample)
        found.append((float(fit.xmin) / values[0], rivals(sample, fit)))
    (xmin, one), (scaled_xmin, other) = found
    np.testing.assert_allclose(scaled_xmin, xmin, rtol=1e-5)
    for family in ALTERNATIVES:
        np.testing.assert_allclose(one.alternatives[family], other.alternatives[family], rtol=1e-2, atol=1e-2)


def test_no_fit_has_no_alternatives():
    layer = spectra.analyze({"eye.kernel": np.eye(200, dtype=np.float32)}, gof=400)["eye"]
    assert layer.status == "success" and layer.metrics["verdict"] == "no fit" and layer.families == {}
    assert all(layer.metrics[name] is None for name in BOOTSTRAP)


@pytest.mark.parametrize(("option", "value"), [("gof", 5), ("gof", -1), ("gof", 1.5), ("tails", 1), ("seed", -3)])
def test_unknown_values_are_refused(option: str, value: object):
    with pytest.raises(InputError, match=option):
        Options(**{option: value})


def test_tails_of_the_weights():
    """Right tail Pareto, left tail exponential, zeros between; against powerlaw on the same entries."""
    w = np.concatenate([0.5 * pareto(4000, 3.0), -(0.2 + RNG.exponential(0.1, 3000)), np.zeros(1000)])
    w = RNG.permutation(w).astype(np.float32).reshape(80, 100)
    m = spectra.analyze({"fc.kernel": w}, tails=True)["fc"].metrics
    reference = powerlaw.Fit(np.sort(w[w > 0]).astype(float)[::-1], verbose=0)
    np.testing.assert_allclose(m["right_alpha"], reference.alpha, rtol=1e-4)
    np.testing.assert_allclose(m["right_xmin"], reference.xmin, rtol=1e-5)
    assert m["right_n_tail"] == np.count_nonzero(w >= m["right_xmin"])
    assert m["right_verdict"] == "not tested"  # nothing is better, and the weights are not bootstrapped
    u = -w[w <= -m["left_xmin"]].astype(float) / m["left_xmin"]
    slope, rate = 1 / np.log(u).mean(), 1 / (u - 1).mean()
    apart = np.log(slope) - (1 + slope) * np.log(u) - np.log(rate) + rate * (u - 1)
    ratio = np.sqrt(u.size) * apart.mean() / apart.std()
    assert m["left_n_tail"] == u.size
    np.testing.assert_allclose(m["left_R_exponential"], ratio, rtol=1e-3)
    np.testing.assert_allclose(m["left_p_exponential"], 2 * stats.norm.sf(abs(ratio)), rtol=1e-2)
    assert m["zero_fraction"] == 1000 / 8000
    frame = spectra.analyze({"fc.kernel": w}, tails=True).to_pandas()
    assert frame["right_n_tail"].dtype == pd.Int64Dtype() and frame["left_verdict"][0] == m["left_verdict"] != "no fit"


def test_student_df_tells_heavy_from_light():
    heavy, light = RNG.standard_t(4, 4000).astype(np.float32), RNG.standard_normal(4000).astype(np.float32)
    reference, _, _ = stats.t.fit(heavy)
    np.testing.assert_allclose(weight_tails(heavy)["student_t_df"], reference, rtol=1e-2)
    assert weight_tails(light)["student_t_df"] > 30


@pytest.mark.parametrize("values", [np.zeros(64), np.ones(64), -np.ones(64), np.array([1.0, -1.0] * 32)])
def test_entries_without_tails(values: np.ndarray):
    found = weight_tails(values.astype(np.float32))
    assert found["right_verdict"] == found["left_verdict"] == "no fit"
    assert found["right_alpha"] is None and found["left_n_tail"] == 0
