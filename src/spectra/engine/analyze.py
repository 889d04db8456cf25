"""The two entry points of the library: `analyze` a model, or `describe` what would be analyzed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import jax

from spectra.engine.options import Conv, Gates, Options, Precision
from spectra.engine.plan import Plan, make_plan
from spectra.engine.run import Progress, run
from spectra.kernels.spectrum import Method
from spectra.models.formats import open_source
from spectra.models.source import Layout, TensorSource
from spectra.report.result import Report

if TYPE_CHECKING:
    import pandas as pd


def analyze(
    model: Any,
    *,
    layers: Sequence[str] = (),
    conv: Conv = "pool",
    gates: Gates = "split",
    precision: Precision = "float32",
    method: Method = "auto",
    min_evals: int = 10,
    layout: Layout | None = None,
    label: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Measure every layer of a model: weight entries, eigenvalue spectrum, power-law tail.

    Parameters
    ----------
    model
        A path (safetensors, Orbax, Flax msgpack, npz, PyTorch), a params pytree, an `nnx.Module` or state, or a
        mapping of names to arrays. Files are read a tensor at a time.
    layers
        Glob patterns on layer names; a layer that matches any of them is analyzed. Empty: all.
    conv
        ``pool``: eigenvalues of the matrices at all kernel positions together; ``flatten``: one out × (in·kh·kw)
        matrix.
    gates
        ``split``: each gate of a recurrent kernel apart; ``stack``: all gates as one matrix.
    precision
        ``float32`` or ``float64``; the global setting of JAX stays as it is.
    method
        Route to the eigenvalues, ``gram`` or ``svd``; ``auto`` takes gram, and svd for the layers where what gram
        cannot resolve could change a reported number. The column `method` tells which it was.
    min_evals
        Layers with fewer eigenvalues get no spectrum.
    layout
        ``torch`` (out, in, …) or ``flax`` (…, in, out), where names and format do not tell or are wrong.
    label
        Name of the model in the report; by default the path, or ``params``.
    progress
        Called with a `Progress` before each layer and at the end.

    Returns
    -------
    Report
        One record a layer; a layer that cannot be analyzed has status ``failed`` and says why.

    Raises
    ------
    InputError
        If the model cannot be read, has no layer to analyze, or an option is unknown.

    Examples
    --------
    >>> import numpy as np, spectra
    >>> w = np.random.default_rng(0).standard_t(3, (256, 128))
    >>> report = spectra.analyze({"dense.kernel": w})
    >>> report["dense"].status
    'success'
    """
    options = Options(layers, conv, gates, precision, method, min_evals, layout)
    with closing(open_source(model)) as source:
        return analyze_source(source, make_plan(source, options), options, label or source.label, progress)


def analyze_source(
    source: TensorSource,
    plan: Plan,
    options: Options,
    label: str,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Carry out a plan on an opened source and gather the report."""
    start = time.perf_counter()
    results = tuple(run(plan, source, options, progress))
    meta = {
        "spectra": version("spectra-jax"),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "seconds": round(time.perf_counter() - start, 3),
        **{name: value for name, value in asdict(options).items() if value not in ((), None)},
    }
    return Report(label, results, meta)


def describe(
    model: Any,
    *,
    layers: Sequence[str] = (),
    conv: Conv = "pool",
    gates: Gates = "split",
    precision: Precision = "float32",
    min_evals: int = 10,
    layout: Layout | None = None,
) -> pd.DataFrame:
    """List what `analyze` would do with each layer, from headers alone.

    Parameters are those of `analyze`.

    Returns
    -------
    pandas.DataFrame
        Columns name, kind, role, depth, shape, dtype, matrices, N, M, num_evals, action, note, gflops, megabytes:
        `gflops` is the estimated cost in matrix-product flops, `megabytes` the size in the computing type.
    """
    options = Options(layers, conv, gates, precision, min_evals=min_evals, layout=layout)
    with closing(open_source(model)) as source:
        return plan_frame(make_plan(source, options), options)


def plan_frame(plan: Plan, options: Options) -> pd.DataFrame:
    """The plan as a table; columns as `describe` lists them."""
    import pandas as pd

    width = 8 if options.precision == "float64" else 4
    rows = []
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
                "gflops": step.flops / 1e9,
                "megabytes": math.prod(layer.shape) * width / 1e6,
            }
        )
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(("depth", "matrices", "N", "M", "num_evals"), "Int64"))
