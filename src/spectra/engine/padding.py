"""Few distinct shapes: arrays are padded to few sizes, so that few programs are compiled."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

Shape: TypeAlias = tuple[int, int]

PROGRAMS = 6
"""Spectrum programs that one model may take."""

FITS = 2
"""Power-law programs that one model may take."""

GROUPED = 1 << 21
"""Entries that the matrices of a layer which are handed over together may have."""

GRAIN = 32
"""Sizes are multiples of this one, so that models whose layers differ by a little share their programs."""


def choose_buckets(shapes: Iterable[Shape], programs: int = PROGRAMS) -> dict[Shape, Shape]:
    """Padded shapes for matrices of given shapes, few enough and with as little waste as can be.

    Shapes are merged two at a time, always those whose common program adds the least work, until `programs` are left.

    Parameters
    ----------
    shapes
        (n, m) with n ≥ m of every matrix, repeated as often as it occurs.
    programs
        How many distinct shapes may be left.

    Returns
    -------
    dict
        The padded shape for each of the given ones.
    """
    weights = Counter(shapes)
    groups: dict[Shape, list[Shape]] = {}
    for shape in weights:
        groups.setdefault((_up(shape[0]), _up(shape[1])), []).append(shape)

    def added(one: Shape, other: Shape) -> float:
        both = _around(one, other)
        count = {padded: sum(weights[shape] for shape in groups[padded]) for padded in (one, other)}
        return sum((_work(both) - _work(padded)) * number for padded, number in count.items())

    while len(groups) > programs:
        pairs = ((one, other) for one in groups for other in groups if one < other)
        one, other = min(pairs, key=lambda pair: added(*pair))
        members = groups.pop(one) + groups.pop(other)
        groups.setdefault(_around(one, other), []).extend(members)
    return {shape: padded for padded, members in groups.items() for shape in members}


def choose_groups(buckets: dict[Shape, Shape], layers: Iterable[tuple[Shape, int]]) -> dict[Shape, int]:
    """How many matrices of one layer are handed over together, for each padded shape.

    The largest number that divides those of all its layers, so that no place is left empty, within bounded memory.

    Parameters
    ----------
    layers
        Shape and number of the matrices of each layer.
    """
    common: dict[Shape, int] = {}
    for shape, count in layers:
        padded = buckets[shape]
        common[padded] = math.gcd(common.get(padded, 0), count)
    return {
        padded: max(group for group in range(1, count + 1) if count % group == 0 and _fits(group, padded))
        for padded, count in common.items()
    }


def _fits(group: int, padded: Shape) -> bool:
    return group == 1 or group * math.prod(padded) <= GROUPED


def _around(one: Shape, other: Shape) -> Shape:
    return max(one[0], other[0]), max(one[1], other[1])


def _up(size: int) -> int:
    return -(-size // GRAIN) * GRAIN


def _work(shape: Shape) -> float:
    """Flops of the Gram matrix and of its reduction."""
    n, m = shape
    return n * m**2 + 4 / 3 * m**3


def choose_lengths(sizes: Iterable[int], programs: int = FITS) -> dict[int, int]:
    """Padded lengths for samples of given sizes, chosen like `choose_buckets`."""
    return {n: padded for (n, _), (padded, _) in choose_buckets([(n, n) for n in sizes], programs).items()}


def pad_to(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array with zeros appended along each axis; the array itself where it fits exactly."""
    if array.shape == shape:
        return array
    padded = np.zeros(shape, array.dtype)
    padded[tuple(slice(length) for length in array.shape)] = array
    return padded
