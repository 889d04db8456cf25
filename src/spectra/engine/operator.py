"""Spectra of matrices that are never formed: convolutions on a periodic image, products of low rank.

Each is turned into real matrices that a backend can take, or into a closed form; the counterpart on the host of
`kernels/conv_spectrum.py` and `kernels/low_rank.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from spectra.kernels.low_rank import CORE_ERROR
from spectra.kernels.spectrum import SVD_ERROR, Route, error_bound
from spectra.models.matrices import MatrixView
from spectra.models.operators import LowRank, PeriodicConv

if TYPE_CHECKING:
    from spectra.engine.backends import Backend
    from spectra.engine.options import Options

AT_ONCE = 1 << 20
"""Entries of the real matrices that are handed over together, unless a single one has more."""

Spectra: TypeAlias = Callable[[np.ndarray, Route], tuple[np.ndarray, np.ndarray]]
"""`Backend.spectra`."""


def measured_by(view: MatrixView, options: Options, backend: Backend) -> tuple[Options, Backend]:
    """The options and the backend for the matrices of a view; those that were given for plain matrices."""
    if isinstance(view, PeriodicConv):
        return options, OperatorBackend(backend, lambda w, route: conv_spectra(view, w, route, backend.spectra))
    if isinstance(view, LowRank):  # so small that the better route costs nothing
        return replace(options, method="svd"), OperatorBackend(backend, lambda w, _: low_rank_spectra(view, w))
    return options, backend


class OperatorBackend:
    """A backend that makes something else of the matrices before their spectra are computed.

    Parameters
    ----------
    inner
        The backend that stands behind it.
    spectra
        What takes the place of its `spectra`; the matrices are those of the view.
    """

    def __init__(self, inner: Backend, spectra: Spectra) -> None:
        self.name, self.workers, self.lengths = inner.name, inner.workers, inner.lengths
        self._inner, self._spectra = inner, spectra

    def bucket(self, n: int, m: int) -> tuple[int, int]:
        return self._inner.bucket(n, m)

    def spectra(self, matrices: np.ndarray, route: Route) -> tuple[np.ndarray, np.ndarray]:
        return self._spectra(matrices, route)

    def using(self, workers: int) -> AbstractContextManager[None]:
        return self._inner.using(workers)


def conv_spectra(view: PeriodicConv, taps: np.ndarray, route: Route, spectra: Spectra) -> tuple[np.ndarray, np.ndarray]:
    """Singular values of a convolution on a periodic image, a row for each frequency and group.

    The transform is a product with a table of cosines and sines: a kernel has few positions, a product is fast, and
    only one of the frequencies ω and −ω is needed. It is done in float64, so that what is rounded is the block and
    not the kernel. A complex block A + iB is handed over as [[A, −B], [B, A]], which has each singular value twice.

    Parameters
    ----------
    taps
        The kernel, shape (positions, rows, cols), float32 or float64.

    Returns
    -------
    tuple
        Values of shape (frequencies·groups, M), descending, 0 where unresolved, and their floors, float64.
    """
    rows, cols = taps.shape[1] // view.groups, taps.shape[2]
    flat = taps.reshape(taps.shape[0], -1).astype(np.float64)
    reach = np.linalg.norm(np.abs(flat).sum(axis=0).reshape(view.groups, -1), axis=1)
    lost = float(np.finfo(np.float64).eps) * (taps.shape[0] + 4) * reach  # what the rounding of the product may move
    table, place = _frequencies(view)
    values = np.empty((len(table), view.groups, view.M))
    floors = np.empty((len(table), view.groups))
    for part in _chunks(len(table), view, rows * cols):
        turned = (table[part].reshape(-1, taps.shape[0]) @ flat).reshape(-1, 2, view.groups, rows, cols)
        if view.M == 1:
            values[part, :, 0], floors[part] = _of_vectors(turned, taps.dtype)
            continue
        found, floor = spectra(_embedded(turned).astype(taps.dtype), route)
        values[part], floors[part] = found[:, ::2].reshape(values[part].shape), floor.reshape(floors[part].shape)
    floors += lost
    values[values <= floors[..., None]] = 0
    return values[place].reshape(-1, view.M), floors[place].reshape(-1)


def _frequencies(view: PeriodicConv) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of one of each pair ±ω at the kernel's positions, and which of them each frequency is."""
    grid = np.indices(view.size).reshape(len(view.size), -1)
    number = np.ravel_multi_index(tuple(grid), view.size)
    opposite = np.ravel_multi_index(tuple(-grid % np.array(view.size)[:, None]), view.size)
    chosen, place = np.unique(np.minimum(number, opposite), return_inverse=True)
    positions = np.indices(view.kernel).reshape(len(view.size), -1)
    turns = np.zeros((chosen.size, positions.shape[1]))
    for wave, position, size in zip(grid[:, chosen], positions, view.size, strict=True):
        turns += np.outer(wave, position) % size / size  # whole turns taken off while the numbers are exact
    return np.stack([np.cos(2 * np.pi * turns), -np.sin(2 * np.pi * turns)], axis=1), place


def _chunks(count: int, view: PeriodicConv, block: int) -> Iterator[slice]:
    """Frequencies whose real matrices are worked on together."""
    step = max(1, AT_ONCE // (4 * block * view.groups))
    return (slice(start, start + step) for start in range(0, count, step))


def _embedded(turned: np.ndarray) -> np.ndarray:
    """Shape (frequencies, 2, groups, rows, cols) → (frequencies·groups, 2·rows, 2·cols)."""
    real, imag = turned[:, 0], turned[:, 1]
    blocks = np.block([[real, -imag], [imag, real]])
    return blocks.reshape(-1, *blocks.shape[-2:])


def _of_vectors(turned: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Blocks with one row or one column, such as those of depthwise convolutions: the norms, and their floors."""
    norms = np.sqrt(np.square(turned).sum(axis=(1, 3, 4)))
    return norms, np.finfo(dtype).eps * (SVD_ERROR + 1) * norms


def low_rank_spectra(view: LowRank, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular values of a product of low rank, shape (1, min(rank, M)), and their floor.

    QR of both factors, then the values of the product of the two triangles, in float64.
    """
    left, right = np.split(factors[0].astype(np.float64), [view.left])
    triangles = [np.asarray(np.linalg.qr(factor, mode="r")) for factor in (left, right)]
    core = triangles[0] @ triangles[1].T
    values = np.linalg.svd(core, compute_uv=False)
    sizes = np.linalg.norm(left) * np.linalg.norm(right)
    floor = error_bound(values, SVD_ERROR) + CORE_ERROR * np.finfo(np.float64).eps * sizes
    values = np.where(values > floor, values, 0)
    return np.abs(view.scale) * values[None], np.abs(view.scale) * np.atleast_1d(floor)


def preparation(view: MatrixView) -> float:
    """Flops that come before the spectra."""
    if isinstance(view, PeriodicConv):
        entries = math.prod(view.shape[axis] for axis in (*view.positions, *view.rows, *view.cols))
        return 8.0 * view.distinct * entries  # two products in float64, at half the speed
    return 4.0 * view.shape[0] * view.shape[1] ** 2 if isinstance(view, LowRank) else 0.0


def working_bytes(view: MatrixView) -> int:
    """Memory of the transform, of what is handed over, and of the values, beside what the backend takes."""
    if not isinstance(view, PeriodicConv):
        return 0
    kernel = math.prod(view.shape[axis] for axis in (*view.positions, *view.rows, *view.cols))
    block = 4 * kernel // math.prod(view.kernel)
    return 8 * (kernel + 3 * max(AT_ONCE, block) + 4 * view.num_evals)
