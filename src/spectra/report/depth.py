"""A network along its layers: what stands at which place, which layers form a line, and the heat map of metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spectra.report.curves import has_spectrum, network_order, number
from spectra.report.result import LayerResult, Report

MOST_GROUPS = 6
"""As many colours and shapes are told apart."""

REST = "other"

HEAT = (
    *("alpha", "sigma", "D", "num_pl_spikes", "gof_p", "alpha_weighted", "hill_alpha", "farms_alpha"),
    *("log_spectral_norm", "log_norm", "stable_rank", "effective_rank", "entropy"),
    *("num_spikes", "bulk_ks", "ww_softrank", "rand_num_spikes", "w1_rand_distance"),
    *("std", "kurtosis", "near_zero_std", "zero_fraction", "hoyer", "gini"),
    *("student_t_df", "right_alpha", "left_alpha"),
)
"""Metrics of the heat map, from fit to weights; those that no layer has are left out."""

WIDE = 30.0
"""A row whose values span more than this is coloured by their logarithm; on a linear scale it would show one layer."""


class Depth(NamedTuple):
    """The layers on the axis of depth.

    Attributes
    ----------
    layers
        Those with a spectrum in network order; all, where none has one.
    groups
        Places of the layers that have a role in common (a kind, where they have none), most `MOST_GROUPS` and `REST`.
    blocks
        Place at which each block of the network begins, and its number.
    """

    layers: list[LayerResult]
    groups: dict[str, list[int]]
    blocks: list[tuple[int, int]]


def by_depth(report: Report) -> Depth:
    """The axis of depth of a network."""
    ordered = network_order(report.layers)
    layers = [layer for layer in ordered if has_spectrum(layer)] or ordered
    depths = [layer.depth for layer in layers]
    starts = [(i, d) for i, d in enumerate(depths) if d is not None and (i == 0 or depths[i - 1] != d)]
    return Depth(layers, _groups(layers), starts if len(starts) > 1 else [])


def _groups(layers: Sequence[LayerResult]) -> dict[str, list[int]]:
    names = [layer.role or layer.kind or REST for layer in layers]
    counted = Counter(name for name in names if name != REST)
    kept = {name for name, _ in counted.most_common(MOST_GROUPS)}
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        groups.setdefault(name if name in kept else REST, []).append(i)
    return {name: groups[name] for name in sorted(groups, key=lambda name: name == REST)}


class HeatMap(NamedTuple):
    """Layers × metrics, each metric on a scale of its own.

    Attributes
    ----------
    metrics
        Names, a row each.
    values
        Shape (metrics, layers); NaN where a layer has none.
    shades
        The same between 0, the row's lowest, and 1, its highest; 0.5 in a row of equal values.
    scales
        For each row ``linear``, ``log``, or ``asinh`` where the values span much and have both signs or zeros.
    """

    metrics: list[str]
    values: np.ndarray
    shades: np.ndarray
    scales: list[str]


def heat_map(layers: Sequence[LayerResult], metrics: Sequence[str] = HEAT) -> HeatMap:
    """The heat map of these layers; metrics that none of them has are left out."""
    table = np.array([[number(layer, metric) for layer in layers] for metric in metrics], float)
    table = table.reshape(len(metrics), len(layers))
    kept = np.any(np.isfinite(table), axis=1)
    names, values = [name for name, keep in zip(metrics, kept, strict=True) if keep], table[kept]
    scales = [_scale(row[np.isfinite(row)]) for row in values]
    shades = [_shade(row, scale) for row, scale in zip(values, scales, strict=True)]
    return HeatMap(names, values, np.reshape(shades, values.shape), scales)


def _scale(known: np.ndarray) -> str:
    if known.min() > 0:
        return "log" if known.max() > WIDE * known.min() else "linear"
    middle = np.median(np.abs(known))
    return "asinh" if 0 < middle < np.abs(known).max() / WIDE else "linear"


def _shade(row: np.ndarray, scale: str) -> np.ndarray:
    if scale == "log":
        row = np.log(row)
    elif scale == "asinh":
        row = np.arcsinh(row / np.nanmedian(np.abs(row)))
    low, high = np.nanmin(row), np.nanmax(row)
    return (row - low) / (high - low) if high > low else np.where(np.isfinite(row), 0.5, np.nan)
