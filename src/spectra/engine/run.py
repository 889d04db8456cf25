"""Carry out a plan: read a tensor, cut its layers, measure them, yield one result a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from spectra.engine.columns import spectral_columns, warnings
from spectra.engine.entries import describe_entries
from spectra.engine.esd import pooled_esd
from spectra.engine.options import Options
from spectra.engine.plan import Plan, Step
from spectra.errors import CheckpointError
from spectra.kernels import Histogram
from spectra.models.source import Array, TensorSource
from spectra.report.result import LayerResult, Metric, WeightHistogram


class Progress(NamedTuple):
    """How far an analysis is; costs are in the plan's flops."""

    name: str
    """Layer that is about to be worked on; "" at the end."""
    done: float
    total: float
    layer: int
    layers: int


def run(
    plan: Plan, source: TensorSource, options: Options, progress: Callable[[Progress], None] | None = None
) -> Iterator[LayerResult]:
    """Yield the result of each step, in order; a layer that fails becomes a result that says so."""
    held: tuple[str, Array] | None = None  # slices of one tensor follow each other: it is read once
    done = 0.0
    for number, step in enumerate(plan.steps):
        if progress:
            progress(Progress(step.layer.name, done, plan.flops, number, len(plan.steps)))
        if step.action in ("skip", "fail"):
            yield _result(step, "skipped" if step.action == "skip" else "failed", step.note)
        else:
            try:
                if held is None or held[0] != step.layer.tensor:
                    held = None  # let go of the last tensor before the next one is read
                    held = (step.layer.tensor, source.read(step.layer.tensor))
                yield _measure(step, held[1], options)
            except CheckpointError as error:
                yield _result(step, "failed", str(error))
        done += step.flops
    if progress:
        progress(Progress("", plan.flops, plan.flops, len(plan.steps), len(plan.steps)))


def _measure(step: Step, tensor: Array, options: Options) -> LayerResult:
    """Everything about one layer whose tensor has been read."""
    view = step.layer.view
    cut = np.asarray(view.matrices(tensor) if view else tensor)
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite and is reported below
        weights = np.ascontiguousarray(cut, dtype=np.float64 if options.precision == "float64" else np.float32)
    broken = int(weights.size - np.count_nonzero(np.isfinite(weights)))
    if broken:
        return _result(step, "failed", _broken(cut, weights, broken))
    largest = max(float(weights.max()), -float(weights.min()))
    if 0 < largest < float(jnp.finfo(weights.dtype).tiny):
        return _result(step, "failed", f"all entries are subnormal (largest {largest:.3g}): scale them up")
    with jax.enable_x64(True) if options.precision == "float64" else nullcontext():
        entries = describe_entries(weights)
        esd = pooled_esd(weights, options) if step.action == "analyze" else None
    metrics: dict[str, Metric] = {}
    status, warning = "success", ""
    if esd is not None and view is not None:
        columns = spectral_columns(esd, view)
        metrics.update({"method": esd.route}, **columns)
        warning = "; ".join(warnings(columns))
    elif view is not None:
        status, warning = "skipped", step.note
    return _result(
        step,
        status,
        warning,
        {**metrics, **entries.columns},
        _shown(entries.linear),
        _shown(entries.log),
        None if esd is None else esd.eigenvalues,
    )


def _shown(h: Histogram) -> WeightHistogram:
    return WeightHistogram(np.asarray(h.edges), np.asarray(h.counts), int(h.underflow), int(h.overflow))


def _broken(cut: np.ndarray, weights: np.ndarray, count: int) -> str:
    kind = "NaN" if np.isnan(weights).any() else "infinite"
    if np.isfinite(np.asarray(cut, np.float64)).all():
        return f"{count} of {weights.size} entries exceed float32: use precision float64"
    return f"{kind} in {count} of {weights.size} entries: repair or retrain this layer"


def _result(
    step: Step,
    status: str,
    warning: str,
    metrics: dict[str, Metric] | None = None,
    histogram: WeightHistogram | None = None,
    log_histogram: WeightHistogram | None = None,
    eigenvalues: np.ndarray | None = None,
) -> LayerResult:
    layer = step.layer
    shape: dict[str, Metric] = dict.fromkeys(("M", "N", "Q", "rf", "num_evals"))
    if view := layer.view:
        shape = {"M": view.M, "N": view.N, "Q": view.N / view.M if view.M else None, "rf": view.rf}
        shape["num_evals"] = view.num_evals
    return LayerResult(
        name=layer.name,
        kind=layer.kind,
        role=layer.role,
        depth=layer.depth,
        shape=layer.shape,
        dtype=layer.dtype,
        status=status,
        warning=warning,
        metrics=shape | (metrics or {}),
        histogram=histogram,
        log_histogram=log_histogram,
        eigenvalues=eigenvalues,
    )
