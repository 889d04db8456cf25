"""Power-law fits against a brute-force float64 search, the powerlaw package, and published values."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import powerlaw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import LONG_LOOPS

from spectra.kernels import PowerLawFit, fit_power_law
from spectra.kernels.status import FitStatus

FIT = jax.jit(fit_power_law)
FIT_OF_MANY = jax.jit(fit_power_law, compiler_options=LONG_LOOPS)
ROWS, ROOM = 16, 24
"""Samples and values of a batch that all small samples are put in, for each shape costs a second of compilation."""

TALLY = 1e-5
"""Two candidates whose distances differ by less are tied for float32."""


class Reference(NamedTuple):
    candidates: np.ndarray
    alphas: np.ndarray
    distances: np.ndarray
    sizes: np.ndarray

    @property
    def best(self) -> int:
        return int(np.argmin(self.distances))

    @property
    def lead(self) -> float:
        """By how much the best candidate beats the second."""
        ordered = np.sort(self.distances)
        return ordered[1] - ordered[0] if ordered.size > 1 else np.inf


def tail(values: np.ndarray, counts: np.ndarray, xmin: float) -> tuple[float, float, int]:
    """alpha, D and size of the tail of distinct `values` ≥ xmin with their multiplicities."""
    above = values >= xmin
    values, counts = values[above], counts[above]
    logs = np.log1p((values - xmin) / xmin)  # full precision for values close to xmin too
    size = counts.sum()
    alpha = 1 + size / np.sum(counts * logs)
    below = (np.cumsum(counts) - counts) / size
    return alpha, np.max(np.abs(-np.expm1((1 - alpha) * logs) - below)), int(size)


def search(x: np.ndarray) -> Reference | None:
    """Every tail by the definition, all candidates × all distinct values at once."""
    x = np.asarray(x, np.float64)
    values, counts = np.unique(x[x > 0], return_counts=True)
    if values.size < 2:
        return None
    starts, in_tail = values[:-1, None], np.triu(np.ones((values.size - 1, values.size), bool))
    logs = np.log1p(np.where(in_tail, values - starts, 0) / starts)
    sizes = np.cumsum(counts[::-1])[::-1][:-1]
    slopes = sizes / (logs @ counts)
    below = np.cumsum(counts) - counts
    share = (below - below[:-1, None]) / sizes[:, None]
    distances = np.max(np.abs(-np.expm1(-slopes[:, None] * logs) - share), axis=1, where=in_tail, initial=0)
    return Reference(values[:-1], 1 + slopes, distances, sizes)


def assert_fits(fit: PowerLawFit, want: Reference) -> None:
    """The same tail, unless several are tied; then one of those; and its exponent and distance."""
    alpha, xmin, ks, sigma, n_tail, status = (float(field) for field in fit)
    assert status == FitStatus.OK
    (place,) = np.flatnonzero(want.candidates == xmin)
    if want.lead > TALLY:
        assert place == want.best
    assert want.distances[place] <= want.distances[want.best] + TALLY
    assert n_tail == want.sizes[place]
    assert abs(alpha - want.alphas[place]) <= 1e-3 * max(1, abs(want.alphas[place]) / 10)
    assert ks == pytest.approx(want.distances[place], abs=1e-5)
    assert sigma == pytest.approx((want.alphas[place] - 1) / n_tail**0.5, rel=1e-3)


def rng_family(rng: np.random.Generator) -> dict[str, Callable[[int], np.ndarray]]:
    return {
        "pareto": lambda n: (1 - rng.random(n)) ** (-1 / rng.uniform(0.3, 5)),
        "lognormal": lambda n: np.exp(rng.uniform(0.1, 4) * rng.standard_normal(n)),
        "exponential": lambda n: rng.exponential(size=n),
        "uniform": lambda n: rng.random(n),
        "eigenvalues": lambda n: np.linalg.svd(rng.standard_t(3, (n, n + n // 2)), compute_uv=False) ** 2,
        "narrow": lambda n: 1000 + rng.random(n),
        "very narrow": lambda n: 1e6 + rng.integers(0, 40, n),
        "geometric integers": lambda n: rng.geometric(0.1, n),
        "zipf integers": lambda n: np.minimum(rng.zipf(1.8, n), 10**7),
        "two values": lambda n: rng.choice([1.0, 1.5], n),
        "tiny units": lambda n: 1e-33 + 1e-30 * rng.pareto(1.5, n),
        "huge units": lambda n: 1e30 * (1 + rng.pareto(1.5, n)),
        "whole range": lambda n: 10.0 ** rng.uniform(-35, 35, n),
        "outlier": lambda n: np.append(rng.random(n - 1), 1e20),
        "signed": lambda n: rng.standard_cauchy(n),
        "pareto with bulk": lambda n: np.append(rng.random(n // 2), 1 + rng.pareto(1.5, n - n // 2)),
    }


FAMILIES = tuple(rng_family(np.random.default_rng(0)))


def padded(x: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples with NaN behind them, and their mask."""
    behind = [(0, 0)] * (x.ndim - 1) + [(0, room - x.shape[-1])]
    return np.pad(x, behind, constant_values=np.nan), np.pad(np.ones(x.shape, bool), behind)


