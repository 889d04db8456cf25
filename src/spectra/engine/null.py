"""What of a spectrum differs from noise: the Marchenko–Pastur bulk, and the spectrum of the shuffled entries."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import numpy as np

from spectra.engine.backends import Backend
from spectra.engine.esd import ESD
from spectra.engine.fitted import Columns, name_number
from spectra.engine.options import Options
from spectra.engine.padding import pad_to
from spectra.engine.programs import fetch
from spectra.engine.shuffle import shuffled
from spectra.kernels.permutation import NullComparison, compare_with_null
from spectra.kernels.random_matrix import BulkFit, fit_bulk
from spectra.models.matrices import MatrixView

LEVEL = 0.05
"""Probability that a layer of noise is said to have a spike."""

FEW, REPEATED = 100, 5
"""With fewer eigenvalues than this, so many permutations: one largest eigenvalue alone scatters too much."""


class Shape(NamedTuple):
    """What the law of noise depends on."""

    N: float
    M: float
    kurtosis: float
    slices: float


def null_columns(
    weights: np.ndarray,
    esd: ESD,
    view: MatrixView,
    kurtosis: float | int | None,
    options: Options,
    backend: Backend,
    name: str,
) -> Columns:
    """Bulk, spikes and permutation null of a layer.

    Parameters
    ----------
    weights
        Its matrices, shape (matrices, rows, cols), all finite.
    kurtosis
        Excess kurtosis of the entries, which moves the edge of the bulk.
    name
        Of the layer: its permutations depend on it and on the seed, and not on the layers before it.
    """
    evals = esd.eigenvalues
    largest = float(evals[-1])
    if largest <= 0:
        return dict.fromkeys((*_bulk_names(None, 1.0), *_null_names(None, 1.0)))
    drawn = _permuted(weights, evals.size, options, backend, name)
    bulk, compared, unit = _fitted(evals, drawn, weights.dtype, view, kurtosis, backend)
    return _bulk_names(bulk, unit) | _null_names(compared, unit)


def permuted_spikes(
    weights: np.ndarray, view: MatrixView, kurtosis: float, options: Options, backend: Backend, name: str
) -> int:
    """Only `rand_num_spikes` of `null_columns`, to the same permutations; 0 where there is no bulk."""
    drawn = _permuted(weights, view.num_evals, options, backend, name)
    if max(float(values.max()) for values in drawn) <= 0:
        return 0
    return int(_fitted(drawn[0], drawn, weights.dtype, view, kurtosis, backend)[1].num_spikes)


def _permuted(weights: np.ndarray, num_evals: int, options: Options, backend: Backend, name: str) -> list[np.ndarray]:
    """Eigenvalues of all matrices of a layer with the entries of each in random places, for each permutation."""
    found = []
    for repeat in range(REPEATED if num_evals < FEW else 1):
        seed = options.seed, name_number(name), repeat
        mixed = np.stack([shuffled(matrix, (*seed, i)) for i, matrix in enumerate(weights)])
        values, _ = backend.spectra(mixed, "gram")
        found.append(np.square(values).ravel())
    return found


def _fitted(
    evals: np.ndarray,
    drawn: list[np.ndarray],
    dtype: np.dtype,
    view: MatrixView,
    kurtosis: float | int | None,
    backend: Backend,
) -> tuple[BulkFit, NullComparison, float]:
    """Both comparisons with noise, in multiples of the power of two that is returned with them."""
    unit = float(np.exp2(np.floor(np.log2(evals.max()))))
    length = backend.lengths[evals.size]
    real, inside = _padded(evals / unit, dtype, length), np.arange(length) < evals.size
    null = np.stack([_padded(values / unit, dtype, length) for values in drawn])
    shape = Shape(float(view.N), float(view.M), kurtosis or 0.0, float(view.rf))
    arguments = tuple(np.asarray(value, dtype) for value in shape)
    bulk, compared = fetch(lambda: _against_noise(real, null, inside, *arguments))
    return bulk, compared, unit


def _padded(values: np.ndarray, dtype: np.dtype, length: int) -> np.ndarray:
    return pad_to(values.astype(dtype), (length,))


def _bulk_names(fit: BulkFit | None, unit: float) -> Columns:
    names = ("sigma_mp", "bulk_min", "bulk_max", "bulk_edge", "num_spikes", "bulk_ks", "mp_softrank")
    if fit is None or int(fit.status) != 0:
        return dict.fromkeys(names)
    sigma = math.sqrt(float(fit.variance) * unit)
    found = (
        sigma,
        float(fit.lambda_minus) * unit,
        float(fit.lambda_plus) * unit,
        float(fit.edge) * unit,
        int(fit.num_spikes),
        float(fit.ks),
        float(fit.softrank),
    )
    return dict(zip(names, found, strict=True))


def _null_names(null: NullComparison | None, unit: float) -> Columns:
    names = ("max_rand_eval", "ww_softrank", "ww_maxdist", "rand_num_spikes", "w1_rand_distance")
    if null is None:
        return dict.fromkeys(names)
    found = (float(null.max_rand_eval) * unit, float(null.softrank), float(null.maxdist) * unit)
    return dict(zip(names, (*found, int(null.num_spikes), float(null.w1_distance)), strict=True))


@jax.jit
def _against_noise(
    real: jax.Array,
    null: jax.Array,
    inside: jax.Array,
    n: jax.Array,
    m: jax.Array,
    kurtosis: jax.Array,
    slices: jax.Array,
) -> tuple[BulkFit, NullComparison]:
    return (
        fit_bulk(real, n, m, inside, LEVEL, kurtosis, slices),
        compare_with_null(real, null, n, m, inside, LEVEL, kurtosis, slices),
    )
