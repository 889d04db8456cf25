"""Hill's estimator: the exponent of a tail whose start is a fixed share of the sample, with no search for xmin."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, to_compute, to_mask
from spectra.kernels.scan import log_ratio


@compiled()
def hill_alpha(
    eigenvalues: Num[AnyArray, "*batch n"],
    where: Bool[AnyArray, "*mask"] | None = None,
    k: Int[AnyArray, "*size"] | int | None = None,
) -> Float[Array, "*batch"]:
    """Exponent alpha = 1 + k/Σ ln(xⱼ/x₋ₖ) of the k largest values of each sample along the last axis.

    The sum is over the k largest values and x₋ₖ is the smallest of them, as in TempBalance (Zhou et al., NeurIPS 36
    (2023)): its xmin is the median, k = ⌈n/2⌉. Hill, Ann. Stat. 3 (1975) 1163.

    Parameters
    ----------
    eigenvalues
        Samples, shape ``(..., n)``, in any order. Values ≤ 0 count as values but cannot be in a tail: fewer than k
        positive ones give NaN.
    where
        True for the values that count; broadcast to the shape of `eigenvalues`.
    k
        Size of the tail, broadcast to the batch shape; None for half of the values, rounded up. At least 2.

    Returns
    -------
    Array
        Shape ``(...)``; NaN without two distinct values in the tail, or with a NaN or infinity among the values.
        Differentiable.

    Examples
    --------
    >>> import numpy as np, spectra.kernels as kernels
    >>> x = (1 - np.random.default_rng(0).random(20000)) ** (-1 / 1.5)  # a Pareto sample with alpha = 2.5
    >>> round(float(kernels.hill_alpha(x)), 1)
    2.5
    """
    values = to_compute(eigenvalues)
    mask = to_mask(where, values)
    count = jnp.sum(mask, axis=-1, dtype=jnp.int32)
    size = (count + 1) // 2 if k is None else jnp.broadcast_to(jnp.asarray(k, jnp.int32), count.shape)
    finite = jnp.all(jnp.isfinite(values) | ~mask, axis=-1)

    descending = -jnp.sort(-jnp.where(mask & finite[..., None], values, -jnp.inf), axis=-1)
    place = jnp.clip(size - 1, 0, values.shape[-1] - 1)
    start = jnp.take_along_axis(descending, place[..., None], axis=-1)
    exists = finite & (size >= 2) & (size <= count) & (start[..., 0] > 0)
    tail = (jnp.arange(values.shape[-1]) < size[..., None]) & exists[..., None]
    logs = jnp.where(tail, log_ratio(jnp.where(tail, descending, 1), jnp.where(tail, start, 1)), 0)
    total = jnp.sum(logs, axis=-1)
    found = exists & (lax.stop_gradient(total) > 0)
    return jnp.where(found, 1 + size.astype(values.dtype) / jnp.where(found, total, 1), jnp.nan)