def fit_all(samples: np.ndarray, room: int) -> PowerLawFit:
    """Fits of many samples, `ROWS` at a time."""
    batches = np.pad(samples, [(0, -len(samples) % ROWS), (0, 0)], mode="edge").reshape(-1, ROWS, samples.shape[-1])
    fits = [FIT(*padded(batch, room)) for batch in batches]
    return jax.tree.map(lambda *fields: np.concatenate(fields)[: len(samples)], *fits)


def fit_small(x: np.ndarray, where: np.ndarray | None = None) -> PowerLawFit:
    """Fit of one sample, as the last of a batch of small ones."""
    x = np.asarray(x, np.float32)
    values, mask = padded(x, ROOM)
    if where is not None:
        mask[: x.size] = where
    others = np.arange(1, 1 + ROOM, dtype=np.float32)
    rows = (np.where(np.arange(ROWS)[:, None] < ROWS - 1, others, values), np.tile(mask, (ROWS, 1)))
    return jax.tree.map(lambda field: np.asarray(field)[-1], FIT(*rows))


@pytest.mark.parametrize(
    ("size", "room", "repeats"),
    [(2, ROOM, 40), (3, ROOM, 40), (20, ROOM, 40), (ROOM, ROOM, 40), (120, 120, 20), (500, 2000, 3), (2000, 2000, 1)],
)
def test_against_brute_force(size: int, room: int, repeats: int) -> None:
    """About three thousand samples of sixteen families, some of them with room behind them."""
    families = rng_family(np.random.default_rng(size))
    chosen = list(families.values())[:: 3 if size == 2000 else 1]
    samples = np.stack([make(size) for make in chosen for _ in range(repeats)]).astype(np.float32)
    fits = fit_all(samples, room)
    fitted = 0
    for i, x in enumerate(samples):
        fit, want = PowerLawFit(*(field[i] for field in fits)), search(x)
        if want is None:
            assert_no_fit(fit)
        else:
            assert_fits(fit, want)
            fitted += 1
    assert fitted > 0.9 * len(samples) if size > 3 else fitted > len(samples) / 2


@given(
    x=st.lists(
        st.one_of(st.integers(-2, 9), st.floats(-1, 100, width=32), st.floats(1, 1.0009765625, width=32)),
        min_size=ROOM,
        max_size=ROOM,
    ),
    keep=st.lists(st.booleans(), min_size=ROOM, max_size=ROOM),
)
@settings(deadline=None, max_examples=200, derandomize=True)
def test_against_brute_force_with_ties_and_masks(x: list[float], keep: list[bool]) -> None:
    x, keep = np.array(x, np.float32), np.array(keep)
    x = np.where(np.abs(x) < np.finfo(np.float32).tiny, np.float32(0), x)
    fit, want = fit_small(x, keep), search(x[keep])
    if want is None:
        assert_no_fit(fit)
    else:
        assert_fits(fit, want)


def assert_no_fit(fit: PowerLawFit, why: FitStatus | None = None) -> None:
    assert int(fit.status) == why if why else fit.status in (FitStatus.TOO_FEW, FitStatus.NO_SPREAD)
    assert int(fit.n_tail) == 0
    assert np.isnan([fit.alpha, fit.xmin, fit.ks, fit.sigma]).all()


