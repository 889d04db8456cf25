"""`analyze`: measure every layer of one model or several."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from spectra.engine import distributed
from spectra.engine.backends import choose_backend
from spectra.engine.identity import fingerprint, run_identity
from spectra.engine.journal import Journal
from spectra.engine.options import Backend, Conv, Gates, Heads, Options, Precision
from spectra.engine.plan import Plan, make_plan
from spectra.engine.progress import Progress, Tally
from spectra.engine.run import run
from spectra.kernels.spectrum import Method
from spectra.models.adapted import AdaptedSource, open_model
from spectra.models.source import Layout, TensorSource
from spectra.report.result import Report


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
    backend: Backend = "auto",
    gof: int = 0,
    tails: bool = False,
    null: bool = False,
    seed: int = 0,
    heads: Heads = "fold",
    fft_size: int = 16,
    fix_fingers: bool = False,
    farms: bool = False,
    vectors: int = 0,
    base: Any = None,
    run_dir: str | Path | None = None,
    label: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Measure every layer of a model: weight entries, eigenvalue spectrum, power-law tail.

    Several layers are worked on at a time, within about three times the memory of the largest tensor in the computing
    type. In a program of several JAX processes (`jax.distributed`) each takes a share of the layers, and all return
    the whole report.

    Parameters
    ----------
    model
        A path (safetensors, Orbax, Flax msgpack, npz, PyTorch), a params pytree, an `nnx.Module` or state, or a
        mapping of names to arrays. Files are read a tensor at a time.
    layers
        Glob patterns on layer names; a layer that matches any of them is analyzed. Empty: all.
    conv
        ``pool``: eigenvalues of the matrices at all kernel positions together; ``flatten``: one out × (in·kh·kw)
        matrix; ``fft``: the operator on a periodic image (`docs/convolutions.md`).
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
    backend
        ``lapack``: spectra by LAPACK on the CPU; ``jax``: by the JAX kernels on all local devices; ``auto``: ``jax``
        where there is an accelerator or more than one device.
    gof
        Bootstrap replicates for the goodness-of-fit test and for the intervals of alpha and xmin (Clauset, Shalizi &
        Newman 2009, §4.1); 1,000 is usual, 0 leaves both out. `docs/tails.md` tells how to read the verdict.
    tails
        Fit the tails of the weight entries themselves too: columns that begin with ``right_`` and ``left_``.
    null
        Hold each spectrum against noise: the Marchenko–Pastur bulk with the spikes beyond its Tracy–Widom edge, and the
        spectrum of the same entries in random places. `docs/noise.md` has the columns.
    seed
        Of the bootstrap and of the permutations.
    heads
        ``fold``: an attention kernel with an axis of heads is one matrix; ``split``: a row for each head.
    fft_size
        Pixels a side of the image for ``conv="fft"``; as many as the kernel has, where that has more.
    fix_fingers
        Leave the few largest eigenvalues that spoil a fit out of it: columns `num_fingers` and `raw_alpha`, the alpha
        with them. `docs/metrics/power_law.md` tells what is left out, and how to read this and the next.
    farms
        Also estimate alpha over square windows of each matrix (FARMS), so that layers of other shapes compare.
    vectors
        How many leading singular vectors of each matrix are measured for localisation (`docs/metrics/vectors.md`); 0:
        none.
    base
        The model that the low-rank adapters of `model` change: rows for the weights before and after
        (`docs/adapters.md`).
    run_dir
        Directory that keeps the result of each layer as soon as it is finished; the same call takes them up again.
    label
        Name of the model in the report; by default the path, or ``params``.
    progress
        Called with a `Progress` when work on a layer begins, costliest layers first, and at the end.

    Returns
    -------
    Report
        One record a layer; a layer that cannot be analyzed has status ``failed`` and says why.

    Raises
    ------
    InputError
        If the model cannot be read, has no layer to analyze, an option is unknown, or `run_dir` holds another run.
    OutputError
        If `run_dir` cannot be written.

    Examples
    --------
    >>> import numpy as np, spectra
    >>> w = np.random.default_rng(0).standard_t(3, (256, 128))
    >>> report = spectra.analyze({"dense.kernel": w})
    >>> report["dense"].status
    'success'
    """
    options = Options(layers, conv, gates, precision, method, min_evals, layout, backend, gof, tails, seed, null)
    options = replace(options, heads=heads, fft_size=fft_size, fix_fingers=fix_fingers, farms=farms, vectors=vectors)
    return analyze_models([model], options, base=base, labels=[label], run_dir=run_dir, progress=progress)[0]


def analyze_models(
    models: Sequence[Any],
    options: Options,
    *,
    base: Any = None,
    labels: Sequence[str | None] | None = None,
    run_dir: str | Path | None = None,
    outputs: Sequence[Path | None] = (),
    progress: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Report]:
    """A report for each model; all are opened and planned first, so that a bad one is found before the work.

    Parameters
    ----------
    base
        The model that the low-rank adapters of each change.
    outputs
        Files that the caller will write, which are no part of a checkpoint although they may lie in its directory.
    tell
        Called with a line for the user if something of an earlier run was lost.
    """
    with ExitStack() as stack:
        sources = [stack.enter_context(closing(open_model(model, base))) for model in models]
        plans = [make_plan(source, options) for source in sources]
        names = [label or source.label for label, source in zip(labels or [None] * len(models), sources, strict=True)]
        journal: Journal | None = None
        if run_dir is not None:
            ours = [Path(run_dir), *outputs]
            prints = [fingerprint(source, model, ours) for source, model in zip(sources, models, strict=True)]
            if base is not None:  # the same for all, and a model that the numbers depend on
                [changed, *_] = [source.base for source in sources if isinstance(source, AdaptedSource) and source.base]
                prints = [found | {"base": fingerprint(changed, base, ours)} for found in prints]
            backend = f"{choose_backend(options, plans[0]).name} {jax.default_backend()}"
            identity = run_identity(options, list(zip(names, prints, strict=True)), backend)
            journal = stack.enter_context(Journal(Path(run_dir), identity, jax.process_index()))
            for line in journal.damage if jax.process_index() == 0 else ():
                tell(line)
        reports = []
        tally = Tally(plans, progress)
        for plan, source, name in zip(plans, sources, names, strict=True):
            reports.append(_analyze_one(plan, source, options, name, journal, tally))
    return reports


def _analyze_one(
    plan: Plan, source: TensorSource, options: Options, label: str, journal: Journal | None, tally: Tally
) -> Report:
    start = time.perf_counter()
    backend = choose_backend(options, plan)
    mine = distributed.share(plan, jax.process_count(), jax.process_index())
    known = {} if journal is None else journal.finished
    left = {step.index for step in mine if (label, step.layer.name) not in known}
    results = [known[label, step.layer.name] for step in mine if step.index not in left]
    tally.finished([step for step in plan.steps if step.index not in left])
    for step, result in run(plan, source, options, backend, left):
        if result is None:
            tally.begun(step)
            continue
        if journal is not None:
            journal.add(label, result)
        results.append(result)
        tally.finished([step])
    found = {result.name: result for result in distributed.gather(results)}
    meta = {
        "spectra": version("spectra-jax"),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "seconds": round(time.perf_counter() - start, 3),
        **{name: value for name, value in asdict(options).items() if value not in ((), None)},
        "backend": backend.name,
    }
    return Report(label, tuple(found[step.layer.name] for step in plan.steps), meta)
