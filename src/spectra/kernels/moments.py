"""Moments of weight entries, stable in float32 for any number of entries and any mean."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, power_of_two, to_compute, to_mask

ROWS, LANES = 32, 256
"""Sums run over rows, with a vector of lanes for each: vectorised without changing the order of any sum."""

BLOCK = 4 * ROWS * LANES
"""Entries whose moments are taken about their own mean before blocks are combined; they stay in the L1 or L2 cache."""

SMALL_BLOCK = 1024
"""The same for fewer entries than a block."""


class Moments(NamedTuple):
    """Moments and norms of the entries inside the mask; NaN where a quantity does not exist (no entries, std 0).

    A NaN or infinite entry makes every float field NaN: clean the data or mask it out on purpose.
    """

    count: Int[AnyArray, ""]
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


class Sums(NamedTuple):
    """What one reading of the entries finds; powers in multiples of `unit`."""

    total: Blocks
    """About the mean of all; its own `mean` is what `pilot` lacks."""
    pilot: Float[AnyArray, ""]
    l1: Float[AnyArray, ""]
    unit: Float[AnyArray, ""]
    low: Float[AnyArray, ""]
    high: Float[AnyArray, ""]
    zeros: Int[AnyArray, ""]
    count: Int[AnyArray, ""]


@compiled()
def moments(w: Num[AnyArray, "*shape"], where: Bool[AnyArray, "*mask"] | None = None) -> Moments:
    """Moments, extremes, norms and Hoyer sparsity of all entries of an array, in one reading.

    Power sums are taken about the mean of each block of 2¹⁵ entries, and the blocks are combined by the exact update
    formulas of Pébay (Sandia report SAND2008-6212, eq. 1.1–1.6), so that neither a large mean nor 10⁹ entries cost
    digits. Each block is scaled to max |w| = 1, and its entries come from memory once.

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
    mask = None if where is None else to_mask(where, jnp.asarray(w)).ravel()
    if values.size > 2**31 - 1:
        raise ValueError(f"{values.size} entries overflow 32-bit counts: split the array and combine the parts")
    return moments_of(read(values, mask))


def moments_of(s: Sums) -> Moments:
    """Moments from the sums over all entries."""
    count = s.count
    usable = (count > 0) & jnp.isfinite(s.low) & jnp.isfinite(s.high)
    n = count.astype(s.low.dtype)
    variance = s.total.m2 / n
    spread = (variance > 0) & (s.high > s.low)
    safe = jnp.where(spread, variance, 1)
    scale = 1 / jnp.sqrt(safe)  # multiplied one by one: products of variances leave float32, and XLA merges divisions
    mean = jnp.where(s.high > s.low, s.pilot + s.total.mean, s.low / s.unit)
    squares = s.total.m2 + n * mean**2
    l2 = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
    root = jnp.sqrt(n)
    hoyer = jnp.where((n > 1) & (squares > 0), (root - s.l1 / jnp.where(squares > 0, l2, 1)) / (root - 1), jnp.nan)

    def known(value: Float[AnyArray, ""], exists: Bool[AnyArray, ""] | bool = True) -> Float[Array, ""]:
        return jnp.where(usable & exists, value, jnp.nan)

    return Moments(
        count=count,
        mean=known(mean * s.unit),
        std=known(jnp.where(spread, jnp.sqrt(safe), 0) * s.unit),
        skewness=known(s.total.m3 / n * scale * scale * scale, spread),
        kurtosis=known(s.total.m4 / n * scale * scale * scale * scale - 3, spread),
        min=known(s.low),
        max=known(s.high),
        l1=known(s.l1 * s.unit),
        l2=known(l2 * s.unit),
        zeros=s.zeros,
        hoyer=known(jnp.clip(hoyer, 0, 1)),
    )


@jax.custom_jvp
def read(values: Float[Array, " n"], mask: Bool[Array, " n"] | None) -> Sums:
    """Sums over all entries inside the mask, each read from memory once."""
    first = jax.tree.map(lambda field: field[None], measure_block(*_last_block(values, mask)))
    whole = values.size // BLOCK
    if not whole:
        return total_of(first)
    _, blocks = lax.scan(lambda _, block: (None, measure_block(*cut(values, mask, block))), None, jnp.arange(whole))
    if values.size == whole * BLOCK:
        return total_of(blocks)
    return total_of(jax.tree.map(lambda *fields: jnp.concatenate(fields), blocks, first))


def cut(values: Float[Array, " n"], mask: Bool[Array, " n"] | None, block: Any) -> tuple[Any, Any]:
    """One block of the entries and of their mask, from where they lie: for a scan over them, XLA would copy all."""
    take = partial(lax.dynamic_slice, start_indices=(block * BLOCK,), slice_sizes=(BLOCK,))
    return take(values), None if mask is None else take(mask)


def _last_block(values: Float[Array, " n"], mask: Bool[Array, " n"] | None) -> tuple[Any, Any]:
    """The entries that fill no block, padded, and which of them count."""
    rest = values.size % BLOCK
    padding = (0, max(-rest % SMALL_BLOCK, 0 if rest else SMALL_BLOCK))
    inside = jnp.ones(rest, bool) if mask is None else mask[values.size - rest :]
    return jnp.pad(values[values.size - rest :], padding), jnp.pad(inside, padding)


