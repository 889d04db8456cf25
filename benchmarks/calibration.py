"""Are the p-values of the power law and the intervals for alpha what they say they are?

Samples whose law is known, a fit and a bootstrap for each. Five questions:

- `p known xmin`, `p searched`: is p uniform on power-law data? The distance of its distribution from the uniform one
  (Kolmogorov–Smirnov), the share of samples that p ≤ 0.1 rejects, which should be 0.1 or less.
- `published`: Clauset, Shalizi & Newman, SIAM Review 51 (2009), figure 5 b: the average p for samples of a power law
  (alpha = 2.5), a lognormal (mu = 0.3, sigma = 2) and an exponential (lambda = 0.125), all from x = 15 on. They state:
  for n up to about 100 all three are above 0.1; for larger n only the power law stays there, the others falling off
  toward zero. They do not say whether xmin was searched; both are here, and only with xmin = 15 given do the others
  fall below 0.1 at all.
- `alpha`: how many of the 95 % intervals contain the exponent; between 92 and 97 % are wanted. Three kinds of power
  law: nothing below xmin = 1 (`alone`); half of the values uniform below it (`half`); and an exponential body that
  joins the tail with the same density and slope (`smooth`, CSN09 eq. 3.10), where xmin is hard to find. Tails of
  seven values are among them: half of 14, and those of `smooth` of alpha 4 and n = 300. The details have the same for
  the parts: percentiles of resampled fits alone, and of replicates of the fit.
- `xmin`: the same for its interval, without a claim.
- `table`: Clauset, Shalizi & Newman's own bootstraps of data, table 6.1: p, and the standard errors of xmin and alpha.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import powerlaw
from scipy import stats
from support.question import Question, answer

import spectra
from spectra.kernels.bootstrap import goodness_from, intervals_from, percentiles
from spectra.kernels.power_law import PowerLawFit
from spectra.kernels.replicates import Replicates, fit_replicates

KINDS = ("alone", "half", "smooth")
SIZES = (100, 300, 1000)
SMALL = (14, 50)
PUBLISHED_SIZES = (30, 100, 300, 1000)
START = 15.0
TABLE = {
    "blackouts": (0.62, 90e3, 0.3),
    "cities": (0.76, 11.88e3, 0.08),
    "fires": (0.05, 3487, 0.3),
    "flares": (1.00, 89, 0.02),
}
"""p, and standard errors of xmin and alpha, of the continuous rows whose xmin does not depend on repeated values."""

OTHERS = {"lognormal": stats.lognorm(2, scale=np.exp(0.3)), "exponential": stats.expon(scale=1 / 0.125)}


def measure(question: Question) -> None:
    """A row for each law and size."""
    count, replicates = (40, 50) if question.quick else (question.options.samples, question.options.replicates)
    for n in SIZES[:1] if question.quick else SIZES:
        x = power_law("alone", count, n)
        uniform(question, f"p known xmin, n = {n}", bootstrap(x, n, replicates, xmin=1.0)[0], claim=True)
        for kind in KINDS:
            x = power_law(kind, count, n)
            p, _, replicated = bootstrap(x, n, replicates)
            uniform(question, f"p searched, {kind}, n = {n}", p, claim=False)
            cover(question, f"{kind}, n = {n}", x, n, replicated, 2.5)
    others = [(kind, n, 2.5) for n in SMALL for kind in KINDS]
    others += [(kind, 300, alpha) for alpha in (1.7, 4.0) for kind in ("half", "smooth")]
    for kind, n, alpha in others[: 3 if question.quick else None]:
        x = power_law(kind, count, n, alpha)
        cover(question, f"{kind} of alpha {alpha}, n = {n}", x, n, bootstrap(x, n, replicates)[2], alpha)
    for n in PUBLISHED_SIZES[:2] if question.quick else PUBLISHED_SIZES:
        published(question, n, count, replicates)
    for name in list(TABLE)[: 1 if question.quick else None]:
        table(question, name, 50 if question.quick else 1000)


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
def _bootstrap(
    x: jax.Array, key: jax.Array, xmin: Any, resampled: Any, replicates: int, search: bool
) -> tuple[PowerLawFit, Replicates]:
    fit = spectra.fit_power_law(x, xmin=None if search else xmin)
    return fit, fit_replicates(x, fit, key, replicates, search=search, resampled=resampled)


def bootstrap(
    x: np.ndarray, seed: int, replicates: int, xmin: float | None = None, resampled: bool = False
) -> tuple[np.ndarray, PowerLawFit, Replicates]:
    """P-value of each sample, spread over its step of 1/replicates as a continuous one would be, and the replicates."""
    x, start = jnp.asarray(x, jnp.float32), jnp.float32(xmin or 1)
    fit, found = _bootstrap(x, jax.random.key(seed), start, jnp.bool_(resampled), replicates, search=xmin is None)
    goodness = jax.tree.map(np.asarray, goodness_from(fit, found))
    spread = np.random.default_rng(seed).random(goodness.p.shape)
    p = (goodness.p * goodness.num_replicates + spread) / (goodness.num_replicates + 1)
    return p, *jax.tree.map(np.asarray, (fit, found))


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


def cover(question: Question, work: str, x: np.ndarray, seed: int, of_fit: Replicates, alpha: float) -> None:
    """Share of intervals that hold alpha, and on which side the others miss; and the same for xmin = 1."""
    _, fit, resampled = bootstrap(x, seed, of_fit.ks.shape[-1], resampled=True)
    intervals = jax.tree.map(np.asarray, intervals_from(fit, resampled))
    parts = {"percentiles alone": percentiles(resampled), "replicates of the fit": percentiles(of_fit)}
    for name, truth in (("alpha", alpha), ("xmin", 1)):
        low, high = getattr(intervals, f"{name}_low"), getattr(intervals, f"{name}_high")
        covered, details = holding(low, high, truth), {"above": np.mean(low > truth), "below": np.mean(high < truth)}
        details |= {"width": np.median(high - low), "samples": low.size}
        if name == "alpha":
            details |= {"wanted": [0.92, 0.97], "met": 0.92 <= covered <= 0.97}
            details |= {"n_tail": np.quantile(fit.n_tail, [0.05, 0.5, 0.95]).tolist()}
            details |= {part: holding(got.alpha_low, got.alpha_high, alpha) for part, got in parts.items()}
        question.figure(f"{name}, {work}", covered, "of the 95 % intervals", **jax.tree.map(plain, details))


def holding(low: Any, high: Any, truth: float) -> float:
    """Share of intervals that hold the truth."""
    return float(np.mean((low <= truth) & (truth <= high)))


def plain(value: Any) -> Any:
    """NumPy's numbers as Python's, which JSON takes."""
    return value.item() if isinstance(value, np.generic) else value


def published(question: Question, n: int, count: int, replicates: int) -> None:
    """Average p for the three laws of figure 5 b."""
    rng = np.random.default_rng([n, 5])
    u = 1 - rng.random((count, n))
    laws = {"power law": START * u ** (-1 / 1.5)}
    laws |= {name: law.isf(u * law.sf(START)) for name, law in OTHERS.items()}
    for name, x in laws.items():
        for how, xmin in (("xmin = 15", START), ("searched", None)):
            p, *_ = bootstrap(x, n, replicates, xmin)
            error = float(np.std(p) / np.sqrt(p.size))
            question.figure(
                f"published, {name}, {how}, n = {n}", float(p.mean()), "average p", error=error, **rejected(p)
            )


def table(question: Question, name: str, replicates: int) -> None:
    """p of a data set, and the spread of its resampled fits, beside what Clauset et al. print."""
    x = powerlaw.load_test_dataset(name)[None]
    p, fit, _ = bootstrap(x, 0, replicates)
    resampled = bootstrap(x, 0, replicates, resampled=True)[2]
    printed_p, printed_xmin, printed_alpha = TABLE[name]
    details = {"printed": printed_p, "xmin": float(fit.xmin[0]), "alpha": float(fit.alpha[0])}
    details |= {"error of xmin": float(resampled.xmin.std()), "printed error of xmin": printed_xmin}
    details |= {"error of alpha": float(resampled.alpha.std()), "printed error of alpha": printed_alpha}
    question.figure(f"table, {name}", float(p[0]), "p", n=x.size, replicates=replicates, **details)


def options(parser: argparse.ArgumentParser) -> None:
    """How much is simulated; two cores take some 20 minutes for the default."""
    parser.add_argument("--samples", type=int, default=500, help="of each law and size")
    parser.add_argument("--replicates", type=int, default=300, help="of each sample")


if __name__ == "__main__":
    answer(__file__, __doc__, measure, options)
