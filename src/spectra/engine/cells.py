"""Rank statistics of many entries without sorting them: counted in narrow cells, the few that matter taken out.

The leading bits of a floating-point number — sign, exponent, nine bits of mantissa — name a *cell* of numbers that
agree to two parts in a thousand. A first reading of the entries counts every cell and takes the moments. From the
counts alone it is known how many entries lie below any threshold but those of the one cell that holds it, and which
cells hold the quantiles. A second reading takes out the entries of these *open* cells, about one in fifty, and sorts
them. What is answered is exact; only the Gini index has an error, with a bound that is computed, below `TOLERANCE`.

bfloat16 and float16 entries, widened, are all alike within a cell: one reading tells everything.

All of it is done in pieces that stay in the cache, by many short calls of NumPy. Two threads at it at once are no
faster than one, for between the calls they wait for the interpreter.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from spectra.engine.ordered import Ordered, Ranks, Summary, dot, group_ranks, unit_of
from spectra.engine.pieces import ORDINARY, PIECE, Measure, pieces_of, summary_of

MANTISSA = 9
"""Bits of the mantissa that name a cell. With fewer more entries are in open cells, with more the tables grow."""

OCTAVE = 1 << MANTISSA
"""Cells from one power of two to the next, all of one width."""

TOLERANCE = 1e-6
"""Largest error of the Gini index."""

MOSTLY = 0.25
"""Share of entries in open cells from which on all are sorted."""

NARROW = {np.dtype(np.float32): (16, 13), np.dtype(np.float64): (45,)}
"""Trailing bits that are zero in numbers widened from bfloat16 and float16."""


class Layout:
    """How cells are cut from the bits of a floating-point type: the cell of x is its bits >> shift."""

    def __init__(self, dtype: np.dtype, shift: int | None = None) -> None:
        self.dtype = dtype
        self.shift = np.finfo(dtype).nmant - MANTISSA if shift is None else shift
        self.sign = 1 << (8 * dtype.itemsize - 1 - self.shift)
        """The cell of −0. Magnitudes ascend from cell 0; the cells of negative numbers are `sign` higher."""
        self._unsigned = np.dtype(f"u{dtype.itemsize}")
        self.used = self.sign + int(self.of(np.array([np.inf], dtype))[0])
        """Cells of finite numbers, for tables. (From 4 MiB on, which even float16's stay below, NumPy asks for huge
        pages, and clearing them takes longer than all else that is done with a table.)"""

    def of(self, x: np.ndarray, buffer: np.ndarray | None = None) -> np.ndarray:
        """The cell of each number, int64, in the buffer if there is one."""
        out = np.empty(x.size, np.int64) if buffer is None else buffer[: x.size]
        np.right_shift(x.view(self._unsigned), self.shift, out=out.view(np.uint64))
        return out

    def first(self, cells: np.ndarray) -> np.ndarray:
        """The number in each cell whose magnitude is smallest."""
        return (cells.astype(self._unsigned) << self.shift).view(self.dtype)

    def only_leading(self, x: np.ndarray) -> bool:
        """Whether no number has bits beyond those that name its cell."""
        return not int(np.bitwise_or.reduce(x.view(self._unsigned))) & ((1 << self.shift) - 1)


def distinct(flat: np.ndarray) -> Ordered | None:
    """The distinct values with their counts if all entries were widened from a narrow type; None otherwise."""
    for shift in NARROW[flat.dtype]:
        layout = Layout(flat.dtype, shift)
        if not layout.only_leading(flat[:PIECE]):
            continue
        table, buffer = np.zeros(layout.used, np.int64), np.empty(PIECE, np.int64)
        for piece in pieces_of(flat):
            if not layout.only_leading(piece):
                break
            np.add.at(table, layout.of(piece, buffer), 1)
        else:
            positive, negative = np.flatnonzero(table[: layout.sign]), np.flatnonzero(table[layout.sign :])
            cells = np.append(layout.sign + negative[::-1], positive)
            return Ordered(layout.first(cells), table[cells])
    return None


class Window(NamedTuple):
    """The octaves of cells from that of the smallest magnitude but zero to that of the largest, and the zeros' cell.

    In what `take` returns, cell 0 comes first and `low` follows. Of octave 0, the subnormal numbers, only cell 0 is
    part of it, unless `low` is 1.
    """

    low: int
    high: int
    """The first cell beyond."""

    @property
    def size(self) -> int:
        return self.high - self.low + 1

    def take(self, table: np.ndarray, sign: int) -> np.ndarray:
        return np.append(table[sign], table[sign + self.low : sign + self.high])

    def put(self, table: np.ndarray, values: np.ndarray | int, sign: int) -> None:
        table[sign] = values if isinstance(values, int) else values[0]
        table[sign + self.low : sign + self.high] = values if isinstance(values, int) else values[1:]


class Scratch:
    """Buffers of one thread. They are kept, for memory that was never touched is slower than the work done in it."""

    _idle = threading.local()

    def __init__(self, dtype: np.dtype) -> None:
        self.layout = Layout(dtype)
        self.measure = Measure(dtype)
        self.cells, self.numbers = np.empty(PIECE, np.int64), np.empty(PIECE, dtype)
        self.counts, self.weights = np.zeros(self.layout.used, np.int64), np.zeros(self.layout.used, dtype)
        """Tables of all cells. Between uses no count is left."""

    @classmethod
    @contextmanager
    def borrow(cls, dtype: np.dtype) -> Iterator[Scratch]:
        """The idle one of this thread. Whatever ends in an exception does not come back."""
        scratch = cls._idle.__dict__.pop(dtype.name, None) or Scratch(dtype)
        yield scratch
        cls._idle.__dict__[dtype.name] = scratch


class Cells:
    """Entries counted in cells: the first reading is done here, the second in `rank`.

    The cells of the window, in ascending order of the numbers in them, have *places* 0 … 2K − 1: K for negative
    numbers, −0 among them, then K for the others.
    """

    def __init__(self, flat: np.ndarray) -> None:
        self._flat = flat
        with Scratch.borrow(flat.dtype) as scratch:
            self._layout = layout = scratch.layout
            pieces = []
            for x in pieces_of(flat):
                pieces.append(scratch.measure(x))
                np.add.at(scratch.counts, layout.of(x, scratch.cells), 1)
            self._summary = s = summary_of(pieces)
            self._window = window = self._window_of(s)
            positive, negative = (window.take(scratch.counts, sign) for sign in (0, layout.sign))
            for sign in (0, layout.sign):
                window.put(scratch.counts, 0, sign)
        self._unit = unit_of(max(-s.min, s.max))
        self._only_zeros = bool(positive[0] + negative[0] == s.zeros)
        """Whether cell 0 holds zeros alone. Both zeros are then counted as 0 and nothing there is to be told apart."""
        if self._only_zeros:
            positive[0] += negative[0]
            negative[0] = 0
        self._magnitudes = positive + negative
        self._counts = np.append(negative[::-1], positive)
        self._before = np.append(0, np.cumsum(self._counts))

    def _window_of(self, s: Summary) -> Window:
        largest = max(-s.min, s.max)
        low, high = self._layout.of(np.array([min(s.smallest, largest), largest], self._flat.dtype)).tolist()
        return Window(max(low - low % OCTAVE, 1), high - high % OCTAVE + OCTAVE)

    def summary(self) -> Summary:
        """Moments and norms."""
        return self._summary

    def rank(self, thresholds: np.ndarray, ranks: np.ndarray) -> Ranks:
        """Counts below thresholds, entries by rank, Gini index."""
        places, split = self._places(thresholds)
        at = np.searchsorted(self._before, ranks, "right") - 1
        known = at == (self._window.size if self._only_zeros else -1)
        doubtful, error = self._doubtful()
        both = np.append(self._window.size - 1 - doubtful, self._window.size + doubtful)
        opened = np.unique(np.concatenate([places[split], at[~known], both]))
        counts = self._counts[opened]
        if counts.sum() > MOSTLY * self._flat.size:
            return Ordered(np.sort(self._flat)).rank(thresholds, ranks)

        taken, gini = self._second_reading(opened)
        start = np.append(0, np.cumsum(counts))  # of each open place among those taken out
        below = self._before[places]
        below[split] += (np.searchsorted(taken, thresholds) - start[np.searchsorted(opened, places)])[split]
        entries = np.zeros(ranks.size, taken.dtype)
        inside = start[np.searchsorted(opened, at)] + ranks - self._before[at]
        entries[~known] = taken[inside[~known]]
        if doubtful.size:
            whole = taken[np.repeat(np.isin(opened, both), counts)]
            gini += self._within(np.abs(whole), self._magnitudes[np.sort(doubtful)])
        return Ranks(below, entries, gini + error)

    def _places(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The place of each x, before which entries are smaller, and whether entries at it may lie on both sides."""
        x = x + 0.0  # no −0
        cells, window = self._layout.of(x), self._window
        negative, magnitude = cells >= self._layout.sign, cells % self._layout.sign
        index = np.where(magnitude == 0, 0, np.clip(magnitude - window.low + 1, 1, window.size))
        between = (magnitude > 0) & (magnitude < window.low)  # no entry is so small: index 1, but nothing is there
        places = np.where(negative, np.maximum(window.size - 1 - index + between, 0), window.size + index)
        split = ~between & (magnitude < window.high) & (negative | (x != self._layout.first(cells)))
        if not self._only_zeros:  # −0 and subnormal numbers are at one place, of which 0 is not the lower end
            places, split = np.where(x == 0, window.size - 1, places), split | (x == 0)
        return places, split

    def _doubtful(self) -> tuple[np.ndarray, float]:
        """Magnitude cells to be opened for the Gini index, and what the others add to it within half that much.

        With all c entries of a cell [a, b] at their mean rank, the sum of magnitudes times ranks is too small by at
        most ⌊c²/4⌋(b − a): when half of them are at either end.
        """
        squares = self._magnitudes * self._magnitudes // 4
        if self._only_zeros:
            squares[0] = 0
        widths = self._widths() / (self._summary.count * (self._summary.l1 / self._unit))
        first = OCTAVE if self._window.low == 1 else 1  # cell 0 alone, or octave 0
        sums = np.append(squares[:first].sum(), squares[first:].reshape(-1, OCTAVE).sum(axis=1))
        error = dot(sums, widths)
        if error <= 2 * TOLERANCE:
            return np.zeros(0, np.int64), error / 2
        most = squares * np.repeat(widths, np.append(first, np.full(widths.size - 1, OCTAVE)))
        descending = np.argsort(most)[::-1]
        left = error - np.cumsum(most[descending])
        doubtful = descending[: 1 + int(np.argmax(left <= 2 * TOLERANCE))]
        return doubtful, (error - float(most[doubtful].sum())) / 2

    def _widths(self) -> np.ndarray:
        """Width of cell 0 and of the cells of each octave of the window, in multiples of the unit."""
        starts = np.arange(max(self._window.low, OCTAVE), self._window.high, OCTAVE)
        ends = self._layout.first(np.array([[0, 1], *np.stack([starts, starts + 1], axis=1)]).ravel())
        return np.diff(ends.astype(np.float64).reshape(-1, 2) / self._unit)[:, 0]

    def _second_reading(self, opened: np.ndarray) -> tuple[np.ndarray, float]:
        """Entries of open places, ascending, and the Gini index as if all of a cell had its mean rank."""
        window, layout, taken, weighted = self._window, self._layout, [], 0.0
        ordinary = ORDINARY[0] < self._unit < ORDINARY[1]
        ranks = group_ranks(self._magnitudes) + 1e-30
        weights = np.append(-ranks[::-1], ranks)
        of_opened = weights[opened]
        weights[opened] = 0  # marks what is to be taken out
        with Scratch.borrow(self._flat.dtype) as scratch:
            window.put(scratch.weights, weights[window.size - 1 :: -1], layout.sign)
            window.put(scratch.weights, weights[window.size :], 0)
            for x in pieces_of(self._flat):
                out = scratch.numbers[: x.size]
                weight = np.take(scratch.weights, layout.of(x, scratch.cells), out=out, mode="wrap")
                taken.append(_where_zero(weight, x))
                weighted += dot(weight, x if ordinary else x / x.dtype.type(self._unit))
        all_taken = np.concatenate(taken)
        all_taken.sort()
        weighted /= self._unit if ordinary else 1
        weighted += dot(np.repeat(of_opened, self._counts[opened]), all_taken.astype(np.float64) / self._unit)
        return all_taken, float(weighted / (self._summary.l1 / self._unit))

    def _within(self, magnitudes: np.ndarray, counts: np.ndarray) -> float:
        """What the differences within cells add to the Gini index, for the magnitudes of whole cells."""
        magnitudes.sort()
        rank = np.arange(magnitudes.size) - np.repeat(np.cumsum(counts) - counts, counts)
        weight = (2 * rank + 1 - np.repeat(counts, counts)) / self._summary.count
        return dot(magnitudes.astype(np.float64) / self._summary.l1, weight)


def _where_zero(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """x[weight == 0], where that is rare: looked for in groups of eight."""
    zero = weight == 0
    whole = x.size - x.size % 8
    groups = np.flatnonzero(zero[:whole].view(np.uint64))
    found = x[:whole].reshape(-1, 8)[groups][zero[:whole].reshape(-1, 8)[groups]]
    return np.append(found, x[whole:][zero[whole:]])
