"""Localisation of a layer's leading singular vectors: over how many coordinates each spreads, against a random one."""

from __future__ import annotations

import numpy as np
from scipy.special import digamma

from spectra.engine.backends import Backend
from spectra.engine.compare_vectors import directions_wanted, leading_directions
from spectra.engine.fitted import Columns
from spectra.models.matrices import MatrixView

MEASURES = ("participation", "min_participation", "random_participation", "vector_entropy", "random_vector_entropy")
NAMES = ("num_vectors", *(f"{measure}_{side}" for side in "uv" for measure in MEASURES))
"""Columns; u are the vectors of the longer side, v those of the shorter."""


def localisation_columns(weights: np.ndarray, view: MatrixView, top: int, backend: Backend) -> Columns:
    """Participation ratio and entropy of the leading singular vectors (`spectra.kernels.localisation`).

    Parameters
    ----------
    weights
        Matrices of a layer, shape (matrices, rows, cols), all finite.
    top
        How many vectors of each matrix, at most half of its smaller side. Those that rounding does not resolve do not
        count.
    """
    found = leading_directions(weights, directions_wanted(view, top), weights.dtype, backend)
    if not found.resolved.any():
        return dict.fromkeys(NAMES)
    columns: Columns = {"num_vectors": int(found.resolved.max())}
    for side, vectors in (("u", found.long), ("v", found.short)):
        resolved = [part[:, :k].T for part, k in zip(vectors, found.resolved, strict=True)]
        participation, entropy = spread(np.concatenate(resolved).astype(np.float64))
        random_participation, random_entropy = random_spread(vectors.shape[1])
        means = (participation.mean(), participation.min(), random_participation, entropy.mean(), random_entropy)
        columns |= {f"{name}_{side}": float(value) for name, value in zip(MEASURES, means, strict=True)}
    return columns


def spread(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Participation ratio (as a share) and entropy of each row, both 1 where all magnitudes are equal."""
    share = np.square(vectors)
    share /= share.sum(axis=1, keepdims=True)
    size = vectors.shape[1]
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    entropy = -np.sum(share * logs, axis=1) / np.log(size) if size > 1 else np.ones(len(share))
    return 1 / (size * np.sum(share * share, axis=1)), entropy


def random_spread(size: int) -> tuple[float, float]:
    """What a vector of random direction has on average (`spectra.kernels.random_localisation`)."""
    entropy = (digamma(size / 2 + 1) - digamma(1.5)) / np.log(size) if size > 1 else 1.0
    return (size + 2) / (3 * size), float(entropy)
