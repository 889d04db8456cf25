"""Two choices of routine, timed against what they replace in the same run: bisection, and sorting.

    .venv/bin/python benchmarks/kernels_vs_jax.py > benchmarks/results/kernels_vs_jax.json

Ratios are the peer's time over ours; medians of nine runs after a warm-up.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import eigh_tridiagonal

from spectra.kernels.tridiagonal import tridiagonal_eigenvalues


def main() -> None:
    """Print the measurements as JSON."""
    results = {"bisection": [bisection(n) for n in (64, 384, 2048)], "sort": sort(20_000_000)}
    about = {"jax": jax.__version__, "numpy": np.__version__, "device": jax.devices()[0].device_kind}
    command = "python benchmarks/kernels_vs_jax.py"
    print(json.dumps({"command": command, **about, "cores": os.cpu_count(), **results}, indent=1))


def bisection(n: int) -> dict[str, float]:
    """Seconds to compile and to run for a random tridiagonal matrix, ours and JAX's, after checking the values."""
    rng = np.random.default_rng(n)
    entries = [jnp.asarray(rng.standard_normal(size), jnp.float32) for size in (n, n - 1)]
    routines = {"ours": tridiagonal_eigenvalues, "jax": lambda d, e: eigh_tridiagonal(d, e, eigvals_only=True)}
    figures: dict[str, float] = {"n": n}
    values = {}
    for name, routine in routines.items():
        lowered = jax.jit(routine).lower(*entries)
        start = time.perf_counter()
        program = lowered.compile()
        figures[f"{name}_compile"] = time.perf_counter() - start
        values[name] = np.asarray(program(*entries))
        figures[f"{name}_run"] = median(lambda program=program: program(*entries))
    np.testing.assert_allclose(values["ours"], values["jax"], atol=1e-5)
    for what in ("compile", "run"):
        figures[f"ratio_{what}"] = figures[f"jax_{what}"] / figures[f"ours_{what}"]
    return figures


def sort(n: int) -> dict[str, float]:
    """Seconds to sort n float32 with NumPy (ours) and with XLA."""
    x = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    on_device, program = jnp.asarray(x), jax.jit(jnp.sort)
    np.testing.assert_array_equal(np.sort(x), program(on_device))
    ours, xla = median(lambda: np.sort(x), 3), median(lambda: program(on_device), 3)
    return {"n": n, "numpy": ours, "xla": xla, "ratio": xla / ours}


def median(call: Callable[[], Any], runs: int = 9) -> float:
    """Median seconds of a call, its result awaited."""
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
