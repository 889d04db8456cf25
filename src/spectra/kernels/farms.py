"""FARMS: the tail of a spectrum over windows of one aspect ratio, so that layers of different shape compare.

The Marchenko–Pastur law depends on Q = N/M: the wider apart the two, the narrower the bulk, and the larger the alpha of
pure noise. Windows of a fixed ratio all have the law of that ratio. Hu, Goel, Killiakov & Yang, "Eigenspectrum analysis
of neural networks without aspect ratio bias", ICML 2025 (arXiv:2506.06280).
"""

from __future__ import annotations

import operator
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Num

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, to_compute
from spectra.kernels.hill import hill_alpha
from spectra.kernels.spectrum import eigenvalues

ADJUST = 1e-9
"""Keeps rounding of the ratio from costing a row."""


class Windows(NamedTuple):
    """Equal windows of a matrix: their shape and where they start, every row start with every column start."""

    shape: tuple[int, int]
    row_starts: tuple[int, ...]
    column_starts: tuple[int, ...]

    @property
    def number(self) -> int:
        """How many windows there are."""
        return len(self.row_starts) * len(self.column_starts)


class Farms(NamedTuple):
    """The tail of the pooled spectrum of all windows."""

    alpha: Float[AnyArray, ""]
    """Hill's estimator at the median of the pooled eigenvalues."""
    eigenvalues: Float[AnyArray, " pooled"]
    """Those of all windows, ascending; for figures and other fits."""


def farms_windows(
    rows: int, columns: int, ratio: float = 1.0, width: int | None = None, most: int | None = None
) -> Windows:
    """Windows of one aspect ratio that cover a matrix evenly, overlapping no more than they must.

    Parameters
    ----------
    rows, columns
        Shape of the matrix.
    ratio
        Longer over shorter side of a window, at least 1. The longer side lies along the longer side of the matrix.
    width
        Shorter side of a window; None for the largest that fits, which takes the fewest windows and the least time.
        One width for all layers makes them alike in size too.
    most
        Largest number of windows along each axis, evenly spread; None for as many as cover the matrix.

    Raises
    ------
    ValueError
        If no window of the ratio fits, or a number is out of range.
    """
    if not ratio >= 1:
        raise ValueError(f"the ratio of a window is its longer over its shorter side, at least 1, not {ratio}")
    long, short = max(rows, columns), min(rows, columns)
    largest = min(short, int(long / ratio + ADJUST))
    width = largest if width is None else operator.index(width)
    if not 1 <= width <= largest:
        raise ValueError(f"no window of width {width} and ratio {ratio:g} fits into {rows}×{columns}")
    if most is not None and operator.index(most) < 1:
        raise ValueError(f"at least one window is needed, not {most}")
    length = min(long, int(width * ratio + ADJUST))
    shape = (length, width) if rows >= columns else (width, length)
    starts = [_starts(size, part, most) for size, part in zip((rows, columns), shape, strict=True)]
    return Windows(shape, *starts)


def _starts(size: int, part: int, most: int | None) -> tuple[int, ...]:
    """Where parts start that cover `size` with the fewest, the first at the beginning and the last at the end."""
    number = -(-size // part)
    number = number if most is None else min(number, most)
    if number == 1:
        return ((size - part) // 2,)
    return tuple(round(i * (size - part) / (number - 1)) for i in range(number))


@compiled("ratio", "width", "most")
def farms_eigenvalues(
    w: Num[AnyArray, "m n"], ratio: float = 1.0, width: int | None = None, most: int | None = None
) -> Float[Array, " pooled"]:
    """Eigenvalues λ = σ² of all windows together, ascending, by the gram route; the parameters of `farms_windows`.

    One window after another, so that memory is that of one. Values that are not resolved are 0.
    """
    matrix = to_compute(w)
    rows, columns = matrix.shape
    windows = farms_windows(rows, columns, ratio, width, most)
    starts = [(row, column) for row in windows.row_starts for column in windows.column_starts]

    def one(start: Int[Array, 2]) -> Float[Array, " k"]:
        return eigenvalues(lax.dynamic_slice(matrix, (start[0], start[1]), windows.shape), "gram")

    return jnp.sort(lax.map(one, jnp.asarray(starts, jnp.int32)).ravel())


@compiled("ratio", "width", "most")
def farms_alpha(
    w: Num[AnyArray, "m n"], ratio: float = 1.0, width: int | None = None, most: int | None = None
) -> Farms:
    """Alpha over sub-matrices of one aspect ratio: their eigenvalues pooled, then Hill's estimator at the median.

    Parameters
    ----------
    w
        A matrix, not padded; `vmap` over several of one shape.
    ratio, width, most
        Of the windows: `farms_windows`. All three are static.

    Notes
    -----
    For noise alpha is that of the Marchenko–Pastur law of the ratio, 2.12 for 1 and 2.71 for 2, whatever the shape of
    the matrix. The paper averages the densities of the windows, which is pooling, and takes windows of a fixed number
    of rows at a fixed number of places; `width` and `most` do that.

    Examples
    --------
    >>> import jax, numpy as np, spectra.kernels as kernels
    >>> rng = np.random.default_rng(0)
    >>> tall, square = (rng.standard_normal(shape).astype(np.float32) for shape in [(1600, 100), (400, 400)])
    >>> both = jax.jit(lambda w: (kernels.hill_alpha(kernels.eigenvalues(w)), kernels.farms_alpha(w).alpha))
    >>> [[round(float(alpha), 1) for alpha in both(w)] for w in (tall, square)]
    [[5.9, 2.1], [2.1, 2.1]]
    """
    pooled = farms_eigenvalues(w, ratio, width, most)
    return Farms(hill_alpha(pooled), pooled)
