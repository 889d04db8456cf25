"""Is it the recipe or the program that makes p too large where a power law has a sharp start?

`calibration` finds that with xmin searched p ≤ 0.1 rejects 6 to 8 % of power-law samples instead of 10, if nothing
lies below the true xmin (`alone`) or the density jumps there (`half`). Here the goodness of fit of Clauset, Shalizi &
Newman (2009), §4.1, is written out once more in NumPy, in float64, every distance computed, and sharing no code with
the kernels. For each sample:

- `paired`: p of ours less p of the other, in standard errors of that difference, which is binomial. Where both follow
  one recipe its mean is 0 and its standard deviation 1. The figure is the mean; what exceeds the limit happens to one
  right program in a thousand.
- `powerlaw`: fits of the powerlaw package that differ from NumPy's, of samples and of replicates.
- `uniform`: distance of p from uniform, ours and theirs, on the same samples.
- `body drawn anew` and `from the true start`: NumPy's again, with one thing put right that in practice nobody knows.
  First the values below xmin come from the law that the sample is from, where the recipe draws them from the sample,
  with repeats. Then the replicates come from a power law with the true start, fitted to all values above it, where the
  recipe takes the start that was found for the true one. If only the last makes p uniform, it is this that makes p too
  large: in the sample every value above the true start is a good candidate, in a replicate those above the start that
  was found are; with fewer to choose from its smallest distance is larger.
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
Draw = Callable[[np.random.Generator], Array]
Fit = tuple[float, float, float]


def measure(question: Question) -> None:
    """Rows for each kind of sample."""
    given = question.options
    n, count, replicates = (40, 20, 50) if question.quick else (given.n, given.samples, given.replicates)
    for kind in KINDS:
        samples = power_law(kind, count, n)
        ours = bootstrap(samples, n, replicates)[0]
        uniform(question, f"{kind}, n = {n}, ours", ours)
        rng = np.random.default_rng(len(kind))
        for name, law in (
            ("NumPy", recipe),
            ("NumPy, body drawn anew", with_true_body(kind)),
            ("NumPy, from the true start", from_true_start),
        ):
            theirs = np.array([p_value(x, replicates, rng, law) for x in samples])
            uniform(question, f"{kind}, n = {n}, {name}", theirs)
            if law is recipe:
                paired(question, f"{kind}, n = {n}, NumPy", ours, theirs, replicates, replicates)
        fitted = [x for sample in samples[: count // 10] for x in (sample, recipe(sample, fit(sample))(rng))]
        differ = sum(not np.allclose(fit(x), fit_by_powerlaw(x), rtol=1e-6) for x in fitted)
        question.figure(f"powerlaw, {kind}, n = {n}", differ, "other fits", 0, fits=len(fitted))


def p_value(x: Array, replicates: int, rng: np.random.Generator, law: Callable[[Array, Fit], Draw]) -> float:
    """Share of replicates as far from their fit as the sample; spread over its step of 1/replicates."""
    found = fit(x)
    draw = law(x, found)
    as_far = sum(fit(draw(rng))[2] >= found[2] for _ in range(replicates))
    return (as_far + rng.random()) / (replicates + 1)


def recipe(x: Array, found: Fit) -> Draw:
    """§4.1, word for word."""
    body = x[x < found[1]]
    return two_parts(x, found, lambda rng, size: rng.choice(body, size) if size else body[:0])


def with_true_body(kind: str) -> Callable[[Array, Fit], Draw]:
    """The recipe with values below xmin of the law that `power_law(kind, …)` draws from, alpha = 2.5."""

    def law(x: Array, found: Fit) -> Draw:
        def body(rng: np.random.Generator, size: int) -> Array:
            kept = np.zeros(0)
            while kept.size < size:
                u = 1 - rng.random(4 * size)
                values = u ** (-1 / 1.5)
                values = values if kind == "alone" else np.where(rng.random(u.size) < 0.5, u, values)
                kept = np.append(kept, values[values < found[1]])
            return kept[:size]

        return two_parts(x, found, body)

    return law


def from_true_start(x: Array, found: Fit) -> Draw:
    """A power law from 1 upwards with the exponent of all values there, and uniform values below."""
    alpha = 1 + 1 / np.log(x[x >= 1]).mean()
    return two_parts(x, (alpha, 1, found[2]), lambda rng, size: 1 - rng.random(size))


def two_parts(x: Array, found: Fit, body: Callable[[np.random.Generator, int], Array]) -> Draw:
    """Each value with the probability that one of the sample has from the power law above xmin, else from the body."""
    alpha, xmin, _ = found

    def draw(rng: np.random.Generator) -> Array:
        in_tail = int((rng.random(x.size) < np.mean(x >= xmin)).sum())
        tail = xmin * (1 - rng.random(in_tail)) ** (-1 / (alpha - 1))
        return np.append(tail, body(rng, x.size - in_tail))

    return draw


def fit(x: Array) -> Fit:
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


def fit_by_powerlaw(x: Array) -> Fit:
    """The same by the powerlaw package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = powerlaw.Fit(x, verbose=0, parameter_ranges={"alpha": [1, 1000]})  # up to 3 by default
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
    """How much is simulated; NumPy takes some five minutes for the default."""
    parser.add_argument("--samples", type=int, default=500, help="of each kind")
    parser.add_argument("--replicates", type=int, default=200, help="of each sample")
    parser.add_argument("--n", type=int, default=100, help="values in a sample")


if __name__ == "__main__":
    answer(__file__, __doc__, measure, options)
