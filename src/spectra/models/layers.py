"""Which tensors are layers, of what kind, and which axes of them make the matrices.

`find_layers` goes through the tensors of a checkpoint knowing their headers only. What a name means is listed in
`names`, what neighbours tell is asked of `tree`, which axes are which is decided in `forms`, gates in `recurrent`,
heads in `heads`, groups of convolutions in `convolutions`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from spectra.models import names
from spectra.models.convolutions import as_operator
from spectra.models.dtypes import refusal
from spectra.models.einsum import einsum_form
from spectra.models.forms import Form, choose
from spectra.models.heads import UNKNOWN, by_head
from spectra.models.matrices import MatrixView
from spectra.models.names import LEAF_LAYOUT, Name
from spectra.models.recurrent import Gates, find_gates
from spectra.models.source import Layout, TensorInfo
from spectra.models.tree import Evidence, Tree
from spectra.models.vectors import buffer_reason, vector_kind


@dataclass(frozen=True)
class Layer:
    """One row of the report: a tensor, or one slice of a stacked tensor.

    Attributes
    ----------
    name
        Key of the row: the tensor's name, with ``[i]`` (``[i][j]``) for slices of stacked tensors and heads, and
        ``[gate]`` for recurrent gates.
    tensor
        Name of the tensor it is cut from.
    kind
        dense, embedding, attention, conv1d, conv2d, conv3d, recurrent, lora, norm, bias, vector, buffer, unknown.
    role
        What it does inside its block where the name tells: query, key, value, out, up, down, gate:i, …; else "".
    depth
        Index of the block it belongs to: of the slice for stacked blocks, else the first number in the name; None
        where there is none.
    shape
        Shape of the tensor, or of the slice.
    dtype
        Element type of the tensor.
    view
        How its matrices are cut from the tensor; None where it has no spectrum (biases, norm scales).
    problem
        Why it cannot be analyzed (integer weights, an ambiguous layout); "" where it can.
    skip
        Why it is left out without being wrong (a buffer of indices, running statistics); "" otherwise.
    note
        What to know about how its matrices were found, where something had to be assumed.
    """

    name: str
    tensor: str
    kind: str
    role: str
    depth: int | None
    shape: tuple[int, ...]
    dtype: str
    view: MatrixView | None
    problem: str = ""
    skip: str = ""
    note: str = ""


@dataclass(frozen=True)
class _Rules:
    """What the caller chose, and what every tensor may ask about the others."""

    tree: Tree
    layout: Layout | None
    conv: Literal["pool", "flatten", "fft"]
    fft_size: int
    split_gates: bool
    split_heads: bool


def find_layers(
    tensors: Sequence[TensorInfo],
    *,
    layout: Layout | None = None,
    conv: Literal["pool", "flatten", "fft"] = "pool",
    gates: Literal["split", "stack"] = "split",
    heads: Literal["fold", "split"] = "fold",
    fft_size: int = 16,
) -> list[Layer]:
    """Find the layers of a checkpoint by names, shapes and dtypes; nothing is read.

    Parameters
    ----------
    tensors
        All tensors of the checkpoint: they are evidence for each other.
    layout
        Axis convention of every weight, ``torch`` (out, in, …) or ``flax`` (…, in, out). None: the leaf name decides,
        ``weight`` is PyTorch's, ``kernel`` is Flax's. Matrices need none: their spectrum is that of the transpose.
    conv
        ``pool``: one matrix for each kernel position, eigenvalues pooled; ``flatten``: one out × (in·kh·kw) matrix;
        ``fft``: the operator on a periodic image.
    gates
        ``split``: one layer for each gate of a recurrent weight; ``stack``: the weight as it is.
    heads
        ``fold``: an attention kernel with an axis of heads is one matrix; ``split``: one layer for each head.
    fft_size
        Pixels of the image along each axis of a convolution, at least as many as its kernel has.

    Returns
    -------
    list of Layer
        In the order of `tensors`; slices and gates of one tensor follow each other. What cannot be analyzed is a layer
        with `problem` or `skip`; nothing is an error.

    Examples
    --------
    >>> [layer] = find_layers([TensorInfo("encoder.layers.3.mlp.up_proj.weight", (64, 16), "float32")])
    >>> layer.kind, layer.role, layer.depth, layer.view.N, layer.view.M
    ('dense', 'up', 3, 64, 16)
    """
    rules = _Rules(Tree(tensors), layout, conv, fft_size, gates == "split", heads == "split")
    return [layer for tensor in tensors for layer in _layers_of(tensor, rules)]


def _layers_of(tensor: TensorInfo, rules: _Rules) -> Iterator[Layer]:
    name, shape, tree = Name(tensor.name), tensor.shape, rules.tree
    whole = Layer(tensor.name, tensor.name, "unknown", "", name.depth, shape, tensor.dtype, None)
    problem, skip = refusal(name, shape, tensor.dtype)
    if problem or skip:
        yield replace(whole, kind="buffer" if skip else "unknown", problem=problem, skip=skip)
    elif 0 in shape:
        yield replace(whole, skip="empty tensor")
    elif not shape:
        yield replace(whole, kind="vector", skip="scalar")
    elif reason := buffer_reason(name, shape, tree):
        yield replace(whole, kind="buffer", skip=reason)
    elif kind := vector_kind(name, shape, tree):
        yield replace(whole, kind=kind)
    elif problem := _in_parts(name, tensor, tree):
        yield replace(whole, problem=problem)
    else:
        yield from _matrices_of(whole, name, rules)


def _in_parts(name: Name, tensor: TensorInfo, tree: Tree) -> str:
    """Why a tensor is not the weight that the network applies; "" if it is."""
    if name.leaf in names.REPARAMETRIZED or (
        name.leaf.startswith("original") and "parametrizations" in name.components
    ):
        return (
            "a part of a reparametrized weight: fold it (torch.nn.utils.parametrize.remove_parametrizations) and save"
        )
    if tensor.dtype.startswith("float8") and names.QUANTIZATION_SCALES & tree.siblings(name):
        return f"scaled weights ({tensor.dtype}): dequantize to a float checkpoint first"
    return ""


def _matrices_of(whole: Layer, name: Name, rules: _Rules) -> Iterator[Layer]:
    """Layers of a learned tensor with two or more axes."""
    tree, shape = rules.tree, whole.shape
    if found := einsum_form(name, shape):
        entry, axes = found
        blocks, place = len(axes.stack) > bool(entry.parts), len(axes.stack) - 1
        if rules.split_heads and entry.heads:
            axes = entry.by_head(axes)
        whole = replace(whole, kind=entry.kind, role=entry.role)
        yield from _with_roles(_slices(whole, axes, shape, blocks), entry.parts, place)
        return
    layout = rules.layout or LEAF_LAYOUT.get(name.leaf)
    evidence = tree.evidence(name, shape)
    gates = find_gates(name, shape, layout, tree)
    if gates:
        layout = layout or ("torch" if gates.axis == -2 else "flax")
    elif len(shape) == 2 and evidence.axes and name.leaf not in names.WEIGHT_LEAVES:
        yield replace(whole, kind="vector")  # a vector for each of the stacked blocks
        return
    if len(shape) > 2 and name.leaf not in LEAF_LAYOUT and not evidence.axes:
        shape = _without_leading_ones(shape)
    kind, role = name.role(_beside_attention(name, tree))
    if gates:
        kind, role = "recurrent", gates.role
    elif _is_embedding(name, len(shape)):
        kind, role = "embedding", ""
    form = _form(name, shape, layout, kind, role, evidence, gates, tree.bias(name))
    if form is None:
        yield replace(whole, problem=_untold(name, shape, layout))
        return
    if form.kind == "conv":
        kind, role = (kind, role) if gates else (f"conv{len(form.positions)}d", "")
        form = form.flattened() if rules.conv == "flatten" else form
    blocks = evidence.blocks and bool(form.stack)
    parts: tuple[str, ...] = ()
    whole = replace(whole, kind=kind, role=role)
    if rules.split_heads and kind == "attention":
        folded = form
        form, parts = by_head(folded, role, shape)
        whole = replace(whole, note=UNKNOWN if form is folded else "")
    for layer in _with_roles(_slices(whole, form, shape, blocks), parts, len(form.stack) - 2):
        if form.kind == "conv" and rules.conv == "fft":
            layer = as_operator(layer, tree, rules.fft_size)
        yield from _gates_of(layer, gates) if gates and gates.order and rules.split_gates else [layer]


def _with_roles(layers: Iterator[Layer], parts: tuple[str, ...], place: int) -> Iterator[Layer]:
    """Slices with the roles of the projections that one axis, at this place among the stacking axes, holds."""
    for layer in layers:
        yield replace(layer, role=parts[layer.view.index[place][1]]) if parts and layer.view else layer


def _form(
    name: Name,
    shape: tuple[int, ...],
    layout: Layout | None,
    kind: str,
    role: str,
    evidence: Evidence,
    gates: Gates | None,
    bias: tuple[int, ...] | None,
) -> Form | None:
    """Which axes of a tensor are which, None if that cannot be told."""
    if len(shape) == 2:
        return Form("matrix", (), (), (0,), (1,), ())
    if kind == "embedding" and name.leaf != "embedding":  # positions of an image (height, width, d)
        return Form("fold", (), (), tuple(range(len(shape) - 1)), (len(shape) - 1,), ())
    if kind == "embedding" or (gates and not gates.conv):
        return choose(name, shape, "flax", role, None, evidence, says="dense")
    if gates:
        return choose(name, shape, "flax", role, bias, evidence, says="conv")
    if layout is not None:
        return choose(name, shape, layout, role, bias, evidence)
    # The spectrum of a stack of matrices is the same in either layout: fused experts need none.
    form = choose(name, shape, "flax", role, bias, evidence) if evidence.axes else None
    return form if form and form.kind == "matrix" else None


def _is_embedding(name: Name, ndim: int) -> bool:
    if name.leaf == "embedding":
        return True
    # A Dense may be called embedding in Flax, and the `weight` of a patch embedding is a convolution.
    return name.leaf != "kernel" and names.is_embedding(name.owner) and (ndim == 2 or name.leaf != "weight")


def _untold(name: Name, shape: tuple[int, ...], layout: Layout | None) -> str:
    if layout is None:
        return (
            f"cannot tell which axes of {name.leaf!r} {shape} are in and out; pass layout='torch' or 'flax' (--layout)"
        )
    return f"cannot tell whether {shape} is a stack of matrices, a convolution or folded axes: save it as 2-D matrices"


def _slices(layer: Layer, form: Form, shape: tuple[int, ...], blocks: bool) -> Iterator[Layer]:
    """One layer for each entry of the stacking axes; `blocks`: the first of them is the depth."""
    if not form.stack:
        yield replace(layer, view=MatrixView(shape, form.positions, form.rows, form.cols))
        return
    left = tuple(length for axis, length in enumerate(shape) if axis not in form.stack)
    for entry in itertools.product(*(range(shape[axis]) for axis in form.stack)):
        yield replace(
            layer,
            name=layer.name + "".join(f"[{i}]" for i in entry),
            depth=entry[0] if blocks else layer.depth,
            shape=left,
            view=MatrixView(shape, form.positions, form.rows, form.cols, tuple(zip(form.stack, entry, strict=True))),
        )


def _gates_of(layer: Layer, gates: Gates) -> Iterator[Layer]:
    assert layer.view is not None
    count, axis = len(gates.order), len(layer.view.shape) + gates.axis
    shape = list(layer.shape)
    shape[gates.axis] //= count
    for i, gate in enumerate(gates.order):
        yield replace(
            layer,
            name=f"{layer.name}[{gate}]",
            role=f"gate:{gate}",
            shape=tuple(shape),
            view=layer.view.part(axis, count, i),
        )


def _beside_attention(name: Name, tree: Tree) -> bool:
    """Whether the modules beside it show that a module is part of an attention."""
    beside = tree.modules_beside(name)
    return any(pair <= beside for pair in names.ATTENTION_PAIRS)


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``(1, 197, 768)`` → ``(197, 768)``: a batch axis that a parameter was saved with."""
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape
