"""The study's statistics, against SciPy, enumeration, and cases whose answer is plain."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from spectra.errors import InputError
from spectra.study.stats import Effect, depth_trend, holm, interval, mean_effect, network_rho, side, spearman, verdict

NAN = float("nan")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0, -3.0, 7.0]), min_size=3, max_size=12))
def test_spearman_is_that_of_scipy_ties_included(values: list[float]):
    expected = 0.0 if len(set(values)) == 1 else stats.spearmanr(values, range(len(values))).statistic
    assert spearman(values) == pytest.approx(expected, abs=1e-12)


def test_spearman_of_a_missing_value_is_missing():
    assert np.isnan(spearman([1.0, NAN, 2.0]))


def test_p_of_a_trend_is_the_share_of_orders_by_enumeration():
    networks = [[1.0, 2.0, 4.0, 3.0], [2.0, 1.0, 3.0, 4.0]]
    observed = np.mean([spearman(values) for values in networks])
    orders = [[spearman(order) for order in itertools.permutations(values)] for values in networks]
    exact = np.mean([abs((a + b) / 2) >= observed - 1e-12 for a, b in itertools.product(*orders)])
    effect = depth_trend([[values] for values in networks], seed=0)
    assert effect.mean == pytest.approx(observed)
    assert effect.n == 2
    assert effect.p == pytest.approx(exact, abs=4 * np.sqrt(exact / 10_000))


def test_groups_are_averaged_within_a_network_and_short_or_broken_ones_do_not_count():
    up, down = [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]
    assert network_rho([up, up, down]) == pytest.approx(1 / 3)
    assert network_rho([up, [5.0, 1.0], [1.0, NAN, 0.0]]) == 1.0
    assert np.isnan(network_rho([[1.0, 2.0]]))
    assert depth_trend([[up, down], [[1.0, 2.0]]], seed=0).n == 1
    nothing = depth_trend([[[1.0, 2.0]]], seed=0)
    assert nothing.n == 0
    assert np.isnan(nothing.mean)


def test_a_perfect_trend_in_five_networks():
    effect = depth_trend([[[1.0, 2.0, 3.0, 4.0]]] * 5, seed=0)
    assert (effect.mean, effect.low, effect.high, effect.n) == (1.0, 1.0, 1.0, 5)
    assert effect.p < 1e-3


def test_the_interval_is_a_percentile_bootstrap_of_the_mean():
    rng = np.random.default_rng(5)
    x = rng.random(12)
    draws = x[rng.integers(0, 12, (200_000, 12))].mean(axis=1)
    np.testing.assert_allclose(interval(x, seed=0), np.quantile(draws, [0.025, 0.975]), atol=0.01)


def test_mean_effect_is_a_t_test_and_leaves_out_what_is_missing():
    x = [0.1, 0.5, None, 0.2, NAN, 0.9, 0.4]
    known = [0.1, 0.5, 0.2, 0.9, 0.4]
    effect = mean_effect(x, seed=0)
    assert effect.n == 5
    assert effect.mean == pytest.approx(np.mean(known))
    t = np.mean(known) / (np.std(known, ddof=1) / np.sqrt(5))
    assert effect.p == pytest.approx(2 * stats.t.sf(t, 4))
    assert mean_effect([], seed=0).n == 0
    assert np.isnan(mean_effect([2.0], seed=0).p)


def test_holm_against_its_definition():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.01, NAN, 0.6, 0.7]), [0.03, NAN, 1.0, 1.0])
    assert holm([]).size == 0


@pytest.mark.parametrize(
    ("low", "high", "p", "claimed", "expected"),
    [
        (0.1, 0.9, 0.01, 1, 1),
        (0.1, 0.9, 0.01, -1, -1),
        (-0.9, -0.1, 0.01, -1, 1),
        (-0.9, -0.1, 0.01, 1, -1),
        (-0.1, 0.9, 0.01, 1, 0),
        (0.1, 0.9, 0.06, 1, 0),
        (0.1, 0.9, NAN, 1, 0),
        (NAN, NAN, 0.01, 1, 0),
    ],
)
def test_sides(low: float, high: float, p: float, claimed: int, expected: int):
    assert side(Effect(0.5, low, high, p, 5), p, claimed) == expected


def test_equal_effects_have_the_p_of_a_sign_test():
    assert mean_effect([0.25] * 5, 0).p == 2 * 0.5**5
    assert mean_effect([0.25, 0.25], 0).p == 0.5
    assert mean_effect([0.0] * 5, 0).p == 1


def test_a_claim_without_a_direction_is_refused():
    with pytest.raises(InputError, match="claimed side"):
        side(Effect(0.5, 0.1, 0.9, 0.01, 5), 0.01, 0)


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([], "not tested"),
        ([1, 1, 0], "supported"),
        ([1, 1, -1], "supported"),
        ([-1, -1, 0], "contradicted"),
        ([1, 0, -1], "mixed"),
        ([1, 1, 0, 0], "inconclusive"),
        ([0, 0, 0], "inconclusive"),
        ([1, 1, 1, -1, -1], "mixed"),
    ],
)
def test_the_rule_of_the_verdict(sides: list[int], expected: str):
    assert verdict(sides) == expected
