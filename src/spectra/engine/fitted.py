"""Everything about the tail of one sample: the fit, the alternatives, the goodness of fit, the intervals."""

from __future__ import annotations

import zlib
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from spectra.engine.padding import pad_to
from spectra.engine.programs import fetch
from spectra.engine.verdict import Alternative, verdict
from spectra.kernels import (
    FAMILIES,
    Comparison,
    Family,
    FitIntervals,
    GoodnessOfFit,
    PowerLawFit,
    compare_tails,
    fit_power_law,
    fit_tail,
)
from spectra.kernels.bootstrap import goodness_and_intervals
from spectra.kernels.fingers import FingerFit, fit_without_fingers
from spectra.kernels.status import FitStatus

ALTERNATIVES: tuple[Family, ...] = tuple(family for family in FAMILIES if family != "power_law")
"""Families that every tail is compared with."""

Columns = dict[str, float | int | str | None]
Params = dict[str, tuple[float, ...]]


class Sample(NamedTuple):
    """Positive values for a fit, padded to a length that many samples share."""

    values: np.ndarray
    """In units of `unit`, zeros behind them."""
    inside: np.ndarray
    unit: float
    """A power of two that brings the largest value near 1: λ = σ² may leave float32's range where σ does not."""

    @classmethod
    def of(cls, values: np.ndarray, dtype: np.dtype, size: int) -> Sample:
        unit = float(np.exp2(np.floor(np.log2(values.max())))) if values.size else 1.0
        return cls(pad_to((values / unit).astype(dtype), (size,)), np.arange(size) < values.size, unit)

    def without(self, largest: int) -> Sample:
        """The same sample less so many of its largest values."""
        if not largest:
            return self
        kept = np.sort(self.values[self.inside])[:-largest]
        size = self.values.size
        return Sample(pad_to(kept, (size,)), np.arange(size) < kept.size, self.unit)


def fit_sample(sample: Sample) -> PowerLawFit:
    """The power-law fit, in the units of the data."""
    return _in_units(fetch(lambda: _fit(sample.values, sample.inside)), sample.unit)


def fit_less_fingers(sample: Sample) -> FingerFit:
    """The power-law fit without the few largest values that spoil it, in the units of the data."""
    found = fetch(lambda: _fit_less_fingers(sample.values, sample.inside))
    return found._replace(fit=_in_units(found.fit, sample.unit), raw=_in_units(found.raw, sample.unit))


def _in_units(fit: PowerLawFit, unit: float) -> PowerLawFit:
    return fit._replace(xmin=np.asarray(fit.xmin, np.float64) * unit)


def no_fit(status: FitStatus) -> PowerLawFit:
    """What stands in the place of a fit that cannot be had."""
    nan = np.asarray(np.nan)
    return PowerLawFit(nan, nan, nan, nan, n_tail=np.asarray(0), status=np.asarray(int(status)))


class Rivals(NamedTuple):
    """The other families on the tail of a fit."""

    alternatives: dict[str, Alternative]
    params: Params
    """Of every family, the power law included, for x in multiples of xmin; NaN where it could not be fitted."""


def rivals(sample: Sample, fit: PowerLawFit, families: tuple[Family, ...] = ALTERNATIVES) -> Rivals:
    """Fit the other families to the tail and compare each with the power law."""
    if fit.n_tail < 2:
        return Rivals({}, {})
    start = sample.values.dtype.type(fit.xmin / sample.unit)
    found, params = fetch(lambda: _compare(sample.values, sample.inside, start, families))
    return Rivals(
        {name: Alternative(*(_known(value) for value in _told(found[name]))) for name in families},
        {name: tuple(map(float, params[name])) for name in ("power_law", *families)},
    )


class Trust(NamedTuple):
    """What the bootstrap says of a fit; None where there is no fit."""

    p: float | None
    alpha: tuple[float | None, float | None]
    xmin: tuple[float | None, float | None]


def bootstrapped(sample: Sample, fit: PowerLawFit, replicates: int, seed: int, name: str) -> Trust:
    """Goodness of fit, and 95 % intervals of alpha and xmin.

    Parameters
    ----------
    name
        Of the layer: its random numbers depend on it, and not on the layers before it.
    """
    if fit.n_tail < 2:
        return Trust(None, (None, None), (None, None))
    scaled = fit._replace(xmin=(fit.xmin / sample.unit).astype(sample.values.dtype))
    seeds = np.array([seed, name_number(name)], np.uint32)
    test, interval = fetch(lambda: _bootstrap(sample.values, sample.inside, scaled, seeds, replicates))
    return Trust(
        _known(test.p),
        (_known(interval.alpha_low), _known(interval.alpha_high)),
        (_known(float(interval.xmin_low) * sample.unit), _known(float(interval.xmin_high) * sample.unit)),
    )


def name_number(name: str) -> int:
    """A number in 32 bits that a layer's random numbers start from, so that they depend on its name alone."""
    return zlib.crc32(name.encode("utf-8", "surrogatepass"))


def verdict_columns(fit: PowerLawFit, alternatives: dict[str, Alternative], trust: Trust | None) -> Columns:
    """The verdict and what it rests on."""
    found: Columns = {"verdict": verdict(int(fit.n_tail), trust.p if trust else None, alternatives)}
    if trust is not None:
        found |= {"gof_p": trust.p, "alpha_low": trust.alpha[0], "alpha_high": trust.alpha[1]}
        found |= {"xmin_low": trust.xmin[0], "xmin_high": trust.xmin[1]}
    for family, other in alternatives.items():
        found |= {f"R_{family}": other.R, f"p_{family}": other.p}
    return found


def _told(c: Comparison) -> tuple[np.ndarray, ...]:
    return np.asarray(c.R), np.asarray(c.p), -np.asarray(c.log_ratio)


def _known(value: np.ndarray | float) -> float | None:
    return float(value) if np.isfinite(value) else None


_fit = jax.jit(lambda x, where: fit_power_law(x, where))
_fit_less_fingers = jax.jit(lambda x, where: fit_without_fingers(x, where))


@partial(jax.jit, static_argnames="families")
def _compare(
    x: jax.Array, where: jax.Array, xmin: jax.Array, families: tuple[Family, ...]
) -> tuple[dict[str, Comparison], dict[str, Any]]:
    """Each family against the power law, and its parameters, of x in multiples of xmin."""
    tail = where & (x >= xmin)
    ratios = jnp.where(tail, x / xmin, 1)
    straight = fit_tail(ratios, "power_law", 1, tail)
    found: dict[str, Comparison] = {}
    params: dict[str, Any] = {"power_law": straight.params}
    for family in families:
        other = fit_tail(ratios, family, 1, tail)
        params[family] = other.params
        found[family] = compare_tails(ratios, "power_law", family, 1, tail, (straight, other))
    return found, params


@partial(jax.jit, static_argnames="n")
def _bootstrap(
    x: jax.Array, where: jax.Array, fit: PowerLawFit, seeds: jax.Array, n: int
) -> tuple[GoodnessOfFit, FitIntervals]:
    key = jax.random.fold_in(jax.random.key(seeds[0]), seeds[1])
    return goodness_and_intervals(x, fit, key, n, where)
