"""Which axes of a weight with three or more are rows, columns, kernel positions and stacks.

The shape alone admits several readings, called forms here: a 3-D Flax kernel may be a 1-D convolution (K, in, out), a
stack of matrices (L, in, out), or a projection with folded axes (d, heads, head_dim). The module's bias, the names and
the neighbours decide; sizes are never guessed from. Where nothing decides, there is no form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from spectra.models.names import (
    DENSE_HINTS,
    DENSE_WORDS,
    GENERAL_WORDS,
    Name,
    is_convolution,
    is_transposed,
    words,
)
from spectra.models.source import Layout
from spectra.models.tree import Evidence

Family = Literal["conv", "heads_in", "heads_out", "dense", "hint", "general", "unknown"]

MAX_SPATIAL = 3


@dataclass(frozen=True)
class Form:
    """One reading of a tensor's axes.

    Attributes
    ----------
    kind
        ``matrix`` (two axes), ``fold`` (several axes on a side), ``conv``.
    stack, positions, rows, cols
        Axes of the tensor; each stands in exactly one. Rows of a convolution are its output channels.
    bias
        Shape that the module's bias has if this reading is right.
    """

    kind: Literal["matrix", "fold", "conv"]
    stack: tuple[int, ...]
    positions: tuple[int, ...]
    rows: tuple[int, ...]
    cols: tuple[int, ...]
    bias: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Number of axes of the tensor."""
        return sum(map(len, (self.stack, self.positions, self.rows, self.cols)))

    def flattened(self) -> Form:
        """A convolution as one matrix, output × (input and positions)."""
        return replace(self, positions=(), cols=tuple(sorted((*self.cols, *self.positions))))


def family(name: Name, role: str) -> Family:
    """What a module's name says about the axes of its weight."""
    parts = {*words(name.owner)}
    if is_convolution(name.owner):
        return "conv"
    if role in ("query", "key", "value", "qkv", "kv"):
        return "heads_in"
    if role == "out":
        return "heads_out"
    if parts & GENERAL_WORDS:
        return "general"
    if parts & DENSE_WORDS:
        return "dense"
    if parts & DENSE_HINTS or role:
        return "hint"
    return "unknown"


def choose(
    name: Name,
    shape: tuple[int, ...],
    layout: Layout,
    role: str,
    bias: tuple[int, ...] | None,
    evidence: Evidence,
    *,
    says: Family | None = None,
) -> Form | None:
    """The form of a weight with three or more axes, None if nothing decides.

    Parameters
    ----------
    role
        What the module does, see `spectra.models.names.ROLES`.
    bias
        Shape of its bias, None if it has none.
    evidence
        What names and neighbours tell about stacking.
    says
        The family, where more is known than the name tells.
    """
    says = says or family(name, role)
    if says == "conv" and not evidence.strong:
        evidence = Evidence()  # a list of blocks may be plain modules, and convolutions have axes to spare
    forms = list(_forms(shape, layout, evidence.axes))
    if layout == "torch":
        return _choose_torch(forms, shape, says, bias, evidence, is_transposed(name.owner))
    return _choose_flax([f for f in forms if _admits(says, role, f)], says, bias, evidence)


def _forms(shape: tuple[int, ...], layout: Layout, known: tuple[int, ...]) -> Iterator[Form]:
    """All forms of a shape, those with fewer stacking axes first."""
    for count in range(len(shape) - 1):
        stack = known if count == len(known) else tuple(range(count))
        rest = tuple(axis for axis in range(len(shape)) if axis not in stack)

        def bias(axes: tuple[int, ...], stack: tuple[int, ...] = stack) -> tuple[int, ...]:
            lengths = [shape[axis] for axis in axes]
            for axis in stack:
                lengths.insert(axis, shape[axis])
            return tuple(lengths)

        if len(rest) == 2:
            yield Form("matrix", stack, (), rest[:1], rest[1:], bias(rest[:1] if layout == "torch" else rest[1:]))
        elif layout == "torch" and len(rest) <= 2 + MAX_SPATIAL:
            yield Form("conv", stack, rest[2:], rest[:1], rest[1:2], bias(rest[:1]))
        elif layout == "flax":
            if len(rest) <= 2 + MAX_SPATIAL:
                yield Form("conv", stack, rest[:-2], rest[-1:], rest[-2:-1], bias(rest[-1:]))
            for split in range(1, len(rest)):
                yield Form("fold", stack, (), rest[:split], rest[split:], bias(rest[split:]))


