"""What the analysis returns: one `LayerResult` a layer, gathered in a `Report`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class WeightHistogram(NamedTuple):
    """Counts of the weight entries in bins; `edges` has one entry more than `counts`."""

    edges: np.ndarray
    counts: np.ndarray
    underflow: int
    overflow: int


@dataclass(frozen=True)
class LayerResult:
    """Everything measured on one layer.

    Attributes
    ----------
    metrics
        The scalar columns of the table, by name, in order; a quantity that does not exist or that the precision
        could not resolve is None.
    histogram, log_histogram
        Weight entries w on linear bins, and |w| on logarithmic bins; None where the layer was not read.
    eigenvalues
        The ESD, ascending, float64; None where there is no spectrum.
    """

    name: str
    kind: str
    role: str
    depth: int | None
    shape: tuple[int, ...]
    dtype: str
    status: str
    warning: str
    metrics: dict[str, float | int | None] = field(default_factory=dict)
    histogram: WeightHistogram | None = None
    log_histogram: WeightHistogram | None = None
    eigenvalues: np.ndarray | None = None
