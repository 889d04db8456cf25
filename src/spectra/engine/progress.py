"""How far an analysis is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from spectra.engine.plan import Plan, Step


class Progress(NamedTuple):
    """How far an analysis is; costs are in the plan's flops."""

    name: str
    """Layer that work has begun on; "" at the end."""
    done: float
    """Cost of the layers that are finished."""
    total: float
    layer: int
    """How many layers are finished."""
    layers: int


class Tally:
    """How far several plans are, for whoever wants to be told."""

    def __init__(self, plans: Sequence[Plan], progress: Callable[[Progress], None] | None) -> None:
        self._progress = progress
        self._total = sum(plan.flops for plan in plans)
        self._layers = sum(len(plan.steps) for plan in plans)
        self._done, self._finished = 0.0, 0

    def begun(self, step: Step) -> None:
        """Work on a layer begins."""
        self._tell(step.layer.name)

    def finished(self, steps: Sequence[Step]) -> None:
        """Layers are done with, here, by another process or by an earlier run."""
        self._done += sum(step.flops for step in steps)
        self._finished += len(steps)
        if self._finished == self._layers:
            self._done = self._total
            self._tell("")

    def _tell(self, name: str) -> None:
        if self._progress:
            self._progress(Progress(name, self._done, self._total, self._finished, self._layers))
