"""One layer cleaned: measured, changed in its own element type, and measured again as it will be written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from spectra.engine.backends import Backend
from spectra.engine.clean_bulk import keep_components, optimal_shrinker
from spectra.engine.clean_traps import remove_traps
from spectra.engine.compare_layer import _blocks, _norm_of_block
from spectra.engine.layer import _in, measure
from spectra.engine.null import permuted_spikes
from spectra.engine.options import Options
from spectra.engine.pieces import Measure, pieces_of, summary_of
from spectra.engine.plan import Step
from spectra.errors import InputError
from spectra.models.matrices import MatrixView
from spectra.report.cleaning import LayerCleaning
from spectra.report.result import LayerResult, Metric

Remove = Literal["traps", "bulk"]
Keep = Literal["spikes", "tail", "detX"]

COUNTS: dict[str, tuple[str, str]] = {
    "spikes": ("num_spikes", "no eigenvalue is beyond the bulk"),
    "tail": ("num_pl_spikes", "there is no power-law fit"),
    "detX": ("detX_num", "no product of eigenvalues falls below 1"),
}
"""The column that says how many components are kept, and why there is none."""

SHOWN = ("alpha", "sigma", "num_pl_spikes", "lambda_max", "stable_rank", "num_spikes", "rand_num_spikes")
"""Columns that are shown before (``_a``) and after (``_b``)."""


@dataclass(frozen=True)
class Removal:
    """What is removed.

    Attributes
    ----------
    remove
        ``traps``: the entries and means that make eigenvalues of the shuffled matrix leave its bulk; ``bulk``: all
        singular components but the leading ones.
    keep
        Which are the leading ones: ``spikes``, beyond the Tracy–Widom edge of the bulk; ``tail``, from the xmin of the
        power-law fit on; ``detX``, those that detX_num counts.
    shrink
        Whether the singular values of spikes are shrunk by what noise has added to them.
    """

    remove: Remove = "traps"
    keep: Keep = "spikes"
    shrink: bool = False

    def __post_init__(self) -> None:
        for name, choices in (("remove", Remove), ("keep", Keep)):
            if getattr(self, name) not in get_args(choices):
                known = ", ".join(get_args(choices))
                raise InputError(f"{name}={getattr(self, name)!r} is unknown: choose one of {known}")
        if not isinstance(self.shrink, bool):
            raise InputError(f"shrink={self.shrink!r} must be True or False")
        if self.remove == "traps" and (self.keep != "spikes" or self.shrink):
            raise InputError("keep and shrink are about what is kept where the bulk is removed: add remove='bulk'")
        if self.shrink and self.keep != "spikes":
            raise InputError(f"shrink needs the bulk that spikes stand out of: it does not go with keep={self.keep!r}")


class _Change(NamedTuple):
    matrices: np.ndarray | None
    """None where the layer stays as it is."""
    columns: dict[str, Metric]
    note: str


def clean_layer(
    step: Step, original: np.ndarray, target: np.ndarray, options: Options, removal: Removal, backend: Backend
) -> LayerCleaning:
    """Clean one layer and report the change.

    Parameters
    ----------
    original
        The tensor that the layer is cut from.
    target
        A C-ordered copy of it, in which the layer is changed in place.
    """
    before = measure(step, original, options, backend)
    view = step.layer.view
    if before.status != "success" or view is None:
        return unchanged(step, before.status, before.warning, before)
    matrices = np.asarray(view.matrices(original))
    change = _change(matrices, view, step.layer.name, before, options, removal, backend)
    after = before
    if change.matrices is not None:
        view.put(target, change.matrices)
        after = measure(step, target, options, backend)
    if after.status != "success":  # what was finite stays finite; subnormal entries may be all that is left
        view.put(target, matrices)
        return unchanged(step, "failed", f"not cleaned, for afterwards: {after.warning}", before)
    written = matrices if change.matrices is None else change.matrices
    metrics = _sizes(before) | _norms(matrices, written) | change.columns | _shown(before, after)
    return _row(step, "success", change.note, metrics, before, after)


def unchanged(step: Step, status: str, why: str, before: LayerResult | None = None) -> LayerCleaning:
    """The row of a layer that is left as it is because something is wrong with it, or too small."""
    return _row(step, status, why, _sizes(before) if before else {}, before, before)


def _row(
    step: Step,
    status: str,
    warning: str,
    metrics: dict[str, Metric],
    before: LayerResult | None,
    after: LayerResult | None,
) -> LayerCleaning:
    layer = step.layer
    named = (layer.name, layer.kind, layer.role, layer.depth, layer.shape, layer.dtype)
    return LayerCleaning(*named, status, warning, metrics, before, after)


def _change(
    matrices: np.ndarray,
    view: MatrixView,
    name: str,
    before: LayerResult,
    options: Options,
    removal: Removal,
    backend: Backend,
) -> _Change:
    if removal.remove == "traps":
        found = remove_traps(
            matrices,
            int(before.metrics.get("rand_num_spikes") or 0),
            lambda changed: _count_traps(changed, view, name, options, backend),
        )
        return _Change(found.matrices, {"removed_entries": found.entries, "removed_means": found.means}, found.note)
    column, none = COUNTS[removal.keep]
    if before.metrics.get(column) is None and column == "num_spikes":
        return _Change(None, _components(view, view.num_evals), "left as it is: no bulk could be fitted")
    kept = int(before.metrics.get(column) or 0)
    if kept == 0:
        return _Change(None, _components(view, view.num_evals), f"left as it is: {none}")
    if kept >= view.num_evals:
        return _Change(None, _components(view, view.num_evals), "left as it is: all components are kept")
    shrinker = None
    if removal.shrink:
        shrinker = optimal_shrinker(*(float(before.metrics[edge] or 0) for edge in ("bulk_min", "bulk_max")))
    new, components = keep_components(matrices, kept, shrinker)
    if components == 0:
        return _Change(None, _components(view, view.num_evals), "left as it is: shrinking would leave nothing")
    return _Change(new, _components(view, components), "")


def _components(view: MatrixView, kept: int) -> dict[str, Metric]:
    return {"kept_components": kept, "removed_components": view.num_evals - kept}


def _count_traps(matrices: np.ndarray, view: MatrixView, name: str, options: Options, backend: Backend) -> int:
    """`rand_num_spikes` of matrices in the type of the checkpoint, as the analyzer would find it."""
    weights = np.ascontiguousarray(matrices, options.dtype)
    measured = Measure(weights.dtype)
    kurtosis = summary_of([measured(piece) for piece in pieces_of(weights.ravel())]).kurtosis
    with _in(options.precision):
        return permuted_spikes(weights, view, float(np.nan_to_num(kurtosis)), options, backend, name)


def _sizes(result: LayerResult) -> dict[str, Metric]:
    return {name: result.metrics.get(name) for name in ("M", "N", "Q", "rf", "num_evals")}


def _norms(before: np.ndarray, after: np.ndarray) -> dict[str, Metric]:
    """‖ΔW‖ and ‖ΔW‖/‖W‖ of what is written against what was read, in float64."""
    pairs = zip(_blocks(before), _blocks(after), strict=True)
    delta = math.hypot(*(_norm_of_block(b.astype(np.float64) - a.astype(np.float64)) for a, b in pairs))
    size = math.hypot(*map(_norm_of_block, _blocks(before)))
    return {"delta_norm": delta, "relative_change": delta / size if size else None}


def _shown(before: LayerResult, after: LayerResult) -> dict[str, Metric]:
    return {
        f"{name}_{side}": result.metrics.get(name) for name in SHOWN for side, result in (("a", before), ("b", after))
    }
