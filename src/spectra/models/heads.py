"""Attention kernels that have an axis of heads: one matrix for each head.

Flax stores query, key and value as (d, heads, head_dim) and the output as (heads, head_dim, d). PyTorch's projections
have no axis of heads, and their sizes do not tell how many there are.
"""

from __future__ import annotations

from dataclasses import replace

from spectra.models.forms import Form

PARTS = {"qkv": ("query", "key", "value"), "kv": ("key", "value")}
"""Roles of the entries of the axis that holds several projections."""

UNKNOWN = "not split: nothing tells its number of heads"


def by_head(form: Form, role: str, shape: tuple[int, ...]) -> tuple[Form, tuple[str, ...]]:
    """The form with the axis of heads among the stacking axes, behind those there are; unchanged if it has none.

    Returns
    -------
    tuple
        The form, and the roles of the entries of the axis before the heads where that holds several projections.
    """
    if form.kind != "fold":
        return form, ()
    if role == "out" and len(form.rows) == 2:
        return replace(form, stack=(*form.stack, form.rows[0]), rows=form.rows[1:]), ()
    if role not in ("query", "key", "value", *PARTS):
        return form, ()
    parts = PARTS.get(role, ()) if len(form.cols) == 3 else ()
    if len(form.cols) != 2 + bool(parts) or (parts and shape[form.cols[0]] != len(parts)):
        return form, ()
    return replace(form, stack=(*form.stack, *form.cols[:-1]), cols=form.cols[-1:]), parts
