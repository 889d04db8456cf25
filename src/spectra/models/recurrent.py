"""Gates of recurrent layers: which weights stack them along an axis, how many, and in which order.

The number of gates follows from shapes that must agree (the hidden-to-hidden weight of k gates is H × kH), never from
a name alone; their order is the framework's.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from spectra.models.names import Name
from spectra.models.source import Layout
from spectra.models.tree import Tree

TORCH_WEIGHT = re.compile(r"weight_(ih|hh|hr)(_l\d+)?(_reverse)?")
"""Weights of `torch.nn.LSTM`, `GRU`, `RNN` and their cells; ``hr`` is the projection of an LSTM with ``proj_size``."""

TORCH_GATES = {1: "", 3: "rzn", 4: "ifgo"}
FLAX_GATES = {1: "", 3: "rzn", 4: "ifgo"}  # nnx.SimpleCell, GRUCell, OptimizedLSTMCell: dense_i, dense_h
FLAX_CONV_GATES = {4: "igfo"}  # linen.ConvLSTMCell: ih, hh
KERAS_GATES = {1: "", 3: "zrh", 4: "ifco"}  # kernel, recurrent_kernel

SEPARATE_GATES: tuple[frozenset[str], ...] = (
    frozenset({"ii", "if", "ig", "io", "hi", "hf", "hg", "ho"}),  # LSTM
    frozenset({"ir", "iz", "in", "hr", "hz", "hn"}),  # GRU
    frozenset({"if", "in", "hf", "hn"}),  # minimal gated unit
)
"""Flax cells with a module for each gate: input (i) or hidden (h), then the gate. NNX writes ``if`` as ``if_``."""


class Gates(NamedTuple):
    """How a recurrent weight is divided.

    Attributes
    ----------
    axis
        The axis of the tensor that holds the gates one after the other, from the end (-1, -2).
    order
        One letter a gate; "" if there is nothing to divide.
    role
        Role of an undivided weight: the gate of a cell with a module for each, or ``projection``.
    conv
        Whether the weight is a convolution.
    """

    axis: int
    order: str
    role: str = ""
    conv: bool = False


def find_gates(name: Name, shape: tuple[int, ...], layout: Layout | None, tree: Tree) -> Gates | None:
    """Gates of a weight with two or more axes, None if it is not recurrent."""
    if found := TORCH_WEIGHT.fullmatch(name.leaf):
        return _torch(name, shape, layout or "torch", found, tree)
    if name.leaf in ("kernel", "recurrent_kernel") and (found_keras := _keras(name, shape, tree)):
        return found_keras
    if name.leaf == "kernel":
        return _flax(name, shape, tree)
    return None


def _torch(name: Name, shape: tuple[int, ...], layout: Layout, found: re.Match[str], tree: Tree) -> Gates:
    axis, other = (-2, -1) if layout == "torch" else (-1, -2)
    which, suffix = found.group(1), (found.group(2) or "") + (found.group(3) or "")
    if which == "hr":
        return Gates(axis, "", "projection")
    hidden = tree.sibling(name, f"weight_hh{suffix}")
    if hidden is None or len(hidden.shape) != len(shape):
        return Gates(axis, "")
    projection = tree.sibling(name, f"weight_hr{suffix}")
    # With a projection (P × H) the state that weight_hh sees has P entries, and its H is that of the projection.
    source, along = (projection, other) if projection is not None else (hidden, other)
    size = source.shape[along] if len(source.shape) == len(shape) else 0
    return Gates(axis, _order(TORCH_GATES, hidden.shape[axis], size, shape[axis]))


def _keras(name: Name, shape: tuple[int, ...], tree: Tree) -> Gates | None:
    hidden = tree.sibling(name, "recurrent_kernel")
    if hidden is None or tree.sibling(name, "kernel") is None or len(hidden.shape) != len(shape) or len(shape) != 2:
        return None
    return Gates(-1, _order(KERAS_GATES, hidden.shape[-1], hidden.shape[-2], shape[-1]))


def _flax(name: Name, shape: tuple[int, ...], tree: Tree) -> Gates | None:
    beside = {module.removesuffix("_") for module in tree.modules_beside(name)}
    module = name.owner.removesuffix("_")
    if any(module in gates and gates <= beside for gates in SEPARATE_GATES):
        return Gates(-1, "", f"gate:{module[1]}")
    separator = name.prefix[-1:]
    parent = name.prefix.removesuffix(separator).removesuffix(name.owner)
    for inputs, hiddens, orders in (("dense_i", "dense_h", FLAX_GATES), ("ih", "hh", FLAX_CONV_GATES)):
        if module in (inputs, hiddens):
            pair = [tree.by_name.get(f"{parent}{cell}{separator}kernel") for cell in (inputs, hiddens)]
            if pair[0] is None or pair[1] is None or len(pair[0].shape) != len(pair[1].shape):
                return None
            hidden = pair[1].shape
            return Gates(-1, _order(orders, hidden[-1], hidden[-2], shape[-1]), conv=orders is FLAX_CONV_GATES)
    if module in ("i", "h") and beside == {"i", "h"}:  # linen.SimpleCell
        return Gates(-1, "")
    return None


def _order(orders: dict[int, str], total: int, size: int, own: int) -> str:
    """Gate letters for `total` = k·`size`; "" if k is not one that a cell has, or this weight disagrees."""
    return orders.get(total // size, "") if size and total % size == 0 and own == total else ""
