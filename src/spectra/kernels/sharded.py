"""The spectrum of one matrix that is spread over several devices by rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from spectra.kernels.dtypes import power_of_two
from spectra.kernels.spectrum import Spectrum, gram_matrix, shown_spectrum, spectrum_of_gram


def sharded_spectrum(w: Float[Array, "n m"], mesh: Mesh) -> Spectrum:
    """Singular values by the Gram matrix, which is summed over the devices of a mesh.

    Each device forms WᵀW of its rows; only these m×m matrices travel. To be called under `jit`.

    Parameters
    ----------
    w
        One matrix with at least as many rows as columns, its rows spread over the only axis of `mesh`, in equal
        shares; zero rows that make them equal change nothing.
    mesh
        The devices, static.

    Returns
    -------
    Spectrum
        As of `spectrum(w, "gram")`, on every device.

    Raises
    ------
    ValueError
        For a matrix with more columns than rows: transpose it.
    """
    if w.ndim != 2 or w.shape[0] < w.shape[1]:
        raise ValueError(f"a matrix with at least as many rows as columns is needed, got shape {w.shape}")
    (rows,) = mesh.axis_names
    finite = jnp.all(jnp.isfinite(w))
    w = jnp.where(finite, w, 0)
    scale = power_of_two(jnp.max(jnp.abs(w)))
    spread, whole = PartitionSpec(rows, None), PartitionSpec()
    summed = jax.shard_map(
        lambda part: lax.psum(gram_matrix(part), rows), mesh=mesh, in_specs=spread, out_specs=whole, check_vma=False
    )
    num_evals = jnp.asarray(w.shape[1], jnp.int32)
    values, floor = spectrum_of_gram(summed(w / scale), num_evals.astype(w.dtype))
    return shown_spectrum(values, floor, num_evals, finite, scale)
