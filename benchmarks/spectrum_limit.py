"""How far is the spectrum from the limit of the hardware?

The limit: the Gram product WᵀW as XLA multiplies it here, plus the (4/3)n³ flops of a reduction to tridiagonal form
at the rate of that product. Half of LAPACK's reduction is matrix–vector products, bound by memory; the ratio says what
is left. Two routes: the kernel under jit, and on CPUs the one that the analyzer
takes there, with all cores on one matrix. NumPy's svd stands beside them where it does not take too long.

Checked against NumPy's singular values up to n = 2048, and above against two identities that no wrong spectrum meets:
Σλ = ‖W‖² and Σλ² = ‖WᵀW‖².
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from support.models import heavy_tailed
from support.question import Question, answer, check
from support.timing import alternate, timed

import spectra

SHAPES = ((1024, 1024), (2048, 2048), (4096, 4096), (14336, 4096))
LARGEST_FOR_NUMPY = 2048
TOLERANCE = 1e-5
"""Of λ_max, or of the sums."""


def measure(question: Question) -> None:
    """Rows for each shape: a ratio for each route, and NumPy beside it."""
    for shape in SHAPES[:2] if question.quick else SHAPES:
        one_shape(question, shape)


def one_shape(question: Question, shape: tuple[int, int]) -> None:
    """Measure product, routes and NumPy in turn; check; add the rows."""
    w = heavy_tailed(np.random.default_rng(shape), shape)
    on_device = jnp.asarray(w)
    product = jax.jit(lambda w: jnp.matmul(w.T, w, precision="highest"))
    found: dict[str, np.ndarray] = {}
    routes = routes_to_spectrum(w, on_device)
    sides: dict[str, Callable[[], float]] = {"product": lambda: timed(lambda: product(on_device))[0]}

    def side(name: str, route: Callable[[], np.ndarray]) -> Callable[[], float]:
        def run() -> float:
            seconds, found[name] = timed(route)
            return seconds

        return run

    sides |= {name: side(name, route) for name, route in routes.items()}
    numpy = "numpy.linalg.svd, values only"
    if min(shape) <= LARGEST_FOR_NUMPY:
        sides[numpy] = side(numpy, lambda: np.linalg.svd(w, compute_uv=False))
    runs = 2 if question.quick else 9 if max(shape) <= 2048 else 5
    measured = alternate(sides, dict.fromkeys(sides, runs))

    n, m = shape
    work = f"{n}×{m}"
    gemm = float(np.median(measured["product"]))
    rate = 2 * n * m**2 / gemm
    limit = gemm + 4 / 3 * m**3 / rate
    for name in routes:
        same = same_spectrum(found[name], w, found.get(numpy))
        taken = float(np.median(measured[name]))
        question.figure(
            f"{work}: {name}", taken / limit, "times the limit", seconds=taken, limit_seconds=limit,
            gram_product_seconds=gemm, gflops_per_second=rate / 1e9, runs=measured[name], check=same,
        )  # fmt: skip
        if numpy in measured:
            question.compare(work, (name, measured[name]), (numpy, measured[numpy]), check=same)


def routes_to_spectrum(w: np.ndarray, on_device: jax.Array) -> dict[str, Callable[[], jax.Array | np.ndarray]]:
    """Ways to the singular values: the kernel under jit, and on a CPU the analyzer's own."""
    kernel = jax.jit(lambda w: spectra.spectrum(w, "gram").singular_values)
    routes: dict[str, Callable[[], jax.Array | np.ndarray]] = {"spectra.spectrum 'gram'": lambda: kernel(on_device)}
    if jax.default_backend() == "cpu":
        from spectra.engine.backends import LapackBackend

        backend = LapackBackend(lengths={})

        def analyzer() -> np.ndarray:
            with backend.using(1):
                return backend.spectra(w[None], "gram")[0][0]

        routes["the analyzer's 'gram' on CPUs"] = analyzer
    return routes


def same_spectrum(values: np.ndarray, w: np.ndarray, reference: np.ndarray | None) -> str:
    """Agreement with NumPy's values where there are some, otherwise of two power sums; or an error."""
    eigenvalues = np.square(np.asarray(values, np.float64))
    if reference is not None:
        off = np.abs(eigenvalues - np.square(reference.astype(np.float64))).max() / eigenvalues.max()
        check(off <= TOLERANCE, f"eigenvalues {off:.2g}·λ_max from NumPy's")
        return f"all eigenvalues within {off:.1e}·λ_max of NumPy's"
    gram = w.T.astype(np.float32) @ w
    sums = {"Σλ": (eigenvalues.sum(), np.square(w, dtype=np.float64).sum())}
    sums["Σλ²"] = (np.square(eigenvalues).sum(), np.square(gram, dtype=np.float64).sum())
    off = max(abs(found / exact - 1) for found, exact in sums.values())
    check(off <= 10 * TOLERANCE, f"power sums of the eigenvalues are {off:.2g} off")
    return f"Σλ and Σλ² within {off:.1e} of ‖W‖² and ‖WᵀW‖²"


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
