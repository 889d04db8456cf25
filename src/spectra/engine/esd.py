"""The eigenvalue spectrum of one layer and the power-law fit of its tail."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from spectra.engine.backends import Backend
from spectra.engine.fitted import Sample, fit_less_fingers, fit_sample, no_fit
from spectra.engine.options import Options
from spectra.kernels import PowerLawFit
from spectra.kernels.spectrum import Route
from spectra.kernels.status import FitStatus

SMALLEST_FITTED = 1e-5
"""Eigenvalues up to this one are left out of the fit, as in WeightWatcher."""

RANK_IN_DOUBT = 0.1
"""Share of unresolved eigenvalues from which on a decomposition that resolves them is worth its price."""


class Fingers(NamedTuple):
    """The largest eigenvalues that spoil the fit (`kernels.fingers`)."""

    number: int
    raw_alpha: float
    """Exponent with them; NaN where there is no fit."""


class ESD(NamedTuple):
    """Pooled spectrum of a layer's matrices and its fit, in float64 on the host."""

    singular_values: np.ndarray
    """Shape (matrices, M), descending in each row; 0 where unresolved."""
    num_unresolved: np.ndarray
    """Shape (matrices,)."""
    floor: np.ndarray
    """Shape (matrices,): smallest singular value that could be resolved in each."""
    sample: Sample
    """The eigenvalues that are fitted, without any fingers."""
    fit: PowerLawFit
    route: Route
    fingers: Fingers | None = None
    """What was left out of sample and fit; None where it was not asked for."""

    @property
    def eigenvalues(self) -> np.ndarray:
        """All λ = σ², ascending."""
        return np.sort(np.square(self.singular_values), axis=None)


def pooled_esd(matrices: np.ndarray, options: Options, backend: Backend) -> ESD:
    """Spectrum and fit of matrices of shape (matrices, rows, cols), all finite.

    With ``method="auto"`` the Gram route comes first, and svd follows where an unresolved eigenvalue could change
    what is reported (`_is_doubtful`).
    """
    if options.method != "auto":
        return _esd(matrices, options.method, options, backend)
    esd = _esd(matrices, "gram", options, backend)
    return _esd(matrices, "svd", options, backend) if _is_doubtful(esd, matrices.dtype) else esd


def _is_doubtful(esd: ESD, dtype: np.dtype) -> bool:
    """Whether unresolved eigenvalues of the Gram route could matter.

    They lie below every resolved one, so each tail that starts at a resolved eigenvalue is exact; only a fit that
    reaches down to the bottom of the resolved ones might have gone on among the others. More than 10 % of them
    unresolved calls the rank in question; the bottom of a square heavy-tailed matrix alone has 2 to 4 %. In float64,
    asked for its accuracy, a single one is reason enough.
    """
    lost = int(esd.num_unresolved.sum())
    resolved = np.count_nonzero(esd.singular_values)
    if lost == 0:
        return False
    rank_in_doubt = lost > RANK_IN_DOUBT * esd.singular_values.size
    return bool(dtype == np.float64 or rank_in_doubt or int(esd.fit.n_tail) > 0.9 * resolved)


def _esd(matrices: np.ndarray, route: Route, options: Options, backend: Backend) -> ESD:
    values, floor = backend.spectra(matrices, route)
    unresolved = np.where(floor > 0, np.sum(values == 0, axis=1), 0)
    evals = np.square(values)
    sample = Sample.of(evals[evals > SMALLEST_FITTED], matrices.dtype, backend.lengths[values.size])
    sample, fit, fingers = _less_fingers(sample) if options.fix_fingers else (sample, fit_sample(sample), None)
    if _is_constant(fit, float(sample.values.max(initial=0)) * sample.unit, floor.max(), route):
        fit = no_fit(FitStatus.NO_SPREAD)
        fingers = Fingers(0, np.nan) if fingers and not fingers.number else fingers
    return ESD(values, unresolved, floor, sample, fit, route, fingers)


def _less_fingers(sample: Sample) -> tuple[Sample, PowerLawFit, Fingers]:
    found = fit_less_fingers(sample)
    number = int(found.num_fingers)
    return sample.without(number), found.fit, Fingers(number, float(found.raw.alpha))


def _is_constant(fit: PowerLawFit, largest: float, floor: float, route: Route) -> bool:
    """Whether all eigenvalues of the tail are equal within their errors; alphas of 10⁶ would come of it."""
    error = eigenvalue_error(largest, floor, route)
    return bool(fit.n_tail > 0 and largest - float(fit.xmin) <= 2 * error)


def eigenvalue_error(eigenvalue: float, floor: float, route: Route) -> float:
    """Bound of the error of λ, by the smallest singular value that its route resolves."""
    return floor**2 if route == "gram" else 2 * math.sqrt(eigenvalue) * floor
