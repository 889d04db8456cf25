"""On which samples is the search for xmin slow?

Samples made so that many distances are equal or nearly so, in which the values where one tail misses the data most
might say nothing of the other tails: regular ones, staircases, blocks, clusters, outliers. The figure is the seconds of
a fit, jitted and warm, in float32, sorting included; the details tell how many tails the search computed as a whole.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from support.question import Question, answer
from support.timing import timed

import spectra
from spectra.kernels.scan import best_start

LIMITS = {100_000: 0.3, 1_000_000: 1.5, 5_000_000: 12.0}
"""Values, and the seconds that issue 4 allows for the search among them."""

HARD: dict[str, Callable[[int], np.ndarray]] = {
    "geometric": lambda n: np.geomspace(1, 1e3, n),
    "geometric over the whole range": lambda n: np.geomspace(1e-37, 1e38, n),
    "stretched geometric, power 0.1": lambda n: np.exp(-20 * np.linspace(1, 0, n) ** 0.1),
    "stretched geometric, power 0.5": lambda n: np.exp(-20 * np.linspace(1, 0, n) ** 0.5),
    "stretched geometric, power 2": lambda n: np.exp(-20 * np.linspace(1, 0, n) ** 2),
    "stretched geometric, power 4": lambda n: np.exp(-20 * np.linspace(1, 0, n) ** 4),
    "geometric with jitter": lambda n: np.exp(np.linspace(0, 14, n) + 14 / n * np.random.default_rng(0).random(n)),
    "geometric in bfloat16": lambda n: np.asarray(jnp.asarray(np.geomspace(1e-20, 1e20, n), jnp.bfloat16), np.float32),
    "equally spaced": lambda n: 1.0 + np.arange(n),
    "quantiles of a Pareto law": lambda n: ((np.arange(n) + 0.5) / n) ** (-1 / 1.5),
    "quantiles of an exponential law": lambda n: -np.log((np.arange(n) + 0.5) / n),
    "two scales": lambda n: np.append(np.geomspace(1, 1.001, n // 2), np.geomspace(1.01, 1e6, n // 2)),
    "two scales, fine above": lambda n: np.append(np.geomspace(1e-6, 1, n // 2), np.geomspace(1.01, 1.02, n // 2)),
    "random blocks": lambda n: 1e3 ** np.arange(-5, 5)[:, None] * (1 + np.random.default_rng(0).pareto(1.5, n // 10)),
    "geometric blocks": lambda n: np.exp(np.linspace(0, 60, 1000))[:, None] * np.geomspace(1, 1.03, n // 1000),
    "staircase, equal steps": lambda n: np.repeat(np.geomspace(1, 1e6, n // 100), 100),
    "shrinking staircase": lambda n: np.repeat(np.geomspace(1, 1e9, 500), np.arange(500, 0, -1) * n // 124_000)[:n],
    "seven values": lambda n: np.random.default_rng(0).choice(np.geomspace(1, 1e3, 7), n),
    "clusters": lambda n: 10.0 ** np.random.default_rng(0).integers(0, 8, n) * np.linspace(1, 1.001, n),
    "clusters ever closer": lambda n: np.exp(80 * 0.5 ** (np.arange(n) % 12)) * np.linspace(1, 1.001, n),
    "narrow, with an outlier": lambda n: np.append(1000 + np.random.default_rng(0).random(n - 1), 1e20),
}  # fmt: skip


def measure(question: Question) -> None:
    """A row for each size and sample."""
    fit, search = jax.jit(spectra.fit_power_law), jax.jit(best_start)
    for n, limit in list(LIMITS.items())[: 1 if question.quick else None]:
        for kind, make in HARD.items():
            x = jnp.asarray(np.random.default_rng(0).permutation(np.ravel(make(n))), jnp.float32)
            jax.block_until_ready(fit(x))
            seconds = [timed(lambda: fit(x))[0] for _ in range(3)]  # noqa: B023 - called at once
            found = search(jnp.sort(x), jnp.int32(n))
            details = {"rounds": int(found.rounds), "D": float(found.ks), "seconds": seconds}
            question.figure(f"n = {n:,}, {kind}", sorted(seconds)[1], "s", limit, "median of 3", **details)


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
