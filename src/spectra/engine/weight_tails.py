"""The tails of the weight entries themselves: large positive ones to the right, large negative ones to the left.

Exact zeros belong to neither. Every distinct magnitude of a side is tried as xmin, and the other families are fitted
to the tail that wins, Student's t among them. There is no bootstrap: with the 10⁴ to 10⁷ points of a layer the
likelihood ratios tell families apart as it is, and a thousand searches would take hours.
"""

from __future__ import annotations

import jax
import numpy as np

from spectra.engine.fitted import ALTERNATIVES, Columns, Sample, fit_sample, rivals, verdict_columns
from spectra.engine.programs import fetch
from spectra.kernels import fit_student_t

FAMILIES = (*ALTERNATIVES, "student_t")
"""Laplace is not among them: above any xmin it is the exponential."""

MOST = 10_000_000
"""Of a side with more entries, this many of the largest are searched: xmin lies among them."""

GAUSSIAN = 1e6
"""Degrees of freedom that stand for infinitely many, which not every file format can hold."""

SHORTEST = 4096
"""Samples are padded to this length or a larger power of two, tails to this times a power of four: the programs of the
families take seconds to compile for each length, and little time to run."""


def weight_tails(w: np.ndarray) -> Columns:
    """Columns `right_…` and `left_…` of the finite entries of a layer, and the degrees of freedom of Student's t."""
    flat = w.ravel()
    found = _student(flat)
    for side, values in (("right", flat[flat > 0]), ("left", -flat[flat < 0])):
        found |= {f"{side}_{name}": value for name, value in _side(values).items()}
    return found


def _side(values: np.ndarray) -> Columns:
    if values.size > MOST:
        values = np.partition(values, values.size - MOST)[-MOST:]
    sample = Sample.of(values, values.dtype, _length(values.size))
    fit = fit_sample(sample)
    tail = values[values >= fit.xmin] if fit.n_tail else values[:0]
    shortened = Sample.of(tail, values.dtype, _length(tail.size, 4))
    found = rivals(shortened, fit, FAMILIES)
    columns: Columns = {"n_tail": int(fit.n_tail)}
    for name, value in (("alpha", fit.alpha), ("xmin", fit.xmin), ("D", fit.ks), ("sigma", fit.sigma)):
        columns[name] = float(value) if np.isfinite(value) else None
    return columns | verdict_columns(fit, found.alternatives, None)


def _student(flat: np.ndarray) -> Columns:
    """Of a layer with more than `MOST` entries, evenly spaced ones."""
    chosen = flat[:: -(-flat.size // MOST)] if flat.size > MOST else flat
    unit = float(np.exp2(np.floor(np.log2(np.abs(chosen).max())))) if chosen.any() else 1.0
    length = _length(chosen.size)
    values, inside = np.zeros(length, flat.dtype), np.arange(length) < chosen.size
    values[: chosen.size] = chosen / flat.dtype.type(unit)
    df = float(fetch(lambda: _student_fit(values, inside)).df)
    return {"student_t_df": None if np.isnan(df) else min(df, GAUSSIAN)}


def _length(size: int, step: int = 2) -> int:
    length = SHORTEST
    while length < size:
        length *= step
    return length


_student_fit = jax.jit(lambda x, where: fit_student_t(x, where))
