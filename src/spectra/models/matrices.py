"""From a tensor to 2-D matrices, described by axes alone so that it can be planned before anything is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spectra.models.source import Array


@dataclass(frozen=True)
class MatrixView:
    """How the matrices of one layer are cut from its tensor.

    The tensor is reshaped to `shape`, entries of some axes are picked by `index`, and the remaining axes are
    grouped into positions, rows and columns: the result has shape ``(positions, rows, cols)``. The spectra of all
    positions are pooled into one ESD.

    Attributes
    ----------
    shape
        The tensor's shape, or a reshaping of it that splits an axis (the gates of a recurrent kernel).
    index
        Pairs (axis, entry) that are picked out: a slice of a stack, one gate.
    positions, rows, cols
        The remaining axes of `shape`; every axis stands in exactly one of the four.
    """

    shape: tuple[int, ...]
    positions: tuple[int, ...]
    rows: tuple[int, ...]
    cols: tuple[int, ...]
    index: tuple[tuple[int, int], ...] = ()

    def _length(self, axes: tuple[int, ...]) -> int:
        return math.prod(self.shape[axis] for axis in axes)

    @property
    def rf(self) -> int:
        """Number of matrices: the kernel positions (receptive field) of a pooled convolution, else 1."""
        return self._length(self.positions)

    @property
    def N(self) -> int:
        """Larger dimension of one matrix."""
        return max(self._length(self.rows), self._length(self.cols))

    @property
    def M(self) -> int:
        """Smaller dimension of one matrix."""
        return min(self._length(self.rows), self._length(self.cols))

    @property
    def num_evals(self) -> int:
        """Number of eigenvalues in the pooled ESD: M for each position."""
        return self.M * self.rf

    @property
    def computed(self) -> tuple[int, int, int]:
        """The real matrices whose spectra are computed: how many, and their larger and smaller dimension."""
        return self.rf, self.N, self.M

    @property
    def formed(self) -> bool:
        """Whether the matrices themselves are analyzed, so that matrices of random entries compare with them."""
        return True

    @property
    def shows_entries(self) -> bool:
        """Whether the entries of the tensor are those of the matrices, so that their statistics mean something."""
        return True

    @property
    def contiguous(self) -> bool:
        """Whether the matrices of a C-ordered tensor lie in memory as they are cut, without a copy."""
        left = (*self.positions, *self.rows, *self.cols)
        return left == tuple(range(len(self.shape) - len(left), len(self.shape)))

    def part(self, axis: int, count: int, entry: int) -> MatrixView:
        """The view of one of `count` equal parts that follow each other along an axis, such as a recurrent gate."""

        def moved(axes: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(other + (other >= axis) for other in axes)

        return replace(
            self,
            shape=(*self.shape[:axis], count, self.shape[axis] // count, *self.shape[axis + 1 :]),
            positions=moved(self.positions),
            rows=moved(self.rows),
            cols=moved(self.cols),
            index=(*((other + (other >= axis), picked) for other, picked in self.index), (axis, entry)),
        )

    def matrices(self, tensor: Array) -> Array:
        """Cut the matrices, shape ``(positions, rows, cols)``, in the tensor's own dtype; a view if strides allow."""
        lengths = (self._length(axes) for axes in (self.positions, self.rows, self.cols))
        return self._picked(tensor).reshape(*lengths)

    def put(self, tensor: np.ndarray, matrices: np.ndarray) -> None:
        """Write matrices back to where `matrices` cut them; the inverse of it, to the last bit.

        Parameters
        ----------
        tensor
            C-ordered, changed in place; what the view does not pick stays as it is.
        matrices
            Shape ``(positions, rows, cols)``.
        """
        if not tensor.flags.c_contiguous:  # reshaping would make a copy, and the change would be lost
            raise ValueError("matrices can only be put back into a C-ordered tensor")
        target = self._picked(tensor)
        target[...] = matrices.reshape(target.shape)

    def _picked(self, tensor: Any) -> Any:
        """A view of the picked entries, with axes in the order of positions, rows and columns."""
        picked = dict(self.index)
        places = tuple(picked.get(axis, slice(None)) for axis in range(len(self.shape)))
        tensor = tensor.reshape(self.shape)[(*places, ...)]  # the dots keep an array of what has no axes left
        left = [axis for axis in range(len(self.shape)) if axis not in picked]
        return tensor.transpose([left.index(axis) for axis in (*self.positions, *self.rows, *self.cols)])
