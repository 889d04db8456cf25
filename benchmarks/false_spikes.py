"""Does pure noise show spikes as often as the stated level says, and do planted signals show where theory puts them?

Matrices of independent entries of many shapes and laws: the share of them in which `fit_bulk` finds a spike, at the
levels 0.1, 0.05 and 0.01, with the sample kurtosis of the entries and without. Each row's figure is that share at 0.05;
`details` has its standard error, the other levels, and the mean number of spikes. Then one signal of strength
θ = r·(NM)^¼σ in Gaussian noise: how often it is found, and how far its eigenvalue lies from the theory's place.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import jax
import numpy as np
from support.question import Question, answer

from spectra.kernels.random_matrix import fit_bulk, spike_eigenvalue

LEVELS = (0.1, 0.05, 0.01)
SHAPES = ((5, 5), (10, 10), (40, 10), (500, 10), (20, 20), (50, 50), (200, 50), (1000, 20), (200, 200), (800, 200))
LAWS = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "signs": lambda rng, shape: rng.choice([-1.0, 1.0], shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "t10": lambda rng, shape: rng.standard_t(10, shape),
}
AT_ONCE = 4_000_000
FIT = jax.jit(fit_bulk)


def measure(question: Question) -> None:
    """A row for each law and shape, then one for each strength of a planted signal."""
    number = 200 if question.quick else question.options.matrices
    for n, m in SHAPES[:2] if question.quick else SHAPES:
        for law in LAWS:
            noise(question, law, n, m, number if m < 100 else number // 4)
    for n, m in ((60, 20),) if question.quick else ((400, 400), (1000, 100)):
        for strength in (0.5, 0.8, 1.2, 1.5, 2.0, 4.0):
            planted(question, n, m, strength, max(number // 50, 10))


def spectra_of(law: str, n: int, m: int, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Eigenvalues and excess kurtosis of so many matrices, a few at a time."""
    rng = np.random.default_rng([n, m, len(law), 5])
    for start in range(0, number, max(1, AT_ONCE // (n * m))):
        size = min(number - start, max(1, AT_ONCE // (n * m)))
        w = LAWS[law](rng, (size, n, m))
        square = w**2
        kurtosis = np.mean(square**2, axis=(1, 2)) / np.mean(square, axis=(1, 2)) ** 2 - 3
        yield np.linalg.eigvalsh(np.swapaxes(w, 1, 2) @ w).astype(np.float32), kurtosis.astype(np.float32)


def noise(question: Question, law: str, n: int, m: int, number: int) -> None:
    """The share of noise matrices with a spike."""
    found: dict[tuple[float, bool], list[np.ndarray]] = {}
    for values, kurtosis in spectra_of(law, n, m, number):
        for level in LEVELS:
            for known in (True, False):
                fit = FIT(values, n, m, level=level, kurtosis=kurtosis if known else np.zeros_like(kurtosis))
                found.setdefault((level, known), []).append(np.asarray(fit.num_spikes))
    counts = {key: np.concatenate(parts) for key, parts in found.items()}
    details = {
        f"level {level}{'' if known else ' without kurtosis'}": [round(float(c), 4) for c in (np.mean(x > 0), x.mean())]
        for (level, known), x in counts.items()
    }
    share = float(np.mean(counts[0.05, True] > 0))
    error = (0.05 * 0.95 / number) ** 0.5
    note = f"{number} matrices; details: share with a spike, mean number of spikes"
    question.figure(f"{law} {n}×{m}", share, "share at 0.05", None, note, standard_error=round(error, 4), **details)


def planted(question: Question, n: int, m: int, strength: float, number: int) -> None:
    """How often a signal is found, and where."""
    rng = np.random.default_rng([n, m, int(10 * strength)])
    theta = strength * (n * m) ** 0.25
    spikes, largest = [], []
    for _ in range(number):
        u, v = (x / np.linalg.norm(x) for x in (rng.standard_normal(n), rng.standard_normal(m)))
        w = rng.standard_normal((n, m)) + theta * np.outer(u, v)
        values = np.linalg.eigvalsh(w.T @ w)
        spikes.append(int(FIT(values.astype(np.float32), n, m).num_spikes))
        largest.append(values[-1])
    place = float(spike_eigenvalue(theta, 1.0, n, m))
    details = {
        "theory": round(place, 1),
        "largest eigenvalue, mean": round(float(np.mean(largest)), 1),
        "its scatter": round(float(np.std(largest)), 1),
        "mean number of spikes": float(np.mean(spikes)),
    }
    share = float(np.mean(np.array(spikes) > 0))
    question.figure(
        f"signal of {strength} thresholds in {n}×{m}", share, "share found", None, f"{number} runs", **details
    )


def options(parser: argparse.ArgumentParser) -> None:
    """What this question adds to the command line."""
    parser.add_argument("--matrices", type=int, default=4000, help="noise matrices of each law and shape")


if __name__ == "__main__":
    answer(__file__, __doc__, measure, options)
