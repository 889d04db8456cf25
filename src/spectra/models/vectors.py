"""Tensors without a spectrum: biases, norm scales, and buffers that are no weights at all."""

from __future__ import annotations

from spectra.models.names import (
    BIAS_LEAVES,
    NORM_LEAVES,
    QUANTIZATION_SCALES,
    REPARAMETRIZATION_FACTORS,
    STATISTICS,
    TABLES,
    WEIGHT_LEAVES,
    Name,
    is_embedding,
    is_norm,
    words,
)
from spectra.models.tree import Tree


def buffer_reason(name: Name, shape: tuple[int, ...], tree: Tree) -> str:
    """Why a floating-point tensor is a buffer and not learned; "" if it is learned."""
    leaf = name.leaf
    if leaf in STATISTICS or (
        leaf in ("mean", "var") and (is_norm(name.components[-2] if name.prefix else "") or _statistics(name, tree))
    ):
        return "running statistics"
    if leaf in TABLES:
        return "rotary table"
    if words(leaf)[-1:] in (("mask",), ("masks",)):
        return "mask"
    if leaf == "bias" and len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3] > 1:
        return "causal mask"  # older GPT-2 checkpoints keep it as a float tensor
    siblings = tree.siblings(name)
    if leaf in QUANTIZATION_SCALES and siblings & WEIGHT_LEAVES:
        return "quantization scales"
    if leaf.endswith("_scales") and leaf.removesuffix("scales") + "blocks" in siblings:
        return "quantization scales"
    return ""


def _statistics(name: Name, tree: Tree) -> bool:
    return "batch_stats" in name.components or {"mean", "var"} <= tree.siblings(name)


def vector_kind(name: Name, shape: tuple[int, ...], tree: Tree) -> str:
    """``norm``, ``bias`` or ``vector`` for a tensor without a spectrum, "" for one that has matrices."""
    leaf, siblings = name.leaf, tree.siblings(name)
    module = name.components[-2] if len(name.components) > 1 else ""
    lone = len(shape) == 1
    normalizes = is_norm(module) or bool(STATISTICS & siblings) or {"mean", "var", "scale"} <= siblings
    affine = leaf in NORM_LEAVES or BIAS_LEAVES.fullmatch(leaf) or leaf in ("weight", "w", "g", "b")
    if (normalizes and affine) or leaf in NORM_LEAVES or (lone and is_norm(leaf)):
        return "norm"
    is_bias = BIAS_LEAVES.fullmatch(leaf) is not None and not is_embedding(leaf)
    if is_bias or (leaf == "b" and (lone or WEIGHT_LEAVES & siblings)):
        return "bias"
    if lone or leaf in REPARAMETRIZATION_FACTORS:
        return "vector"
    single = len(shape) > 2 and sum(length > 1 for length in shape) <= 1  # a class token (1, 1, d)
    return "vector" if single and leaf not in WEIGHT_LEAVES else ""
