"""Answers that are known beforehand: the machinery has to find them before any verdict is worth reading."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from scipy import stats

import spectra
from spectra.study.findings import SPARSE_AND_HEAVY
from spectra.study.measures import measure_signals
from spectra.study.models import MLP
from spectra.study.stats import depth_trend, side

RUNS = 200
SEEDS, LAYERS, SIDE = 5, 7, 64
"""Of a synthetic study: networks, layers, and units of a layer."""

NEAR_ZERO = float(2 * stats.norm.cdf(0.1) - 1)
"""Share of a Gaussian within a tenth of its standard deviation: 0.0797."""


class Known(NamedTuple):
    """One check: what must come out, within which limits, and what did."""

    name: str
    expected: float
    low: float
    high: float
    measured: float

    @property
    def holds(self) -> bool:
        """Whether what was measured lies within the limits."""
        return bool(self.low <= self.measured <= self.high)


def known_answers(runs: int = RUNS, seed: int = 0) -> list[Known]:
    """All checks, from `runs` synthetic studies of Gaussian networks and as few as needed of the others."""
    rng = np.random.default_rng([seed, 6])
    return [*_gaussian(rng), *_trends(rng, runs, seed), *_variances(rng)]


def _gaussian(rng: np.random.Generator) -> list[Known]:
    """A million Gaussian weights, limits of four standard errors."""
    near, kurtosis = _measures(rng.standard_normal((1, 1_000_000)).astype(np.float32))
    error = 4 * math.sqrt(NEAR_ZERO * (1 - NEAR_ZERO) / 1e6)
    return [
        Known("Gaussian weights within 0.1 std of zero", NEAR_ZERO, NEAR_ZERO - error, NEAR_ZERO + error, near[0]),
        Known("excess kurtosis of Gaussian weights", 0.0, -4 * math.sqrt(24e-6), 4 * math.sqrt(24e-6), kurtosis[0]),
    ]


def _trends(rng: np.random.Generator, runs: int, seed: int) -> list[Known]:
    """Studies of networks whose layers are alike, and one of networks whose tails grow with depth."""
    alike = lambda: rng.standard_normal((SEEDS * LAYERS, SIDE * SIDE))  # noqa: E731 - drawn anew for each study
    freedom = np.tile(np.geomspace(30, 5, LAYERS), SEEDS)[:, None]
    planted = lambda: rng.standard_t(freedom, (SEEDS * LAYERS, SIDE * SIDE))  # noqa: E731
    limit = int(stats.binom.ppf(0.999, runs, 0.05)) / runs
    found = []
    for position, measure in enumerate(m for m in SPARSE_AND_HEAVY if m.primary):
        seen = np.mean([_finds(alike, position, measure.claimed, seed + i) != 0 for i in range(runs)])
        found.append(Known(f"false positives, {measure.name}", 0.05, 0.0, limit, float(seen)))
        planted_side = _finds(planted, position, measure.claimed, seed)
        found.append(Known(f"planted trend found, {measure.name}", 1.0, 1.0, 1.0, float(planted_side)))
    return found


def _finds(draw: Callable[[], np.ndarray], position: int, claimed: int, seed: int) -> int:
    values = _measures(draw().astype(np.float32))[position].reshape(SEEDS, 1, LAYERS)
    effect = depth_trend(values.tolist(), seed)
    return side(effect, effect.p, claimed)


def _measures(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Near-zero share and excess kurtosis of each row, in the order of the primary measures."""
    near, kurtosis = jax.device_get(_kernels(w))
    return np.asarray(near, np.float64), np.asarray(kurtosis, np.float64)


_kernels: Any = jax.jit(jax.vmap(lambda w: (spectra.sparsity(w).near_zero_std, spectra.moments(w).kurtosis)))


def _variances(rng: np.random.Generator) -> list[Known]:
    """Ratio of the variances of back-propagated gradients of neighbouring layers, towards the input, at step 0.

    With small inputs tanh is linear and the ratio is n·Var(W): 1/3 for U[±1/√n], 1 for U[±√6/√(2n)] (Glorot & Bengio
    2010, equation 6). The mean of log ratios over four pairs of layers of 1000 units.
    """
    found = []
    for init, expected in (("standard", 1 / 3), ("glorot", 1.0)):
        model = MLP(5, 1000, "tanh", rngs=nnx.Rngs(0), in_features=100, init=init)
        x = (1e-3 * rng.standard_normal((300, 100))).astype(np.float32)
        signals = measure_signals(model, x, rng.integers(0, 10, 300))
        stds = [signals[f"layers.{i}"]["gradient_std"] for i in range(5)]
        ratio = (stds[0] / stds[-1]) ** (2 / 4)
        name = f"gradient variance ratio of neighbouring layers, {init} initialisation"
        found.append(Known(name, expected, 0.93 * expected, 1.07 * expected, ratio))
    return found
