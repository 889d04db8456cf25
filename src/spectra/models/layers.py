"""Which tensors are layers, of what kind, and which axes of them make the matrices.

(classification to come; the types below are what the engine relies on)
"""

from __future__ import annotations

from dataclasses import dataclass

from spectra.models.matrices import MatrixView


@dataclass(frozen=True)
class Layer:
    """One row of the report: a tensor, or one slice of a stacked tensor.

    Attributes
    ----------
    name
        Key of the row: the tensor's name, with ``[i]`` (``[i][j]``) for slices of stacked tensors and ``[gate]``
        for recurrent gates.
    tensor
        Name of the tensor it is cut from.
    kind
        dense, embedding, attention, conv1d, conv2d, conv3d, recurrent, norm, bias, vector, buffer, unknown.
    role
        What it does inside its block where the name tells: query, key, value, out, up, down, gate:i, …; else "".
    depth
        Index of the block it belongs to, from the first number in the name; None where there is none.
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
