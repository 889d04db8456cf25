"""What will be analyzed, in which order, and at what cost; made from headers alone."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from spectra.engine.farms import window_count
from spectra.engine.host import gram_numbers
from spectra.engine.operator import preparation, working_bytes
from spectra.engine.options import Options
from spectra.errors import InputError
from spectra.models.adapted import layers_of
from spectra.models.layers import Layer
from spectra.models.matrices import MatrixView
from spectra.models.source import TensorSource

REDUCTION_SLOWDOWN = 2.5
"""Seconds for a flop of the tridiagonal reduction, half of which is bound by memory, over those of a product."""

FLOPS_PER_ENTRY = 300
"""Histograms, moments and quantiles of one weight, in flops of a matrix product that take as long."""

FLOPS_PER_VALUE = 10_000
"""The fit to one eigenvalue, in the same unit."""

FLOPS_PER_LAYER = 5e7
"""What every layer costs whatever its size, in the same unit."""


@dataclass(frozen=True)
class Step:
    """One layer of the plan.

    Attributes
    ----------
    index
        Its place in the checkpoint's order, which is that of the report.
    action
        ``analyze`` (spectrum and entries), ``entries`` (histogram and moments only), ``skip`` or ``fail``.
    note
        Why a layer is not analyzed in full, or what had to be assumed about it; "" if neither.
    flops
        Estimated cost, in floating-point operations of a matrix product that take as long.
    nbytes
        Estimated memory that the work on this layer takes, beside the tensor as it was read.
    """

    index: int
    layer: Layer
    action: str
    note: str
    flops: float
    nbytes: int


@dataclass(frozen=True)
class Job:
    """The steps that read the same tensor, which is read once for all of them.

    Attributes
    ----------
    nbytes
        Size of the tensor in its own type.
    """

    tensor: str
    steps: tuple[Step, ...]
    nbytes: int

    @property
    def flops(self) -> float:
        """Estimated cost of all its steps."""
        return sum(step.flops for step in self.steps)


@dataclass(frozen=True)
class Plan:
    """What an analysis does.

    Attributes
    ----------
    steps
        In the order of the checkpoint; slices of one tensor follow each other.
    tensors
        Bytes that each tensor takes when it is read; 0 where it is in memory already.
    largest
        Bytes of the largest tensor to be read, in the computing type: the unit of the memory bound.
    """

    steps: tuple[Step, ...]
    tensors: dict[str, int]
    largest: int

    @property
    def flops(self) -> float:
        """Estimated cost of all steps."""
        return sum(step.flops for step in self.steps)

    def views(self) -> list[MatrixView]:
        """The matrices of every layer whose spectrum is wanted."""
        return [step.layer.view for step in self.steps if step.action == "analyze" and step.layer.view]

    def jobs(self, wanted: Collection[int]) -> list[Job]:
        """The work on some steps, costliest first: what starts last should not keep one core busy for long.

        Parameters
        ----------
        wanted
            Indices of the steps; those that need no work are passed over.
        """
        steps = (step for step in self.steps if step.index in wanted and step.action not in ("skip", "fail"))
        jobs = []
        for tensor, group in groupby(steps, key=lambda step: step.layer.tensor):
            jobs.append(Job(tensor, tuple(group), self.tensors[tensor]))
        return sorted(jobs, key=lambda job: -job.flops)


def make_plan(source: TensorSource, options: Options) -> Plan:
    """Find the layers of a checkpoint and decide what is done with each.

    Raises
    ------
    InputError
        If no pattern of `options.layers` matches, or nothing in the checkpoint can be analyzed.
    """
    found = layers_of(
        source,
        layout=options.layout,
        conv=options.conv,
        gates=options.gates,
        heads=options.heads,
        fft_size=options.fft_size,
    )
    chosen = [layer for layer in found if matches(layer.name, options.layers)]
    if found and not chosen:
        patterns = ", ".join(repr(pattern) for pattern in options.layers)
        example = next((layer for layer in found if layer.view), found[0])
        raise InputError(
            f"{source.label}: no layer matches {patterns}; names look like {example.name!r} "
            "('spectra describe' lists them)"
        )
    infos = {info.name: info for info in source.tensors}
    steps = tuple(_step(i, layer, options) for i, layer in enumerate(chosen))
    wanted = ("analyze", "entries") if options.layers else ("analyze",)
    if not any(step.action in wanted or (step.action == "entries" and step.layer.view) for step in steps):
        reason = next((f" ({step.layer.name}: {step.note})" for step in steps if step.note), "")
        raise InputError(
            f"{source.label}: no analyzable layer among {len(source.tensors)} tensors{reason}; "
            "give a checkpoint with floating-point weight matrices"
        )
    read = {step.layer.tensor: infos[step.layer.tensor] for step in steps if step.action in ("analyze", "entries")}
    sizes = {name: 0 if source.in_memory else info.nbytes for name, info in read.items()}
    return Plan(steps, sizes, options.dtype.itemsize * max((info.size for info in read.values()), default=0))


def wide_jobs(jobs: Sequence[Job], workers: int) -> list[Job]:
    """The jobs, of a list that begins with the costliest, that take all cores one after the other.

    A core a job is what wastes least, but a job that outweighs all that could be done beside it would leave the other
    cores idle.
    """
    left = sum(job.flops for job in jobs)
    for number, job in enumerate(jobs):
        left -= job.flops
        if workers == 1 or len(job.steps) > 1 or job.flops <= left / (workers - 1):
            return list(jobs[:number])
    return list(jobs)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a layer's name matches one of the glob patterns, of which none means all."""
    # A name may end in [i]; as a pattern that would be a character class, so the name itself matches too.
    return not patterns or any(name == pattern or fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _step(index: int, layer: Layer, options: Options) -> Step:
    if layer.problem:
        return Step(index, layer, "fail", layer.problem, 0.0, 0)
    if layer.skip:
        return Step(index, layer, "skip", layer.skip, 0.0, 0)
    size = math.prod(layer.shape if layer.view is None or layer.view.shows_entries else layer.view.shape)
    entries = FLOPS_PER_LAYER + FLOPS_PER_ENTRY * float(size)
    whole = options.dtype.itemsize * size
    native = layer.dtype == options.precision and (layer.view is None or layer.view.contiguous)
    copied, sorted_part = (0 if native else whole), whole // 4
    if layer.view is None:
        return Step(index, layer, "entries", "", entries, copied + sorted_part)
    if layer.view.num_evals < options.min_evals and layer.kind != "lora":  # which all have few
        note = f"{layer.view.num_evals} eigenvalues, fewer than min_evals={options.min_evals}"
        return Step(index, layer, "entries", note, entries, copied + sorted_part)
    _, n, m = layer.view.computed
    work = options.dtype.itemsize * gram_numbers(n, m) + working_bytes(layer.view)
    asked = (options.null, options.farms, options.vectors > 0)
    null, farms, vectors = (wanted and layer.view.formed for wanted in asked)
    extra = whole * (2 * null + 2 * farms + 4 * options.tails)  # shuffled copies; windows; both sides, sorted
    flops = entries + _spectrum_flops(layer.view) * (1 + null + vectors)
    flops += _window_flops(layer.view) if farms else 0
    return Step(index, layer, "analyze", layer.note, flops, copied + max(sorted_part, work) + extra)


def _spectrum_flops(view: MatrixView) -> float:
    return preparation(view) + _matrix_flops(*view.computed) + FLOPS_PER_VALUE * view.num_evals


def _window_flops(view: MatrixView) -> float:
    number, side = window_count(view)
    return _matrix_flops(number * view.rf, side, side)


def _matrix_flops(count: float, n: float, m: float) -> float:
    return count * (n * m**2 + REDUCTION_SLOWDOWN * 4 / 3 * m**3)
