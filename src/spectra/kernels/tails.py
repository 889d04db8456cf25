"""Families of tails by maximum likelihood: what else than a power law could the sample above xmin be?

Clauset, Shalizi & Newman, SIAM Review 51 (2009) §3, table 2.1 [CSN09]; parameters are those of the powerlaw package
(Alstott, Bullmore & Plenz, PLoS ONE 9 (2014) e85777) under its names, but for ln Λ of the stretched exponential.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from spectra.kernels.batches import over_batches
from spectra.kernels.dtypes import AnyArray, to_compute, to_mask
from spectra.kernels.families import MODULES
from spectra.kernels.families.base import Points, Tail, mean, total
from spectra.kernels.scan import log_ratio
from spectra.kernels.status import FitStatus

Family: TypeAlias = Literal[
    "power_law",
    "truncated_power_law",
    "lognormal",
    "exponential",
    "stretched_exponential",
    "student_t",
    "laplace",
]

FAMILIES: tuple[Family, ...] = ("power_law", "truncated_power_law", "lognormal", "exponential", "stretched_exponential")
"""The five that are compared on spectra, powerlaw's."""

PARAMETERS: dict[str, tuple[str, ...]] = {name: module.PARAMETERS for name, module in MODULES.items()}
"""Names of the parameters of each family, in the order in which fits have them."""


class TailFit(NamedTuple):
    """A family fitted to the values from xmin upwards."""

    params: Float[AnyArray, "*batch p"]
    """Parameters in the order of `PARAMETERS`, in the units of the sample; NaN where the status is not OK."""
    log_likelihood: Float[AnyArray, "*batch"]
    """Σ ln p(x | x ≥ xmin) over the tail, natural logarithms, in the units of the sample; NaN likewise."""
    n_tail: Int[AnyArray, "*batch"]
    """Number of values in the tail."""
    status: Int[AnyArray, "*batch"]
    """A `FitStatus`."""


def fit_tail(
    x: Num[AnyArray, "*batch n"],
    family: Family,
    xmin: Num[AnyArray, "*start"] | float | int,
    where: Bool[AnyArray, "*mask"] | None = None,
) -> TailFit:
    """Fit a family to the values from xmin upwards of each sample along the last axis, by maximum likelihood.

    Parameters
    ----------
    x
        Samples, shape ``(..., n)``, in any order; values below xmin, zeros and negative ones are left out.
    family
        One of `Family`; static under `jit`. ``student_t`` is centred at 0; ``laplace`` above xmin is the exponential
        distribution with scale = 1/λ.
    xmin
        Start of the tail, positive, broadcast to the batch shape.
    where
        True for the values that count; broadcast to the shape of `x`.

    Returns
    -------
    TailFit
        Fields of the batch shape ``(...)``.

    Raises
    ------
    ValueError
        For an unknown family or a scalar `x`.

    Notes
    -----
    Every likelihood is reduced to one equation in one unknown that has at most one root, or two such nested; no
    optimiser can stop early or go astray. Maxima at the edge of a family are results like any other:

    - truncated power law: λ = 0 is the power law, alpha = 0 the exponential distribution;
    - lognormal: where ln(x/xmin) has variance ≥ mean², the likelihood rises toward the power law, which lognormals
      approach for mu → −∞. The fit is that with (ln xmin − mu)/sigma = 1e8;
    - stretched exponential: under the same kind of condition beta → 0, and the fit is that with
      beta·mean(ln(x/xmin)) = 1e-14.

    Of these the density is the power law's to within rounding, and so is the log-likelihood.

    `log_likelihood` is differentiable in `x` and `xmin` (the parameters sit at a maximum, so their change does not
    count); the parameters are so in closed form or not at all (`jax.grad` raises an error).

    Examples
    --------
    >>> import numpy as np
    >>> from spectra.kernels.tails import fit_tail
    >>> x = 2 + np.random.default_rng(0).exponential(0.5, 5000)
    >>> round(float(fit_tail(x, "exponential", xmin=2).params[0]), 1)
    2.0
    """
    values, mask, start = prepared(x, xmin, where)
    return over_batches(_fit_one, (checked(family),), values, mask, start)


def log_density(
    x: Num[AnyArray, "*batch n"],
    family: Family,
    params: Float[AnyArray, "*batch p"],
    xmin: Num[AnyArray, "*start"] | float | int,
) -> Float[Array, "*batch n"]:
    """ln p(x | x ≥ xmin) of a family, −∞ below xmin; arguments as of `fit_tail`, parameters as it returns them."""
    values, _, start = prepared(x, xmin, None)
    return over_batches(_density_one, (checked(family),), values, jnp.asarray(params, values.dtype), start)


def tail_ccdf(
    x: Num[AnyArray, "*batch n"],
    family: Family,
    params: Float[AnyArray, "*batch p"],
    xmin: Num[AnyArray, "*start"] | float | int,
) -> Float[Array, "*batch n"]:
    """P(X ≥ x | X ≥ xmin) of a family, 1 below xmin; arguments as of `fit_tail`, parameters as it returns them."""
    values, _, start = prepared(x, xmin, None)
    return over_batches(_ccdf_one, (checked(family),), values, jnp.asarray(params, values.dtype), start)


