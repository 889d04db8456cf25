"""What the kernels take, and the one rule for element types: float32 unless the caller brought float64."""

from __future__ import annotations

from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped

AnyArray: TypeAlias = jax.Array | np.ndarray
"""Arrays as callers hold them; inside the kernels they are JAX's."""


def to_compute(x: Shaped[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
    """Widen to the type that the kernels compute in.

    bfloat16, float16 and float8 become float32 (exactly); float32 and float64 stay; integers and booleans become
    JAX's default float.

    Raises
    ------
    TypeError
        For complex or non-numeric input.
    """
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x if x.dtype in (jnp.float32, jnp.float64) else x.astype(jnp.float32)
    if jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == jnp.bool_:
        return x.astype(jnp.result_type(float))
    raise TypeError(f"real numbers are needed, not {x.dtype}: take the absolute value or the real part first")


def to_mask(where: Bool[AnyArray, "*mask"] | None, x: Shaped[AnyArray, "*shape"]) -> Bool[Array, "*shape"]:
    """The mask of entries that count, broadcast to the shape of `x`; all of them for None."""
    if where is None:
        return jnp.ones(x.shape, bool)
    return jnp.broadcast_to(where, x.shape)


def eps(x: Float[AnyArray, "*shape"]) -> float:
    """Distance from 1 to the next number in the element type of `x`."""
    return float(jnp.finfo(x.dtype).eps)


def power_of_two(magnitude: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """A power of two within a factor of four of each magnitude, and 1 for 0: dividing by it is exact.

    It stays clear of the ends of the range, for XLA may divide by multiplying with the reciprocal, which must not be
    subnormal. It carries no gradient.
    """
    magnitude = lax.stop_gradient(magnitude)
    _, exponent = jnp.frexp(jnp.where(magnitude > 0, magnitude, 1))
    limit = -jnp.finfo(magnitude.dtype).minexp - 1
    return jnp.ldexp(jnp.ones_like(magnitude), jnp.clip(exponent - 1, -limit, limit))
