"""The eigenvalue spectrum of one layer and the power-law fit of its tail."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Literal, NamedTuple

import jax
import numpy as np

from spectra.engine.options import Options
from spectra.engine.padding import GROUP, pad_to, padded_sample, padded_shape
from spectra.kernels import PowerLawFit, Spectrum, fit_power_law, spectrum

SMALLEST_FITTED = 1e-5
"""Eigenvalues up to this one are left out of the fit, as in WeightWatcher."""

LARGE = 1 << 21
"""Matrices of more entries are handed over one by one: bounds the memory that the positions of a convolution take."""

NAN = np.asarray(np.nan)

Route = Literal["gram", "svd"]


class ESD(NamedTuple):
    """Pooled spectrum of a layer's matrices and its fit, in float64 on the host."""

    singular_values: np.ndarray
    """Shape (matrices, M), descending in each row; 0 where unresolved."""
    num_unresolved: np.ndarray
    """Shape (matrices,)."""
    floor: np.ndarray
    """Shape (matrices,): smallest singular value that could be resolved in each."""
    fit: PowerLawFit
    route: Route

    @property
    def eigenvalues(self) -> np.ndarray:
        """All λ = σ², ascending."""
        return np.sort(np.square(self.singular_values), axis=None)


def pooled_esd(matrices: np.ndarray, options: Options) -> ESD:
    """Spectrum and fit of matrices of shape (matrices, rows, cols), all finite.

    With ``method="auto"`` the Gram route comes first, and svd follows where an unresolved eigenvalue could change
    what is reported (`_is_doubtful`).
    """
    if options.method != "auto":
        return _esd(matrices, options.method)
    esd = _esd(matrices, "gram")
    return _esd(matrices, "svd") if _is_doubtful(esd, matrices.dtype) else esd


def _is_doubtful(esd: ESD, dtype: np.dtype) -> bool:
    """Whether unresolved eigenvalues of the Gram route could matter.

    They lie below every resolved one, so each tail that starts at a resolved eigenvalue is exact; only a fit that
    reaches down to the bottom of the resolved ones might have gone on among the others. More than 1 % of them
    unresolved calls the rank in question. In float64, asked for its accuracy, a single one is reason enough.
    """
    lost = int(esd.num_unresolved.sum())
    resolved = np.count_nonzero(esd.singular_values)
    if lost == 0:
        return False
    rank_in_doubt = lost > 0.01 * esd.singular_values.size
    return bool(dtype == np.float64 or rank_in_doubt or int(esd.fit.n_tail) > 0.9 * resolved)


def _esd(matrices: np.ndarray, route: Route) -> ESD:
    if matrices.shape[1] < matrices.shape[2]:
        matrices = matrices.transpose(0, 2, 1)
    k = matrices.shape[2]
    parts = [jax.device_get(_spectrum(batch, method=route)) for batch in _batches(matrices)]
    count = matrices.shape[0]
    values = np.concatenate([part.singular_values for part in parts])[:count, :k].astype(np.float64)
    floor = np.concatenate([part.floor for part in parts])[:count].astype(np.float64)
    unresolved = np.where(floor > 0, np.sum(values == 0, axis=1), 0)
    fit = _fit(np.square(values), matrices.dtype)
    if _is_constant(fit, values.max(), floor.max(), route):
        fit = PowerLawFit(alpha=NAN, xmin=NAN, ks=NAN, sigma=NAN, n_tail=np.asarray(0))
    return ESD(values, unresolved, floor, fit, route)


def _is_constant(fit: PowerLawFit, largest: float, floor: float, route: Route) -> bool:
    """Whether all eigenvalues of the tail are equal within their errors; alphas of 10⁶ would come of it."""
    error = floor**2 if route == "gram" else 2 * largest * floor
    return bool(fit.n_tail > 0 and largest**2 - float(fit.xmin) <= 2 * error)


def _batches(matrices: np.ndarray) -> Iterator[np.ndarray]:
    """Matrices one by one or in groups, zero-padded to few shapes; zeros are appended to the spectrum, no more."""
    count = matrices.shape[0]
    shape = padded_shape(*matrices.shape[1:])
    group = GROUP if count > 1 and math.prod(shape) <= LARGE else 1
    for start in range(0, count, group):
        yield pad_to(matrices[start : start + group], (group, *shape))


@partial(jax.jit, static_argnames="method")
def _spectrum(matrices: jax.Array, method: Route) -> Spectrum:
    return spectrum(matrices, method)


def _fit(eigenvalues: np.ndarray, dtype: np.dtype) -> PowerLawFit:
    used = eigenvalues[eigenvalues > SMALLEST_FITTED]
    # Brought near 1 by a power of two, exactly: λ = σ² may leave float32's range where σ does not.
    unit = np.exp2(np.floor(np.log2(used.max()))) if used.size else 1.0
    size = padded_sample(used.size)
    fit = jax.device_get(_fit_program(pad_to((used / unit).astype(dtype), (size,)), np.arange(size) < used.size))
    return fit._replace(xmin=np.asarray(fit.xmin, np.float64) * unit)


_fit_program = jax.jit(lambda x, where: fit_power_law(x, where))