def checked(family: str) -> str:
    """The name of a family, if there is one of that name."""
    if family not in MODULES:
        raise ValueError(f"no family {family!r}: it is one of {', '.join(MODULES)}")
    return family


def prepared(x: AnyArray, xmin: AnyArray | float | int, where: AnyArray | None) -> tuple[Array, Array, Array]:
    """Values, mask, and xmin for each sample of the batch."""
    values = to_compute(x)
    if values.ndim == 0:
        raise ValueError("a sample with at least one axis is needed, got a scalar")
    return values, to_mask(where, values), jnp.broadcast_to(jnp.asarray(xmin, values.dtype), values.shape[:-1])


def points_above(x: Float[Array, " n"], start: Float[Array, ""]) -> Points:
    """Values with their logarithmic distance from xmin; what lies below is put at xmin."""
    x = jnp.where(x >= start, x, start)
    return Points(x, log_ratio(x, start), start)


def tail_of(
    x: Float[Array, " n"], mask: Bool[Array, " n"], start: Float[Array, ""]
) -> tuple[Tail, Int[Array, ""], Int[Array, ""]]:
    """The tail, its size, and whether it can be fitted; where not, the tail is a stand-in with harmless numbers."""
    finite = jnp.all(jnp.isfinite(x) | ~mask)
    usable = (start > 0) & jnp.isfinite(start)
    inside = mask & (x >= start) & usable & finite
    count = jnp.sum(inside, dtype=jnp.int32)
    lowest, highest = (
        jnp.min(jnp.where(inside, x, jnp.inf), initial=jnp.inf),
        jnp.max(jnp.where(inside, x, -jnp.inf), initial=-jnp.inf),
    )
    status = jnp.select(
        [~usable, ~finite, count < 2, ~(highest > lowest)],
        [FitStatus.BAD_XMIN, FitStatus.NOT_FINITE, FitStatus.TOO_FEW, FitStatus.NO_SPREAD],
        FitStatus.OK,
    ).astype(jnp.int32)
    good = status == FitStatus.OK
    start = jnp.where(good, start, 1)
    # A sample that cannot be fitted is replaced by values 1, 2, 1, 2, …, so that no search runs on NaN.
    stand_in = 1 + (jnp.arange(x.shape[0]) % 2).astype(x.dtype)
    inside = jnp.where(good, inside, True)
    points = points_above(jnp.where(inside, jnp.where(good, x, stand_in), start), start)
    size = jnp.maximum(jnp.sum(inside), 1).astype(x.dtype)
    zero = jnp.zeros((), x.dtype)
    tail = Tail(points, inside, size, jnp.max(points.u, initial=0), zero, zero)
    tail = tail._replace(mean=mean(points.u, tail))
    return tail._replace(variance=mean((points.u - tail.mean) ** 2, tail)), count, status


def log_densities(family: str, tail: Tail, params: tuple[Float[Array, ""], ...]) -> Float[Array, " n"]:
    """ln of the density of u = ln(x/xmin) over the tail, 0 outside."""
    return jnp.where(tail.inside, MODULES[family].log_density(tail.points, params), 0)


def _fit_one(family: str, x: Float[Array, " n"], mask: Bool[Array, " n"], start: Float[Array, ""]) -> TailFit:
    tail, count, status = tail_of(x, mask, start)
    params = MODULES[family].fit(tail)
    at_maximum = tuple(lax.stop_gradient(p) for p in params)
    of_u = total(log_densities(family, tail, at_maximum))
    likelihood = of_u - total(tail.points.u) - tail.size * jnp.log(tail.points.xmin)
    found = jnp.all(jnp.isfinite(jnp.stack(params))) & jnp.isfinite(likelihood)
    status = jnp.where((status == FitStatus.OK) & ~found, FitStatus.NOT_CONVERGED, status)

    def known(value: Array) -> Array:
        return jnp.where(status == FitStatus.OK, value, jnp.nan)

    return TailFit(known(jnp.stack(params)), known(likelihood), count, status)


def _density_one(
    family: str, x: Float[Array, " n"], params: Float[Array, " p"], start: Float[Array, ""]
) -> Float[Array, " n"]:
    points = points_above(x, start)
    log_p = MODULES[family].log_density(points, tuple(params)) - points.u - jnp.log(start)
    return jnp.where(jnp.isnan(x), jnp.nan, jnp.where(x >= start, log_p, -jnp.inf))


def _ccdf_one(
    family: str, x: Float[Array, " n"], params: Float[Array, " p"], start: Float[Array, ""]
) -> Float[Array, " n"]:
    above = jnp.exp(MODULES[family].log_ccdf(points_above(x, start), tuple(params)))
    return jnp.where(jnp.isnan(x), jnp.nan, jnp.where(x >= start, above, 1))
