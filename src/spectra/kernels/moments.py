"""Moments of weight entries, stable in float32 for any number of entries and any mean."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.dtypes import AnyArray, power_of_two, to_compute, to_mask

BLOCK = 4096
"""Entries whose moments are taken about their own mean before blocks are combined."""


class Moments(NamedTuple):
    """Moments and norms of the entries inside the mask; NaN where a quantity does not exist (no entries, std 0).

    A NaN or infinite entry makes every float field NaN: clean the data or mask it out on purpose.
    """

    count: Int[AnyArray, ""]  # type: ignore[assignment]  # a tuple has a method of that name
    mean: Float[AnyArray, ""]
    std: Float[AnyArray, ""]
    """Population standard deviation, divisor `count`."""
    skewness: Float[AnyArray, ""]
    """m₃ / m₂^1.5, without bias correction."""
    kurtosis: Float[AnyArray, ""]
    """Excess kurtosis m₄ / m₂² − 3, without bias correction: 0 for a Gaussian."""
    min: Float[AnyArray, ""]
    max: Float[AnyArray, ""]
    l1: Float[AnyArray, ""]
    """Σ|w|."""
    l2: Float[AnyArray, ""]
    """√Σw², the Frobenius norm."""
    zeros: Int[AnyArray, ""]
    """Number of exact zeros."""
    hoyer: Float[AnyArray, ""]
    """Hoyer sparsity (√n − l1/l2)/(√n − 1): 0 if all magnitudes are equal, 1 for a single nonzero (Hoyer 2004)."""


class Blocks(NamedTuple):
    """Count, mean and central power sums of blocks."""

    size: Float[AnyArray, "*blocks"]
    mean: Float[AnyArray, "*blocks"]
    m2: Float[AnyArray, "*blocks"]
    m3: Float[AnyArray, "*blocks"]
    m4: Float[AnyArray, "*blocks"]


def moments(w: Num[AnyArray, "*shape"], where: Bool[AnyArray, "*mask"] | None = None) -> Moments:
    """Moments, extremes, norms and Hoyer sparsity of all entries of an array, in one call.

    Power sums are taken about the mean of each block of 4,096 entries, and the blocks are combined by the exact
    update formulas of Pébay (Sandia report SAND2008-6212, eq. 1.1–1.6), so that neither a large mean nor 10⁹
    entries cost digits.

    Parameters
    ----------
    w
        Entries of any shape and float type; `vmap` keeps axes apart.
    where
        True for the entries that count, broadcast to the shape of `w`.

    Returns
    -------
    Moments
        Scalars in the compute type (float32 unless `w` is float64).

    Raises
    ------
    ValueError
        For 2³¹ entries or more in one call, which 32-bit counters cannot hold.

    Examples
    --------
    >>> import jax.numpy as jnp, spectra
    >>> m = spectra.moments(jnp.array([1.0, 2.0, 3.0, 4.0]))
    >>> float(m.mean), round(float(m.std), 4)
    (2.5, 1.118)
    """
    values = to_compute(w).ravel()
    mask = to_mask(where, jnp.asarray(w)).ravel()
    if values.size > 2**31 - 1:
        raise ValueError(f"{values.size} entries overflow 32-bit counts: split the array and combine the parts")
    count = jnp.sum(mask, dtype=jnp.int32)
    low = jnp.min(jnp.where(mask, values, jnp.inf), initial=jnp.inf)
    high = jnp.max(jnp.where(mask, values, -jnp.inf), initial=-jnp.inf)
    largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
    usable = (count > 0) & jnp.isfinite(largest)

    # Scaled to max |w| near 1: fourth powers of 1e10 or 1e-10 leave the range of float32. A power of two is exact.
    unit = power_of_two(jnp.where(usable, largest, 1))
    scaled = jnp.where(mask, values / unit, 0)

    main = values.size - values.size % BLOCK
    pieces = [
        (scaled[:main].reshape(-1, BLOCK), mask[:main].reshape(-1, BLOCK)),
        (scaled[main:][None], mask[main:][None]),
    ]
    sums = [_block_sums(*piece) for piece in pieces]
    blocks, rough = (jax.tree.map(lambda *pair: jnp.concatenate(pair), *half) for half in zip(*sums, strict=True))
    # Means relative to that of a full block: their differences are exact, their sums with the rest are not.
    pilot = rough[jnp.argmax(blocks.size)]
    total = combine(blocks._replace(mean=(rough - pilot) + blocks.mean))
    l1, squares = (
        jnp.sum(jnp.concatenate([jnp.sum(term(w), axis=1) for w, _ in pieces])) for term in (jnp.abs, jnp.square)
    )
    zeros = jnp.sum(mask & (values == 0), dtype=jnp.int32)

    n = count.astype(values.dtype)
    variance = total.m2 / n
    spread = variance > 0
    safe = jnp.where(spread, variance, 1)
    l2 = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
    root = jnp.sqrt(n)
    hoyer = jnp.where((n > 1) & (squares > 0), (root - l1 / jnp.where(squares > 0, l2, 1)) / (root - 1), jnp.nan)

    def known(value: Float[AnyArray, ""], exists: Bool[AnyArray, ""] | bool = True) -> Float[Array, ""]:
        return jnp.where(usable & exists, value, jnp.nan)

    return Moments(
        count=count,
        mean=known((pilot + total.mean) * unit),
        std=known(jnp.where(spread, jnp.sqrt(safe), 0) * unit),
        skewness=known(total.m3 / n / safe / jnp.sqrt(safe), spread),
        kurtosis=known(total.m4 / n / safe / safe - 3, spread),
        min=known(low),
        max=known(high),
        l1=known(l1 * unit),
        l2=known(l2 * unit),
        zeros=zeros,
        hoyer=known(jnp.clip(hoyer, 0, 1)),
    )


def _block_sums(
    w: Float[Array, "blocks size"], mask: Bool[Array, "blocks size"]
) -> tuple[Blocks, Float[Array, " blocks"]]:
    """Central power sums of each row of entries (0 outside the mask), and its rough mean, which `mean` corrects."""
    count = jnp.sum(mask, axis=1, dtype=w.dtype)
    size = jnp.maximum(count, 1)
    # `rest` is measured against this very number. Rounded to three bits less it is one: otherwise the compiler may
    # take it unrounded into a multiply-add in one place and rounded in another.
    kind = jnp.finfo(w.dtype)
    rough = lax.reduce_precision(jnp.sum(w, axis=1) / size, kind.nexp, kind.nmant - 3)
    off = jnp.where(mask, w - rough[:, None], 0)
    rest = jnp.sum(off, axis=1) / size  # the rounding of `rough`, measured
    d = jnp.where(mask, off - rest[:, None], 0)
    square = d * d
    sums = (jnp.sum(term, axis=1) for term in (square, square * d, square * square))
    return Blocks(count, rest, *sums), rough


def combine(b: Blocks) -> Blocks:
    """Central power sums of the union of all blocks; scalars. Works on JAX and on NumPy arrays alike."""
    n = b.size.sum()
    pilot = b.mean[0]
    mean = pilot + (b.size * (b.mean - pilot)).sum() / (n + (n == 0))
    d = b.mean - mean
    m2 = (b.m2 + b.size * d**2).sum()
    m3 = (b.m3 + 3 * d * b.m2 + b.size * d**3).sum()
    m4 = (b.m4 + 4 * d * b.m3 + 6 * d**2 * b.m2 + b.size * d**4).sum()
    return Blocks(n, mean, m2, m3, m4)


def merge_moments(*parts: Moments) -> Moments:
    """Moments of the union of chunks, computed on the host in float64; the chunks may be of any size.

    Raises
    ------
    ValueError
        Without parts.
    """
    filled = [part for part in parts if part.count > 0]
    if not filled:
        if not parts:
            raise ValueError("no moments to merge")
        return parts[0]
    if len(filled) == 1:
        return Moments(*(np.asarray(field) for field in filled[0]))
    m = Moments(*(np.asarray(field, np.float64) for field in zip(*filled, strict=True)))
    unit = np.max(np.abs([m.min, m.max])) or 1.0  # fourth powers of 1e100 leave the range of float64
    mean, std = m.mean / unit, m.std / unit
    m2 = m.count * std**2
    m3 = np.where(m2 > 0, m.skewness, 0) * m2 * std
    m4 = np.where(m2 > 0, m.kurtosis + 3, 0) * m2 * std**2
    total = combine(Blocks(m.count, mean, m2, m3, m4))
    n, variance = total.size, total.m2 / total.size
    l1, l2, root = m.l1.sum(), unit * np.sqrt(((m.l2 / unit) ** 2).sum()), np.sqrt(n)
    spread = variance > 0
    merged = {
        "count": np.asarray(n, np.int64),
        "mean": total.mean * unit,
        "std": np.sqrt(variance) * unit,
        "skewness": total.m3 / n / variance**1.5 if spread else np.nan,
        "kurtosis": total.m4 / n / variance**2 - 3 if spread else np.nan,
        "min": m.min.min(),
        "max": m.max.max(),
        "l1": l1,
        "l2": l2,
        "zeros": np.asarray(m.zeros.sum(), np.int64),
        "hoyer": np.clip((root - l1 / l2) / (root - 1), 0, 1) if n > 1 and 0 < l2 < np.inf else np.nan,
    }
    return Moments(**{name: np.asarray(value) for name, value in merged.items()})
