"""Weights that belong to an einsum with axes in a fixed order, known by name (Gemma and its relatives)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from spectra.models.forms import Form
from spectra.models.names import Name


class Einsum(NamedTuple):
    """Axes of the weight, counted without leading stacks.

    Attributes
    ----------
    parts
        Roles of the entries of axis 0 where it holds several projections, () where there is one.
    heads
        Whether the axis after that one counts heads.
    """

    kind: str
    ndim: int
    rows: tuple[int, ...]
    cols: tuple[int, ...]
    role: str = ""
    parts: tuple[str, ...] = ()
    heads: bool = True

    def by_head(self, form: Form) -> Form:
        """The axes with that of the heads among the stacking axes, as the last of them."""
        axis = len(form.stack)
        rows, cols = (tuple(other for other in axes if other != axis) for axes in (form.rows, form.cols))
        return replace(form, stack=(*form.stack, axis), rows=rows, cols=cols)


EINSUMS = {
    "q_einsum": Einsum("attention", 3, (1,), (0, 2), "query"),  # (heads, d, head_dim)
    "k_einsum": Einsum("attention", 3, (1,), (0, 2), "key"),
    "v_einsum": Einsum("attention", 3, (1,), (0, 2), "value"),
    "kv_einsum": Einsum("attention", 4, (2,), (1, 3), parts=("key", "value")),  # (2, kv_heads, d, head_dim)
    "qkv_einsum": Einsum("attention", 4, (2,), (1, 3), parts=("query", "key", "value")),  # (3, heads, d, head_dim)
    "attn_vec_einsum": Einsum("attention", 3, (0, 1), (2,), "out"),  # (heads, head_dim, d)
    # (2, hidden, d), in Gemma 1 (2, d, hidden)
    "gating_einsum": Einsum("dense", 3, (1,), (2,), parts=("gate", "up"), heads=False),
}


def einsum_form(name: Name, shape: tuple[int, ...]) -> tuple[Einsum, Form] | None:
    """The einsum that a weight belongs to, and its axes; None if its name or its shape is not of the table."""
    entry = EINSUMS.get(re.sub(r"_\d+$", "", name.owner))
    if entry is None or len(shape) < entry.ndim:
        return None
    lead = len(shape) - entry.ndim
    if entry.parts and shape[lead] != len(entry.parts):
        return None
    stack = tuple(range(lead + bool(entry.parts)))
    rows, cols = (tuple(axis + lead for axis in axes) for axes in (entry.rows, entry.cols))
    return entry, Form("fold", stack, (), rows, cols, ())