def _choose_torch(
    forms: list[Form],
    shape: tuple[int, ...],
    says: Family,
    bias: tuple[int, ...] | None,
    evidence: Evidence,
    transposed: bool,
) -> Form | None:
    # torch.nn.ConvTransposeNd stores (in, out, …), which a pooled spectrum does not notice but a flattened one does.
    turned = [replace(form, rows=form.cols, cols=form.rows) for form in forms if form.kind == "conv"]
    if transposed:
        return _with_stacks(turned, len(evidence.axes))
    if bias is not None:
        if matching := [form for form in forms if form.bias == bias]:
            return matching[0]
        plain = _with_stacks(turned, 0)
        if says != "dense" and plain and bias == (shape[plain.rows[0]],):
            return plain
    if says in ("dense", "hint", "heads_in", "heads_out") and evidence.axes:
        return _fewest([form for form in forms if form.kind == "matrix"], evidence)
    if says == "dense":
        return None  # torch.nn.Linear is 2-D
    return _with_stacks(forms, len(evidence.axes) if evidence.strong else 0)


def _choose_flax(forms: list[Form], says: Family, bias: tuple[int, ...] | None, evidence: Evidence) -> Form | None:
    if matching := [form for form in forms if form.bias == bias]:
        return _choose_by_bias(matching, says, evidence)
    if says in ("heads_in", "heads_out"):
        return _fewest([form for form in forms if form.kind != "conv"], evidence)
    # Without a bias nothing tells the input axes of a fold from its output axes.
    matrix = _fewest([form for form in forms if form.kind == "matrix"], evidence)
    if says == "dense" or (says == "hint" and evidence.axes):
        return matrix
    if says == "conv" or evidence.strong:
        return _with_stacks([form for form in forms if form.kind != "fold"], len(evidence.axes))
    if says == "unknown" and evidence.axes:
        return matrix if matrix and matrix.stack == evidence.axes else None
    convolution = _with_stacks([form for form in forms if form.kind == "conv"], 0)
    return convolution if convolution and len(convolution.positions) > 1 else None


def _choose_by_bias(matching: list[Form], says: Family, evidence: Evidence) -> Form | None:
    """Among forms that the bias allows."""
    kinds = {form.kind for form in matching}
    if says in ("unknown", "hint"):
        if kinds == {"matrix", "fold"} and not evidence.axes:
            return None  # (a, a, out) with bias (a, out): stacked or folded
        if kinds == {"conv", "fold"} and says == "hint" and matching[0].ndim == 3:
            return None  # (a, b, out) with bias (out,): a convolution or folded
        if len(kinds) > 1:
            matching = [form for form in matching if form.kind != "fold"]
    elif says in ("heads_in", "heads_out") and len(kinds) > 1:
        matching = [form for form in matching if form.kind != "conv"]
    if says == "dense" and "matrix" in kinds:
        matching = [form for form in matching if form.kind == "matrix"]
    return _fewest(matching, evidence) or _fewest(matching, Evidence())


def _admits(says: Family, role: str, form: Form) -> bool:
    """Whether a Flax module of this family can have weights of this form."""
    if says == "conv":
        return form.kind == "conv"
    if says in ("heads_in", "heads_out") and form.kind == "conv":
        return len(form.positions) > 1  # 1×1 convolutions, which only their bias can show
    if says == "heads_in":  # (d, heads, head_dim), or (d, 3, heads, head_dim) for query, key and value in one
        folded = (2, 3) if role in ("qkv", "kv") else (2,)
        return form.kind == "matrix" or (form.kind == "fold" and len(form.rows) == 1 and len(form.cols) in folded)
    if says == "heads_out":  # (heads, head_dim, d)
        return form.kind == "matrix" or (form.kind == "fold" and len(form.cols) == 1 and len(form.rows) == 2)
    if says == "general":
        return form.kind == "fold"
    return form.kind != "conv" or says != "dense"


def _with_stacks(forms: list[Form], count: int) -> Form | None:
    """The form with exactly so many stacking axes."""
    return next((form for form in forms if len(form.stack) == count), None)


def _fewest(forms: list[Form], evidence: Evidence) -> Form | None:
    """The form with the fewest stacking axes beyond those known of."""
    return next((form for form in forms if len(form.stack) >= len(evidence.axes)), None)
