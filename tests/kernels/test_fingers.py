"""Fingers against a search by definition in float64, planted and absent ones, and what makes no sample."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from programs import LONG_LOOPS
from scipy import stats

from spectra.kernels.fingers import LEVEL, MOST, fit_without_fingers
from spectra.kernels.status import FitStatus

SIZE, AT_ONCE = 300, 40
FIT = jax.jit(fit_without_fingers, compiler_options=LONG_LOOPS)


def fitted(samples: list[np.ndarray]):
    """Samples of any size up to SIZE, by one program."""
    parts = []
    for start in range(0, len(samples), AT_ONCE):
        values, inside = np.full((AT_ONCE, SIZE), np.nan, np.float32), np.zeros((AT_ONCE, SIZE), bool)
        for row, counted, sample in zip(values, inside, samples[start : start + AT_ONCE], strict=False):
            row[: sample.size], counted[: sample.size] = sample, True
        parts.append(jax.device_get(FIT(values, inside)))
    return jax.tree.map(lambda *fields: np.concatenate(fields)[: len(samples)], *parts)


def pareto(rng: np.random.Generator, n: int, alpha: float, tail: float = 1.0) -> np.ndarray:
    """A share `tail` of a power law from 1 upwards, the rest spread below it."""
    above = rng.binomial(n, tail)
    return np.concatenate([(1 - rng.random(above)) ** (-1 / (alpha - 1)), rng.random(n - above) ** 0.5])


def plain_fit(x: np.ndarray) -> tuple[float, float, int]:
    """Distance, exponent and size of the tail of smallest distance, for distinct values in descending order."""
    logs, best = np.log(x), (np.inf, np.nan, 0)
    for n in range(x.size, 1, -1):
        above = logs[:n] - logs[n - 1]
        alpha = 1 + n / above.sum()
        empirical = np.arange(n - 1, -1, -1) / n
        best = min(best, (np.abs(1 - np.exp((1 - alpha) * above) - empirical).max(), alpha, n), key=lambda fit: fit[0])
    return best


def by_definition(sample: np.ndarray) -> tuple[int, float, float]:
    """Number of fingers, and alpha with and without them."""
    x = np.sort(np.asarray(sample, np.float32).astype(float))[::-1]
    tried = min(MOST, x.size // 10)
    fits = [plain_fit(x[k:]) for k in range(tried + 1)]
    taken = 0
    while True:
        probabilities = {}
        for k in range(taken + 1, tried + 1):
            distance, _, n = fits[k]
            # All gaps of the tail below, each i·ln(x₍ᵢ₎/x₍ᵢ₊₁₎) with i counted from the values that are in doubt.
            places = np.arange(k + 1, k + n) - taken
            mean = np.sum(places * np.log(x[k : k + n - 1] / x[k + 1 : k + n])) / n
            gap = (k - taken) * np.log(x[k - 1] / x[k])
            if distance < fits[0][0]:
                probabilities[k] = stats.f.sf(gap / mean, 2, 2 * n)
        best = min(probabilities, key=probabilities.__getitem__, default=None)
        if best is None or probabilities[best] * tried > LEVEL:
            return taken, fits[0][1], fits[taken][1]
        taken = best


def samples_with_and_without() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = []
    for n in (12, 25, 60, 150, 280):
        for fingers, reach in ((0, 1), (1, 30), (2, 8), (4, 4), (7, 3)):
            x = pareto(rng, n, rng.uniform(2, 6), 0.6)
            found.append(np.append(x, x.max() * reach * (1 + 0.3 * rng.random(fingers))))
        x = pareto(rng, n, 4.0)
        found.append(np.append(x, x.max() * np.array([4.0, 5.0, 300.0, 310.0])))  # fingers of two kinds
    return found


def test_against_the_definition() -> None:
    samples = samples_with_and_without()
    found = fitted(samples)
    wanted = np.array([by_definition(sample) for sample in samples])
    np.testing.assert_array_equal(found.num_fingers, wanted[:, 0])
    np.testing.assert_allclose(found.raw.alpha, wanted[:, 1], rtol=1e-4)
    np.testing.assert_allclose(found.fit.alpha, wanted[:, 2], rtol=1e-4)
    assert set(found.num_fingers) >= {0, 1, 2, 4, 7}


@pytest.mark.parametrize(("alpha", "fingers", "reach"), [(2.5, 6, 5.0), (4.0, 3, 8.0), (6.0, 1, 10.0), (6.0, 8, 3.0)])
def test_alpha_of_a_spoilt_sample_is_recovered(alpha: float, fingers: int, reach: float) -> None:
    rng = np.random.default_rng(1)
    samples = []
    for _ in range(40):
        x = pareto(rng, 250, alpha, 0.7)
        samples.append(np.append(x, x.max() * reach * (1 + 0.2 * rng.random(fingers))))
    found = fitted(samples)
    assert np.mean(found.num_fingers >= fingers) > 0.6
    spoilt = found.num_fingers >= fingers
    error = np.abs(found.fit.alpha - alpha)[spoilt]
    assert np.median(error) < 1.2 * np.median(found.fit.sigma[spoilt])
    assert abs(np.median(found.fit.alpha[spoilt]) - alpha) < 0.5 * abs(np.median(found.raw.alpha[spoilt]) - alpha)


def test_alpha_that_belongs_to_the_fingers_alone() -> None:
    """What they are known for: a cluster at the top is the tail of smallest distance, and its alpha far too large."""
    rng = np.random.default_rng(2)
    samples = []
    for _ in range(40):
        tail = (1 - rng.random(30)) ** (-1 / 2)
        samples.append(np.concatenate([rng.random(30), tail, 400 * (1 - np.arange(6) / 6.5) ** (-1 / 30)]))
    found = fitted(samples)
    spurious = found.raw.alpha > 20
    assert spurious.mean() > 0.4
    assert set(found.num_fingers[spurious]) == {6}
    np.testing.assert_allclose(np.median(found.fit.alpha[spurious]), 3, rtol=0.1)


@pytest.mark.parametrize("n", [20, 60, 250])
def test_no_false_corrections(n: int) -> None:
    rng = np.random.default_rng(3)
    samples = [pareto(rng, n, alpha, tail) for alpha in (2.0, 3.0, 6.0) for tail in (0.5, 1.0) for _ in range(40)]
    found = fitted(samples)
    assert np.mean(found.num_fingers > 0) <= 0.05
    same = found.num_fingers == 0
    np.testing.assert_array_equal(found.fit.alpha[same], found.raw.alpha[same])


def test_units_do_not_matter() -> None:
    x = np.append(pareto(np.random.default_rng(4), 200, 4.0), [300, 310, 320]).astype(np.float32)
    found = fitted([x, x * np.float32(2.0**90), x * np.float32(2.0**-90)])
    assert set(found.num_fingers) == {3} and len(set(found.fit.alpha)) == 1


def test_what_makes_no_sample() -> None:
    bad = [np.ones(40), np.zeros(40), np.append(np.arange(1.0, 40), np.inf), np.array([3.0]), np.array([-1.0, 2, 3])]
    found = fitted([*bad, np.array([1.0, 2, 1000])])
    assert set(found.num_fingers) == {0}
    codes = [
        FitStatus.NO_SPREAD,
        FitStatus.TOO_FEW,
        FitStatus.NOT_FINITE,
        FitStatus.TOO_FEW,
        FitStatus.OK,
        FitStatus.OK,
    ]
    assert list(found.fit.status) == list(found.raw.status) == codes
    nan = fitted([np.append(np.arange(1.0, 40), np.nan)] * len(bad))
    assert set(nan.raw.status) == {FitStatus.NOT_FINITE} and np.isnan(nan.fit.alpha).all()


@pytest.mark.usefixtures("unchecked")
def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="at least one axis"):
        fit_without_fingers(np.float32(1))
    with pytest.raises(ValueError, match="at least 0"):
        fit_without_fingers(np.ones(3, np.float32), most=-1)


def test_lowers_for_every_platform() -> None:
    x = jax.ShapeDtypeStruct((SIZE,), np.float32)
    jax.export.export(FIT, platforms=["cpu", "cuda", "rocm", "tpu"])(x)


@pytest.mark.parametrize("level", [float("nan"), -1.0, 0.0, 1.0])
def test_a_level_that_is_no_probability_is_refused(level: float):
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit_without_fingers(np.ones(40, np.float32), level=level)
