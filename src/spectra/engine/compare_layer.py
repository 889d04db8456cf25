"""Everything about one layer in two checkpoints: the change of its weights, and the shift of what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from spectra.engine.backends import Backend
from spectra.engine.compare_vectors import Column, Directions, directions_wanted, leading_directions
from spectra.engine.esd import pooled_esd
from spectra.engine.operator import measured_by
from spectra.engine.options import Options
from spectra.engine.plan import Step
from spectra.errors import InputError
from spectra.models.matrices import MatrixView
from spectra.models.source import Array
from spectra.report.result import LayerResult

BLOCK = 1 << 18
"""Entries that are widened at a time."""

SHIFTED = ("stable_rank", "near_zero_std", "kurtosis")
"""Columns of the analysis that are shown for both checkpoints, with their difference."""


def cut(step: Step, tensor: Array) -> np.ndarray:
    """The matrices of a layer, shape (matrices, rows, cols), or its entries where it has none; in its own type."""
    whole = np.asarray(tensor)
    return np.asarray(step.layer.view.matrices(whole)) if step.layer.view else whole


def directions(step: Step, weights: np.ndarray, top: int, options: Options, backend: Backend) -> Directions | None:
    """The leading singular vectors of a layer; None where they are not wanted or its matrices are never formed."""
    view = step.layer.view
    if type(view) is not MatrixView or not top:
        return None
    k = directions_wanted(view, top)
    return leading_directions(weights, k, options.dtype, backend)


def change_columns(
    step: Step, before: np.ndarray, after: np.ndarray, options: Options, backend: Backend
) -> tuple[dict[str, Column], np.ndarray | None]:
    """The size and the spectrum of ΔW = after − before, and its eigenvalues, ascending.

    Raises
    ------
    InputError
        If ΔW does not fit the computing type.
    """
    size = _norm(before)
    delta = _difference(before, after, options.dtype)
    largest = max(float(delta.max()), -float(delta.min()))
    if not math.isfinite(largest):
        raise InputError("the difference exceeds float32: use precision float64")
    unit = float(np.exp2(np.clip(np.floor(np.log2(largest)), -126, 126))) if largest > 0 else 1.0
    # Near 1, so that the fit's threshold on eigenvalues means the same for a small change as for a large one.
    delta *= delta.dtype.type(1 / unit)
    norm = _norm(delta) * unit
    columns: dict[str, Column] = {"delta_norm": norm, "relative_change": norm / size if size else None}
    if step.layer.view is None:
        return columns, None
    spectral, eigenvalues = _spectrum_of_change(step, delta, unit, options, backend)
    return columns | spectral, eigenvalues


def _spectrum_of_change(
    step: Step, delta: np.ndarray, unit: float, options: Options, backend: Backend
) -> tuple[dict[str, Column], np.ndarray]:
    # What gram leaves unresolved is no part of these columns; a change of low rank would ask for svd every time.
    options = replace(options, method="gram") if options.method == "auto" else options
    if step.layer.view is not None:
        options, backend = measured_by(step.layer.view, options, backend)
    alpha = sigma = None
    if step.action == "analyze":
        esd = pooled_esd(delta, options, backend)
        eigenvalues = esd.eigenvalues
        if esd.fit.n_tail > 1:
            alpha, sigma = float(esd.fit.alpha), float(esd.fit.sigma)
    else:
        values, _ = backend.spectra(delta, "gram" if options.method == "gram" else "svd")
        eigenvalues = np.sort(np.square(values), axis=None)
    largest = float(eigenvalues[-1])
    columns: dict[str, Column] = {
        "delta_lambda_max": largest * unit**2,
        "delta_sv_max": math.sqrt(largest) * unit,
        "delta_stable_rank": float(eigenvalues.sum()) / largest if largest > 0 else None,
        "delta_alpha": alpha,
        "delta_sigma": sigma,
    }
    return columns, eigenvalues * unit**2


def shift_columns(before: LayerResult, after: LayerResult) -> dict[str, Column]:
    """What two analyses of a layer tell together: distance of the spectra, shift of alpha and of others."""
    columns: dict[str, Column] = {"w1_distance": _esd_distance(before.eigenvalues, after.eigenvalues)}
    a, b = (_pair(before, after, name) for name in ("alpha", "sigma"))
    columns |= {"alpha_a": a[0], "alpha_b": a[1], "sigma_a": b[0], "sigma_b": b[1]}
    shift = error = z = None
    if a[0] is not None and a[1] is not None and b[0] is not None and b[1] is not None:
        shift, error = a[1] - a[0], math.hypot(b[0], b[1])
        z = shift / error if error > 0 else None
    columns |= {"alpha_shift": shift, "alpha_shift_sigma": error, "alpha_z": z}
    for name in SHIFTED:
        one, other = _pair(before, after, name)
        shift = None if one is None or other is None else other - one
        columns |= {f"{name}_a": one, f"{name}_b": other, f"{name}_shift": shift}
    return columns


def _pair(before: LayerResult, after: LayerResult, name: str) -> tuple[float | None, float | None]:
    one, other = (result.metrics.get(name) for result in (before, after))
    return (None if one is None else float(one)), (None if other is None else float(other))


def _esd_distance(one: np.ndarray | None, other: np.ndarray | None) -> float | None:
    """Wasserstein-1 distance of two spectra of equal size, both ascending, over the mean eigenvalue of the first."""
    if one is None or other is None or not one.mean() > 0:
        return None
    return float(np.mean(np.abs(other - one)) / one.mean())


def _difference(before: np.ndarray, after: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """After − before, subtracted in the wider of their types and no less than float32, then in `dtype`."""
    wide = np.result_type(before.dtype, after.dtype, np.float32)
    delta = np.empty(before.shape, dtype)
    with np.errstate(over="ignore"):
        for out, one, other in zip(*map(_blocks, (delta, before, after)), strict=True):
            out[...] = other.astype(wide) - one.astype(wide)
    return delta


def _norm(w: np.ndarray) -> float:
    """√Σw² in float64, whatever the magnitudes."""
    return math.hypot(*map(_norm_of_block, _blocks(w)))


def _norm_of_block(block: np.ndarray) -> float:
    entries = block.astype(np.float64).ravel()
    norm = float(np.linalg.norm(entries))
    if 1e-150 < norm < 1e150:
        return norm
    largest = float(np.max(np.abs(entries), initial=0))  # squares leave float64's range
    return largest * float(np.linalg.norm(entries / largest)) if largest > 0 else 0.0


def _blocks(w: np.ndarray) -> Iterator[np.ndarray]:
    """Views of an array, of about `BLOCK` entries each, whatever its strides."""
    matrices: Sequence[np.ndarray] = list(w) if w.ndim == 3 else [w.reshape(w.shape[0], -1)]
    for matrix in matrices:
        rows = max(BLOCK // max(matrix.shape[1], 1), 1)
        for start in range(0, matrix.shape[0], rows):
            yield matrix[start : start + rows]