@read.defjvp
def _read_jvp(primals: Any, tangents: Any) -> tuple[Sums, Sums]:
    """Derivatives in closed form: to differentiate the loop would take a copy of the array for each block."""
    values, mask = primals
    s = read(values, mask)
    moved = tangents[0] if mask is None else jnp.where(mask, tangents[0], 0)
    kept = values if mask is None else jnp.where(mask, values, 0)
    step, n, t = moved / s.unit, jnp.maximum(s.total.size, 1), s.total
    d = kept / s.unit - s.pilot - t.mean

    def end(limit: Any) -> Any:
        hit = (values == limit) if mask is None else (values == limit) & mask
        return jnp.sum(jnp.where(hit, moved, 0)) / jnp.maximum(jnp.sum(hit), 1)

    total = Blocks(
        size=jnp.zeros_like(t.size),
        mean=jnp.sum(step) / n,
        m2=2 * jnp.sum(d * step),
        m3=3 * jnp.sum((d**2 - t.m2 / n) * step),
        m4=4 * jnp.sum((d**3 - t.m3 / n) * step),
    )
    l1 = jnp.sum(jnp.sign(kept) * step)
    zero = jnp.zeros_like(s.unit)
    fixed = np.zeros(s.zeros.shape, jax.dtypes.float0)
    return s, Sums(total, zero, l1, zero, end(s.low), end(s.high), fixed, fixed)


class BlockSums(NamedTuple):
    """Sums over one block, powers in multiples of its `unit`, which is 0 where all of it is."""

    moments: Blocks
    """Here `mean` is what `rough` lacks."""
    rough: Float[AnyArray, "*blocks"]
    l1: Float[AnyArray, "*blocks"]
    unit: Float[AnyArray, "*blocks"]
    low: Float[AnyArray, "*blocks"]
    high: Float[AnyArray, "*blocks"]
    zeros: Int[AnyArray, "*blocks"]
    count: Int[AnyArray, "*blocks"]


def measure_block(x: Float[Array, " size"], inside: Bool[Array, " size"] | None) -> BlockSums:
    """Sums over the entries of a block; fourth powers of 1e10 or 1e-10 leave float32, so they are scaled to 1."""

    def kept(value: Any, other: Any) -> Any:
        return value if inside is None else jnp.where(inside, value, other)

    low, high = fold(jnp.minimum, kept(x, jnp.inf)), fold(jnp.maximum, kept(x, -jnp.inf))
    largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
    usable = jnp.isfinite(largest) & (largest > 0)
    unit = power_of_two(jnp.where(usable, largest, 1))
    count = jnp.asarray(x.size, jnp.int32) if inside is None else fold(jnp.add, jnp.where(inside, 1, 0))
    size = jnp.maximum(count, 1).astype(x.dtype)
    scaled = kept(x * (1 / unit), 0)  # both exact, and a product takes less time
    # `rest` is measured against this very number. Rounded to three bits less it is one: otherwise the compiler may
    # take it unrounded into a multiply-add in one place and rounded in another.
    kind = jnp.finfo(x.dtype)
    rough = lax.reduce_precision(fold(jnp.add, scaled) / size, kind.nexp, kind.nmant - 3)
    off = kept(scaled - rough, 0)
    rest = fold(jnp.add, off) / size  # the rounding of `rough`, measured
    d = kept(off - rest, 0)
    square = d * d
    powers = (fold(jnp.add, term) for term in (square, square * d, square * square))
    return BlockSums(
        Blocks(count.astype(x.dtype), rest, *powers),
        rough,
        l1=fold(jnp.add, jnp.abs(scaled)),
        unit=jnp.where(usable, unit, 0),
        low=low,
        high=high,
        zeros=fold(jnp.add, jnp.where(kept(x == 0, False), 1, 0)).astype(jnp.int32),
        count=count.astype(jnp.int32),
    )


def fold(operation: Callable[[Any, Any], Any], x: Num[Array, " size"]) -> Num[Array, ""]:
    """The sum, minimum or maximum of all entries, joined in groups of 32 and these again, which keeps rounding small.

    In blocks it is written as a tree over slices, each a vector of lanes, which the compiler takes in one loop of
    vector instructions; a reduction would be a loop over single entries. Fewer are not worth the longer program.
    """
    reductions: dict[Any, Any] = {jnp.add: jnp.sum, jnp.minimum: jnp.min, jnp.maximum: jnp.max}
    reduce = reductions[operation]
    trees = x.size % BLOCK == 0
    while x.size % SMALL_BLOCK == 0 and x.size:
        rows = x.reshape(-1, ROWS, LANES if x.size % BLOCK == 0 else SMALL_BLOCK // ROWS)
        if trees:
            terms = [rows[:, row] for row in range(ROWS)]
            while len(terms) > 1:
                terms = [operation(*pair) for pair in zip(terms[::2], terms[1::2], strict=True)]
            x = terms[0].ravel()
        else:
            x = reduce(rows, axis=1).ravel()
    return reduce(x)


def total_of(b: BlockSums) -> Sums:
    """The blocks together, in multiples of the largest unit."""
    unit = jnp.max(b.unit)
    unit = jnp.where(unit > 0, unit, 1)
    scale = b.unit / unit
    m, rough = b.moments, b.rough * scale
    # Means relative to that of a full block: their differences are exact, their sums with the rest are not.
    pilot = rough[jnp.argmax(m.size)]
    means = (rough - pilot) + m.mean * scale
    total = combine(Blocks(m.size, means, m.m2 * scale**2, m.m3 * scale**3, m.m4 * scale**4))
    return Sums(
        total,
        pilot,
        jnp.sum(b.l1 * scale),
        unit,
        jnp.min(b.low),
        jnp.max(b.high),
        jnp.sum(b.zeros, dtype=jnp.int32),
        jnp.sum(b.count, dtype=jnp.int32),
    )


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
