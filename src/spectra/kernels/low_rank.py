"""Singular values of a product of two thin matrices, without forming it.

B·A with B of shape (m, r) and A of shape (r, n) has at most r singular values other than 0. With B = Q₁R₁ and Aᵀ = Q₂R₂
they are those of the small core R₁R₂ᵀ, for orthonormal columns change none: O((m + n)·r²) instead of O(m·n·min(m, n)).
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Num

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, eps, power_of_two, to_compute
from spectra.kernels.spectrum import Method, Spectrum, spectrum
from spectra.kernels.turns import after

CORE_ERROR = 16.0
"""Rounding of the two decompositions and of the core: |δσ| ≤ CORE_ERROR·eps·‖B‖_F·‖A‖_F."""


@compiled("method")
def low_rank_spectrum(
    b: Num[AnyArray, "*batch m r"], a: Num[AnyArray, "*batch r n"], method: Method = "svd"
) -> Spectrum:
    """Singular values of B·A with the number of unresolved ones and the resolution limit.

    Parameters
    ----------
    b, a
        The factors, shapes ``(..., m, r)`` and ``(..., r, n)``, with the same batch axes.
    method
        As for `spectra.spectrum`, on the core; ``svd`` costs little on a matrix so small.

    Returns
    -------
    Spectrum
        `singular_values` has shape ``(..., min(m, n, r))``: those that need not be 0. No value is off by more than
        `floor`, which grows with the factors and not with the product: where B and A nearly cancel, the product is
        what rounding makes of it, and is unresolved. Factors with NaN or infinite entries give NaN throughout.

    Raises
    ------
    ValueError
        For fewer than two axes, an empty factor (rank 0), or shapes that do not fit.
    """
    left, right = to_compute(b), to_compute(a)
    if left.ndim < 2 or right.ndim < 2 or 0 in (*left.shape[-2:], *right.shape[-2:]):
        raise ValueError(f"factors with at least one row and column are needed, got shapes {left.shape}, {right.shape}")
    if left.shape[-1] != right.shape[-2] or left.shape[:-2] != right.shape[:-2]:
        raise ValueError(f"factors of shapes {left.shape} and {right.shape} have no product")
    left, unit = _scaled(left)
    right, other = _scaled(jnp.swapaxes(right, -1, -2))
    first = jnp.linalg.qr(left, mode="r")
    second = jnp.linalg.qr(after(right, first), mode="r")
    core = jnp.matmul(first, jnp.swapaxes(second, -1, -2), precision=lax.Precision.HIGHEST)
    found = spectrum(core, method)
    sizes = jnp.linalg.norm(lax.stop_gradient(left), axis=(-2, -1)) * jnp.linalg.norm(
        lax.stop_gradient(right), axis=(-2, -1)
    )
    floor = found.floor + CORE_ERROR * eps(core) * sizes
    values = found.singular_values
    shown = jnp.where(values > floor[..., None], values, jnp.where(jnp.isnan(values), values, 0))
    lost = jnp.where(floor > 0, jnp.sum(shown == 0, axis=-1, dtype=jnp.int32), 0)
    lost = jnp.where(jnp.isnan(floor), values.shape[-1], lost)
    scale = unit * other
    return Spectrum(shown * scale[..., None], found.num_evals, lost, floor * scale)


@compiled("method")
def low_rank_singular_values(
    b: Num[AnyArray, "*batch m r"], a: Num[AnyArray, "*batch r n"], method: Method = "svd"
) -> Float[Array, "*batch k"]:
    """Singular values of B·A in descending order, shape ``(..., min(m, n, r))``; the rest are 0.

    `low_rank_spectrum` describes the parameters and tells which values could not be resolved; those are 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from spectra.kernels.low_rank import low_rank_singular_values
    >>> b, a = jnp.array([[3.0], [4.0]]), jnp.array([[0.0, 2.0, 0.0]])
    >>> [round(float(s), 3) for s in low_rank_singular_values(b, a)]
    [10.0]
    """
    return low_rank_spectrum(b, a, method).singular_values


def _scaled(factor: Float[Array, "*batch n r"]) -> tuple[Float[Array, "*batch n r"], Float[Array, "*batch"]]:
    """The factor over a power of two, so that products neither over- nor underflow, and that power."""
    largest = jnp.max(jnp.abs(factor), axis=(-2, -1))
    unit = power_of_two(jnp.where(jnp.isfinite(largest), largest, 1))
    return factor / unit[..., None, None], unit
