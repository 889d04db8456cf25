"""FARMS of a layer: the exponent over windows of one aspect ratio, so that layers of different shape compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spectra.engine.fitted import Columns
from spectra.engine.hill import hill
from spectra.kernels.farms import farms_windows
from spectra.models.matrices import MatrixView

if TYPE_CHECKING:
    from spectra.engine.backends import Backend

RATIO = 1.0
"""Of the windows, which are square."""


def farms_columns(weights: np.ndarray, backend: Backend) -> Columns:
    """`farms_alpha`: Hill's estimator on the eigenvalues of all windows of all matrices, as in `spectra.kernels`.

    Parameters
    ----------
    weights
        Matrices of a layer, shape (matrices, rows, cols), all finite.
    """
    found, floors = [], []
    for matrix in weights:
        values, floor = backend.spectra(_cut(matrix), "gram")
        found.append(np.square(values).ravel())
        floors.append(floor.max())
    return {"farms_alpha": hill(np.sort(np.concatenate(found)), float(max(floors)) ** 2)}


def _cut(matrix: np.ndarray) -> np.ndarray:
    """All windows of one matrix, shape (windows, rows, cols)."""
    windows = farms_windows(matrix.shape[0], matrix.shape[1], RATIO)
    rows, cols = windows.shape
    return np.stack([matrix[r : r + rows, c : c + cols] for r in windows.row_starts for c in windows.column_starts])


def window_count(view: MatrixView) -> tuple[int, int]:
    """How many windows each matrix of a layer has, and their side."""
    return farms_windows(view.N, view.M, RATIO).number, view.M
