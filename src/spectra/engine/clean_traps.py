"""Correlation traps: what makes eigenvalues of a shuffled matrix leave their bulk, and the matrix without it.

A single entry w in noise of standard deviation σ is a signal of rank one and of strength |w|; a mean μ of all entries
is one of strength |μ|√(NM). Both stay what they are when entries change places, and both leave the bulk from the
strength (NM)^¼σ on (`spectra.kernels.random_matrix.spike_threshold`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from spectra.models.rounding import rounded

CERTAIN, SHARE = 1.5, 0.75
"""Strengths in units of (NM)^¼σ, a limit that is not sharp at finite size: from the first on there is always an
eigenvalue beyond the bulk, up to the second hardly ever (`docs/noise.md`)."""

BLOCK = 1 << 18
"""Entries that are widened at a time."""


class Cause(NamedTuple):
    """Something of rank one that shuffling does not take apart."""

    strength: float
    """The singular value that it would have alone."""
    position: int
    """Which matrix of the layer it is in."""
    entry: int | None
    """Place in the flattened matrix; None: the mean of the matrix."""


class Causes(NamedTuple):
    """What may be removed from a layer, strongest first."""

    found: list[Cause]
    means: np.ndarray
    """Of each matrix, without the entries in `found`."""
    threshold: float
    """(NM)^¼σ, the strength from which on they leave the bulk of a large matrix."""
    problem: str = ""
    """Why nothing should be removed."""


class Removed(NamedTuple):
    """A layer without its traps."""

    matrices: np.ndarray | None
    """In the type of the checkpoint; None if nothing is removed."""
    entries: int
    means: int
    note: str


def remove_traps(matrices: np.ndarray, traps: int, count_traps: Callable[[np.ndarray], int]) -> Removed:
    """Remove the causes of traps from a layer that has traps.

    All that is stronger than `CERTAIN` (NM)^¼σ is removed. If traps are left, weaker causes follow, strongest first:
    the fewest that leave as few traps as there are without all of them. Entries are set to 0, a mean is subtracted
    from every entry of its matrix, and what is not removed keeps its bits.

    Parameters
    ----------
    matrices
        Shape (matrices, rows, cols), finite, in the type of the checkpoint.
    traps
        How many the matrices have as they are.
    count_traps
        How many such matrices have.
    """
    if traps == 0:
        return Removed(None, 0, 0, "")
    causes = find_causes(matrices)
    if causes.problem:
        return Removed(None, 0, 0, causes.problem)

    def left(count: int) -> int:
        return count_traps(without(matrices, causes.found[:count], causes.means))

    enough = sum(cause.strength > CERTAIN * causes.threshold for cause in causes.found)
    fewest = left(enough) if enough else traps
    if fewest and len(causes.found) > enough:
        enough, fewest = _fewest(left, enough, fewest, len(causes.found))
    many = "" if fewest == 1 else "s"
    note = f"{fewest} trap{many} that no entry and no mean explains, perhaps by chance" if fewest else ""
    if not enough:
        return Removed(None, 0, 0, note)
    removed = causes.found[:enough]
    means = sum(cause.entry is None for cause in removed)
    return Removed(without(matrices, removed, causes.means), len(removed) - means, means, note)


def _fewest(left: Callable[[int], int], start: int, traps: int, end: int) -> tuple[int, int]:
    """The smallest count with as few traps left as at `end`, and how many; `start` if that has no more than those."""
    fewest = left(end)
    if fewest >= traps:
        return start, traps
    none, enough = start, end
    while enough - none > 1:
        middle = (none + enough) // 2
        none, enough = (none, middle) if left(middle) <= fewest else (middle, enough)
    return enough, left(enough)


def find_causes(matrices: np.ndarray) -> Causes:
    """Entries and means of a strength of `SHARE` (NM)^¼σ or more, σ and the means being those of the other entries.

    Entries are left out until no further one is too strong for the rest. More of them than half of the eigenvalues are
    not a few odd entries in noise, and none is named.
    """
    count, rows, cols = matrices.shape
    means, limit, outside = np.zeros(count), math.inf, 0
    most = count * min(rows, cols) // 2
    while True:
        sums = np.array([_sums(matrix, mean, limit) for matrix, mean in zip(matrices, means, strict=True)])
        sizes, firsts, seconds = sums.T
        left_out, outside = outside, matrices.size - int(sizes.sum())
        if outside > most:
            return Causes([], means, 0.0, f"more than {most} entries stand out: heavy tails, and not a few traps")
        means = means + firsts / np.maximum(sizes, 1)
        spread = float(np.sum(seconds - firsts**2 / np.maximum(sizes, 1)))
        if not spread > 0:
            return Causes([], means, 0.0, "without the entries that stand out nothing would vary")
        if math.isfinite(limit) and outside == left_out:
            break
        limit = SHARE * (rows * cols) ** 0.25 * math.sqrt(spread / float(sizes.sum()))
    found = [
        Cause(float(strength), position, int(entry))
        for position, (matrix, mean) in enumerate(zip(matrices, means, strict=True))
        for entry, strength in _strong(matrix, mean, limit)
    ]
    strengths = np.abs(means) * math.sqrt(rows * cols)
    found += [Cause(float(strengths[p]), int(p), None) for p in np.flatnonzero(strengths > limit)]
    return Causes(sorted(found, key=lambda cause: -cause.strength), means, limit / SHARE)


def without(matrices: np.ndarray, causes: Sequence[Cause], means: np.ndarray) -> np.ndarray:
    """The matrices without some causes, in their own type."""
    changed = np.array(matrices, order="C")
    for cause in causes:
        if cause.entry is None:
            for block in _blocks(changed[cause.position]):
                block[...] = rounded(block.astype(np.float64) - means[cause.position], changed.dtype)
    for cause in causes:
        if cause.entry is not None:
            changed[cause.position].reshape(-1)[cause.entry] = 0
    return changed


def _sums(matrix: np.ndarray, mean: float, limit: float) -> tuple[int, float, float]:
    """Of the entries within `limit` of `mean`: their number, and the sums of their deviations and of the squares."""
    size, first, second = 0, 0.0, 0.0
    for block in _blocks(matrix):
        off = block.astype(np.float64) - mean
        off = off[np.abs(off) <= limit]
        size, first, second = size + off.size, first + float(off.sum()), second + float(np.dot(off, off))
    return size, first, second


def _strong(matrix: np.ndarray, mean: float, limit: float) -> Iterator[tuple[int, float]]:
    """Entries farther than `limit` from `mean`, each with its distance."""
    start = 0
    for block in _blocks(matrix):
        off = np.abs(block.astype(np.float64) - mean).ravel()
        for place in np.flatnonzero(off > limit):
            yield start + int(place), float(off[place])
        start += off.size


def _blocks(matrix: np.ndarray) -> Iterator[np.ndarray]:
    """Views of consecutive rows, of about `BLOCK` entries each."""
    rows = max(BLOCK // matrix.shape[1], 1)
    return (matrix[start : start + rows] for start in range(0, matrix.shape[0], rows))
