"""`compare`: two or more checkpoints of one model, layer by layer.

First every checkpoint is analyzed as `analyze` does it, several layers at a time; then the tensors are read in pairs
for what takes both: the change of the weights and the overlap of the leading directions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from importlib.metadata import version
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, Literal, get_args

import jax

from spectra.engine.backends import choose_backend
from spectra.engine.compare_layer import shift_columns
from spectra.engine.compare_match import Match, Pair, match_layers
from spectra.engine.compare_run import Changes, Checkpoint, find_changes
from spectra.engine.options import Backend, Conv, Gates, Heads, Options, Precision
from spectra.engine.plan import Plan, make_plan
from spectra.engine.progress import Progress, Tally
from spectra.engine.run import run
from spectra.errors import InputError
from spectra.models.adapters import find_adapters
from spectra.models.formats import open_source
from spectra.models.source import Layout, TensorSource
from spectra.report.comparison import LayerComparison, ModelComparison
from spectra.report.result import LayerResult, Metric, Report

Against = Literal["previous", "first"]
"""Which checkpoint of a run each one is compared with."""


def compare(
    a: Any,
    b: Any,
    *more: Any,
    layers: Sequence[str] = (),
    conv: Conv = "pool",
    gates: Gates = "split",
    heads: Heads = "fold",
    fft_size: int = 16,
    precision: Precision = "float32",
    min_evals: int = 10,
    layout: Layout | None = None,
    backend: Backend = "auto",
    top: int = 10,
    against: Against = "previous",
    steps: Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ModelComparison:
    """Compare two or more checkpoints of one model, layer by layer.

    Layers are matched by name, shape and axes. Those that only one of two checkpoints has, or has in another shape,
    are rows of status ``unmatched``; a layer that is broken in one of them is a row of status ``failed``.

    Parameters
    ----------
    a, b, more
        Checkpoints in the order of the run: paths, params pytrees, `nnx` modules, mappings; as for `analyze`.
    layers, conv, gates, heads, fft_size, precision, min_evals, layout, backend
        As for `analyze`.
    top
        How many leading singular directions the overlaps compare, capped at half of a matrix's smaller side; 0 leaves
        the overlaps out.
    against
        Each checkpoint after the first is compared with the ``previous`` one, or with the ``first``.
    steps
        Where each checkpoint stands in the run, increasing; by default 0, 1, 2, ….
    labels
        Names of the checkpoints; by default their paths.
    progress
        Called with a `Progress` when work on a layer begins, and at the end.

    Returns
    -------
    ModelComparison
        One record a layer and pair; `docs/compare.md` explains the numbers.

    Raises
    ------
    InputError
        If a checkpoint cannot be read, two of them have no layer in common, or an option is unknown.

    Examples
    --------
    >>> import numpy as np, spectra
    >>> rng = np.random.default_rng(0)
    >>> w = rng.standard_normal((64, 32))
    >>> found = spectra.compare({"fc.kernel": w}, {"fc.kernel": w + 0.01 * rng.standard_normal((64, 32))})
    >>> [layer] = found["fc.kernel"]
    >>> round(layer.metrics["relative_change"], 2), layer.metrics["overlap_v"] > 0.9
    (0.01, True)
    """
    options = Options(
        layers=layers,
        conv=conv,
        gates=gates,
        heads=heads,
        fft_size=fft_size,
        precision=precision,
        min_evals=min_evals,
        layout=layout,
        backend=backend,
    )
    return compare_models(
        (a, b, *more), options, top=top, against=against, steps=steps, labels=labels, progress=progress
    )


def compare_models(
    models: Sequence[Any],
    options: Options,
    *,
    top: int = 10,
    against: Against = "previous",
    steps: Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ModelComparison:
    """As `compare`; all checkpoints are opened and matched before the work, so that a bad one is found first."""
    start = time.perf_counter()
    _check(len(models), top, against)
    places = _checked_steps(steps, len(models))
    with ExitStack() as stack:
        sources = [stack.enter_context(closing(open_source(model))) for model in models]
        names = _checked_labels(labels, sources)
        plans = [make_plan(source, options) for source in sources]
        checkpoints = [
            Checkpoint(name, source, plan, choose_backend(options, plan))
            for name, source, plan in zip(names, sources, plans, strict=True)
        ]
        pairs = []
        for later in range(1, len(models)):
            earlier = 0 if against == "first" else later - 1
            factors = {name for adapter in find_adapters(sources[later].tensors) for name in adapter.factors}
            matches = match_layers(plans[earlier], plans[later], (names[earlier], names[later]), factors)
            pairs.append(Pair(earlier, later, tuple(matches)))
        compared = tuple(match.after for pair in pairs for match in pair.matches if match.after and not match.why)
        tally = Tally([*plans, Plan(compared, {}, 0)], progress)
        for place, checkpoint in enumerate(checkpoints):
            _analyze(checkpoint, set().union(*(pair.wanted(place) for pair in pairs)), options, tally)
        changes = find_changes(pairs, checkpoints, options, top, tally)
    rows = [_row(pair, match, checkpoints, changes, places) for pair in pairs for match in pair.matches]
    meta = {
        "spectra": version("spectra-jax"),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "seconds": round(time.perf_counter() - start, 3),
        **{name: value for name, value in asdict(options).items() if value not in ((), None)},
        "backend": checkpoints[0].backend.name,
        "top": int(top),
        "against": against,
    }
    reports = tuple(Report(checkpoint.label, tuple(checkpoint.results.values()), meta) for checkpoint in checkpoints)
    return ModelComparison(tuple(names), places, tuple(rows), reports, meta)


def _check(models: int, top: int, against: str) -> None:
    if not isinstance(top, Integral) or isinstance(top, bool) or top < 0:
        raise InputError(f"top={top!r} must be a whole number of at least 0")
    if against not in get_args(Against):
        raise InputError(f"against={against!r} is unknown: choose one of {', '.join(get_args(Against))}")
    if models < 2:
        raise InputError("one checkpoint cannot be compared: give two or more")


def _checked_steps(steps: Sequence[float] | None, models: int) -> tuple[float, ...]:
    """The places of the checkpoints in the run: one number for each, increasing."""
    if steps is None:
        return tuple(range(models))
    given = tuple(steps)
    numbers = all(isinstance(step, Real) and not isinstance(step, bool) and math.isfinite(step) for step in given)
    if len(given) != models or not numbers or any(one >= other for one, other in pairwise(given)):
        raise InputError(f"steps={given!r} must be {models} increasing numbers, one for each checkpoint")
    return tuple(int(step) if float(step).is_integer() else float(step) for step in given)


def _checked_labels(labels: Sequence[str] | None, sources: Sequence[TensorSource]) -> list[str]:
    """The names of the checkpoints, numbered where several are called the same."""
    given = [source.label for source in sources] if labels is None else list(labels)
    if isinstance(labels, str) or len(given) != len(sources) or not all(isinstance(label, str) for label in given):
        raise InputError(f"labels={labels!r} must be {len(sources)} names, one for each checkpoint")
    return [
        f"{label} ({given[: place + 1].count(label)})" if given.count(label) > 1 else label
        for place, label in enumerate(given)
    ]


def _analyze(checkpoint: Checkpoint, wanted: set[int], options: Options, tally: Tally) -> None:
    """Measure the wanted layers of a checkpoint."""
    plan = checkpoint.plan
    tally.finished([step for step in plan.steps if step.index not in wanted])
    found = {}
    for step, result in run(plan, checkpoint.source, options, checkpoint.backend, wanted):
        if result is None:
            tally.begun(step)
        else:
            found[step.index] = result
            tally.finished([step])
    checkpoint.results = {found[index].name: found[index] for index in sorted(found)}


def _row(
    pair: Pair, match: Match, checkpoints: Sequence[Checkpoint], changes: Changes, places: Sequence[float]
) -> LayerComparison:
    layer, labels = match.layer, [checkpoints[place].label for place in (pair.earlier, pair.later)]
    status, warning, metrics, eigenvalues = "unmatched", match.why, _sizes(match), None
    if not match.why:
        results = [checkpoints[place].results[layer.name] for place in (pair.earlier, pair.later)]
        status, warning = _state(results, labels)
        change = changes.get((pair.later, layer.name))
        if change is not None and change.problem:
            status, warning = "failed", change.problem
        elif change is not None:
            metrics |= change.columns | shift_columns(*results)
            eigenvalues = change.eigenvalues
            if change.columns["delta_norm"] == 0:
                warning = "; ".join(part for part in ("unchanged", warning) if part)
    types = [step.layer.dtype for step in (match.before, match.after) if step]
    return LayerComparison(
        name=layer.name,
        model=labels[1],
        against=labels[0],
        step=places[pair.later],
        kind=layer.kind,
        role=layer.role,
        depth=layer.depth,
        shape=layer.shape,
        dtype="→".join(dict.fromkeys(types)),
        status=status,
        warning=warning,
        metrics=metrics,
        delta_eigenvalues=eigenvalues,
    )


def _sizes(match: Match) -> dict[str, Metric]:
    view = match.layer.view
    if view is None:
        return dict.fromkeys(("M", "N", "Q", "rf"))
    return {"M": view.M, "N": view.N, "Q": view.N / view.M if view.M else None, "rf": view.rf}


def _state(results: Sequence[LayerResult], labels: Sequence[str]) -> tuple[str, str]:
    """Status and warning of a layer from those of its two analyses."""
    failed = [
        result.warning if label in result.warning else f"{label}: {result.warning}"
        for result, label in zip(results, labels, strict=True)
        if result.status == "failed"
    ]
    if failed:
        return "failed", "; ".join(failed)
    before, after = ([part for part in result.warning.split("; ") if part] for result in results)
    told = [part if part in after else f"{part} (before)" for part in before]
    told += [f"{part} (after)" for part in after if part not in before]
    # Too few eigenvalues for a fit are enough for everything else; only what was not read has nothing to compare.
    return ("success" if "count" in results[1].metrics else "skipped"), "; ".join(told)
