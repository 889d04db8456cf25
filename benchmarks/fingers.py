"""Are outlying eigenvalues found that spoil a power-law fit, is alpha right without them, and are there false alarms?

Samples of power laws with a known exponent, whole or above a body of another law, and of laws that only end like one:
the share of them in which `fit_without_fingers` leaves values out, which should be small. Then the same with a few
values far beyond the largest: the share in which all of them are left out, and alpha with and without them. `details`
has the same for WeightWatcher's rule (`fix_fingers="clip_xmax"`: the first of 2 to 9 values without which alpha is
smaller by 1), by our fits.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import jax
import numpy as np
from support.question import Question, answer

from spectra.kernels import fit_power_law, fit_without_fingers

SIZES = (20, 50, 100, 384, 768)
ALPHAS = (2.0, 3.0, 4.0, 6.0)
ALLOWED = 0.05
"""Share of samples without fingers in which some may be found."""


def pareto(rng: np.random.Generator, shape: tuple[int, int], alpha: float) -> np.ndarray:
    """A power law from 1 upwards."""
    return (1 - rng.random(shape)) ** (-1 / (alpha - 1))


def with_body(rng: np.random.Generator, shape: tuple[int, int], alpha: float) -> np.ndarray:
    """Four tenths of it above a body with a kink at 1."""
    return np.where(rng.random(shape) < 0.4, pareto(rng, shape, alpha), rng.random(shape) ** 0.5)


LAWS: dict[str, Callable[..., np.ndarray]] = {
    "power law": pareto,
    "power law above a body": with_body,
    "Lomax": lambda rng, shape, alpha: pareto(rng, shape, alpha) - 0.999,
    "inverse gamma": lambda rng, shape, alpha: 1 / rng.gamma(alpha - 1, 1, shape),
    "lognormal": lambda rng, shape, alpha: np.exp(3 / alpha * rng.standard_normal(shape)),
}

PLANTED = ((1, 5.0), (1, 20.0), (3, 3.0), (3, 10.0), (6, 2.0), (6, 5.0), (9, 3.0))
"""How many, and how far beyond the largest value of the sample."""

FIT = jax.jit(fit_without_fingers)
CLIPPED = jax.jit(lambda x, k: fit_power_law(x, np.arange(x.shape[-1]) < x.shape[-1] - k).alpha)
"""Alpha of samples in ascending order without the k largest."""


def measure(question: Question) -> None:
    """A row for each law, exponent and size, then one for each kind of fingers."""
    number = 50 if question.quick else question.options.samples
    for n in SIZES[1:2] if question.quick else SIZES:
        for name, law in LAWS.items():
            for alpha in ALPHAS[:1] if question.quick else ALPHAS:
                absent(question, name, law(np.random.default_rng([n, int(alpha), len(name)]), (number, n), alpha))
    for alpha in ALPHAS[2:3] if question.quick else (2.5, 4.0, 6.0):
        for fingers, reach in PLANTED[:1] if question.quick else PLANTED:
            planted(question, alpha, fingers, reach, max(number // 4, 20))


def theirs(x: np.ndarray, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Alpha by WeightWatcher's rule, and how many values it drops."""
    x, alpha, dropped = np.sort(x, axis=-1), raw.copy(), np.zeros(len(x), int)
    for k in range(2, 10):
        fitted = np.asarray(CLIPPED(x.astype(np.float32), k))
        taken = (dropped == 0) & (fitted + 1 < raw)
        alpha[taken], dropped[taken] = fitted[taken], k
    return alpha, dropped


def absent(question: Question, name: str, x: np.ndarray) -> None:
    """How often something is left out that belongs to the law."""
    found = jax.device_get(FIT(x.astype(np.float32)))
    _, dropped = theirs(x, found.raw.alpha)
    details = {
        "median alpha": round(float(np.median(found.raw.alpha)), 3),
        "WeightWatcher's rule": round(float(np.mean(dropped > 0)), 4),
    }
    share = float(np.mean(found.num_fingers > 0))
    work = f"{name}, n = {x.shape[1]}, median alpha {np.median(found.raw.alpha):.2f}"
    question.figure(work, share, "share with fingers", ALLOWED, f"{len(x)} samples", **details)


def planted(question: Question, alpha: float, fingers: int, reach: float, number: int) -> None:
    """How often all of them are left out, and what alpha is then; 500 values, 200 of them in the tail."""
    rng = np.random.default_rng([int(2 * alpha), fingers, int(reach)])
    x = with_body(rng, (number, 500), alpha)
    far = x.max(axis=1, keepdims=True) * reach * (1 + 0.2 * rng.random((number, fingers)))
    x = np.concatenate([x, far], axis=1)
    found = jax.device_get(FIT(x.astype(np.float32)))
    clipped, dropped = theirs(x, found.raw.alpha)
    details = {
        "alpha": alpha,
        "median alpha with them": round(float(np.median(found.raw.alpha)), 3),
        "median alpha without what is left out": round(float(np.median(found.fit.alpha)), 3),
        "more left out": round(float(np.mean(found.num_fingers > fingers)), 3),
        "WeightWatcher's rule: drops any": round(float(np.mean(dropped > 0)), 3),
        "WeightWatcher's rule: median alpha": round(float(np.median(clipped)), 3),
    }
    share = float(np.mean(found.num_fingers >= fingers))
    work = f"alpha {alpha}, {fingers} fingers at {reach:g} to {1.2 * reach:g} times the largest"
    question.figure(work, share, "share found", None, f"{number} samples", **details)


def options(parser: argparse.ArgumentParser) -> None:
    """What this question adds to the command line."""
    parser.add_argument("--samples", type=int, default=2000, help="samples of each law, exponent and size")


if __name__ == "__main__":
    answer(__file__, __doc__, measure, options)
