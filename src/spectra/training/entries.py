"""Statistics of the entries of layers of any size, by one program.

All entries are cut into chunks of one length, the last of each layer filled up, so that a network with layers of many
shapes compiles no more than one with layers of a single shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from spectra.kernels import Moments
from spectra.kernels.dtypes import AnyArray
from spectra.kernels.moments import measure_block, moments_of, total_of

CHUNK = 8192
"""Entries of a chunk, whose moments are taken about their own mean."""


class Chunks(NamedTuple):
    """The entries of several layers."""

    values: Float[Array, "chunks size"]
    """Layer after layer; the last chunk is empty."""
    inside: Bool[Array, "chunks size"]
    """False in the filling."""
    owner: Int[np.ndarray, " chunks"]
    """Which layer a chunk belongs to."""
    table: Int[np.ndarray, "layers most"]
    """The chunks of each layer; where a layer has fewer, the empty one."""


def cut_in_chunks(entries: Sequence[Float[Array, ...]]) -> Chunks:
    """Chunks of the entries of each layer, of any shapes."""
    sizes = np.array([each.size for each in entries])
    counts = -(-sizes // CHUNK)
    filled = [jnp.pad(each.ravel(), (0, -each.size % CHUNK)) for each in entries]
    values = jnp.concatenate([*filled, jnp.zeros(CHUNK, filled[0].dtype)]).reshape(-1, CHUNK)
    owner = np.append(np.repeat(np.arange(len(entries)), counts), 0)
    first = np.cumsum(counts) - counts
    place = np.arange(max(counts))
    table = np.where(place < counts[:, None], first[:, None] + place, len(owner) - 1)
    left = sizes[owner] - (np.arange(len(owner)) - first[owner]) * CHUNK
    left[-1] = 0
    # Behind a barrier, for XLA would spend seconds on folding the mask and all that follows from it into constants.
    inside = jnp.arange(CHUNK) < lax.optimization_barrier(jnp.asarray(left))[:, None]
    return Chunks(values, inside, owner, table)


def moments_of_layers(chunks: Chunks) -> Moments:
    """`spectra.moments` of each layer: fields of shape (layers,)."""
    blocks = jax.vmap(measure_block)(chunks.values, chunks.inside)
    return jax.vmap(lambda row: moments_of(total_of(jax.tree.map(lambda field: field[row], blocks))))(chunks.table)


def share_below(
    chunks: Chunks, limit: Float[Array, " layers"], count: Int[AnyArray, " layers"]
) -> Float[Array, " layers"]:
    """The share of the entries of each layer with |w| below its limit."""
    small = jnp.abs(chunks.values) < limit[chunks.owner][:, None]
    counts = jnp.sum(small & chunks.inside, axis=-1, dtype=jnp.int32)
    return jnp.sum(counts[chunks.table], axis=-1) / count


NEAR_ZERO: dict[str, Callable[[Moments], Array]] = {
    "near_zero_std": lambda m: jnp.where(m.std > 0, 0.1 * m.std, jnp.nan),
    "near_zero_max": lambda m: 0.01 * jnp.maximum(jnp.abs(m.min), jnp.abs(m.max)),
}
"""Limits below which entries count as near zero; NaN where there is none."""
