"""Rank statistics of many entries without sorting them: counted in narrow cells, the few that matter taken out.

The leading bits of a floating-point number — sign, exponent, ten bits of mantissa — name a *cell* of numbers that agree
to one part in a thousand. A first reading of the entries counts every cell and takes the moments. From the counts alone
it is known how many entries lie below any threshold but those of the one cell that holds it, and which cells hold the
quantiles. A second reading takes out the entries of these *open* cells, about one in a hundred, and sorts them. What is
answered is exact; only the Gini index has an error, with a bound that is computed, below `TOLERANCE`.

bfloat16 and float16 entries, widened, are all alike within a cell: one reading tells everything.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from spectra.engine.ordered import Ordered, Ranks, Summary, group_ranks, unit_of
from spectra.engine.pieces import ORDINARY, PIECE, Measure, Piece, dot, pieces_of, summary_of

T = TypeVar("T")

MANTISSA = 10
"""Bits of the mantissa that name a cell. Fewer open more cells, more outgrow the cache."""

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
        """Cells of finite numbers, for tables. (In float32 this keeps them just below the size from which on NumPy asks
        for huge pages, which take longer to clear than all else that is done with a table.)"""

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


class Window(NamedTuple):
    """The occupied cells of magnitudes: cell 0, where the zeros are, and `low` to `high`; `low` is at least 1."""

    low: int
    high: int

    @property
    def size(self) -> int:
        return self.high - self.low + 2

    def take(self, table: np.ndarray, sign: int = 0) -> np.ndarray:
        return np.append(table[sign], table[sign + self.low : sign + self.high + 1])

    def put(self, table: np.ndarray, values: np.ndarray, sign: int = 0) -> None:
        table[sign] = values[0]
        table[sign + self.low : sign + self.high + 1] = values[1:]

    def cells(self) -> np.ndarray:
        return np.append(0, np.arange(self.low, self.high + 1))

    def place(self, cells: np.ndarray) -> np.ndarray:
        """Index of cells in `take`; the end for those above `high`, 1 for those between 0 and `low`."""
        return np.where(cells == 0, 0, np.clip(cells - self.low + 1, 1, self.size))


def distinct(flat: np.ndarray, threads: int = 1) -> Ordered | None:
    """The distinct values with their counts if all entries were widened from a narrow type; None otherwise."""
    for shift in NARROW[flat.dtype]:
        layout = Layout(flat.dtype, shift)
        if layout.only_leading(flat[:PIECE]):
            tables = _spread(partial(_count_distinct, layout=layout), flat, threads)
            filled = [table for table in tables if table is not None]
            if len(filled) == len(tables):
                table = sum(filled[1:], filled[0])
                positive, negative = np.flatnonzero(table[: layout.sign]), np.flatnonzero(table[layout.sign :])
                cells = np.append(layout.sign + negative[::-1], positive)
                return Ordered(layout.first(cells), table[cells])
    return None


def _count_distinct(part: np.ndarray, layout: Layout) -> np.ndarray | None:
    total, buffer = np.zeros(layout.used, np.int64), np.empty(PIECE, np.int64)
    for piece in pieces_of(part):
        if not layout.only_leading(piece):
            return None
        np.add.at(total, layout.of(piece, buffer), 1)
    return total


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


class Reading(NamedTuple):
    """What the first reading of a part of the entries found."""

    pieces: list[Piece]
    window: Window
    positive: np.ndarray
    """Counts in the window's cells of positive numbers, and of negative ones."""
    negative: np.ndarray


