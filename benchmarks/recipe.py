"""Is it the recipe or the program that makes p too large where a power law has a sharp start?

`calibration` finds that with xmin searched p ≤ 0.1 rejects 6 to 8 % of power-law samples instead of 10, if nothing
lies below the true xmin (`alone`) or the density jumps there (`half`). Here the goodness of fit of Clauset, Shalizi &
Newman (2009), §4.1, is written out once more in NumPy, in float64, every distance computed, and sharing no code with
the kernels; and a third time around the fits of the powerlaw package. For each sample:

- `paired`: p of ours less p of the other, in standard errors of that difference, which is binomial. Where both follow
  one recipe its mean is 0 and its standard deviation 1. The figure is the mean; what exceeds the limit happens to one
  right program in a thousand.
- `uniform`: distance of p from uniform, ours and theirs, on the same samples.
- `body drawn anew`: NumPy's once more with one change. The recipe draws the values below xmin from the sample, with
  repeats; here they come from the law that the sample is from, which in practice nobody knows. If p is then uniform,
  it is the repeats that make it too large: candidates among repeated values lie further from a power law than those
  among the sample's own values do, so the search has fewer good ones to choose from and the replicates' D is larger.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
import powerlaw
from calibration import bootstrap, power_law, rejected
from scipy import stats
from support.question import Question, answer

KINDS = ("alone", "half")
Array = np.ndarray
Body = Callable[[np.random.Generator, int, float], Array]


def measure(question: Question) -> None:
    """Rows for each kind of sample."""
    given = question.options
    n, count, replicates = (40, 20, 50) if question.quick else (given.n, given.samples, given.replicates)
    for kind in KINDS:
        samples = power_law(kind, count, n)
        ours = bootstrap(samples, n, replicates)[0]
        rng = np.random.default_rng(len(kind))
        theirs = np.array([p_value(x, replicates, rng, drawn_from(x), fit) for x in samples])
        paired(question, f"{kind}, n = {n}, NumPy", ours, theirs, replicates, replicates)
        uniform(question, f"{kind}, n = {n}, ours", ours)
        uniform(question, f"{kind}, n = {n}, NumPy", theirs)
        anew = np.array([p_value(x, replicates, rng, true_body(kind), fit) for x in samples])
        uniform(question, f"{kind}, n = {n}, NumPy, body drawn anew", anew)
        few, times = (3, 20) if question.quick else (given.powerlaw, 100)
        peer = np.array([p_value(x, times, rng, drawn_from(x), fit_by_powerlaw) for x in samples[:few]])
        paired(question, f"{kind}, n = {n}, powerlaw", ours[:few], peer, replicates, times)


def p_value(
    x: Array, replicates: int, rng: np.random.Generator, body: Body, fit: Callable[[Array], tuple[float, float, float]]
) -> float:
    """§4.1, word for word; spread over its step of 1/replicates."""
    alpha, xmin, ks = fit(x)
    as_far = 0
    for _ in range(replicates):
        in_tail = rng.random(x.size) < np.mean(x >= xmin)
        tail = xmin * (1 - rng.random(in_tail.sum())) ** (-1 / (alpha - 1))
        as_far += fit(np.append(tail, body(rng, x.size - tail.size, xmin)))[2] >= ks
    return (as_far + rng.random()) / (replicates + 1)


def drawn_from(x: Array) -> Body:
    """Values of the sample below xmin, with repeats: the recipe."""
    return lambda rng, size, xmin: rng.choice(x[x < xmin], size) if size else x[:0]


def true_body(kind: str) -> Body:
    """Values below xmin of the law that `power_law(kind, …)` draws from, alpha = 2.5."""

    def draw(rng: np.random.Generator, size: int, xmin: float) -> Array:
        kept = np.zeros(0)
        while kept.size < size:
            u = 1 - rng.random(4 * size)
            x = u ** (-1 / 1.5)
            x = x if kind == "alone" else np.where(rng.random(u.size) < 0.5, u, x)
            kept = np.append(kept, x[x < xmin])
        return kept[:size]

    return draw


def fit(x: Array) -> tuple[float, float, float]:
    """alpha, xmin and D, all candidates × all distinct values at once."""
    values, counts = np.unique(x, return_counts=True)
    logs = np.log(values)
    below = np.cumsum(counts) - counts
    sizes = x.size - below[:-1]
    rise = np.maximum(logs - logs[:-1, None], 0)
    slopes = sizes / (rise @ counts)
    missed = np.abs(1 - np.exp(-slopes[:, None] * rise) - (below - below[:-1, None]) / sizes[:, None])
    distances = np.max(np.triu(missed), axis=1)
    best = int(np.argmin(distances))
    return 1 + slopes[best], values[best], distances[best]


def fit_by_powerlaw(x: Array) -> tuple[float, float, float]:
    """The same by the powerlaw package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = powerlaw.Fit(x, verbose=0)
        return found.alpha, found.xmin, found.D


def paired(question: Question, work: str, ours: Array, theirs: Array, m: int, n: int) -> None:
    """Differences in standard errors of two binomial shares of m and n replicates."""
    share = np.clip((m * ours + n * theirs) / (m + n), 0.5 / (m + n), 1 - 0.5 / (m + n))
    z = (ours - theirs) / np.sqrt(share * (1 - share) * (1 / m + 1 / n))
    details = {"standard deviation": float(z.std()), "largest": float(np.abs(z).max()), "samples": z.size}
    details |= {
        "mean difference of p": float(np.mean(ours - theirs)),
        "correlation": float(np.corrcoef(ours, theirs)[0, 1]),
    }
    limit = float(stats.norm.isf(0.0005) / np.sqrt(z.size))
    question.figure(f"paired, {work}", float(abs(z.mean())), "standard errors, mean", limit, **details)


def uniform(question: Question, work: str, p: Array) -> None:
    """Distance of p from uniform, and what is rejected."""
    test = stats.kstest(p, "uniform")
    details = {"pvalue": float(test.pvalue), "mean": float(p.mean()), "samples": p.size, **rejected(p)}
    question.figure(f"uniform, {work}", float(test.statistic), "KS distance", **details)


def options(parser: argparse.ArgumentParser) -> None:
    """How much is simulated; NumPy takes most of some ten minutes for the default."""
    parser.add_argument("--samples", type=int, default=500, help="of each kind")
    parser.add_argument("--replicates", type=int, default=300, help="of each sample")
    parser.add_argument("--n", type=int, default=100, help="values in a sample")
    parser.add_argument(
        "--powerlaw", type=int, default=60, help="samples that powerlaw is asked for, 100 replicates each"
    )


if __name__ == "__main__":
    answer(__file__, __doc__, measure, options)
