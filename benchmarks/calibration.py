"""Are the p-values of the power law and the intervals for alpha what they say they are?

Samples whose law is known, a fit and a bootstrap for each. Four questions:

- `p known xmin`, `p searched`: is p uniform on power-law data? The distance of its distribution from the uniform one
  (Kolmogorov–Smirnov), the share of samples that p ≤ 0.1 rejects, which should be 0.1 or less.
- `published`: Clauset, Shalizi & Newman, SIAM Review 51 (2009), figure 5 b: the average p for samples of a power law
  (alpha = 2.5), a lognormal (mu = 0.3, sigma = 2) and an exponential (lambda = 0.125), all from x = 15 on. They state:
  for n up to about 100 all three are above 0.1; for larger n only the power law stays there. They do not say whether
  xmin was searched; both are here.
- `alpha`: how many of the 95 % intervals contain the exponent; between 92 and 97 % are wanted. Three kinds of power
  law: nothing below xmin = 1 (`alone`); half of the values uniform below it (`half`); and an exponential body that
  joins the tail with the same density and slope (`smooth`, CSN09 eq. 3.10), where xmin is hard to find.
- `xmin`: the same for its interval, without a claim.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from support.question import Question, answer

import spectra
from spectra.kernels.bootstrap import fit_replicates, goodness_from, intervals_from

SIZES = (100, 300, 1000)
PUBLISHED_SIZES = (30, 100, 300, 1000)
START = 15.0
OTHERS = {"lognormal": stats.lognorm(2, scale=np.exp(0.3)), "exponential": stats.expon(scale=1 / 0.125)}


def measure(question: Question) -> None:
    """A row for each law and size."""
    count, replicates = (40, 50) if question.quick else (question.options.samples, question.options.replicates)
    for n in SIZES[:1] if question.quick else SIZES:
        x = power_law("alone", count, n)
        uniform(question, f"p known xmin, n = {n}", bootstrap(x, n, replicates, xmin=1.0)[0], claim=True)
        for kind in ("alone", "half", "smooth"):
            p, intervals = bootstrap(power_law(kind, count, n), n, replicates)
            uniform(question, f"p searched, {kind}, n = {n}", p, claim=False)
            cover(question, f"{kind}, n = {n}", intervals, 2.5)
    for alpha in () if question.quick else (1.7, 4.0):
        for kind in ("half", "smooth"):
            _, intervals = bootstrap(power_law(kind, count, 300, alpha), 300, replicates)
            cover(question, f"{kind} of alpha {alpha}, n = 300", intervals, alpha)
    for n in PUBLISHED_SIZES[:2] if question.quick else PUBLISHED_SIZES:
        published(question, n, count, replicates)


def power_law(kind: str, count: int, n: int, alpha: float = 2.5) -> np.ndarray:
    """Samples with p(x) ∝ x^(−alpha) from 1 on, and a body below of some kind."""
    rng = np.random.default_rng([n, int(10 * alpha), len(kind)])
    u, side = 1 - rng.random((2, count, n))
    tail = u ** (-1 / (alpha - 1))
    if kind == "alone":
        return tail
    if kind == "half":
        return np.where(side < 0.5, u, tail)
    weight = np.expm1(alpha) / alpha  # of e^(−alpha (x − 1)) on [0, 1], beside 1/(alpha − 1) of the tail
    return np.where(side < weight / (weight + 1 / (alpha - 1)), -np.log1p(u * np.expm1(-alpha)) / alpha, tail)


@partial(jax.jit, static_argnames=("replicates", "search"))
def _bootstrap(x: jax.Array, key: jax.Array, xmin: Any, replicates: int, search: bool) -> tuple[Any, Any]:
    fit = spectra.fit_power_law(x, xmin=None if search else xmin)
    found = fit_replicates(x, fit, key, replicates, search=search)
    return goodness_from(fit, found), intervals_from(found)


def bootstrap(x: np.ndarray, seed: int, replicates: int, xmin: float | None = None) -> tuple[np.ndarray, Any]:
    """P-value of each sample, spread over its step of 1/replicates as a continuous one would be, and intervals."""
    x, start = jnp.asarray(x, jnp.float32), jnp.float32(xmin or 1)
    goodness, intervals = jax.tree.map(
        np.asarray, _bootstrap(x, jax.random.key(seed), start, replicates, search=xmin is None)
    )
    spread = np.random.default_rng(seed).random(goodness.p.shape)
    return (goodness.p * goodness.num_replicates + spread) / (goodness.num_replicates + 1), intervals


def uniform(question: Question, work: str, p: np.ndarray, claim: bool) -> None:
    """Distance of p from uniform, against what 1 % of uniform samples exceed where uniformity is claimed."""
    test = stats.kstest(p, "uniform")
    details = {"samples": p.size, "pvalue": float(test.pvalue), "mean": float(p.mean()), **rejected(p)}
    question.figure(
        work, float(test.statistic), "KS distance", float(stats.kstwo(p.size).isf(0.01)) if claim else None, **details
    )


def rejected(p: np.ndarray) -> dict[str, float]:
    """Shares of samples that the usual thresholds reject."""
    return {f"rejected_at_{level}": float(np.mean(p <= level)) for level in (0.05, 0.1, 0.2)}


def cover(question: Question, work: str, intervals: Any, alpha: float) -> None:
    """Share of intervals that hold alpha, and on which side the others miss; and the same for xmin = 1."""
    for name, low, high, truth in (
        ("alpha", intervals.alpha_low, intervals.alpha_high, alpha),
        ("xmin", intervals.xmin_low, intervals.xmin_high, 1),
    ):
        above, below = float(np.mean(low > truth)), float(np.mean(high < truth))
        covered = 1 - above - below
        details = {"above": above, "below": below, "width": float(np.median(high - low)), "samples": low.size}
        if name == "alpha":
            details |= {"wanted": [0.92, 0.97], "met": 0.92 <= covered <= 0.97}
        question.figure(f"{name}, {work}", covered, "of the 95 % intervals", **details)


def published(question: Question, n: int, count: int, replicates: int) -> None:
    """Average p for the three laws of figure 5 b."""
    rng = np.random.default_rng([n, 5])
    u = 1 - rng.random((count, n))
    laws = {"power law": START * u ** (-1 / 1.5)}
    laws |= {name: law.isf(u * law.sf(START)) for name, law in OTHERS.items()}
    for name, x in laws.items():
        for how, xmin in (("xmin = 15", START), ("searched", None)):
            p, _ = bootstrap(x, n, replicates, xmin)
            error = float(np.std(p) / np.sqrt(p.size))
            question.figure(
                f"published, {name}, {how}, n = {n}", float(p.mean()), "average p", error=error, **rejected(p)
            )


def options(parser: argparse.ArgumentParser) -> None:
    """How much is simulated; two cores take some 20 minutes for the default."""
    parser.add_argument("--samples", type=int, default=500, help="of each law and size")
    parser.add_argument("--replicates", type=int, default=400, help="of each sample")


if __name__ == "__main__":
    answer(__file__, __doc__, measure, options)
