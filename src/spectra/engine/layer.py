"""Everything about one layer whose tensor has been read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np

from spectra.engine.backends import Backend
from spectra.engine.columns import spectral_columns, warnings
from spectra.engine.entries import describe_entries
from spectra.engine.esd import ESD, pooled_esd
from spectra.engine.farms import farms_columns
from spectra.engine.fitted import Columns, Params, bootstrapped, rivals, verdict_columns
from spectra.engine.localised import localisation_columns
from spectra.engine.null import null_columns
from spectra.engine.operator import measured_by
from spectra.engine.options import Options, Precision
from spectra.engine.plan import Step
from spectra.engine.weight_tails import weight_tails
from spectra.kernels import Histogram
from spectra.models.matrices import MatrixView
from spectra.models.source import Array
from spectra.report.result import LayerResult, Metric, WeightHistogram

ABOUT_TRAINING = ("over-trained", "under-trained")
"""What alpha says of a layer's weights; the theory behind it is not about changes of them."""


def measure(step: Step, tensor: Array, options: Options, backend: Backend, alone: bool = False) -> LayerResult:
    """The result of one layer.

    Parameters
    ----------
    tensor
        The tensor that it is cut from, in its own type.
    alone
        Whether no other layer is worked on meanwhile: entries and spectrum are then measured side by side.
    """
    view = step.layer.view
    whole = np.asarray(tensor)
    cut = np.asarray(view.matrices(whole) if view else whole)
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite and is reported below
        weights = np.ascontiguousarray(cut, dtype=options.dtype)
    largest = max(float(weights.max()), -float(weights.min())) if weights.size else 0.0
    if not np.isfinite(largest):
        return not_measured(step, _broken(cut, weights))
    if 0 < largest < float(np.finfo(weights.dtype).tiny):
        return not_measured(step, f"all entries are subnormal (largest {largest:.3g}): scale them up")
    if step.action == "analyze" and (why := _unsquarable(largest, weights)):
        return not_measured(step, why)
    with ThreadPoolExecutor(1) if alone else nullcontext() as helper:
        shown = view is None or view.shows_entries
        counted = helper.submit(describe_entries, weights) if helper and shown else None
        with _in(options.precision):
            analyzed = view if step.action == "analyze" else None
            esd = pooled_esd(weights, *measured_by(analyzed, options, backend)) if analyzed else None
            trust, params = _trust(step, esd, options)
            tails = weight_tails(weights) if options.tails and shown else {}
        entries = (counted.result() if counted else describe_entries(weights)) if shown else None
        if esd is not None and entries is not None and view is not None and view.formed:
            with _in(options.precision):
                trust |= _of_matrices(step, weights, esd, view, entries.columns["kurtosis"], options, backend)
    metrics: dict[str, Metric] = {}
    status, warning = "success", ""
    if esd is not None and view is not None:
        columns = spectral_columns(esd, view) | trust
        metrics.update({"method": esd.route}, **columns)
        said = [word for word in warnings(columns) if step.layer.kind != "lora" or word not in ABOUT_TRAINING]
        warning = "; ".join([*said, *filter(None, [step.note])])
    elif view is not None:
        status, warning = "skipped", step.note
    return _result(
        step,
        status,
        warning,
        {**metrics, **(entries.columns if entries else {}), **tails},
        _shown(entries.linear) if entries else None,
        _shown(entries.log) if entries else None,
        None if esd is None else esd.eigenvalues,
        params,
    )


def _unsquarable(largest: float, weights: Array) -> str:
    """Why eigenvalues of these weights would be no numbers in double precision; those of float32 are scaled."""
    if weights.dtype != np.float64 or largest == 0 or (largest > 1e-150 and largest < 1e150 / weights.size**0.5):
        return ""
    return f"squares of the entries (largest {largest:.3g}) are beyond double precision: scale them"


def _of_matrices(
    step: Step,
    weights: np.ndarray,
    esd: ESD,
    view: MatrixView,
    kurtosis: float | int | None,
    options: Options,
    backend: Backend,
) -> Columns:
    """What only matrices that are formed have."""
    found: Columns = {}
    if options.farms:
        found |= farms_columns(weights, backend)
    if options.vectors:
        found |= localisation_columns(weights, view, options.vectors, backend)
    if options.null:
        found |= null_columns(weights, esd, view, kurtosis, options, backend, step.layer.name)
    return found


def _in(precision: Precision) -> AbstractContextManager[Any]:
    """Float64 for the calls of JAX inside, if asked for."""
    return jax.enable_x64(True) if precision == "float64" else nullcontext()


def _trust(step: Step, esd: ESD | None, options: Options) -> tuple[Columns, Params]:
    """What there is to believe the fit of the spectrum, and the parameters of all families."""
    if esd is None:
        return {}, {}
    if not options.gof:
        return verdict_columns(esd.fit, {}, None), {}
    found = rivals(esd.sample, esd.fit)
    trust = bootstrapped(esd.sample, esd.fit, options.gof, options.seed, step.layer.name)
    return verdict_columns(esd.fit, found.alternatives, trust), found.params


def not_measured(step: Step, why: str, status: str = "failed") -> LayerResult:
    """The result of a layer that was not measured."""
    return _result(step, status, why)


def _shown(h: Histogram) -> WeightHistogram:
    return WeightHistogram(np.asarray(h.edges), np.asarray(h.counts), int(h.underflow), int(h.overflow))


def _broken(cut: np.ndarray, weights: np.ndarray) -> str:
    count = weights.size - np.count_nonzero(np.isfinite(weights))
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
    families: Params | None = None,
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
        families=families or {},
    )