class Cells:
    """Entries counted in cells: the first reading is done here, the second in `rank`.

    The occupied cells, in ascending order of the numbers in them, have *places* 0 … 2K − 1: K for negative numbers, −0
    among them, then K for the others.
    """

    def __init__(self, flat: np.ndarray, threads: int = 1) -> None:
        self._flat = flat
        self._threads = threads
        readings = _spread(_first_reading, flat, threads)
        pieces = [piece for reading in readings for piece in reading.pieces]
        self._layout = layout = Layout(flat.dtype)
        self._summary = s = summary_of(pieces)
        self._unit = unit_of(max(-s.min, s.max))
        self._window = window = _window(layout, pieces)
        positive, negative = np.zeros((2, window.size), np.int64)
        for reading in readings:
            place = window.place(reading.window.cells())
            positive[place] += reading.positive
            negative[place] += reading.negative
        self._only_zeros = bool(positive[0] + negative[0] == s.zeros)
        """Whether cell 0 holds zeros alone. Both zeros are then counted as 0 and nothing there is to be told apart."""
        if self._only_zeros:
            positive[0] += negative[0]
            negative[0] = 0
        self._magnitudes = positive + negative
        self._counts = np.append(negative[::-1], positive)
        self._before = np.append(0, np.cumsum(self._counts))

    def summary(self) -> Summary:
        """Moments and norms."""
        return self._summary

    def rank(self, thresholds: np.ndarray, ranks: np.ndarray) -> Ranks:
        """Counts below thresholds, entries by rank, Gini index."""
        places, split = self._places(thresholds)
        at = np.searchsorted(self._before, ranks, "right") - 1
        known = at == (self._window.size if self._only_zeros else -1)
        doubtful, error = self._doubtful()
        is_open = np.append(doubtful[::-1], doubtful)
        is_open[places[split]] = True
        is_open[at[~known]] = True
        inside = np.where(is_open, self._counts, 0)
        if inside.sum() > MOSTLY * self._flat.size:
            return Ordered(np.sort(self._flat)).rank(thresholds, ranks)

        taken, gini = self._second_reading(is_open, inside)
        start = np.append(0, np.cumsum(inside))  # of each place among those taken out
        below = self._before[places]
        below[split] += (np.searchsorted(taken, thresholds) - start[places])[split]
        entries = np.zeros(ranks.size, taken.dtype)
        entries[~known] = taken[(start[at] + ranks - self._before[at])[~known]]
        both = np.repeat(np.append(doubtful[::-1], doubtful), inside)
        return Ranks(below, entries, gini + self._within(np.abs(taken[both]), self._magnitudes[doubtful]) + error)

    def _places(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The place of each x, before which entries are smaller, and whether entries at it may lie on both sides."""
        x = x + 0.0  # no −0
        cells, window = self._layout.of(x), self._window
        negative, magnitude = cells >= self._layout.sign, cells % self._layout.sign
        occupied = (magnitude == 0) | ((magnitude >= window.low) & (magnitude <= window.high))
        index = window.place(magnitude)
        # A negative number between the cells lies above the place of the next larger magnitude.
        places = np.where(negative, np.maximum(window.size - 1 - index, 0), window.size + index)
        places += negative & ~occupied & (magnitude < window.low)
        split = occupied & (negative | (x != self._layout.first(cells)))
        if not self._only_zeros:  # −0 and subnormal numbers are at one place, of which 0 is not the lower end
            places, split = np.where(x == 0, window.size - 1, places), split | (x == 0)
        return places, split

    def _doubtful(self) -> tuple[np.ndarray, float]:
        """Magnitude cells to be opened for the Gini index, and what the others add to it within half that much.

        Entries in [a, b] with mean µ have a Gini index of at most (b − µ)(µ − a)/(µ(b − a)), which no µ makes larger
        than (√b − √a)/(√b + √a) ≤ (b − a)/4a, or 1 for a = 0. It counts with the cell's share of the entries and of
        their sum.
        """
        count, cells, s = self._magnitudes, self._window.cells(), self._summary
        high = self._layout.first(cells + 1).astype(np.float64)
        high[-1] = max(-s.min, s.max)
        one = 1 << MANTISSA
        steps = np.where(cells < one, np.maximum(cells, 0.25), one + cells % one)  # a/(b − a)
        most = np.where(count > 1, count / s.count, 0) * (count * (high / s.l1)) / (4 * steps)
        if self._only_zeros:
            most[0] = 0
        doubtful, error = np.zeros(count.size, bool), float(most.sum())
        if error > 2 * TOLERANCE:
            descending = np.argsort(most)[::-1]
            left = error - np.cumsum(most[descending])
            doubtful[descending[: 1 + int(np.argmax(left <= 2 * TOLERANCE))]] = True
            error = float(most[~doubtful].sum())
        return doubtful, error / 2

    def _second_reading(self, is_open: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, float]:
        """Entries of open places, ascending, and the Gini index as if all of a cell had its mean rank."""
        ranks = group_ranks(self._magnitudes)
        signed = np.append(-ranks[::-1], ranks)
        weights = np.where(is_open, 0, np.where(signed == 0, 1e-30, signed))  # 0 marks what is to be taken out
        readings = _spread(lambda part: self._take(part, weights), self._flat, self._threads)
        taken = np.concatenate([piece for pieces, _ in readings for piece in pieces])
        taken.sort()
        weighted = sum(value for _, value in readings)
        weighted += np.dot(np.repeat(signed, inside), taken.astype(np.float64) / self._unit)
        return taken, float(weighted / (self._summary.l1 / self._unit))

    def _take(self, part: np.ndarray, weights: np.ndarray) -> tuple[list[np.ndarray], float]:
        """Entries whose weight is 0, and the sum of the others, in multiples of the unit, with their weights."""
        taken, total, window = [], 0.0, self._window
        ordinary = ORDINARY[0] < self._unit < ORDINARY[1]
        with Scratch.borrow(part.dtype) as scratch:
            window.put(scratch.weights, weights[window.size - 1 :: -1], self._layout.sign)
            window.put(scratch.weights, weights[window.size :])
            for x in pieces_of(part):
                out = scratch.numbers[: x.size]
                weight = np.take(scratch.weights, self._layout.of(x, scratch.cells), out=out, mode="wrap")
                taken.append(x[weight == 0])
                total += dot(weight, x) / self._unit if ordinary else dot(weight, x / part.dtype.type(self._unit))
        return taken, total

    def _within(self, magnitudes: np.ndarray, counts: np.ndarray) -> float:
        """What the differences within cells add to the Gini index, for the magnitudes of whole cells."""
        magnitudes.sort()
        rank = np.arange(magnitudes.size) - np.repeat(np.cumsum(counts) - counts, counts)
        weight = (2 * rank + 1 - np.repeat(counts, counts)) / self._summary.count
        return float(np.dot(magnitudes.astype(np.float64) / self._summary.l1, weight))


def _first_reading(part: np.ndarray) -> Reading:
    with Scratch.borrow(part.dtype) as scratch:
        layout, pieces = scratch.layout, []
        for x in pieces_of(part):
            pieces.append(scratch.measure(x))
            np.add.at(scratch.counts, layout.of(x, scratch.cells), 1)
        window = _window(layout, pieces)
        counts = [window.take(scratch.counts, sign) for sign in (0, layout.sign)]
        for sign in (0, layout.sign):
            window.put(scratch.counts, np.zeros(window.size, np.int64), sign)
    return Reading(pieces, window, *counts)


def _window(layout: Layout, pieces: list[Piece]) -> Window:
    """The cells from the smallest magnitude but zero to the largest."""
    largest = max(max(-piece.min, piece.max) for piece in pieces)
    smallest = min(min(piece.smallest for piece in pieces), largest)
    low, high = layout.of(np.array([smallest, largest], layout.dtype))
    return Window(max(int(low), 1), max(int(high), 1))


def _spread(work: Callable[[np.ndarray], T], flat: np.ndarray, threads: int) -> list[T]:
    """Results of `work` on consecutive parts, one for each thread."""
    size = math.ceil(flat.size / max(threads, 1) / PIECE) * PIECE
    parts = list(pieces_of(flat, size))
    if len(parts) == 1:
        return [work(flat)]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(work, parts))
