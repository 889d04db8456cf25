"""Matrices that are never formed, because a tensor tells all about their spectrum in a smaller form."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spectra.models.matrices import MatrixView


@dataclass(frozen=True)
class PeriodicConv(MatrixView):
    """A convolution as an operator on a periodic image: one complex matrix for each frequency.

    `matrices` gives the kernel, position by position. N and M are those of the block of one frequency (out × in
    channels, of one group), `rf` counts the blocks of all frequencies and groups, so that num_evals = rf·M as for
    pooled convolutions.

    Attributes
    ----------
    size
        Pixels of the image along each axis of `positions`.
    groups
        Into how many groups the rows are divided, as consecutive blocks, each with inputs of its own.
    """

    size: tuple[int, ...] = ()
    groups: int = 1

    @property
    def rf(self) -> int:
        """Number of blocks: frequencies times groups."""
        return math.prod(self.size) * self.groups

    @property
    def N(self) -> int:
        """Larger dimension of a block."""
        return max(self._length(self.rows) // self.groups, self._length(self.cols))

    @property
    def M(self) -> int:
        """Smaller dimension of a block."""
        return min(self._length(self.rows) // self.groups, self._length(self.cols))

    @property
    def formed(self) -> bool:
        """False: the blocks are complex, and all frequencies have their entries from the same kernel."""
        return False

    @property
    def kernel(self) -> tuple[int, ...]:
        """Lengths of the kernel's axes."""
        return tuple(self.shape[axis] for axis in self.positions)

    @property
    def distinct(self) -> int:
        """Number of frequencies that differ in more than their sign, which changes no singular value."""
        own = math.prod(2 if length % 2 == 0 else 1 for length in self.size)
        return (math.prod(self.size) + own) // 2

    @property
    def computed(self) -> tuple[int, int, int]:
        """Complex blocks as real ones of twice the size; blocks with one row or column are known without."""
        return (0 if self.M == 1 else self.distinct * self.groups), 2 * self.N, 2 * self.M


def on_image(view: MatrixView, size: int, groups: int) -> MatrixView:
    """The operator of a convolution on a periodic image of `size` pixels along each axis, or as many as the kernel has.

    Along an axis of length 1 the kernel does the same to every pixel, and one pixel tells all: a 1×1 convolution is the
    matrix that it was.

    Parameters
    ----------
    view
        A convolution with its kernel positions.
    """
    lengths = [view.shape[axis] for axis in view.positions]
    if groups == 1 and math.prod(lengths) == 1:
        return view
    sizes = tuple(1 if length == 1 else max(size, length) for length in lengths)
    rows, cols = view.rows, view.cols
    if groups > 1 and math.prod(view.shape[axis] for axis in rows) == 1:  # a transposed convolution: (in, out of one)
        rows, cols = cols, rows
    return PeriodicConv(view.shape, view.positions, rows, cols, view.index, size=sizes, groups=groups)


@dataclass(frozen=True)
class LowRank(MatrixView):
    """The product L·R of two factors that lie in one tensor: the rows of L, and below them the columns of R as rows.

    `matrices` gives that tensor, shape (1, rows + cols, rank). N and M are those of the product. Its eigenvalues
    beyond the rank are 0 and are not listed.

    Attributes
    ----------
    left
        Number of rows of L.
    scale
        What the product is multiplied by.
    """

    left: int = 0
    scale: float = 1.0

    @property
    def formed(self) -> bool:
        """False: it is a product."""
        return False

    @property
    def shows_entries(self) -> bool:
        """False: the factors could be any others with the same product."""
        return False

    @property
    def rank(self) -> int:
        """Inner dimension of the product."""
        return self.shape[1]

    @property
    def N(self) -> int:
        """Larger dimension of the product."""
        return max(self.left, self.shape[0] - self.left)

    @property
    def M(self) -> int:
        """Smaller dimension of the product."""
        return min(self.left, self.shape[0] - self.left)

    @property
    def num_evals(self) -> int:
        """Number of eigenvalues that need not be 0."""
        return min(self.rank, self.M)

    @property
    def computed(self) -> tuple[int, int, int]:
        """None: the small core is decomposed on the spot."""
        return 0, self.num_evals, self.num_evals
