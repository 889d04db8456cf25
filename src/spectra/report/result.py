"""What the analysis returns: one `LayerResult` a layer, gathered in a `Report`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Metric = float | int | str | None


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
    name, kind, role, depth, shape, dtype
        The layer as `spectra.models.layers.Layer` describes it.
    status
        ``success``; ``skipped`` where there was no reason to fit (too few eigenvalues, a buffer); ``failed`` where
        something is wrong with the layer. `warning` says why.
    warning
        What to know before trusting the numbers, parts joined with ``; ``.
    metrics
        The scalar columns of the table, by name, in order; a quantity that does not exist or that the precision
        could not resolve is None.
    histogram, log_histogram
        Weight entries w on linear bins, and |w| on logarithmic bins; None where the layer was not read.
    eigenvalues
        The ESD, ascending, float64, 0 where unresolved; None where there is no spectrum.
    families
        Parameters of each family fitted to the tail, under powerlaw's names (`spectra.PARAMETERS`), for eigenvalues in
        multiples of xmin; empty where there is no fit.
    """

    name: str
    kind: str
    role: str
    depth: int | None
    shape: tuple[int, ...]
    dtype: str
    status: str
    warning: str
    metrics: dict[str, Metric] = field(default_factory=dict)
    histogram: WeightHistogram | None = None
    log_histogram: WeightHistogram | None = None
    eigenvalues: np.ndarray | None = None
    families: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def plot(self, kind: str = "all", axes: Axes | None = None) -> Figure:
        """Draw histogram, ESD and CCDF, or a panel such as ``families``: `spectra.report.figures.plot_layer`."""
        from spectra.report.figures import plot_layer

        return plot_layer(self, kind, axes)


@dataclass(frozen=True)
class Report:
    """The results of one analysis, in the order of the checkpoint.

    Index it by a layer's name, or by the part of it before the leaf (``report["encoder.0.mlp"]`` for
    ``encoder.0.mlp.kernel``) where that names a single layer with a spectrum; iterate for `LayerResult` records.

    Attributes
    ----------
    label
        Name of the model: the path as given, or what the caller chose.
    layers
        One record a layer.
    meta
        Versions, device, options and seconds of the analysis.
    """

    label: str
    layers: tuple[LayerResult, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[LayerResult]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __contains__(self, name: object) -> bool:
        return any(layer.name == name for layer in self.layers)

    def __getitem__(self, name: str) -> LayerResult:
        if not isinstance(name, str):
            raise KeyError(f"index a report by a layer's name, not {name!r}; report.layers is the list")
        exact = [layer for layer in self.layers if layer.name == name]
        below = [layer for layer in self.layers if layer.name.startswith((f"{name}.", f"{name}["))]
        spectral = [layer for layer in below if layer.eigenvalues is not None]
        for found in (exact, spectral, below):
            if len(found) == 1:
                return found[0]
        if below:
            raise KeyError(f"{name!r} names {len(below)} layers: {_some([layer.name for layer in below])}")
        close = difflib.get_close_matches(name, [layer.name for layer in self.layers])
        hint = f"; did you mean {_some(close)}?" if close else ""
        raise KeyError(f"no layer {name!r} in the report of {self.label}{hint}")

    def to_pandas(self) -> pd.DataFrame:
        """The table: one row a layer, `name` first; columns in the order of docs/architecture.md.

        Whole-number columns have pandas' ``Int64``, so that a missing value stays missing.
        """
        from spectra.report.save import to_frame, to_table

        return to_frame(to_table([self]))

    def summary(self) -> dict[str, Any]:
        """Counts, medians over the fitted layers, and the number of layers that carry each warning."""
        fitted = [layer for layer in self.layers if layer.metrics.get("alpha") is not None]
        parts = [part for layer in fitted for part in layer.warning.split("; ") if part]

        def median(name: str) -> float | None:
            values = [layer.metrics[name] for layer in fitted if layer.metrics.get(name) is not None]
            return float(np.median(np.asarray(values, float))) if values else None

        return {
            "label": self.label,
            "layers": len(self.layers),
            "fitted": len(fitted),
            "skipped": sum(layer.status == "skipped" for layer in self.layers),
            "failed": sum(layer.status == "failed" for layer in self.layers),
            "weights": sum(int(layer.metrics.get("count") or 0) for layer in self.layers),
            "alpha": median("alpha"),
            "stable_rank": median("stable_rank"),
            "kurtosis": median("kurtosis"),
            "near_zero_std": median("near_zero_std"),
            "warnings": {part: parts.count(part) for part in sorted(set(parts))},
        }

    def save(self, path: str | Path) -> None:
        """Write the table; the suffix decides: ``.csv``, ``.json`` (a list of records) or ``.parquet``.

        The file appears whole or not at all: it is written under a temporary name and renamed.

        Raises
        ------
        OutputError
            For another suffix, or where the file cannot be written.
        """
        from spectra.report.save import save_table

        save_table([self], path)

    def save_html(self, path: str | Path, title: str | None = None) -> None:
        """Write one self-contained HTML page with the table and the charts of every layer.

        Raises
        ------
        OutputError
            Where the file cannot be written.
        """
        from spectra.report.save import save_html

        save_html([self], path, title)

    def plot_alpha(self, ax: Axes | None = None) -> Figure:
        """The power-law exponent by depth, a colour a role: `spectra.report.figures.plot_alpha`."""
        from spectra.report.figures import plot_alpha

        return plot_alpha(self, ax)

    def plot_sparsity(self, axes: Any = None) -> Figure:
        """Near-zero share, exact zeros and Hoyer's sparsity by depth: `spectra.report.figures.plot_sparsity`."""
        from spectra.report.figures import plot_sparsity

        return plot_sparsity(self, axes)

    def plot_depth(self, metrics: Sequence[str] = ("alpha", "near_zero_std"), axes: Any = None) -> Figure:
        """Any columns by depth, one panel a column: `spectra.report.figures.plot_depth`."""
        from spectra.report.figures import plot_depth

        return plot_depth(self, metrics, axes)

    def plot_heat_map(self, metrics: Sequence[str] | None = None, ax: Axes | None = None) -> Figure:
        """Layers × metrics, by default the usual ones: `spectra.report.figures.plot_heat_map`."""
        from spectra.report.figures import plot_heat_map

        return plot_heat_map(self, ax=ax) if metrics is None else plot_heat_map(self, metrics, ax)

    def plot_grid(self, kind: str = "esd", layers: Sequence[str] | None = None, columns: int = 4) -> Figure:
        """The same panel of many layers, such as ``esd`` or ``families``: `spectra.report.figures.plot_grid`."""
        from spectra.report.figures import plot_grid

        return plot_grid(self, kind, layers, columns)

    def plot_p_values(self, ax: Axes | None = None) -> Figure:
        """Histogram of the goodness-of-fit p-values (``gof=1000``): `spectra.report.figures.plot_p_values`."""
        from spectra.report.figures import plot_p_values

        return plot_p_values(self, ax)

    def __repr__(self) -> str:
        s = self.summary()
        alpha = "no fit" if s["alpha"] is None else f"median alpha {s['alpha']:.3g}"
        return f"Report({self.label!r}: {s['layers']} layers, {s['fitted']} fitted, {alpha}, {s['failed']} failed)"


def _some(names: list[str], limit: int = 3) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown + (", …" if len(names) > limit else "")
