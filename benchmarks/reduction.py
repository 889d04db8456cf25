"""From which size on does the reduction in two stages beat LAPACK's in one, with one thread each?

The analyzer gives each core a matrix of its own, so what counts is the time of one thread. Both reduce the same Gram
matrix of heavy-tailed weights to tridiagonal form; their largest eigenvalues must agree first.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from support.question import Question, answer, check
from threadpoolctl import threadpool_limits

from spectra.engine import lapack
from spectra.engine.two_stage import LARGE, two_stage

Reduction = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def measure(question: Question) -> None:
    """A row for each size."""
    for n in (512,) if question.quick else (2048, 3072, 4096):
        w = np.random.default_rng(n).standard_t(4, (n, n)).astype(np.float32)
        gram = np.zeros((n, n), np.float32, order="F")
        lapack.syrk(w, gram)
        ours, theirs = [], []
        with threadpool_limits(1, user_api="blas"):
            for _ in range(3):
                top, seconds = timed(two_stage, gram)
                peer_top, peer_seconds = timed(lapack.sytrd, gram)
                check(abs(top / peer_top - 1) < 1e-4, f"largest eigenvalue {top} and {peer_top} at n = {n}")
                ours.append(seconds)
                theirs.append(peer_seconds)
        note = f"the engine takes two stages from n = {LARGE} on"
        question.compare(f"n = {n}", ("two stages", ours), ("LAPACK's sytrd", theirs), note=note)


def timed(reduction: Reduction, gram: np.ndarray) -> tuple[float, float]:
    """Largest eigenvalue, and the seconds of the reduction alone."""
    a = gram.copy(order="F")
    start = time.perf_counter()
    d, e = reduction(a)
    seconds = time.perf_counter() - start
    return float(lapack.sterf(d, e)[-1]), seconds


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
