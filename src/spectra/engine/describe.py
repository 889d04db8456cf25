"""`describe`: list what `analyze` would do, from headers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from spectra.engine.backends import choose_backend
from spectra.engine.options import Backend, Conv, Gates, Heads, Options, Precision
from spectra.engine.plan import Plan, make_plan
from spectra.models.adapted import open_model
from spectra.models.source import Layout
from spectra.report.result import Metric
from spectra.report.save import Table, to_frame

if TYPE_CHECKING:
    import pandas as pd


def describe(
    model: Any,
    *,
    layers: Sequence[str] = (),
    conv: Conv = "pool",
    gates: Gates = "split",
    precision: Precision = "float32",
    min_evals: int = 10,
    layout: Layout | None = None,
    backend: Backend = "auto",
    heads: Heads = "fold",
    fft_size: int = 16,
    base: Any = None,
) -> pd.DataFrame:
    """List what `analyze` would do with each layer, from headers alone.

    Parameters are those of `analyze`.

    Returns
    -------
    pandas.DataFrame
        Columns name, kind, role, depth, shape, dtype, matrices, N, M, num_evals, action, note, order, bucket, gflops,
        megabytes, peak_megabytes: `order` is the place in the order of work, costliest tensors first, `bucket` the
        padded shape that the spectrum is computed in, `gflops` the estimated cost in matrix-product flops, `megabytes`
        the size in the computing type, `peak_megabytes` what the layer is estimated to take while it is worked on.
    """
    options = Options(layers, conv, gates, precision, min_evals=min_evals, layout=layout, backend=backend)
    options = replace(options, heads=heads, fft_size=fft_size)
    with closing(open_model(model, base)) as source:
        return to_frame(plan_table(make_plan(source, options), options))


def plan_table(plan: Plan, options: Options) -> Table:
    """The plan as a table; columns as `describe` lists them."""
    backend = choose_backend(options, plan)
    jobs = plan.jobs(range(len(plan.steps)))
    order = {step.index: place for place, step in enumerate(step for job in jobs for step in job.steps)}
    rows: list[dict[str, Metric]] = []
    for step in plan.steps:
        layer, view = step.layer, step.layer.view
        rows.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "role": layer.role,
                "depth": layer.depth,
                "shape": "×".join(map(str, layer.shape)),
                "dtype": layer.dtype,
                "matrices": view.rf if view else 0,
                "N": view.N if view else None,
                "M": view.M if view else None,
                "num_evals": view.num_evals if view else None,
                "action": step.action,
                "note": step.note,
                "order": order.get(step.index),
                "bucket": "×".join(map(str, backend.bucket(*view.computed[1:])))
                if view and step.action == "analyze" and view.computed[0]
                else "",
                "gflops": step.flops / 1e9,
                "megabytes": math.prod(layer.shape) * options.dtype.itemsize / 1e6,
                "peak_megabytes": (plan.tensors.get(layer.tensor, 0) + step.nbytes) / 1e6,
            }
        )
    return {name: [row[name] for row in rows] for name in rows[0]}
