"""The permutation null: the spectrum of the same entries in random places, and how far the real one is from it.

Permuting keeps every entry, so its spectrum shows what the entries alone can do; what correlations between them have
learned is gone. An eigenvalue of the permuted matrix beyond its own bulk comes from single huge entries or from their
mean: a correlation trap.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key, Num, UInt32

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, to_compute, to_mask
from spectra.kernels.marchenko_pastur import Numbers
from spectra.kernels.moments import moments
from spectra.kernels.random_matrix import fit_bulk
from spectra.kernels.spectrum import eigenvalues
from spectra.kernels.turns import after

PRNGKey = Key[AnyArray, ""] | UInt32[AnyArray, "2"]


class NullComparison(NamedTuple):
    """A spectrum beside the spectra of its permuted matrices."""

    max_rand_eval: Float[AnyArray, "*batch"]
    """Largest eigenvalue of a permuted matrix, mean over the permutations."""
    softrank: Float[AnyArray, "*batch"]
    """max_rand_eval / λ_max (`ww_softrank`); 1 for a zero matrix."""
    maxdist: Float[AnyArray, "*batch"]
    """λ_max − max_rand_eval (`ww_maxdist`), in the units of X."""
    num_spikes: Int[AnyArray, "*batch"]
    """Eigenvalues of a permuted matrix beyond its own bulk edge (`rand_num_spikes`), lower median over permutations."""
    bulk_edge: Float[AnyArray, "*batch"]
    """That edge, mean over the permutations; NaN where no bulk could be fitted."""
    w1_distance: Float[AnyArray, "*batch"]
    """Wasserstein-1 distance of the two distributions of eigenvalues over the mean eigenvalue (`w1_rand_distance`)."""


@compiled()
def permute_entries(
    w: Num[AnyArray, "m n"], key: PRNGKey, where: Bool[AnyArray, "#m #n"] | None = None
) -> Float[Array, "m n"]:
    """The entries of a matrix in uniformly random places; entries outside `where` become 0 and stay outside.

    `key` is one of `jax.random.key`. XLA sorts random keys for it, which on a CPU takes 0.1 to 0.3 µs an entry;
    `spectra.engine.shuffle.shuffled` is the fast way for arrays on the host.
    """
    matrix = to_compute(w)
    flat = matrix.ravel()
    if where is None:
        return jax.random.permutation(key, flat).reshape(matrix.shape)
    mask = to_mask(where, matrix).ravel()
    order = jax.random.permutation(key, flat.shape[0])
    # Entries that count in their random order, then the others; written into the places that count, in theirs.
    drawn = order[jnp.argsort(~mask[order], stable=True)]
    places = jnp.argsort(~mask, stable=True)
    values = jnp.where(mask[drawn], flat[drawn], 0)
    return jnp.zeros_like(flat).at[places].set(values, unique_indices=True).reshape(matrix.shape)


@compiled("n")
def permuted_eigenvalues(
    w: Num[AnyArray, "m n"], key: PRNGKey, n: int = 1, where: Bool[AnyArray, "#m #n"] | None = None
) -> Float[Array, "{n} k"]:
    """Eigenvalues of X = WᵀW, ascending, of `n` permuted matrices, by the gram route of `spectra.eigenvalues`.

    The i-th permutation belongs to `jax.random.fold_in(key, i)`, so more permutations only add rows.

    Parameters
    ----------
    w
        A matrix; `vmap` over several, with a key for each.
    key
        Of `jax.random.key`.
    n
        Number of permutations, one after another in O(size of w) memory.
    where
        A rectangle of rows and columns that count; only its entries are permuted. The eigenvalues of what is outside
        stand as zeros in front, as `spectra.eigenvalues` has it.
    """

    def one(i: Int[Array, ""]) -> Float[Array, " k"]:
        return eigenvalues(permute_entries(w, jax.random.fold_in(key, i), where), "gram", where)

    return lax.map(one, jnp.arange(n))


@compiled("n")
def permutation_null(
    w: Num[AnyArray, "m n"],
    key: PRNGKey,
    n: int = 1,
    where: Bool[AnyArray, "#m #n"] | None = None,
    level: Numbers = 0.05,
) -> NullComparison:
    """The spectrum of a matrix beside those of `n` permutations of its entries; `permuted_eigenvalues` has the rest.

    For matrices of fewer than a hundred eigenvalues take five permutations or more: one largest eigenvalue scatters
    by about 2·M^(−2/3) of itself.

    Examples
    --------
    >>> import jax, numpy as np, spectra.kernels as kernels
    >>> w = np.random.default_rng(0).standard_normal((200, 100)).astype(np.float32)
    >>> null = kernels.permutation_null(w, jax.random.key(0))
    >>> bool(abs(null.softrank - 1) < 0.1), int(null.num_spikes)  # nothing to lose
    (True, 0)
    """
    matrix = to_compute(w)
    mask = None if where is None else to_mask(where, matrix)
    rows, columns = matrix.shape if mask is None else (jnp.sum(jnp.any(mask, axis)) for axis in (1, 0))
    N, M = jnp.maximum(rows, columns), jnp.minimum(rows, columns)
    real = eigenvalues(matrix, "gram", mask)
    permuted = permuted_eigenvalues(after(matrix, real), key, n, mask)
    counted = jnp.arange(real.shape[-1]) >= real.shape[-1] - M
    kurtosis = moments(matrix, where=mask).kurtosis
    return compare_with_null(real, permuted, N, M, counted, level, jnp.nan_to_num(kurtosis))


@compiled()
def compare_with_null(
    eigenvalues: Num[AnyArray, " k"],
    permuted: Num[AnyArray, "p k"],
    N: Numbers,
    M: Numbers,
    where: Bool[AnyArray, " k"] | None = None,
    level: Numbers = 0.05,
    kurtosis: Numbers = 0.0,
    slices: Numbers = 1,
) -> NullComparison:
    """The statistics of the permutation null from spectra that are already there.

    Parameters
    ----------
    eigenvalues
        λ of X = WᵀW, in any order.
    permuted
        Those of each permutation; pooled over slices like `eigenvalues`, the entries of every slice permuted apart.
    where
        True for the places that count, the same in every permutation.
    N, M, level, kurtosis, slices
        As in `fit_bulk`, which finds the spikes of each permuted spectrum.

    Returns
    -------
    NullComparison
        NaN (and no spikes) where an eigenvalue is NaN or infinite.

    Notes
    -----
    WeightWatcher takes the largest of five permutations where a matrix has fewer than a hundred eigenvalues, which
    grows with their number; here it is the mean of the largest of each.
    """
    real = to_compute(eigenvalues)
    null = to_compute(permuted).astype(real.dtype)
    mask = to_mask(where, real)
    counts = jnp.broadcast_to(mask, null.shape)
    finite = jnp.all(jnp.isfinite(real) | ~mask) & jnp.all(jnp.isfinite(null) | ~counts)

    largest = jnp.max(jnp.where(mask, real, 0), initial=0)
    rand_max = jnp.mean(jnp.max(jnp.where(counts, null, 0), axis=-1, initial=0))
    fits = fit_bulk(null, N, M, counts, level, kurtosis, slices)
    lower_median = jnp.sort(fits.num_spikes)[(null.shape[0] - 1) // 2]
    distance = _wasserstein(real, null, mask)
    mean = jnp.sum(jnp.where(mask, real, 0)) / jnp.maximum(jnp.sum(mask), 1)

    def known(value: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.where(finite, value, jnp.nan)

    return NullComparison(
        max_rand_eval=known(rand_max),
        softrank=known(jnp.where(largest > 0, rand_max / jnp.where(largest > 0, largest, 1), 1)),
        maxdist=known(largest - rand_max),
        num_spikes=jnp.where(finite, lower_median, 0),
        bulk_edge=known(jnp.mean(fits.edge)),
        w1_distance=known(jnp.where(mean > 0, distance / jnp.where(mean > 0, mean, 1), 0)),
    )


def _wasserstein(real: Float[Array, " k"], null: Float[Array, "p k"], mask: Bool[Array, " k"]) -> Float[Array, ""]:
    """∫|F − G| dx of the values that count and of all permutations pooled: mean |difference| of sorted values.

    Each real value stands as often as there are permutations, so that both samples are equally long.
    """
    counts = jnp.broadcast_to(mask, null.shape)
    repeated = jnp.sort(jnp.where(counts, real, jnp.inf).ravel())
    pooled = jnp.sort(jnp.where(counts, null, jnp.inf).ravel())
    inside = jnp.arange(pooled.shape[0]) < jnp.sum(counts)
    gaps = jnp.abs(jnp.where(inside, repeated, 0) - jnp.where(inside, pooled, 0))
    return jnp.sum(gaps) / jnp.maximum(jnp.sum(counts), 1)
