"""Which of two families describes a tail better, and whether the sample can tell: Vuong's likelihood-ratio test.

Vuong, Econometrica 57 (1989) 307; Clauset, Shalizi & Newman, SIAM Review 51 (2009) §5.1 and appendix C [CSN09].
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.scipy.special import erfc
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.batches import over_batches
from spectra.kernels.dtypes import AnyArray, eps
from spectra.kernels.families import MODULES
from spectra.kernels.families.base import mean
from spectra.kernels.status import FitStatus
from spectra.kernels.tails import Family, TailFit, checked, log_densities, prepared, tail_of

NESTED: tuple[frozenset[str], ...] = (
    frozenset(("power_law", "truncated_power_law")),
    frozenset(("exponential", "truncated_power_law")),
    frozenset(("exponential", "stretched_exponential")),
    frozenset(("laplace", "truncated_power_law")),
    frozenset(("laplace", "stretched_exponential")),
)
"""Pairs of which one family contains the other: at λ = 0, at alpha = 0, and at beta = 1."""


INTEGRALS = 1e-12
"""Relative accuracy of the integrals by which densities are normalised."""


class Comparison(NamedTuple):
    """Of two families on one tail; numbers are NaN where the status is not OK."""

    R: Float[AnyArray, "*batch"]
    """Log-likelihood ratio over its standard deviation, L/(√n·std); positive favours the first family."""
    p: Float[AnyArray, "*batch"]
    """Two-sided significance of the sign; above 0.1 the sample does not tell which family is better [CSN09, §5.1]."""
    log_ratio: Float[AnyArray, "*batch"]
    """L, the log-likelihood of the first family less that of the second."""
    status: Int[AnyArray, "*batch"]
    """A `FitStatus`: that of the first fit, or of the second if the first is OK."""


def compare_tails(
    x: Num[AnyArray, "*batch n"],
    one: Family,
    other: Family,
    xmin: Num[AnyArray, "*start"] | float | int,
    where: Bool[AnyArray, "*mask"] | None = None,
    fits: tuple[TailFit, TailFit] | None = None,
    nested: bool | None = None,
) -> Comparison:
    """Compare two families on the values from xmin upwards of each sample along the last axis.

    With lᵢ the log-density of the first family less that of the second at each of the n values, L = Σ lᵢ and σ² the
    variance of l, R = L/(σ√n) and p = erfc(|R|/√2) [CSN09, eq. C.6]. Of nested families the larger one is never the
    worse, and p is the probability that χ² with one degree of freedom exceeds 2|L|.

    Parameters
    ----------
    x, xmin, where
        As of `fit_tail`.
    one, other
        Names of the families; static under `jit`.
    fits
        Fits of both, from `fit_tail` with the same sample, xmin and mask; fitted here if None.
    nested
        Whether one family contains the other; None looks it up. Power law and exponential lie in the truncated power
        law, and the exponential lies in the stretched exponential.

    Returns
    -------
    Comparison
        Fields of the batch shape. R = 0 and p = 1 where L is below the rounding of the densities: the fits are then
        the same to the precision at hand, as when the maximum of one family lies in the other.

    Notes
    -----
    powerlaw takes two families for nested if the name of one is part of the other's, and so misses the exponential in
    the truncated power law; pass ``nested=False`` to get its p for that pair. R is the same either way. λ = 0 and
    alpha = 0 are ends of the parameters' range, for which χ² with one degree of freedom is conservative: the true p is
    about half as large (Self & Liang, JASA 82 (1987) 605). Clauset et al. do the same.
    """
    families = checked(one), checked(other)
    if nested is None:
        nested = frozenset(families) in NESTED
    values, mask, start = prepared(x, xmin, where)
    return over_batches(_compare_one, (families, nested), values, mask, start, fits)


def _compare_one(
    families: tuple[str, str],
    nested: bool,
    x: Float[Array, " n"],
    mask: Bool[Array, " n"],
    start: Float[Array, ""],
    fits: tuple[TailFit, TailFit] | None,
) -> Comparison:
    tail, _, status = tail_of(x, mask, start)
    if fits is None:
        params = [MODULES[family].fit(tail) for family in families]
    else:
        params = [tuple(fit.params) for fit in fits]
        for fit in fits:
            status = jnp.where(status == FitStatus.OK, fit.status, status)
    ours, theirs = (
        log_densities(family, tail, tuple(lax.stop_gradient(p) for p in numbers))
        for family, numbers in zip(families, params, strict=True)
    )
    each = ours - theirs
    average = mean(each, tail)
    spread = jnp.sqrt(mean(jnp.where(tail.inside, each - average, 0) ** 2, tail))
    size = jnp.sqrt(tail.size)

    found = jnp.isfinite(average) & jnp.isfinite(spread)
    status = jnp.where((status == FitStatus.OK) & ~found, FitStatus.NOT_CONVERGED, status)
    rounding = max(8 * eps(x), INTEGRALS) * (1 + mean(jnp.abs(ours), tail))
    same = (jnp.abs(average) <= rounding) | (spread == 0)
    R = jnp.where(same, 0, average * size / jnp.where(spread > 0, spread, 1))
    log_ratio = jnp.where(same, 0, average * tail.size)
    p = erfc(jnp.sqrt(jnp.abs(log_ratio))) if nested else erfc(jnp.abs(R) / jnp.sqrt(2.0))

    def known(value: Array) -> Array:
        return jnp.where(status == FitStatus.OK, value, jnp.nan)

    return Comparison(known(R), known(p.astype(x.dtype)), known(log_ratio), status)
