"""Few distinct shapes: arrays are padded to a ladder of sizes, so that few programs are compiled."""

from __future__ import annotations

import numpy as np


def bucket(size: int) -> int:
    """The smallest of 1, 2, 3, 4, 6, 8, 12, … (2ᵏ and 3·2ᵏ) that holds `size`: at most half as large again."""
    power = 1 << max(size - 1, 0).bit_length()
    return 3 * power // 4 if power >= 4 and 3 * power // 4 >= size else power


def pad_to(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array with zeros appended along each axis; the array itself where it fits exactly."""
    if array.shape == shape:
        return array
    padded = np.zeros(shape, array.dtype)
    padded[tuple(slice(length) for length in array.shape)] = array
    return padded
