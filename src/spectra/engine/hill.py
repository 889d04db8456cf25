"""Hill's estimator on the host: the counterpart of `kernels/hill.py`, with nothing to compile."""

from __future__ import annotations

import numpy as np


def hill(ascending: np.ndarray, error: float) -> float | None:
    """Exponent alpha = 1 + k/Σ ln(λⱼ/λ₋ₖ) of the larger half of some eigenvalues, k = ⌈n/2⌉; from their median upwards.

    Parameters
    ----------
    ascending
        Eigenvalues λ ≥ 0, shape ``(n,)``, 0 where unresolved.
    error
        Bound of the error of the largest.

    Returns
    -------
    float or None
        None where the median was not resolved, or all values from it on are equal within their errors.
    """
    tail = ascending[ascending.size // 2 :]
    if not tail.size or tail[0] <= 0 or tail[-1] - tail[0] <= 2 * error:
        return None
    return float(1 + tail.size / np.log(tail / tail[0]).sum())
