"""Two choices of routine, against what they replace: bisection instead of JAX's, sorting with NumPy instead of XLA.

Checked: equal eigenvalues to 1e-5, equal order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import eigh_tridiagonal
from support.question import Question, answer, check
from support.timing import alternate, timed

from spectra.kernels.tridiagonal import tridiagonal_eigenvalues


def measure(question: Question) -> None:
    """Two rows for each size of the bisection, one for sorting."""
    for n in (64, 384) if question.quick else (64, 384, 2048):
        bisection(question, n)
    sort(question, 1_000_000 if question.quick else 20_000_000)


def bisection(question: Question, n: int) -> None:
    """Compile and run both routines for a random tridiagonal matrix."""
    rng = np.random.default_rng(n)
    entries = [jnp.asarray(rng.standard_normal(size), jnp.float32) for size in (n, n - 1)]
    routines = {"ours": tridiagonal_eigenvalues, "jax": lambda d, e: eigh_tridiagonal(d, e, eigvals_only=True)}
    programs: dict[str, Any] = {}

    def compiling(name: str) -> Callable[[], float]:
        def run() -> float:
            jax.clear_caches()
            lowered = jax.jit(routines[name]).lower(*entries)
            start = time.perf_counter()
            programs[name] = lowered.compile()
            return time.perf_counter() - start

        return run

    runs = dict.fromkeys(routines, 2 if question.quick else 5)
    compiled = alternate({name: compiling(name) for name in routines}, runs)
    off = float(jnp.abs(programs["ours"](*entries) - programs["jax"](*entries)).max())
    check(off <= 1e-5, f"eigenvalues of n = {n} differ by {off}")
    runs = dict.fromkeys(routines, 9)
    ran = alternate({name: lambda name=name: timed(lambda: programs[name](*entries))[0] for name in routines}, runs)
    for work, seconds in (("compile", compiled), ("run", ran)):
        ours, peer = (("tridiagonal_eigenvalues", seconds["ours"]), ("jax eigh_tridiagonal", seconds["jax"]))
        question.compare(f"bisection, n = {n}: {work}", ours, peer, check=f"eigenvalues within {off:.1e}")


def sort(question: Question, n: int) -> None:
    """Sort float32 with NumPy (ours, on the host) and with XLA on JAX's device."""
    x = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    on_device, program = jnp.asarray(x), jax.jit(jnp.sort)
    check(np.array_equal(np.sort(x), program(on_device)), "sorted otherwise")
    sides = {"numpy": lambda: timed(lambda: np.sort(x))[0], "xla": lambda: timed(lambda: program(on_device))[0]}
    measured = alternate(sides, {"numpy": 5, "xla": 3})
    work = f"sort {n / 1e6:.0f} million float32"
    question.compare(work, ("np.sort", measured["numpy"]), ("jnp.sort in jit", measured["xla"]), check="equal")


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
