"""Which layers of two checkpoints are the same layer, and why the others are not."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from spectra.engine.plan import Plan, Step
from spectra.errors import InputError
from spectra.models.adapters import FACTOR
from spectra.models.formats.base import one_line
from spectra.models.layers import Layer


@dataclass(frozen=True)
class Match:
    """A layer of one of two checkpoints, or of both.

    Attributes
    ----------
    before, after
        Its steps in the plans of the two; None where a checkpoint lacks it.
    why
        Why the two cannot be compared; "" if they can.
    """

    before: Step | None
    after: Step | None
    why: str = ""

    @property
    def layer(self) -> Layer:
        """The layer as the later checkpoint has it, or else the earlier one."""
        step = self.after or self.before
        assert step is not None
        return step.layer


def match_layers(
    before: Plan, after: Plan, labels: Sequence[str], factors: Container[str] = frozenset()
) -> list[Match]:
    """Pair the layers of two checkpoints by name; their shapes and how they are cut must agree as well.

    The kind need not: it is told by the neighbours too, which a checkpoint of a part of the model may lack.

    Parameters
    ----------
    labels
        How the two checkpoints are called.
    factors
        Tensors that are factors of low-rank adapters: other factors may make the same change.

    Returns
    -------
    list of Match
        In the order of the first checkpoint; what only the second has follows.

    Raises
    ------
    InputError
        If no layer can be compared.
    """
    found = list(_pairs(before, after, labels, factors))
    if any(not match.why and match.layer.view is not None for match in found):
        return found
    examples = " and ".join(
        f"{label} has {_example(plan)}" for label, plan in zip(labels, (before, after), strict=True)
    )
    reason = next(
        (f" ({_short(match.layer.name)}: {match.why})" for match in found if match.before and match.after), ""
    )
    raise InputError(
        one_line(
            f"{labels[0]} and {labels[1]} have no layer in common{reason}: {examples}; "
            "compare checkpoints of the same model, saved in the same way"
        )
    )


def _pairs(before: Plan, after: Plan, labels: Sequence[str], factors: Container[str]) -> Iterator[Match]:
    others = {step.layer.name: step for step in after.steps}
    for step in before.steps:
        other = others.pop(step.layer.name, None)
        if other is None:
            yield Match(step, None, f"missing in {labels[1]}")
        elif step.layer.tensor in factors:
            yield Match(step, other, f"{FACTOR}: merge the adapters and compare the results")
        else:
            yield Match(step, other, _difference(step.layer, other.layer))
    for other in others.values():
        yield Match(None, other, f"missing in {labels[0]}")


def _difference(one: Layer, other: Layer) -> str:
    if one.shape != other.shape:
        return f"other shape, {_shape(one)} and {_shape(other)}"
    if one.view != other.view or one.tensor != other.tensor:
        return f"other axes, {_axes(one)} and {_axes(other)}"
    return ""


def _shape(layer: Layer) -> str:
    return "×".join(map(str, layer.shape)) or "a scalar"


def _axes(layer: Layer) -> str:
    """How a tensor is cut into matrices."""
    if layer.view is None:
        return layer.kind
    return f"{layer.view.rf} of {layer.view.N}×{layer.view.M} ({layer.kind})"


def _example(plan: Plan) -> str:
    return f"'{_short(next((step.layer for step in plan.steps if step.layer.view), plan.steps[0].layer).name)}'"


def _short(name: str) -> str:
    return one_line(name, 80)


@dataclass(frozen=True)
class Pair:
    """Two checkpoints of a run, by their places in it, and their layers."""

    earlier: int
    later: int
    matches: tuple[Match, ...]

    def wanted(self, checkpoint: int) -> set[int]:
        """Indices of the steps of a checkpoint that this pair needs; none if it is not one of the two."""
        comparable = [match for match in self.matches if not match.why]
        steps = [match.before if checkpoint == self.earlier else match.after for match in comparable]
        return {step.index for step in steps if step} if checkpoint in (self.earlier, self.later) else set()
