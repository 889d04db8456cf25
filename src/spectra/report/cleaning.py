"""What `clean` returns: one `LayerCleaning` a layer with matrices, gathered in a `Cleaning`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.report.result import LayerResult, Metric
from spectra.report.save import Table, save_columns, to_frame, to_table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


@dataclass(frozen=True)
class LayerCleaning:
    """One layer before and after it was cleaned.

    Attributes
    ----------
    name, kind, role, depth, shape, dtype
        The layer as `spectra.models.layers.Layer` describes it.
    status
        ``success``, whether anything was removed or not; ``skipped`` where the layer is left as it is for good reason
        (too few eigenvalues, integer weights, a factor of an adapter); ``failed`` where it is left as it is because
        something is wrong with it. `warning` says why.
    warning
        What to know of what was not removed.
    metrics
        The scalar columns by name, in order; `docs/clean.md` explains them.
    before, after
        Everything measured on the layer as it was read and as it was written; None where it was not read.
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
    before: LayerResult | None = None
    after: LayerResult | None = None

    @property
    def changed(self) -> bool:
        """Whether the layer was written with other weights than it was read with."""
        return float(self.metrics.get("delta_norm") or 0) > 0


@dataclass(frozen=True)
class Cleaning:
    """A checkpoint that was written without some of what it had; iterate for `LayerCleaning` records.

    Attributes
    ----------
    label
        The model, as its path was given.
    out
        Where the result is.
    layers
        One record for each layer with matrices, in the order of the checkpoint.
    meta
        Versions, options and seconds.
    """

    label: str
    out: str
    layers: tuple[LayerCleaning, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[LayerCleaning]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, name: str) -> LayerCleaning:
        found = [layer for layer in self.layers if layer.name == name]
        if not found:
            raise KeyError(f"no layer {name!r} among the matrices of {self.label}")
        return found[0]

    def to_table(self) -> Table:
        """The columns by name, without pandas."""
        return to_table([self])

    def to_pandas(self) -> pd.DataFrame:
        """The table: one row a layer; `docs/clean.md` explains the columns."""
        return to_frame(self.to_table())

    def save(self, path: str | Path) -> None:
        """Write the table; the suffix decides: ``.csv``, ``.json`` (a list of records) or ``.parquet``.

        Raises
        ------
        OutputError
            For another suffix, or where the file cannot be written.
        """
        save_columns(self.to_table(), path)

    def summary(self) -> dict[str, Any]:
        """Counts of layers and of what was removed, and the median relative change of the layers that changed."""
        changed = [layer for layer in self.layers if layer.changed]
        changes = [float(layer.metrics["relative_change"] or 0) for layer in changed]

        def total(name: str) -> int:
            return sum(int(layer.metrics.get(name) or 0) for layer in self.layers)

        return {
            "label": self.label,
            "out": self.out,
            "layers": len(self.layers),
            "changed": len(changed),
            **{status: sum(layer.status == status for layer in self.layers) for status in ("skipped", "failed")},
            **{name: total(name) for name in ("removed_entries", "removed_means", "removed_components")},
            **{f"traps_{side}": total(f"rand_num_spikes_{side}") for side in "ab"},
            "relative_change": float(np.median(changes)) if changes else None,
        }

    def __repr__(self) -> str:
        s = self.summary()
        return f"Cleaning({self.label} → {self.out}: {s['changed']} of {s['layers']} layers changed)"
