"""Convolutions as operators on a periodic image: how many groups their channels fall into.

A kernel does not tell: its `in` axis counts the channels of one group. Kernels with one input channel, which are
depthwise or read a signal of one channel, are told apart by names and by each other; any other kernel is taken as it
stands, in one group.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from spectra.models.matrices import MatrixView
from spectra.models.names import LEAF_LAYOUT, Name, is_depthwise
from spectra.models.operators import on_image
from spectra.models.source import TensorInfo
from spectra.models.tree import Tree

if TYPE_CHECKING:
    from spectra.models.layers import Layer

MOST = 1 << 26
"""Eigenvalues that one operator may have: they are held at once."""

SEVERAL = "taken as depthwise: its name does not tell"
SINGLE = "taken as a convolution of one input channel: its name does not tell a depthwise one"


def as_operator(layer: Layer, tree: Tree, size: int) -> Layer:
    """The layer of a convolution, its matrices replaced by the operator on an image of `size` pixels a side."""
    assert layer.view is not None
    groups, note = _groups(Name(layer.tensor), layer.view, tree)
    view = on_image(layer.view, size, groups)
    if view.num_evals > MOST:
        what = f"the operator on an image of {size} pixels a side has {view.num_evals:,} eigenvalues"
        return replace(layer, view=None, problem=f"{what}: choose a smaller fft_size (--fft-size)")
    return replace(layer, view=view, note=note)


def _groups(name: Name, view: MatrixView, tree: Tree) -> tuple[int, str]:
    """Number of groups, and what to say about it."""
    outputs, inputs = (math.prod(view.shape[axis] for axis in axes) for axes in (view.rows, view.cols))
    if 1 not in (outputs, inputs) or outputs == inputs:
        return 1, ""
    if is_depthwise(name.module):
        return max(outputs, inputs), ""
    if inputs > 1:
        return 1, ""
    # A network reads its signal once: of several kernels with one input channel all, but perhaps one, are depthwise.
    alike = sum(_unnamed_single(tensor) for tensor in tree.by_name.values())
    return (outputs, SEVERAL) if alike > 1 else (1, SINGLE)


def _unnamed_single(tensor: TensorInfo) -> bool:
    """Whether a tensor looks like a kernel of one input channel whose name says nothing."""
    name, shape = Name(tensor.name), tensor.shape
    if len(shape) < 3 or name.leaf not in LEAF_LAYOUT or is_depthwise(name.module):
        return False
    inputs, outputs = (shape[1], shape[0]) if LEAF_LAYOUT[name.leaf] == "torch" else (shape[-2], shape[-1])
    return inputs == 1 < outputs
