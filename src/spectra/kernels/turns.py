"""Decompositions one after the other, where they must not run at once."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from spectra.kernels.dtypes import AnyArray


def after(x: Float[Array, "*x"], result: Float[AnyArray, "*result"]) -> Float[Array, "*x"]:
    """`x`, but not before `result`, which is not empty, is there.

    A batch of decompositions in jaxlib's LAPACK on the CPU holds a thread of XLA's pool while its parts wait for one.
    As many batches at once as there are threads wait for ever ("Programs that never return" in docs/architecture.md).
    """
    there = jnp.any(jnp.isnan(result)) | ~jnp.all(jnp.isnan(result))  # always, but the compiler cannot know
    return jnp.where(there, x, 0)
