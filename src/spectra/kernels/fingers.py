"""Fingers: the few largest values that do not belong to the power law of the others, and the fit without them.

A sample of a power law has gaps between its largest values that are known in advance: i·ln(x₍ᵢ₎/x₍ᵢ₊₁₎) of the i-th and
(i+1)-th largest values are independent and exponential, all with the mean 1/(alpha − 1) (Rényi, Acta Math. Acad. Sci.
Hung. 4 (1953) 191). A gap that is far too wide for the tail below it sets the values above it apart. Such outliers of a
power law are Sornette's dragon kings; the tests of Sornette & Wei, J. Appl. Stat. 53 (2026) 224 (arXiv:1507.08689), are
of this kind.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.batches import over_batches
from spectra.kernels.dtypes import AnyArray, to_compute, to_mask
from spectra.kernels.power_law import PowerLawFit, fit_power_law
from spectra.kernels.scan import log_ratio
from spectra.kernels.status import FitStatus

MOST = 10
"""How many values may be fingers, as in WeightWatcher; never more than a tenth of the sample."""

LEVEL = 0.01
"""Probability of a gap as wide as that of a finger, among all that are looked at, in a power law with a known start."""


class FingerFit(NamedTuple):
    """A power-law fit without the values that spoil it."""

    num_fingers: Int[AnyArray, "*batch"]
    """How many of the largest values were left out."""
    fit: PowerLawFit
    """Of the others: all that there are if none was left out."""
    raw: PowerLawFit
    """Of the whole sample."""


def fit_without_fingers(
    x: Num[AnyArray, "*batch n"],
    where: Bool[AnyArray, "*mask"] | None = None,
    most: int = MOST,
    level: float = LEVEL,
) -> FingerFit:
    """Fit a power law to the upper tail of each sample, less the few largest values that are no part of it.

    The sample is fitted without its k largest values, k = 0, 1, …, K, each time with a search for xmin. The k largest
    are fingers if both hold:

    1. the fit without them is closer to its data, Dₖ < D₀: they spoil the fit;
    2. the gap below them is too wide: the probability of k·ln(x₍ₖ₎/x₍ₖ₊₁₎), measured by the mean of the same in the
       tail of fit k, is at most level/K.

    If that holds for several k, the one of the least probability is taken; then more are looked for below it, whose
    gaps are counted from there.

    Parameters
    ----------
    x
        Samples, shape ``(..., n)``, in any order; as in `fit_power_law`, values ≤ 0 are left out.
    where
        True for the values that count; broadcast to the shape of `x`.
    most
        Largest number of fingers K, at most a tenth of the values that count.
    level
        Probability to find fingers where a power law with a known start has none.

    Returns
    -------
    FingerFit
        Fields of the batch shape ``(...)``; no fingers where the sample has no fit.

    Notes
    -----
    With n values in the tail, a gap g and the mean m of the others have g/m ~ F(2, 2n), so that the probability is
    (1 + g/(n·m))^(−n). xmin is searched, which changes that a little: `docs/metrics/power_law.md` has measured rates.
    WeightWatcher's ``clip_xmax`` takes the first k from 2 to 9 whose alpha is smaller by 1 and asks neither whether the
    values stand out nor whether the fit is better.

    Examples
    --------
    >>> import numpy as np, spectra.kernels as kernels
    >>> x = (1 - np.random.default_rng(0).random(400)) ** (-1 / 3)  # a Pareto sample with alpha = 4
    >>> spoilt = np.append(x, [60, 61, 63, 64, 66]).astype(np.float32)
    >>> found = kernels.fit_without_fingers(spoilt)
    >>> int(found.num_fingers), round(float(found.raw.alpha), 1), round(float(found.fit.alpha), 1)
    (5, 3.4, 3.8)
    """
    values = to_compute(x)
    if values.ndim == 0:
        raise ValueError("a sample with at least one axis is needed, got a scalar")
    if most < 0:
        raise ValueError(f"the largest number of fingers must be at least 0, not {most}")
    if not 0 < level < 1:
        raise ValueError(f"a level between 0 and 1 is needed, not {level}")
    return over_batches(_fit_one, (min(most, values.shape[-1] // 10), level), values, to_mask(where, values))


def _fit_one(most: int, level: float, x: Float[Array, " n"], mask: Bool[Array, " n"]) -> FingerFit:
    if most == 0:  # fewer than ten values
        fit = fit_power_law(x, mask)
        return FingerFit(jnp.int32(0), fit, fit)
    kept = mask & (x > 0)
    count = jnp.sum(kept, dtype=jnp.int32)
    descending = -jnp.sort(jnp.where(kept, -x, jnp.inf))  # −inf from `count` on
    place = jnp.arange(x.shape[0], dtype=jnp.int32)
    k = jnp.arange(most + 1, dtype=jnp.int32)
    finite = jnp.all(jnp.isfinite(x) | ~mask)
    sample = jnp.where(finite, jnp.where(place < count, descending, 1), jnp.nan)
    fits = fit_power_law(jnp.broadcast_to(sample, (most + 1, x.shape[0])), (place >= k[:, None]) & (place < count))

    tried = jnp.minimum(count // 10, most)
    allowed = (k <= tried) & (fits.status == FitStatus.OK) & (fits.ks < fits.ks[0])
    top = sample[: most + 1]
    gap = log_ratio(jnp.append(top[:1], top[:-1]), top)
    depth = log_ratio(top, jnp.where(allowed, fits.xmin, 1))

    def more(_: Int[Array, ""], taken: Int[Array, ""]) -> Int[Array, ""]:
        p = jnp.where(allowed & (k > taken), _probability(fits, k - taken, gap, depth), 1)
        best = jnp.argmin(p).astype(jnp.int32)
        return jnp.where(p[best] * tried <= level, best, taken)

    found = lax.fori_loop(0, most, more, jnp.int32(0))
    raw, rest = (PowerLawFit(*(field[i] for field in fits)) for i in (0, found))
    return FingerFit(found, rest, raw)


def _probability(
    fits: PowerLawFit, place: Int[Array, " k"], gap: Float[Array, " k"], depth: Float[Array, " k"]
) -> Float[Array, " k"]:
    """Of a gap as wide between the largest value of each fitted tail and the one above it, the `place`-th largest.

    The mean of all gaps i·ln(x₍ᵢ₎/x₍ᵢ₊₁₎) of the tail, counted from the same value, is known from its log-sum
    n/(alpha − 1) and its depth ln(x₍₁₎/xmin).
    """
    n, i = fits.n_tail.astype(gap.dtype), place.astype(gap.dtype)
    total = n / (fits.alpha - 1) + i * depth
    return jnp.exp(-n * jnp.log1p(i * gap / total))
