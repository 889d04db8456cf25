"""Few distinct shapes: arrays are padded to a ladder of sizes, so that few programs are compiled."""

from __future__ import annotations

import numpy as np

GROUP = 8
"""Matrices of one layer (the positions of a convolution) that are handed over together."""

NARROW = 128
"""Up to this smaller dimension the work is so little that coarse steps are worth a program saved."""


def bucket(size: int) -> int:
    """The smallest of 1, 2, 3, 4, 6, 8, 12, … (2ᵏ and 3·2ᵏ) that holds `size`: at most half as large again."""
    power = 1 << max(size - 1, 0).bit_length()
    return 3 * power // 4 if power >= 4 and 3 * power // 4 >= size else power


def coarse(size: int, smallest: int) -> int:
    """The smallest of `smallest`·4ᵏ that holds `size`."""
    while smallest < size:
        smallest *= 4
    return smallest


def padded_shape(n: int, m: int) -> tuple[int, int]:
    """Shape to which an n×m matrix (n ≥ m) is padded with zeros."""
    if m > NARROW:
        return bucket(n), bucket(m)
    return coarse(n, NARROW), 1 << max(m - 1, 31).bit_length()


def padded_sample(size: int) -> int:
    """Length to which the sample of a fit is padded; its cost grows with the square."""
    return coarse(size, 64) if size <= 4096 else bucket(size)


def pad_to(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array with zeros appended along each axis; the array itself where it fits exactly."""
    if array.shape == shape:
        return array
    padded = np.zeros(shape, array.dtype)
    padded[tuple(slice(length) for length in array.shape)] = array
    return padded