def test_ties_go_to_the_lowest_candidate() -> None:
    """Geometric steps: the tails from 1 and from 2 have two values each and the same ratio, hence the same D."""
    x = np.array([1, 2, 4], np.float32)
    assert search(x[:2]).distances == search(x[1:]).distances
    for sample in ([1, 2], [1, 2, 4], [1, 1, 2, 2, 4, 4]):
        want = search(sample)
        assert float(fit_small(sample).xmin) == want.candidates[want.best]


# published values and the powerlaw package

MANY = 20_000
"""Room for each of the data sets but one, the fires, for which there are zeros behind, as of a million values."""


@pytest.mark.parametrize(
    ("name", "alpha", "xmin", "n_tail"),
    [
        ("blackouts", 2.3, 230e3, 59),
        ("cities", 2.37, 52.46e3, 580),
        ("fires", 2.2, 6324, 521),
        ("flares", 1.79, 323, 1711),
    ],
)
def test_published_by_clauset(name: str, alpha: float, xmin: float, n_tail: int) -> None:
    """Table 6.1, all digits of it. Not so the rows whose values repeat: surnames and earthquakes (docs/tails.md)."""
    fit = dataset_fit(name)
    digits = len(str(alpha).split(".")[1])
    assert round(float(fit.alpha), digits) == alpha
    assert float(fit.xmin) == pytest.approx(xmin, rel=1e-4)
    assert int(fit.n_tail) == n_tail


def test_published_by_alstott() -> None:
    """What the paper of powerlaw prints for the blackouts, in thousands: the tail it finds, and that from 1 upwards.

    Its standard error, 0.167, is over √(n − 1); Clauset's, and ours, over √n.
    """
    fit = dataset_fit("blackouts")
    assert [round(float(a), 3) for a in (fit.alpha, fit.ks)] == [2.273, 0.061]
    assert float(fit.xmin) == 230e3
    assert round(float(fit.sigma) * (59 / 58) ** 0.5, 3) == 0.167
    everything = at_xmin(powerlaw.load_test_dataset("blackouts"), 1000, room=256)
    assert [round(float(a), 3) for a in (everything.alpha, everything.ks)] == [1.220, 0.376]


def test_published_by_clauset_where_every_repeat_counts() -> None:
    """Surnames, in thousands: their table has 2.5 from 111.92 on, for plfit takes the distance at each of equal values.

    Where these are taken for one, the tail is another: 2.20 from 14.92 on, here and in powerlaw.
    """
    x = np.sort(powerlaw.load_test_dataset("surnames"))
    best = (np.inf,)
    for xmin in np.unique(x)[:-1]:
        tail = x[x >= xmin]
        alpha = 1 + tail.size / np.log(tail / xmin).sum()
        distance = np.abs(1 - (tail / xmin) ** (1 - alpha) - np.arange(tail.size) / tail.size).max()
        best = min(best, (distance, alpha, xmin, tail.size))
    assert [round(best[1], 1), round(best[2] / 1e3, 2), best[3]] == [2.5, 111.92, 239]
    fit = dataset_fit("surnames")
    assert [round(float(fit.alpha), 2), round(float(fit.xmin) / 1e3, 2)] == [2.20, 14.92]


