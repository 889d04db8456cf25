"""What a figure shows, as numbers: curves over layers or densities, one value a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spectra.study.findings import Cell, Tables
from spectra.study.measures import Row

LABELS = {
    "near_zero_std": "share of weights within 0.1 std of zero",
    "kurtosis": "excess kurtosis of the weights",
    "activation_std": "std of activations",
    "gradient_std": "std of back-propagated gradients",
    "activation_zeros": "share of exact zeros among activations",
    "test_accuracy": "accuracy on test images",
    "kept": "share of the layer's weights kept",
    "accuracy_loss": "accuracy lost",
}

GAUSSIAN = {"near_zero_std": 0.0797, "kurtosis": 0.0}
"""Where a layer of Gaussian weights lies."""


class Series(NamedTuple):
    """One curve: a mean over networks, and their range."""

    label: str
    x: tuple[float, ...]
    values: np.ndarray
    """Shape (networks, len(x)); NaN where a network has no value."""


class Panel(NamedTuple):
    """One pair of axes."""

    claim: str
    title: str
    xlabel: str
    ylabel: str
    series: tuple[Series, ...]
    log_x: bool = False
    log_y: bool = False
    reference: float | None = None


def by_layer(
    label: str,
    cell: Cell,
    measure: str,
    tables: Tables,
    *,
    moment: str = "end",
    part: str = "w",
    role: str | None = None,
) -> Series | None:
    """A measure by layer, for the networks of a cell that learned: of one role, or of all layers that have it."""
    networks = []
    for spec in (spec for spec in cell.specs if tables.learned(spec)):
        rows = tables.rows(spec, moment, part)
        networks.append([row for row in rows if row.get(measure) is not None and role in (None, row["role"])])
    return curve(label, networks, "index", measure)


def curve(label: str, networks: Sequence[Sequence[Row]], x: str, y: str) -> Series | None:
    """Rows of several networks as one series; None without any."""
    places = tuple(sorted({float(row[x]) for rows in networks for row in rows}))
    if not places:
        return None
    values = np.full((len(networks), len(places)), np.nan)
    for i, rows in enumerate(networks):
        for row in rows:
            values[i, places.index(float(row[x]))] = np.nan if row[y] is None else row[y]
    return Series(label, places, values)


def panel(
    claim: str, title: str, xlabel: str, measure: str, series: Sequence[Series | None], *, log_x: bool = False
) -> list[Panel]:
    """A panel of the series that there are; none without any."""
    found = tuple(one for one in series if one is not None)
    if not found:
        return []
    log_y = measure in ("activation_std", "gradient_std")
    return [Panel(claim, title, xlabel, LABELS[measure], found, log_x, log_y, GAUSSIAN.get(measure))]
