"""Float64 to the element type of a checkpoint: to the nearest value, whatever the type."""

from __future__ import annotations

import ml_dtypes
import numpy as np


def rounded(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Round float64 values to a floating-point type, ties to even.

    Values beyond its largest finite one become that: what was finite stays finite.

    Notes
    -----
    The types of ml_dtypes (bfloat16, float8_…) convert float64 by way of float32, which rounds twice: a value just
    above the middle between two of theirs would be rounded to the middle first, and then down. Rounding to *odd* on
    the way avoids that (Boldo & Melquiond, IEEE Trans. Comput. 57 (2008) 462).
    """
    largest = float(ml_dtypes.finfo(dtype).max)
    inside = np.clip(values, -largest, largest)
    return (inside if dtype.type.__module__ == "numpy" else _to_odd(inside)).astype(dtype)


def _to_odd(values: np.ndarray) -> np.ndarray:
    """Float32 values that are exact, or the neighbour whose last bit is 1."""
    single = values.astype(np.float32)
    error = values - single
    bits = single.view(np.uint32)
    inexact = (error != 0) & (bits & 1 == 0) & (single != 0)  # what float32 takes for 0 is 0 in any shorter type
    away = (error > 0) == (single > 0)
    bits += np.where(inexact, np.where(away, 1, -1), 0).astype(np.uint32)  # modulo 2³², so −1 is a step down
    return single
