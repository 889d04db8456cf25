"""How far is the spectrum from the limit of the hardware?

The limit: the Gram product WᵀW as XLA multiplies it here, plus the (4/3)n³ flops of a reduction to tridiagonal form
at the rate of that product. Half of LAPACK's reduction is matrix–vector products, bound by memory; the ratio says what
is left. Two routes: the kernel under jit, and on CPUs the one that the analyzer
takes there, with all cores on one matrix. NumPy's svd stands beside them where it does not take too long.

Checked against NumPy's singular values up to n = 2048: resolved values must be equal to 1e-5·λ_max, and what our route
reports as unresolved (it returns 0) must indeed lie below the floor that it states. Their number is in the result:
NumPy's svd, which costs more, resolves them. Above, two identities: Σλ = ‖W‖² and Σλ² = ‖WᵀW‖².
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

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
"""Of λ_max, for values that are resolved."""

SUMS_TOLERANCE = 1e-4

Values: TypeAlias = tuple[Any, Any]
"""Singular values, 0 where unresolved, and the floor below which the route resolves none."""


def measure(question: Question) -> None:
    """Rows for each shape: a ratio for each route, and NumPy beside it."""
    for shape in SHAPES[:2] if question.quick else SHAPES:
        one_shape(question, shape)


def one_shape(question: Question, shape: tuple[int, int]) -> None:
    """Measure product, routes and NumPy in turn; check; add the rows."""
    w = heavy_tailed(np.random.default_rng(shape), shape)
    on_device = jnp.asarray(w)
    product = jax.jit(lambda w: jnp.matmul(w.T, w, precision="highest"))
    found: dict[str, Values] = {}
    routes = routes_to_spectrum(w, on_device)
    sides: dict[str, Callable[[], float]] = {"product": lambda: timed(lambda: product(on_device))[0]}

    def side(name: str, route: Callable[[], Values]) -> Callable[[], float]:
        def run() -> float:
            seconds, found[name] = timed(route)
            return seconds

        return run

    sides |= {name: side(name, route) for name, route in routes.items()}
    numpy = "numpy.linalg.svd, values only"
    if min(shape) <= LARGEST_FOR_NUMPY:
        sides[numpy] = side(numpy, lambda: (np.linalg.svd(w, compute_uv=False), 0.0))
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


def routes_to_spectrum(w: np.ndarray, on_device: jax.Array) -> dict[str, Callable[[], Values]]:
    """Ways to the singular values: the kernel under jit, and on a CPU the analyzer's own."""
    jitted = jax.jit(lambda w: spectra.spectrum(w, "gram"))

    def kernel() -> Values:
        found = jitted(on_device)
        return found.singular_values, found.floor

    routes: dict[str, Callable[[], Values]] = {"spectra.spectrum 'gram'": kernel}
    if jax.default_backend() == "cpu":
        from spectra.engine.backends import LapackBackend

        backend = LapackBackend(lengths={})

        def analyzer() -> Values:
            with backend.using(1):
                values, floors = backend.spectra(w[None], "gram")
            return values[0], floors[0]

        routes["the analyzer's 'gram' on CPUs"] = analyzer
    return routes


def same_spectrum(ours: Values, w: np.ndarray, reference: Values | None) -> str:
    """Agreement with NumPy's values where there are some, otherwise of two power sums; or an error."""
    eigenvalues, floor = np.square(np.asarray(ours[0], np.float64)), float(ours[1]) ** 2
    unresolved = eigenvalues == 0
    left = f"{unresolved.sum()} of {unresolved.size} unresolved"
    if reference is not None:
        exact, largest = np.square(np.asarray(reference[0], np.float64)), eigenvalues.max()
        off = (np.abs(eigenvalues - exact)[~unresolved]).max() / largest
        check(off <= TOLERANCE, f"resolved eigenvalues {off:.2g}·λ_max from NumPy's")
        hidden = exact[unresolved].max(initial=0.0)
        check(hidden <= floor, f"an eigenvalue of {hidden:.3g} is called unresolved, above the floor {floor:.3g}")
        return f"resolved eigenvalues within {off:.1e}·λ_max of NumPy's; {left}, where NumPy's svd resolves all"
    gram = w.T @ w
    sums = {"Σλ": (eigenvalues.sum(), np.square(w, dtype=np.float64).sum())}
    sums["Σλ²"] = (np.square(eigenvalues).sum(), np.square(gram, dtype=np.float64).sum())
    off = max(abs(found / exact - 1) for found, exact in sums.values())
    check(off <= SUMS_TOLERANCE, f"power sums of the eigenvalues are {off:.2g} off")
    return f"Σλ and Σλ² within {off:.1e} of ‖W‖² and ‖WᵀW‖²; {left}"


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
