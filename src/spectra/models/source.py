"""What every input looks like to the rest of spectra: named tensors that are read one at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import jax
import ml_dtypes  # noqa: F401 - importing it teaches NumPy the names bfloat16, float8_e4m3fn, …
import numpy as np

Array: TypeAlias = np.ndarray | jax.Array

Layout = Literal["torch", "flax"]
"""Which axis convention a weight follows: PyTorch's (out, in, …) or Flax's (…, in, out)."""


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as its file's header describes it; nothing has been read yet.

    Attributes
    ----------
    name
        The tensor's name as its file has it; path components of nested trees are joined with ``.``.
    shape
        Its dimensions, ``()`` for a scalar.
    dtype
        NumPy's name of the element type, with those of ml_dtypes: ``float32``, ``bfloat16``, ``float8_e4m3fn``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its entries; four an entry for types that NumPy does not know."""
        try:
            width = np.dtype(self.dtype).itemsize
        except TypeError:
            width = 4
        return width * self.size


@runtime_checkable
class TensorSource(Protocol):
    """An opened checkpoint, or parameters in memory.

    Attributes
    ----------
    label
        How errors and reports name it: the path as the user gave it, or ``params`` for objects in memory.
    layout
        The axis convention that the format implies; None where the leaf name of each tensor must decide.
    tensors
        All tensors, known from headers alone.
    in_memory
        Whether `read` hands out arrays that somebody else holds, so that they cost nothing and must not be changed;
        else each call reads a new array from a file.
    """

    label: str
    layout: Layout | None
    tensors: tuple[TensorInfo, ...]
    in_memory: bool

    def read(self, name: str) -> Array:
        """Read one tensor in its own dtype and shape.

        Raises
        ------
        CheckpointError
            If its bytes are missing or damaged; the message names file and tensor.
        """
        ...

    def close(self) -> None:
        """Release files and memory maps; reading afterwards is an error."""
        ...