@pytest.mark.parametrize("name", ["blackouts", "flares", "surnames", "terrorism", "quakes"])
def test_agrees_with_powerlaw(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = powerlaw.Fit(powerlaw.load_test_dataset(name), discrete=False, verbose=False)
    fit = dataset_fit(name)
    assert float(fit.alpha) == pytest.approx(peer.power_law.alpha, abs=1e-4)
    assert float(fit.xmin) == pytest.approx(peer.xmin, rel=1e-6)
    assert float(fit.ks) == pytest.approx(peer.power_law.D, abs=2e-6)
    assert float(fit.sigma) == pytest.approx(peer.power_law.sigma, rel=1e-4)
    assert int(fit.n_tail) == peer.n_tail


@cache
def dataset_fit(name: str) -> PowerLawFit:
    x = powerlaw.load_test_dataset(name).astype(np.float32)
    return FIT(*padded(x, MANY)) if x.size <= MANY else FIT_OF_MANY(np.pad(x, (0, 10**6 - x.size)))


# a fixed xmin

AT_XMIN = jax.jit(lambda x, where, xmin: fit_power_law(x, where, xmin))
SAMPLE = np.array([5, 1, 2, 8, 3, 3, -4, 0], np.float32)


def at_xmin(x: np.ndarray, xmin: float, room: int = ROOM) -> PowerLawFit:
    """Fit of one sample, mostly a small one."""
    return AT_XMIN(*padded(np.asarray(x, np.float32), room), np.float32(xmin))


@pytest.mark.parametrize("xmin", [1, 2, 2.5, 3, 4.9, 5, 0.5, 1e-30])
def test_fixed_xmin_in_the_data_between_and_below(xmin: float) -> None:
    fit = at_xmin(SAMPLE, xmin)
    values, counts = np.unique(SAMPLE[SAMPLE > 0].astype(np.float64), return_counts=True)
    alpha, ks, size = tail(values, counts, float(np.float32(xmin)))
    assert float(fit.xmin) == np.float32(xmin)
    assert float(fit.alpha) == pytest.approx(alpha, rel=1e-5)
    assert float(fit.ks) == pytest.approx(ks, abs=1e-5)
    assert float(fit.sigma) == pytest.approx((alpha - 1) / size**0.5, rel=1e-5)
    assert int(fit.n_tail) == size


@pytest.mark.parametrize("xmin", [5.1, 8, 8.5, 1e38])
def test_fixed_xmin_above_all_values_but_one(xmin: float) -> None:
    assert_no_fit(at_xmin(SAMPLE, xmin), FitStatus.TOO_FEW)


@pytest.mark.parametrize("xmin", [np.inf, 0, -1, -np.inf, np.nan, 1e-39])
def test_fixed_xmin_that_is_no_positive_number(xmin: float) -> None:
    assert_no_fit(at_xmin(SAMPLE, xmin), FitStatus.BAD_XMIN)


def test_fixed_xmin_needs_two_distinct_values_above() -> None:
    """As the docstring has it: a tail of equal values is no sample of a power law, wherever xmin lies."""
    for xmin in (5, 4, 0.1):
        assert_no_fit(at_xmin([5, 5, 5], xmin), FitStatus.NO_SPREAD)
    assert_no_fit(at_xmin([1, 5, 5], 4), FitStatus.NO_SPREAD)


@pytest.mark.parametrize("xmin", [1, np.nan])
def test_a_sample_that_is_not_finite_is_told_first(xmin: float) -> None:
    for bad in (np.nan, np.inf, -np.inf):
        assert_no_fit(at_xmin(np.append(SAMPLE[1:], bad), xmin), FitStatus.NOT_FINITE)


def test_fixed_xmin_far_below_the_data() -> None:
    """The ratio x/xmin leaves float32; its logarithm does not."""
    x = np.array([1e30, 2e30, 3e30], np.float32)
    fit = at_xmin(x, 1e-30)
    assert float(fit.alpha) == pytest.approx(1 + 3 / np.sum(np.log(x.astype(float) / 1e-30)), rel=1e-5)


def test_fixed_xmin_equal_to_the_one_found_gives_the_same_fit() -> None:
    x = np.random.default_rng(0).pareto(2, (ROWS, ROOM)).astype(np.float32)
    found = FIT(x, np.ones(x.shape, bool))
    for sample, *want in zip(x, *found, strict=True):
        for got, field in zip(at_xmin(sample, want[1]), want, strict=True):
            np.testing.assert_allclose(got, field, rtol=1e-6)


def test_fixed_xmin_for_each_sample_of_a_batch() -> None:
    x = np.random.default_rng(0).pareto(2, (3, ROOM)).astype(np.float32) + 1
    starts = np.array([1.2, 2, 100], np.float32)
    batch, shared = jax.jit(lambda x, xmin, one: (fit_power_law(x, xmin=xmin), fit_power_law(x, xmin=one)))(
        x, starts, np.float32(1.5)
    )
    for i, start in enumerate(starts):
        for field, one in zip(batch, at_xmin(x[i], start), strict=True):
            np.testing.assert_allclose(field[i], one, rtol=1e-6)
    assert shared.xmin.tolist() == [1.5, 1.5, 1.5]


def test_fixed_xmin_as_a_python_number() -> None:
    sizes = jax.jit(lambda x: [fit_power_law(x, xmin=xmin).n_tail for xmin in (2.5, 2)])(SAMPLE)
    assert [int(size) for size in sizes] == [4, 5]


# degenerate samples


@pytest.mark.parametrize(
    ("x", "why"),
    [
        ([], FitStatus.TOO_FEW),
        ([1], FitStatus.TOO_FEW),
        ([0, 0], FitStatus.TOO_FEW),
        ([-1, -2, -3], FitStatus.TOO_FEW),
        ([7, -1, 0], FitStatus.TOO_FEW),
        ([1, 1e-39, 1e-45], FitStatus.TOO_FEW),
        ([7, 7], FitStatus.NO_SPREAD),
        ([4, 4, 4], FitStatus.NO_SPREAD),
        ([4, 4, -1, 0], FitStatus.NO_SPREAD),
        ([3e38, 3e38], FitStatus.NO_SPREAD),
        ([1, 2, np.nan], FitStatus.NOT_FINITE),
        ([1, 2, np.inf], FitStatus.NOT_FINITE),
        ([1, 2, -np.inf], FitStatus.NOT_FINITE),
        ([np.nan, np.nan], FitStatus.NOT_FINITE),
        ([np.inf], FitStatus.NOT_FINITE),
    ],
    ids=str,
)
def test_samples_without_a_fit(x: list[float], why: FitStatus) -> None:
    assert_no_fit(fit_small(x), why)


def test_the_smallest_shapes() -> None:
    """The same without room behind them; of other types, too, to save compiling those by themselves."""
    assert_no_fit(FIT(np.zeros(0, np.float32)), FitStatus.TOO_FEW)
    one = FIT(np.array([[1], [0], [np.inf]], np.float32))
    assert one.status.tolist() == [FitStatus.TOO_FEW, FitStatus.TOO_FEW, FitStatus.NOT_FINITE]
    two = FIT(np.array([[1, 2], [7, 7], [0, 1], [np.nan, 1]], np.float16))
    assert two.status.tolist() == [FitStatus.OK, FitStatus.NO_SPREAD, FitStatus.TOO_FEW, FitStatus.NOT_FINITE]
    assert_fits(PowerLawFit(*(field[0] for field in two)), search([1, 2]))


@pytest.mark.parametrize(
    "x",
    [
        [1, 2],
        [1, 1, 1, 1.0000001],
        [1e-37, 1e38],
        [1.2e-38, 1.3e-38, 1.3e-38, 3.3e38],
        [1.2e-38, 1.2000001e-38, 1.25e-38, 2e-38],
        [3.4e38, 3.3999998e38, 3.3e38, 2e38],
        [1e-38, 1e-37, 2e-37, 1e38],
    ],
    ids=str,
)
def test_two_values_and_the_ends_of_the_range(x: list[float]) -> None:
    """1e-38 is no normal number in float32, and left out."""
    x = np.array(x, np.float32)
    assert_fits(fit_small(x), search(x[x >= np.finfo(np.float32).tiny]))


def test_masks_that_leave_nothing_or_one_value() -> None:
    x = np.array([1, 2, 3], np.float32)
    assert_no_fit(fit_small(x, np.zeros(3, bool)), FitStatus.TOO_FEW)
    assert_no_fit(fit_small(x, np.array([True, False, False])), FitStatus.TOO_FEW)


def test_values_outside_the_mask_may_be_anything() -> None:
    x = np.array([1, np.nan, 2, np.inf, 4, -np.inf], np.float32)
    assert_fits(fit_small(x, np.isfinite(x)), search([1, 2, 4]))


def test_zeros_and_negative_values_are_left_out() -> None:
    assert_fits(fit_small([-3, 0, 1, 2, 4, -0.0]), search([1, 2, 4]))


def test_a_scalar_is_refused(unchecked: None) -> None:
    with pytest.raises(ValueError, match="axis"):
        fit_power_law(np.float32(3))


def test_empty_batches_keep_their_shape() -> None:
    fit = FIT(np.zeros((2, 3, 0), np.float32))
    assert fit.alpha.shape == fit.n_tail.shape == (2, 3)


# many values


def test_float16_with_many_ties() -> None:
    x = np.abs(np.random.default_rng(2).standard_t(3, 20_000)).astype(np.float16)
    assert np.unique(x).size < 8000
    assert_fits(FIT(*padded(x[:6000].astype(np.float32), MANY)), search(x[:6000]))


@pytest.mark.parametrize("family", ["steep, with an outlier", "student"])
def test_a_million_values_in_float32(family: str) -> None:
    """Alpha of the tail to 1e-5, D to 3e-6, and no candidate better by 1e-5, as float64 has it.

    An outlier far above values close to each other once took the digits that decide between these.
    """
    rng = np.random.default_rng(3)
    steep = 1000 * np.exp(np.append(rng.exponential(1 / 3000, 500_000), -0.003 * rng.random(499_999)))
    x = np.append(steep, 1e11) if family == "steep, with an outlier" else np.abs(rng.standard_t(3, 10**6))
    x = x.astype(np.float32)
    fit = FIT_OF_MANY(x)
    values, counts = np.unique(x.astype(np.float64), return_counts=True)
    alpha, ks, size = tail(values, counts, float(fit.xmin))
    assert float(fit.alpha) == pytest.approx(alpha, rel=1e-5)
    assert float(fit.ks) == pytest.approx(ks, abs=3e-6)
    assert int(fit.n_tail) == size
    with jax.enable_x64(True):
        best = FIT_OF_MANY(x.astype(np.float64))
    assert ks - float(best.ks) <= TALLY


# float64 and gradients


def test_float64_to_twelve_digits() -> None:
    families = rng_family(np.random.default_rng(4))
    samples = np.stack([families[family](60).astype(np.float64) for family in FAMILIES])
    with jax.enable_x64(True):
        fits = FIT(samples)
    assert fits.alpha.dtype == jnp.float64
    for x, alpha, xmin, ks in zip(samples, *fits[:3], strict=True):
        want = search(x)
        assert float(xmin) == want.candidates[want.best]
        assert float(alpha) == pytest.approx(want.alphas[want.best], rel=1e-11)
        assert float(ks) == pytest.approx(want.distances[want.best], abs=1e-12)


GRADIENT = jax.jit(jax.grad(lambda x, where: fit_power_law(x, where).alpha))


def gradient(x: np.ndarray) -> np.ndarray:
    """Of alpha in each value, with others behind them that do not count."""
    found = np.asarray(GRADIENT(*padded(x, 100)))
    np.testing.assert_array_equal(found[x.size :], 0)
    return found[: x.size]


@pytest.mark.parametrize("unit", [1e-25, 1, 1e25])
def test_gradient_of_alpha_in_closed_form(unit: float) -> None:
    """With S = Σ ln(xⱼ/xmin): ∂α/∂xⱼ = −n/(S² xⱼ) in the tail, n (n − 1)/(S² xmin) at xmin, 0 elsewhere."""
    x = np.append(np.linspace(0.1, 0.9, 20), 1 + np.random.default_rng(8).pareto(1.5, 60))
    x = (x * unit).astype(np.float32)
    fit = search(x)
    xmin, n = fit.candidates[fit.best], fit.sizes[fit.best]
    square = (n / (fit.alphas[fit.best] - 1)) ** 2
    want = np.where(x >= xmin, -n / (square * x), 0)
    want[x == xmin] = n * (n - 1) / (square * xmin)
    assert 2 < n < x.size
    np.testing.assert_allclose(gradient(x), want, rtol=1e-4, atol=1e-7 / unit)


@pytest.mark.parametrize(
    "x",
    [
        [1e-30, 1e30, 1, 2, 3, 5],
        [1e-37, 3e38, 1, 1, 1, 1],
        [1, 1, 2, 2, 3, 7],
        [4, 4, 4, 4, 4, 4],
        [-1, 0, 1, 2, np.nan, 3],
        [-1, 0, -1, 0, 0, 0],
    ],
    ids=str,
)
def test_gradients_are_finite(x: list[float]) -> None:
    assert np.isfinite(gradient(np.array(x, np.float32))).all()


def test_gradient_in_a_fixed_xmin() -> None:
    """∂α/∂xmin = n²/(S² xmin), also where x/xmin leaves float32."""
    slope = jax.jit(jax.grad(lambda x, xmin: fit_power_law(x, xmin=xmin).alpha, argnums=1))
    for x, xmin in (([1, 2, 3, 5, 8, 2], 1.5), ([1e30, 2e30, 3e30, 1e31, 1, 1e5], 1e-30)):
        x = np.array(x, np.float32)
        above = x[x >= xmin].astype(np.float64)
        want = above.size**2 / np.sum(np.log(above / xmin)) ** 2 / xmin
        assert float(slope(x, np.float32(xmin))) == pytest.approx(want, rel=1e-4)
