"""Does the search for xmin find what the search through all n²/2 distances finds, among many values?

- `every distance`: all pairs of candidate and value in float64 by NumPy, in blocks, sharing no code with the kernels.
  The figure is by how much the smallest of them is below the distance of the xmin that `fit_power_law` chose; the
  details tell the same for float32, and whether xmin is the same. In float32 candidates closer than 1e-6 are tied.
- `every distance that matters`: the same for more values. A candidate is left out when it misses the data at a few
  values by more than another candidate does at any, and of the rest every distance is computed.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
from support.question import Question, answer, check

import spectra

COMPLETE, PRUNED = 300_000, 1_000_000
"""Values of a sample of which every distance is computed, and of one of which those are that matter."""

ROWS, COLUMNS = 16, 4096
"""Candidates and values of a block, which stays in the cache."""

Array = np.ndarray


def measure(question: Question) -> None:
    """A row for each sample."""
    size, larger = (3_000, 10_000) if question.quick else (COMPLETE, PRUNED)
    compare(question, "every distance", "body and tail", random_samples(size)["body and tail"], pruned=False)
    for kind, x in random_samples(larger).items():
        compare(question, "every distance that matters", kind, x, pruned=True)


def random_samples(n: int) -> dict[str, Array]:
    """Samples in float32, as layers have them."""
    rng = np.random.default_rng(n)
    body = -np.log1p(-rng.random(n - n // 5) * (1 - np.exp(-3.0))) / 3.0
    found = {
        "body and tail": np.append(body, (1 - rng.random(n // 5)) ** (-1 / 1.5)),
        "Student t": np.abs(rng.standard_t(3, n)),
        "Student t in bfloat16": np.abs(np.asarray(jnp.asarray(rng.standard_t(3, n), jnp.bfloat16), np.float32)),
    }
    return {kind: x.astype(np.float32) for kind, x in found.items()}


def compare(question: Question, work: str, kind: str, x: Array, pruned: bool) -> None:
    """Our xmin in both precisions against the smallest of all distances."""
    sample = Sample(x)
    started = time.perf_counter()
    candidates = sample.contenders() if pruned else sample.starts
    distances = sample.distances(candidates)
    seconds = time.perf_counter() - started
    best = candidates[np.argmin(distances)]
    ordered = np.sort(distances)
    details = {"xmin": float(sample.values[best]), "D": float(ordered[0])}
    details |= {"ahead of the second": float(ordered[1] - ordered[0])} if ordered.size > 1 else {}
    details |= {"whole distances": candidates.size, "candidates": sample.starts.size, "seconds": seconds}
    with jax.enable_x64(True):
        double = float(spectra.fit_power_law(x.astype(np.float64)).xmin)
    excess = {}
    for precision, xmin in (("float64", double), ("float32", float(spectra.fit_power_law(x).xmin))):
        (place,) = np.flatnonzero(sample.values == xmin)
        excess[precision] = float(sample.distances(np.array([place]))[0] - ordered[0])
        details |= {f"excess in {precision}": excess[precision], f"same xmin in {precision}": bool(place == best)}
    check(excess["float32"] <= 1e-6, f"{kind}: float32 chose an xmin that is worse by {excess['float32']}")
    question.figure(f"{work}, n = {x.size:,}, {kind}", excess["float64"], "of D above it", 1e-14, **details)


class Sample:
    """Distinct values of a sample, and what Clauset, Shalizi & Newman's estimate needs of each; all in float64."""

    def __init__(self, x: Array) -> None:
        self.values, counts = np.unique(x.astype(np.float64), return_counts=True)
        self.logs = np.log(self.values)
        self.below = np.cumsum(counts) - counts
        self.starts = np.arange(self.values.size - 1)
        self.sizes = (x.size - self.below).astype(np.float64)
        # Σ_{j ≥ i} ln(xⱼ/xᵢ) from the largest value down: each step counts for all values above it.
        above = np.append(self.sizes[1:], 0)[:-1]
        sums = np.cumsum((np.diff(self.logs) * above)[::-1], dtype=np.longdouble)[::-1]
        self.slopes = (self.sizes[:-1] / sums).astype(np.float64)

    def distances(self, candidates: Array) -> Array:
        """D of each candidate, from all its values."""
        found = np.zeros(candidates.size)
        for first in range(0, candidates.size, ROWS):
            rows = candidates[first : first + ROWS]
            for start in range(rows[0], self.values.size, COLUMNS):
                places = np.arange(start, min(start + COLUMNS, self.values.size))
                missed = self._missed(rows, places)
                if start <= rows[-1]:
                    missed[places < rows[:, None]] = 0
                found[first : first + ROWS] = np.maximum(found[first : first + ROWS], missed.max(axis=1))
        return found

    def _missed(self, rows: Array, places: Array) -> Array:
        """|1 − (xⱼ/xᵢ)^(−slope) − share of the tail below xⱼ| for candidates × values, in place as far as may be."""
        gap = self.logs[places] - self.logs[rows, None]
        gap *= -self.slopes[rows, None]
        np.exp(gap, out=gap, where=gap < 0)  # where it is not, the value lies below the candidate
        gap += (self.below[places] - self.below[rows, None]) / self.sizes[rows, None]
        gap -= 1
        return np.abs(gap, out=gap)

    def contenders(self) -> Array:
        """Candidates that a closer and closer look at some of their values does not exclude."""
        left = self.starts
        least = self.distances(np.random.default_rng(0).choice(left, 100)).min()
        for looks in (16, 128, 1024, 8192):
            bound = self._bounds(left, looks)
            trial = np.sort(left[np.argsort(bound)[:100]])
            least = min(least, self.distances(trial).min())
            left = left[bound <= least]
        return left

    def _bounds(self, candidates: Array, looks: int) -> Array:
        """A lower bound of each candidate's distance, from `looks` values spread over its own tail."""
        found = np.zeros(candidates.size)
        for first in range(0, candidates.size, 1024):
            rows = candidates[first : first + 1024]
            far = self.values.size - 1 - rows
            for part in np.array_split(np.arange(looks), max(1, looks // 64)):
                places = rows[:, None] + (far[:, None] * (part + 0.5) / looks).astype(np.int64)
                gap = np.exp(-self.slopes[rows, None] * (self.logs[places] - self.logs[rows, None]))
                missed = np.abs(1 - gap - (self.below[places] - self.below[rows, None]) / self.sizes[rows, None])
                found[first : first + 1024] = np.maximum(found[first : first + 1024], missed.max(axis=1))
        return found


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
