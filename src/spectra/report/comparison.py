"""What `compare` returns: one `LayerComparison` a layer and pair of checkpoints, gathered in a `ModelComparison`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.report.result import Metric, Report
from spectra.report.save import Table, save_columns, to_frame

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LayerComparison:
    """One layer in two checkpoints.

    Attributes
    ----------
    name
        The layer's name, the same in both.
    model, against
        The checkpoint, and the earlier one that it is compared with.
    step
        Where the checkpoint stands in the run, 0 for the first unless the caller said otherwise.
    kind, role, depth, shape, dtype
        The layer as `spectra.models.layers.Layer` describes it; two element types are joined with ``→``.
    status
        ``success``; ``unmatched`` where only one of the checkpoints has the layer, or has it in another shape;
        ``skipped`` where there is nothing to compare (a buffer); ``failed`` where something is wrong with it in
        either. `warning` says why.
    warning
        What to know before trusting the numbers, parts joined with ``; ``.
    metrics
        The scalar columns by name, in order; a quantity that does not exist is None.
    delta_eigenvalues
        Eigenvalues of ΔWᵀΔW, ascending, float64, 0 where unresolved; None where there are none.
    """

    name: str
    model: str
    against: str
    step: float
    kind: str
    role: str
    depth: int | None
    shape: tuple[int, ...]
    dtype: str
    status: str
    warning: str
    metrics: dict[str, Metric] = field(default_factory=dict)
    delta_eigenvalues: np.ndarray | None = None


@dataclass(frozen=True)
class ModelComparison:
    """Two or more checkpoints of one model, layer by layer; iterate for `LayerComparison` records.

    Attributes
    ----------
    labels
        Names of the checkpoints, in the order in which they were given.
    steps
        Where each stands in the run.
    layers
        One record for each layer of each pair: all layers of the second checkpoint, then those of the third, ….
    reports
        The analysis of each checkpoint, of the layers that could be compared.
    meta
        Versions, options and seconds.
    """

    labels: tuple[str, ...]
    steps: tuple[float, ...]
    layers: tuple[LayerComparison, ...]
    reports: tuple[Report, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[LayerComparison]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, name: str) -> tuple[LayerComparison, ...]:
        """The records of one layer, a pair of checkpoints each."""
        found = tuple(layer for layer in self.layers if layer.name == name)
        if not found:
            raise KeyError(f"no layer {name!r} in the comparison of {', '.join(self.labels)}")
        return found

    @property
    def unmatched(self) -> tuple[LayerComparison, ...]:
        """The layers that only one checkpoint of a pair has, or that differ in shape."""
        return tuple(layer for layer in self.layers if layer.status == "unmatched")

    def to_table(self) -> Table:
        """The columns by name, without pandas."""
        rows = [_row(layer) for layer in self.layers]
        columns = dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row)
        return {name: [row.get(name) for row in rows] for name in columns}

    def to_pandas(self) -> pd.DataFrame:
        """The table: one row for each layer of each pair; `docs/compare.md` explains the columns."""
        return to_frame(self.to_table())

    def trajectory(self) -> pd.DataFrame:
        """Alpha, stable rank, sparsity and relative change of each layer at each step, one row a step and layer."""
        from spectra.report.trajectory import trajectory_table

        return to_frame(trajectory_table(self))

    def summary(self) -> dict[str, Any]:
        """Counts of layers, and medians over those that were compared, of the last checkpoint."""
        last = [layer for layer in self.layers if layer.model == self.labels[-1]]
        return {
            "labels": self.labels,
            "layers": len(last),
            **{status: sum(layer.status == status for layer in last) for status in ("unmatched", "skipped", "failed")},
            "unchanged": sum(layer.metrics.get("delta_norm") == 0 for layer in last),
            **{name: _median(last, name) for name in ("relative_change", "w1_distance", "overlap_u", "overlap_v")},
            "alpha_shift": _median(last, "alpha_shift"),
        }

    def save(self, path: str | Path) -> None:
        """Write the table; the suffix decides: ``.csv``, ``.json`` (a list of records) or ``.parquet``.

        Raises
        ------
        OutputError
            For another suffix, or where the file cannot be written.
        """
        save_columns(self.to_table(), path)

    def save_trajectory(self, path: str | Path) -> None:
        """Write the table of `trajectory` in the format of the suffix, as `save` does."""
        from spectra.report.trajectory import trajectory_table

        save_columns(trajectory_table(self), path)

    def plot(self, metrics: Sequence[str] = ("alpha", "stable_rank", "near_zero_std", "relative_change")) -> Figure:
        """Draw metrics of every layer by step, one panel a metric; `spectra.report.trajectory.plot_trajectory`."""
        from spectra.report.trajectory import plot_trajectory

        return plot_trajectory(self, metrics)

    def __repr__(self) -> str:
        s = self.summary()
        change = "" if s["relative_change"] is None else f", median relative change {s['relative_change']:.3g}"
        return (
            f"ModelComparison({' → '.join(self.labels)}: {s['layers']} layers, {s['unmatched']} unmatched, "
            f"{s['failed']} failed{change})"
        )


def _row(layer: LayerComparison) -> dict[str, Metric]:
    return {
        "name": layer.name,
        "model": layer.model,
        "against": layer.against,
        "step": layer.step,
        "kind": layer.kind,
        "role": layer.role,
        "depth": layer.depth,
        "shape": "×".join(map(str, layer.shape)),
        "dtype": layer.dtype,
        "status": layer.status,
        "warning": layer.warning,
        **layer.metrics,
    }


def _median(layers: Sequence[LayerComparison], name: str) -> float | None:
    """Over the layers that have a spectrum: the median of hundreds of biases says little."""
    spectral = [layer for layer in layers if layer.metrics.get("M") is not None]
    values = [value for layer in spectral if (value := layer.metrics.get(name)) is not None]
    return float(np.median(np.asarray(values, float))) if values else None
