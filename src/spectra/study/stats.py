"""The statistics of the study: depth trends, paired differences, intervals over seeds, and the rule of the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from spectra.errors import InputError

CONFIDENCE = 0.95
RESAMPLES = 10_000
"""Of the bootstrap over seeds, and permutations of a trend."""

FEWEST_LAYERS = 3
"""Comparable layers that a depth trend takes; two always make a perfect one."""

ENOUGH = 2 / 3
"""Share of the cells that a verdict takes."""

Verdict = Literal["supported", "contradicted", "mixed", "inconclusive", "not tested"]


class Effect(NamedTuple):
    """A mean over networks with its uncertainty; NaN where there are none."""

    mean: float
    low: float
    high: float
    p: float
    n: int
    """Networks."""


def spearman(values: Sequence[float]) -> float:
    """Rank correlation of values with their position, ties at their mean rank; 0 if all are equal, NaN with a NaN."""
    x = np.asarray(values, float)
    if not np.all(np.isfinite(x)):
        return float("nan")
    if np.ptp(x) == 0:
        return 0.0
    return float(np.corrcoef(stats.rankdata(x), np.arange(x.size))[0, 1])


def depth_trend(networks: Sequence[Sequence[Sequence[float]]], seed: int) -> Effect:
    """Whether a measure rises with depth: the mean over networks of Spearman's ρ between layer and measure.

    Parameters
    ----------
    networks
        For each network its groups of comparable layers, each the measure from the first layer to the last. A
        network's ρ is the mean of its groups'; groups of fewer than `FEWEST_LAYERS` layers, or with a value missing, do
        not count, and neither does a network without any.
    seed
        Of bootstrap and permutations.

    Returns
    -------
    Effect
        Interval: percentile bootstrap over networks. p: share of joint permutations of the layers within all groups
        that give a mean ρ as far from 0, the data as one of them.
    """
    usable = [groups for network in networks if (groups := _comparable(network))]
    if not usable:
        return Effect(np.nan, np.nan, np.nan, np.nan, 0)
    rho = np.array([network_rho(groups) for groups in usable])
    rng = np.random.default_rng([seed, 3])
    chance = np.mean([np.mean([_permuted(group, rng) for group in groups], axis=0) for groups in usable], axis=0)
    p = (1 + np.sum(np.abs(chance) >= abs(rho.mean()) - 1e-12)) / (1 + RESAMPLES)
    return Effect(float(rho.mean()), *interval(rho, seed), float(p), len(rho))


def network_rho(groups: Sequence[Sequence[float]]) -> float:
    """ρ of one network, the mean of its groups'; NaN if none counts."""
    usable = _comparable(groups)
    return float(np.mean([spearman(group) for group in usable])) if usable else float("nan")


def _comparable(groups: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    return [group for group in groups if len(group) >= FEWEST_LAYERS and np.all(np.isfinite(group))]


def _permuted(group: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """ρ of the layers of a group in random orders."""
    ranks = stats.rankdata(group)
    centred = ranks - ranks.mean()
    place = np.arange(ranks.size) - (ranks.size - 1) / 2
    length = np.linalg.norm(centred) * np.linalg.norm(place)
    if length == 0:
        return np.zeros(RESAMPLES)
    orders = np.argsort(rng.random((RESAMPLES, ranks.size)), axis=1)
    return centred[orders] @ place / length


def mean_effect(values: Iterable[float], seed: int) -> Effect:
    """Mean of one number a network, such as a paired difference: bootstrap interval, and p of the one-sample t-test.

    Missing values do not count. A single value has neither interval nor p. Equal values have no spread for a t-test,
    and p of the sign test.
    """
    x = np.array([value for value in values if value is not None and np.isfinite(value)], float)
    if x.size < 2:
        return Effect(float(x.mean()) if x.size else np.nan, np.nan, np.nan, np.nan, x.size)
    if np.ptp(x) == 0:
        p = 1.0 if x[0] == 0 else 2 * 0.5**x.size
        return Effect(float(x[0]), float(x[0]), float(x[0]), p, x.size)
    return Effect(float(x.mean()), *interval(x, seed), float(stats.ttest_1samp(x, 0).pvalue), x.size)


def interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Percentile-bootstrap interval of the mean, over networks."""
    if values.size < 2:
        return float("nan"), float("nan")
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng([seed, 4]),
    ).confidence_interval
    return float(found.low), float(found.high)


def holm(p: Sequence[float]) -> np.ndarray:
    """P-values adjusted for their number (Holm 1979); NaN stay NaN and do not count."""
    values = np.asarray(p, float)
    adjusted = np.full(values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def side(effect: Effect, adjusted_p: float, claimed: int) -> int:
    """1: significantly on the claimed side; −1: on the other; 0: neither.

    Significant: the interval excludes 0, and the adjusted p is at most 5 %.
    """
    if claimed not in (1, -1):
        raise InputError(f"the claimed side is {claimed}; give 1 or -1")
    if not (np.isfinite(adjusted_p) and adjusted_p <= 1 - CONFIDENCE):
        return 0
    return claimed if effect.low > 0 else -claimed if effect.high < 0 else 0


def verdict(sides: Sequence[int]) -> Verdict:
    """The rule of claims.md over the cells of a claim, each 1, −1 or 0."""
    if not sides:
        return "not tested"
    found = np.asarray(sides)
    if np.mean(found == 1) >= ENOUGH:
        return "supported"
    if np.mean(found == -1) >= ENOUGH:
        return "contradicted"
    return "mixed" if {1, -1} <= set(found.tolist()) else "inconclusive"
