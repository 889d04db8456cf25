"""Are correlation traps removed, and nothing but their causes?

Matrices of noise of several shapes: as they are, with one entry or a mean of a stated strength in units of (NM)^¼σ, and
with entries of heavy tails. Each row's figure is the share of matrices that have a trap after `spectra clean`;
`details` has the share with one before, that with one under another permutation afterwards, and the mean number of
entries and means that were removed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from support.question import Question, answer
from threadpoolctl import threadpool_limits

from spectra.engine.backends import LapackBackend
from spectra.engine.clean_layer import _count_traps
from spectra.engine.clean_traps import remove_traps
from spectra.engine.options import Options
from spectra.engine.padding import choose_lengths
from spectra.models.matrices import MatrixView

SHAPES = ((20, 20), (60, 40), (200, 100), (1000, 250))

Law = Callable[[np.random.Generator, int, int], np.ndarray]


def gaussian(rng: np.random.Generator, n: int, m: int, entry: float = 0, mean: float = 0) -> np.ndarray:
    w = rng.standard_normal((n, m)) + mean * (n * m) ** -0.25
    if entry:
        w.flat[rng.integers(w.size)] = entry * (n * m) ** 0.25
    return w


LAWS: dict[str, Law] = {
    "gaussian": gaussian,
    "an entry of 1.2": partial(gaussian, entry=1.2),
    "an entry of 3": partial(gaussian, entry=3),
    "a mean of 2": partial(gaussian, mean=2),
    "laplace": lambda rng, n, m: rng.laplace(size=(n, m)),
    "t4": lambda rng, n, m: rng.standard_t(4, (n, m)),
    "t3": lambda rng, n, m: rng.standard_t(3, (n, m)),
}


def measure(question: Question) -> None:
    """A row for each law and shape."""
    number = 4 if question.quick else question.options.matrices
    with threadpool_limits(1):
        for n, m in SHAPES[:2] if question.quick else SHAPES:
            for law in LAWS:
                cleaned(question, law, n, m, number)


def cleaned(question: Question, law: str, n: int, m: int, number: int) -> None:
    """Traps before and after in so many matrices of one law."""
    rng = np.random.default_rng([n, m, list(LAWS).index(law)])
    view, backend = MatrixView((n, m), (), (0,), (1,)), LapackBackend(choose_lengths([m]))
    rows = []
    for i in range(number):
        w = LAWS[law](rng, n, m).astype(np.float32)[None]

        def count(matrices: np.ndarray, seed: int = 0, name: str = f"{i}") -> int:
            return _count_traps(matrices, view, name, Options(seed=seed), backend)

        traps = count(w)
        found = remove_traps(w, traps, count)
        after = w if found.matrices is None else found.matrices
        rows.append((traps > 0, count(after) > 0, count(after, seed=1) > 0, found.entries, found.means))
    before, left, elsewhere, entries, means = np.mean(rows, axis=0)
    details = {
        "before": round(float(before), 4),
        "under another permutation": round(float(elsewhere), 4),
        "entries removed": round(float(entries), 3),
        "most entries": max(row[3] for row in rows),
        "means removed": round(float(means), 3),
    }
    question.figure(f"{law}, {n}×{m}", float(left), "share with a trap after", None, f"{number} matrices", **details)


def options(parser: argparse.ArgumentParser) -> None:
    """What this question adds to the command line."""
    parser.add_argument("--matrices", type=int, default=100, help="matrices of each law and shape")


if __name__ == "__main__":
    answer(__file__, __doc__, measure, options)
