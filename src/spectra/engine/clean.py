"""`clean`: write a checkpoint again without its correlation traps, or without the bulk of its spectra."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from spectra.engine.backends import choose_backend
from spectra.engine.clean_layer import Keep, Removal, Remove, unchanged
from spectra.engine.clean_run import Ahead, Work
from spectra.engine.options import Backend, Conv, Gates, Heads, Options, Precision
from spectra.engine.plan import Job, Plan, Step, make_plan
from spectra.engine.progress import Progress, Tally
from spectra.errors import InputError
from spectra.models.adapters import FACTOR, find_adapters
from spectra.models.dtypes import FLOATS
from spectra.models.formats import open_source
from spectra.models.formats.base import one_line
from spectra.models.formats.rewriting import plan_rewriting, rewrite
from spectra.models.source import Layout, TensorSource
from spectra.report.cleaning import Cleaning, LayerCleaning

VECTOR = "a vector at each position, which has no bulk and which shuffling leaves as it is"


def clean(
    model: str | os.PathLike,
    out: str | os.PathLike,
    *,
    remove: Remove = "traps",
    keep: Keep = "spikes",
    shrink: bool = False,
    layers: Sequence[str] = (),
    conv: Conv = "pool",
    gates: Gates = "split",
    heads: Heads = "fold",
    precision: Precision = "float32",
    min_evals: int = 10,
    layout: Layout | None = None,
    backend: Backend = "auto",
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Cleaning:
    """Write a checkpoint again without its correlation traps, or without the bulk of its spectra.

    The result has the model's format, files, names, element types and metadata. Tensors in which nothing is removed
    have the same bytes. It appears under its name when it is complete. `docs/clean.md` says what exactly is removed.

    Parameters
    ----------
    model
        A checkpoint on disk: safetensors (also sharded), Orbax, Flax msgpack, npz, PyTorch.
    out
        Where to write: a file of the same suffix for a file, else a directory that is not there or empty.
    remove
        ``traps``: the few entries, and the means, for which eigenvalues of the shuffled matrix leave its bulk;
        ``bulk``: all singular components of a matrix but the leading ones.
    keep
        With ``bulk``, which components stay: ``spikes``, those beyond the bulk's Tracy–Widom edge; ``tail``, those from
        the xmin of the power-law fit on; ``detX``, those that detX_num counts.
    shrink
        With ``bulk`` and ``spikes``: shrink the singular values by what noise has added to them.
    layers, conv, gates, heads, precision, min_evals, layout, backend, seed
        As for `analyze`; what is cleaned are the matrices that it would analyze. `conv` may be ``pool`` or ``flatten``.
    progress
        Called with a `Progress` when a layer is waited for, and at the end.

    Returns
    -------
    Cleaning
        One record for each layer with matrices: what was removed, and what it did to the spectrum as it was written. A
        layer with something wrong is left as it is and has status ``failed``.

    Raises
    ------
    InputError
        If the model cannot be read, has no layer that could be cleaned, or an option is wrong.
    OutputError
        If `out` is the model itself, exists, or cannot be written.

    Examples
    --------
    >>> import numpy as np, spectra, tempfile
    >>> w = np.random.default_rng(0).standard_normal((200, 100)).astype(np.float32)
    >>> w[7, 9] = 50  # an eigenvalue of 2500 wherever it stands
    >>> with tempfile.TemporaryDirectory() as place:
    ...     np.savez(f"{place}/model.npz", kernel=w)
    ...     [layer] = spectra.clean(f"{place}/model.npz", f"{place}/new.npz")
    ...     int((np.load(f"{place}/new.npz")["kernel"] != w).sum())
    1
    >>> [layer.metrics[name] for name in ("removed_entries", "rand_num_spikes_a", "rand_num_spikes_b")]
    [1, 1, 0]
    """
    options = Options(
        layers, conv, gates, precision, min_evals=min_evals, layout=layout, backend=backend, seed=seed, heads=heads
    )
    return clean_model(model, out, options, Removal(remove, keep, shrink), progress)


def clean_model(
    model: str | os.PathLike,
    out: str | os.PathLike,
    options: Options,
    removal: Removal,
    progress: Callable[[Progress], None] | None = None,
) -> Cleaning:
    """As `clean`; places that cannot be written are found before the work."""
    start = time.perf_counter()
    if not isinstance(model, str | os.PathLike) or not isinstance(out, str | os.PathLike):
        raise InputError("clean reads a file and writes a file: save the parameters first, and give two paths")
    if options.conv == "fft":
        raise InputError("conv='fft' has no matrices that could be cleaned: choose pool or flatten")
    options = replace(options, null=True)
    rewriting = plan_rewriting(model, out)
    with closing(open_source(model)) as source:
        plan = make_plan(source, options)
        others = {step.index: layer for step in plan.steps if (layer := _left_alone(step))}
        others |= _not_by_itself(plan, source, others)
        jobs = _jobs(plan, source, others)
        if not jobs:
            reason = next((f" ({layer.name}: {layer.warning})" for layer in others.values() if layer.warning), "")
            raise InputError(
                one_line(f"{source.label}: has no layer that could be cleaned{reason}; nothing is written")
            )
        chosen = choose_backend(options, plan)
        tally = Tally([plan], progress)
        wanted = {step.index for job in jobs for step in job.steps}
        tally.finished([step for step in plan.steps if step.index not in wanted])
        ahead = Ahead(jobs, Work(source, options, removal, chosen), plan.largest, tally)
        try:
            with chosen.using(ahead.workers):
                rewrite(rewriting, ahead)
        finally:
            ahead.close()
    found = others | ahead.layers
    meta = {
        "spectra": version("spectra-jax"),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "seconds": round(time.perf_counter() - start, 3),
        **{name: value for name, value in asdict(options).items() if value not in ((), None)},
        **asdict(removal),
        "backend": chosen.name,
    }
    return Cleaning(source.label, str(Path(os.fsdecode(out))), tuple(found[index] for index in sorted(found)), meta)


def _left_alone(step: Step) -> LayerCleaning | None:
    """The row of a layer with matrices that nothing is removed from; None if it is to be cleaned or has none."""
    if step.action == "fail":
        # A quantized checkpoint is no mistake of its user's; that its axes cannot be told is one that can be helped.
        kind = "failed" if FLOATS.fullmatch(step.layer.dtype) else "skipped"
        return unchanged(step, kind, step.note)
    if step.action == "entries" and step.layer.view is not None:
        return unchanged(step, "skipped", step.note)
    if step.action == "analyze" and step.layer.view is not None and step.layer.view.M == 1:
        return unchanged(step, "skipped", VECTOR)
    return None


def _not_by_itself(plan: Plan, source: TensorSource, others: dict[int, LayerCleaning]) -> dict[int, LayerCleaning]:
    """Rows of the layers that are part of something else: factors of adapters, and tensors that are tied to others."""
    factors = {name for adapter in find_adapters(source.tensors) for name in adapter.factors}
    wanted = [step.layer.tensor for step in plan.steps if step.action == "analyze" and step.layer.tensor not in factors]
    ties = _tied(source, list(dict.fromkeys(wanted))) if source.in_memory else {}
    found = {}
    for step in plan.steps:
        if step.action != "analyze" or step.index in others:
            continue
        if step.layer.tensor in factors:
            found[step.index] = unchanged(step, "skipped", f"{FACTOR}: merge the adapter and clean the result")
        elif step.layer.tensor in ties:
            why = f"shares its memory with {ties[step.layer.tensor]!r} and changes with it"
            found[step.index] = unchanged(step, "skipped", why)
    return found


def _jobs(plan: Plan, source: TensorSource, others: dict[int, LayerCleaning]) -> list[Job]:
    """The tensors to clean, in the order of the checkpoint."""
    steps: dict[str, list[Step]] = {}
    for step in plan.steps:
        if step.action == "analyze" and step.index not in others:
            steps.setdefault(step.layer.tensor, []).append(step)
    return [Job(info.name, tuple(steps[info.name]), info.nbytes) for info in source.tensors if info.name in steps]


def _tied(source: TensorSource, names: Sequence[str]) -> dict[str, str]:
    """Tensors that share memory with one before them, and which that is (weights of PyTorch that are tied)."""
    arrays = {name: np.asarray(source.read(name)) for name in names}
    ranges = sorted((*np.lib.array_utils.byte_bounds(array), place) for place, array in enumerate(arrays.values()))
    found: dict[str, str] = {}
    for i, (_, end, place) in enumerate(ranges):
        for start, _, other in ranges[i + 1 :]:
            if start >= end:
                break
            first, second = (names[index] for index in sorted((place, other)))
            if first not in found and _shares(arrays[first], arrays[second]):
                found[second] = first
    return found


def _shares(one: np.ndarray, other: np.ndarray) -> bool:
    try:
        return np.shares_memory(one, other, max_work=10_000)  # pyrefly: ignore[bad-argument-type] - NumPy takes any
    except np.exceptions.TooHardError:
        return True
