"""Power-law fits of a sample's tail: maximum likelihood with xmin by Kolmogorov–Smirnov distance.

Method of Clauset, Shalizi & Newman, SIAM Review 51 (2009) §3, continuous case, with the conventions of the
powerlaw package for repeated values (`docs/architecture.md` has the numerical design). The search is in `scan.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.batches import over_batches
from spectra.kernels.dtypes import AnyArray, to_compute, to_mask
from spectra.kernels.scan import best_start, first_of_run, log_ratio, total
from spectra.kernels.status import FitStatus


class PowerLawFit(NamedTuple):
    """Fit of p(x) ∝ x^(−alpha) to the sample from `xmin` upwards.

    Where no fit exists, `status` says why, the other fields are NaN, and `n_tail` is 0.
    """

    alpha: Float[AnyArray, "*batch"]
    """Exponent, maximum likelihood [CSN09, eq. 3.1]."""
    xmin: Float[AnyArray, "*batch"]
    """Start of the tail, in the units of the sample."""
    ks: Float[AnyArray, "*batch"]
    """Kolmogorov–Smirnov distance D between tail and fit [CSN09, eq. 3.9]."""
    sigma: Float[AnyArray, "*batch"]
    """Standard error of alpha for a fixed xmin, (alpha − 1)/√n_tail [CSN09, eq. 3.2]."""
    n_tail: Int[AnyArray, "*batch"]
    """Number of values in the tail."""
    status: Int[AnyArray, "*batch"]
    """A code of `FitStatus`: OK, TOO_FEW values in the tail, NO_SPREAD among them, NOT_FINITE, or BAD_XMIN."""


def fit_power_law(
    x: Num[AnyArray, "*batch n"],
    where: Bool[AnyArray, "*mask"] | None = None,
    xmin: Num[AnyArray, "*start"] | float | int | None = None,
) -> PowerLawFit:
    """Fit a power law to the upper tail of each sample along the last axis.

    For the sorted sample and a tail of n values from xmin upwards, alpha = 1 + n / Σ ln(xⱼ/xmin) and
    D = max |1 − (xⱼ/xmin)^(1−alpha) − (j−i)/n|. Unless `xmin` is given, every distinct value but the largest is
    tried and the one of smallest D wins, the lowest on ties. Repeated values count as powerlaw has it: the
    empirical distribution function at a value is the share of the tail strictly below it.

    Parameters
    ----------
    x
        Samples, shape ``(..., n)``, in any order. Values ≤ 0 lie outside every power law and are left out, and so
        are those below the smallest normal number (1.2e-38 in float32), which some processors take for 0.
    where
        True for the values that count; broadcast to the shape of `x`.
    xmin
        Fixed start of the tail, broadcast to the batch shape; None searches for it. Must be a positive normal number
        of the type that is computed in.

    Returns
    -------
    PowerLawFit
        Fields of the batch shape ``(...)``.

    Notes
    -----
    The search gives the result of all n²/2 comparisons in O(n) memory and about as much time as the sort takes. Where
    thousands of distances are equal but for rounding, as in a geometric sequence, it stops at one of them (`scan.py`
    tells within what). All sums are of positive terms, taken from the largest value down, so that float32 keeps D to
    about 1e-6 whatever the units; ranks are exact up to 2²⁴ values. `alpha` and `ks` are differentiable in `x` for the
    xmin that was found, which itself is piecewise constant in rank.

    Examples
    --------
    >>> import numpy as np, spectra
    >>> x = (1 - np.random.default_rng(0).random(800)) ** (-1 / 1.5)  # a Pareto sample with alpha = 2.5
    >>> fit = spectra.fit_power_law(x)
    >>> bool(abs(fit.alpha - 2.5) < 3 * fit.sigma)
    True
    """
    values = to_compute(x)
    if values.ndim == 0:
        raise ValueError("a sample with at least one axis is needed, got a scalar")
    mask = to_mask(where, values)
    batch = values.shape[:-1]
    start = None if xmin is None else jnp.broadcast_to(jnp.asarray(xmin, values.dtype), batch)
    if start is None:
        return over_batches(_fit_searched, (), values, mask)
    return over_batches(_fit_fixed, (), values, mask, start)


def _fit_searched(x: Float[Array, " n"], mask: Bool[Array, " n"]) -> PowerLawFit:
    ordered, count, finite = _sorted_positive(x, mask)
    # Where there is no candidate the search points at the smallest value, whose tail then lacks values or spread.
    start = ordered[best_start(ordered, count).index] if x.shape[0] else jnp.ones((), x.dtype)
    return _tail_fit(ordered, count, start, jnp.where(finite, FitStatus.OK, FitStatus.NOT_FINITE))


def _fit_fixed(x: Float[Array, " n"], mask: Bool[Array, " n"], start: Float[Array, ""]) -> PowerLawFit:
    ordered, count, finite = _sorted_positive(x, mask)
    usable = (start >= jnp.finfo(x.dtype).tiny) & (start < jnp.inf)
    status = jnp.where(usable, FitStatus.OK, FitStatus.BAD_XMIN)
    return _tail_fit(ordered, count, start, jnp.where(finite, status, FitStatus.NOT_FINITE))


def _sorted_positive(
    x: Float[Array, " n"], mask: Bool[Array, " n"]
) -> tuple[Float[Array, " n"], Int[Array, ""], Bool[Array, ""]]:
    """The positive values in ascending order with +inf behind them, their number, and whether all were finite."""
    kept = mask & (x >= jnp.finfo(x.dtype).tiny) & (x < jnp.inf)
    finite = jnp.all(jnp.isfinite(x) | ~mask)
    return jnp.sort(jnp.where(kept, x, jnp.inf)), jnp.sum(kept, dtype=jnp.int32), finite


def _tail_fit(
    x: Float[Array, " n"], count: Int[Array, ""], start: Float[Array, ""], known_bad: Int[Array, ""]
) -> PowerLawFit:
    """Exponent, distance and error of the tail x ≥ start of a sorted sample, unless its status is bad already."""
    index = jnp.arange(x.shape[0], dtype=jnp.int32)
    tail = (index < count) & (x >= start)
    n_tail = jnp.sum(tail, dtype=jnp.int32)
    size = n_tail.astype(x.dtype)
    logs = jnp.where(tail, log_ratio(jnp.where(tail, x, 1), jnp.where(tail, start, 1)), 0)
    log_sum = total(logs)

    varied = jnp.any(tail & (x > x[jnp.clip(count - n_tail, 0, x.shape[0] - 1)])) if x.shape[0] else False
    lacking = jnp.where(n_tail < 2, FitStatus.TOO_FEW, FitStatus.NO_SPREAD)
    status = jnp.where(varied & (log_sum > 0), FitStatus.OK, lacking)
    status = jnp.where(known_bad == FitStatus.OK, status, known_bad)
    exists = status == FitStatus.OK
    slope = size / jnp.where(exists, log_sum, 1)
    model = 1 - jnp.exp(-slope * logs)
    empirical = (index - (count - n_tail)).astype(x.dtype) / jnp.maximum(size, 1)
    ks = jnp.max(jnp.where(tail & first_of_run(x), jnp.abs(model - empirical), 0), initial=0)

    def known(value: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.where(exists, value, jnp.nan)

    return PowerLawFit(
        alpha=known(1 + slope),
        xmin=known(start),
        ks=known(ks),
        sigma=known(slope / jnp.sqrt(jnp.maximum(size, 1))),
        n_tail=jnp.where(exists, n_tail, 0),
        status=status.astype(jnp.int32),
    )
