"""The median without a sort."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from spectra.kernels.roots import Number


def median(x: Float[Array, " n"], inside: Bool[Array, " n"], size: Int[Array, ""]) -> Number:
    """By bisection over the bit patterns: one count for each bit, where XLA's sort would take far longer."""
    kind = jnp.int32 if x.dtype == jnp.float32 else jnp.int64
    bits = lax.bitcast_convert_type(x + 0.0, kind)  # −0 becomes 0
    last = jnp.iinfo(kind).max
    keys = jnp.where(bits < 0, bits ^ last, bits)  # in the order of the numbers

    def narrow(_: Any, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low & high) + ((low ^ high) >> 1)
        enough = jnp.sum(inside & (keys <= middle), dtype=jnp.int32) >= (size + 1) // 2
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    bounds = jnp.asarray(jnp.iinfo(kind).min, kind), jnp.asarray(last, kind)
    key, _ = lax.fori_loop(0, jnp.iinfo(kind).bits, narrow, bounds)
    lower = lax.bitcast_convert_type(jnp.where(key < 0, key ^ last, key), x.dtype)
    upper = jnp.min(jnp.where(inside & (keys > key), x, jnp.inf), initial=jnp.inf)
    reached = 2 * jnp.sum(inside & (keys <= key), dtype=jnp.int32) > size
    return jnp.where(reached, lower, lower / 2 + upper / 2)
