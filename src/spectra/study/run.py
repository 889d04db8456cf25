"""The whole study: which networks, which of them are done, the rest in parallel, and what comes out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spectra.errors import InputError
from spectra.study.experiments import NAMES, experiment, lottery, pruning, rectifier
from spectra.study.journal import Journal
from spectra.study.network import PROBED
from spectra.study.protocol import PUBLISHED, QUICK, Protocol
from spectra.study.spec import LEARNED, PLATEAU, Spec
from spectra.study.workers import run_all


class Progress(NamedTuple):
    """How far the study is, in units of cost; `name` and `status` of the network that is done.

    `left` are the seconds that the rest will take at the pace so far; None until there is one.
    """

    done: float
    total: float
    networks: int
    of: int
    name: str
    status: str
    left: float | None


def choose_protocol(quick: bool, seeds: int | None) -> Protocol:
    """The published protocol or the quick one, with another number of seeds if asked for."""
    chosen = QUICK if quick else PUBLISHED
    return chosen if seeds is None else replace(chosen, seeds=seeds)


def networks(names: Sequence[str], protocol: Protocol) -> list[Spec]:
    """All networks of these experiments, each once, those of one program behind each other.

    Raises
    ------
    InputError
        For an experiment that does not exist.
    RuntimeError
        If two networks had one name, and so one record.
    """
    for name in names:
        if name not in NAMES:
            raise InputError(f"experiment {name!r} is unknown: choose among {', '.join(NAMES)}")
    asked = [spec for name in names for spec in experiment(name).specs(protocol)]
    found = {spec.name: spec for spec in asked}
    if len(found) < len(set(asked)):
        raise RuntimeError("two different networks have one name: lengthen the checksum in Spec.name")
    programs = {spec.program: None for spec in found.values()}
    return [spec for program in programs for spec in found.values() if spec.program == program]


def run_study(
    names: Sequence[str],
    protocol: Protocol,
    out: Path,
    *,
    data: str | None = None,
    jobs: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the networks that are not in `out` yet; return the records of all.

    Parameters
    ----------
    names
        Experiments, of `spectra.study.experiments.NAMES`.
    out
        Run directory: each network's record is there as soon as it is done, and the same call goes on where it was.
    data
        Directory of Fashion-MNIST, where it is not installed.
    jobs
        Processes; by default one a core on CPUs, and 0, this one, on accelerators.

    Raises
    ------
    InputError
        If the data are missing or damaged, or `out` belongs to another study: before any network is trained.
    """
    specs = networks(names, protocol)
    if specs:
        specs[0].data(data)
    journal = Journal(out, identity(protocol))
    known = journal.finished()
    records = {spec.name: known[spec.name] for spec in specs if spec.name in known}
    left = [spec for spec in specs if spec.name not in records]
    total, done = sum(spec.cost for spec in specs), sum(spec.cost for spec in specs if spec.name in records)
    costs = {spec.name: spec.cost for spec in specs}
    start, before = time.monotonic(), done
    if progress is not None:
        progress(Progress(done, total, len(records), len(specs), "", "", None))
    for record in run_all(left, data, usual_jobs() if jobs is None else jobs):
        record = without_nan(record)
        journal.add(record)
        records[record["name"]] = record
        done += costs[record["name"]]
        if progress is not None:
            seconds = (time.monotonic() - start) * (total - done) / (done - before)
            progress(Progress(done, total, len(records), len(specs), record["name"], record["status"], seconds))
    return [records[spec.name] for spec in specs]


def usual_jobs() -> int:
    """One process a core on CPUs; on an accelerator, which processes do not share, none beside this one."""
    import jax

    if jax.default_backend() != "cpu":
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def identity(protocol: Protocol) -> dict[str, Any]:
    """What decides the numbers of a study, as the run directory keeps it."""
    packages = ("spectra-jax", "jax", "flax", "optax", "numpy")
    constants = {
        "learned": LEARNED,
        "plateau": PLATEAU,
        "probed": PROBED,
        "penalty": rectifier.PENALTY,
        "rounds": lottery.ROUNDS,
        "pruned": lottery.PRUNED,
        "densities": pruning.DENSITIES,
        "quality": pruning.QUALITY,
    }
    versions = {name: version(name) for name in packages}
    return {"protocol": asdict(protocol), "constants": constants, "versions": versions}


def without_nan(value: Any) -> Any:
    """The same with None for every number that is not finite, which JSON cannot hold."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
