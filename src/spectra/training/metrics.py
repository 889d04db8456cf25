"""What can be tracked, by name: the analyzer's columns as functions of arrays, a value for each layer.

Definitions and units are those of `spectra.analyze`, column by column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from spectra.engine.esd import RANK_IN_DOUBT, SMALLEST_FITTED
from spectra.kernels import Moments, PowerLawFit, fit_power_law, hill_alpha
from spectra.kernels.dtypes import AnyArray
from spectra.kernels.spectrum import Route
from spectra.training.entries import NEAR_ZERO

NOT_FITTED_SHARE = 0.9
"""A tail that holds more than this share of the resolved eigenvalues might have gone on among the unresolved ones."""


class Spectra(NamedTuple):
    """Pooled singular values of several layers, padded to one length."""

    singular_values: Float[Array, "layers k"]
    """In any order; 0 where unresolved, and in the padding."""
    exists: Bool[Array, "layers k"]
    """False in the padding."""
    floor: Float[Array, "layers k"]
    """The smallest value that could have been resolved in the same matrix."""
    num_unresolved: Int[Array, " layers"]

    @property
    def eigenvalues(self) -> Float[Array, "layers k"]:
        """λ = σ², 0 where unresolved."""
        return jnp.square(self.singular_values)

    @property
    def largest(self) -> Float[Array, " layers"]:
        """λ_max."""
        return jnp.max(self.eigenvalues, axis=-1)

    @property
    def total(self) -> Float[Array, " layers"]:
        """Σλ."""
        return jnp.sum(self.eigenvalues, axis=-1)


def _where(exists: Any, value: Any) -> Any:
    return jnp.where(exists, value, jnp.nan)


def _log10(x: Float[Array, " layers"]) -> Float[Array, " layers"]:
    return _where(x > 0, jnp.log10(jnp.where(x > 0, x, 1)))


def _exp_entropy(values: Float[Array, "layers k"]) -> Float[Array, " layers"]:
    """exp(−Σ q ln q), q = v/Σv, over the positive values; NaN where there are none."""
    total = jnp.sum(values, axis=-1, keepdims=True)
    share = values / jnp.where(total > 0, total, 1)
    terms = jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1)), 0)
    return _where(total[..., 0] > 0, jnp.exp(-jnp.sum(terms, axis=-1)))


def _effective_rank(s: Spectra) -> Float[Array, " layers"]:
    """NaN where the unresolved values could change it by 0.5 %."""
    low = _exp_entropy(s.singular_values)
    high = _exp_entropy(jnp.where(s.exists & (s.singular_values == 0), s.floor, s.singular_values))
    return _where(jnp.abs(high / low - 1) <= 0.005, low)


def _log_alpha_norm(s: Spectra, fit: PowerLawFit) -> Float[AnyArray, " layers"]:
    ratio = s.eigenvalues / jnp.where(s.largest > 0, s.largest, 1)[:, None]
    powers = jnp.where(ratio > 0, jnp.where(ratio > 0, ratio, 1) ** fit.alpha[:, None], 0)
    return jnp.log10(jnp.sum(powers, axis=-1)) + fit.alpha * _log10(s.largest)


ENTRIES: dict[str, Callable[[Moments], AnyArray]] = {
    "mean": lambda m: m.mean,
    "std": lambda m: m.std,
    "skewness": lambda m: m.skewness,
    "kurtosis": lambda m: m.kurtosis,
    "min": lambda m: m.min,
    "max": lambda m: m.max,
    "hoyer": lambda m: m.hoyer,
    "zero_fraction": lambda m: m.zeros / m.count,
}
"""From one reading of the entries."""

SORTED = ("gini",)
"""From the sorted entries, which on a CPU takes longer than the spectrum."""

SPECTRUM: dict[str, Callable[[Spectra], Array]] = {
    "norm": lambda s: s.total,
    "log_norm": lambda s: _log10(s.total),
    "lambda_max": lambda s: s.largest,
    "spectral_norm": lambda s: s.largest,
    "log_spectral_norm": lambda s: _log10(s.largest),
    "sv_max": lambda s: jnp.sqrt(s.largest),
    "stable_rank": lambda s: _where(s.largest > 0, s.total / jnp.where(s.largest > 0, s.largest, 1)),
    "effective_rank": _effective_rank,
    "num_unresolved": lambda s: s.num_unresolved,
}

FIT: dict[str, Callable[[Spectra, PowerLawFit], AnyArray]] = {
    "alpha": lambda s, fit: fit.alpha,
    "sigma": lambda s, fit: fit.sigma,
    "xmin": lambda s, fit: fit.xmin,
    "D": lambda s, fit: fit.ks,
    "num_pl_spikes": lambda s, fit: _where(fit.n_tail > 0, fit.n_tail),
    "alpha_weighted": lambda s, fit: fit.alpha * _log10(s.largest),
    "log_alpha_norm": _log_alpha_norm,
}

HILL = ("hill_alpha",)

SPECTRAL = (*SPECTRUM, *FIT, *HILL)
"""What only layers with a spectrum have."""

METRICS = (*FIT, *HILL, *SPECTRUM, *ENTRIES, *NEAR_ZERO, *SORTED)
"""All that can be tracked."""

DEFAULT_METRICS = ("alpha", "hill_alpha", "stable_rank", "log_spectral_norm", "std", "kurtosis", "near_zero_std")


def fit_spectra(s: Spectra, route: Route) -> PowerLawFit:
    """The analyzer's fit of each layer; NaN where no tail exists, or where float32 leaves open which one it is.

    In the second case `spectra.analyze` takes the slow route by svd (`engine.esd`), which would not be bounded cost.
    """
    evals = s.eigenvalues
    fit = fit_power_law(evals, where=evals > SMALLEST_FITTED)
    resolved = jnp.sum(s.singular_values > 0, axis=-1)
    size = jnp.sum(s.exists, axis=-1)
    lost = s.num_unresolved
    rank_in_doubt = lost > RANK_IN_DOUBT * size
    if s.singular_values.dtype == jnp.float64:
        rank_in_doubt = lost > 0
    doubtful = (lost > 0) & (rank_in_doubt | (fit.n_tail > NOT_FITTED_SHARE * resolved))
    constant = s.largest - fit.xmin <= 2 * _error(s, route)
    known = (fit.n_tail >= 2) & ~constant & ~(doubtful & (route == "gram"))
    return fit._replace(
        alpha=_where(known, fit.alpha),
        xmin=_where(known, fit.xmin),
        ks=_where(known, fit.ks),
        sigma=_where(known, fit.sigma),
        n_tail=jnp.where(known, fit.n_tail, 0),
    )


def hill_exponents(s: Spectra, route: Route) -> Float[AnyArray, " layers"]:
    """Hill's exponent of the larger half of the eigenvalues; NaN where these are equal within their errors."""
    half = (jnp.sum(s.exists, axis=-1) + 1) // 2
    least = s.largest - 2 * _error(s, route)
    constant = jnp.sum(s.exists & (s.eigenvalues >= least[:, None]), axis=-1) >= half
    return _where(~constant, hill_alpha(s.eigenvalues, where=s.exists))


def _error(s: Spectra, route: Route) -> Float[Array, " layers"]:
    """Bound of the error of λ_max."""
    floor = jnp.max(s.floor, axis=-1)
    return floor**2 if route == "gram" else 2 * jnp.sqrt(s.largest) * floor
