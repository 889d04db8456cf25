"""What will be analyzed, in which order, and at what cost; made from headers alone."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass

from spectra.engine.options import Options
from spectra.errors import InputError
from spectra.models.layers import Layer, find_layers
from spectra.models.source import TensorSource

REDUCTION_SLOWDOWN = 4
"""Seconds for a flop of the tridiagonal reduction, which is bound by memory, over those for a flop of a product."""

FLOPS_PER_ENTRY = 200
"""Histograms, moments and quantiles of one weight, in flops of a matrix product that take as long."""


@dataclass(frozen=True)
class Step:
    """One layer of the plan.

    Attributes
    ----------
    action
        ``analyze`` (spectrum and entries), ``entries`` (histogram and moments only), ``skip`` or ``fail``.
    note
        Why a layer is not analyzed in full; "" if it is.
    flops
        Estimated cost, in floating-point operations of a matrix product that take as long.
    """

    layer: Layer
    action: str
    note: str
    flops: float


@dataclass(frozen=True)
class Plan:
    """The steps of an analysis in the order of the checkpoint; slices of one tensor follow each other."""

    steps: tuple[Step, ...]

    @property
    def flops(self) -> float:
        """Estimated cost of all steps."""
        return sum(step.flops for step in self.steps)


def make_plan(source: TensorSource, options: Options) -> Plan:
    """Find the layers of a checkpoint and decide what is done with each.

    Raises
    ------
    InputError
        If no pattern of `options.layers` matches, or nothing in the checkpoint can be analyzed.
    """
    layout = options.layout or source.layout
    found = find_layers(source.tensors, layout=layout, conv=options.conv, gates=options.gates)
    chosen = [layer for layer in found if _matches(layer.name, options.layers)]
    if found and not chosen:
        patterns = ", ".join(repr(pattern) for pattern in options.layers)
        example = next((layer for layer in found if layer.view), found[0])
        raise InputError(
            f"{source.label}: no layer matches {patterns}; names look like {example.name!r} "
            "('spectra describe' lists them)"
        )
    steps = tuple(_step(layer, options) for layer in chosen)
    wanted = ("analyze", "entries") if options.layers else ("analyze",)
    if not any(step.action in wanted or (step.action == "entries" and step.layer.view) for step in steps):
        reason = next((f" ({step.layer.name}: {step.note})" for step in steps if step.note), "")
        raise InputError(
            f"{source.label}: no analyzable layer among {len(source.tensors)} tensors{reason}; "
            "give a checkpoint with floating-point weight matrices"
        )
    return Plan(steps)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    # A name may end in [i]; as a pattern that would be a character class, so the name itself matches too.
    return not patterns or any(name == pattern or fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _step(layer: Layer, options: Options) -> Step:
    if layer.problem:
        return Step(layer, "fail", layer.problem, 0.0)
    if layer.skip:
        return Step(layer, "skip", layer.skip, 0.0)
    entries = FLOPS_PER_ENTRY * float(math.prod(layer.shape))
    if layer.view is None:
        return Step(layer, "entries", "", entries)
    if layer.view.num_evals < options.min_evals:
        note = f"{layer.view.num_evals} eigenvalues, fewer than min_evals={options.min_evals}"
        return Step(layer, "entries", note, entries)
    return Step(layer, "analyze", "", entries + _spectrum_flops(layer))


def _spectrum_flops(layer: Layer) -> float:
    assert layer.view is not None
    n, m, rf = float(layer.view.N), float(layer.view.M), layer.view.rf
    fit = 10 * float(layer.view.num_evals) ** 2
    return rf * (2 * n * m**2 + REDUCTION_SLOWDOWN * 4 / 3 * m**3) + fit
