"""Entries of an array in uniformly random places, on the host: NumPy, in the processor's cache.

NumPy's own shuffle misses the cache at every step once the entries outgrow it: 44 to 59 ns an entry for ten million.
From one to four million entries are sorted by random numbers instead, which goes through memory in order and by vector
instructions. Still more are first dealt to buckets by random bytes, and each bucket is then permuted. All of it is
exactly uniform (Rao, Sankhyā A 23 (1961) 305; Sandelius, J. R. Stat. Soc. B 24 (1962) 472): given how many entries each
bucket has, any dealing is equally likely.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CACHED = 2**20
"""Up to so many entries NumPy's shuffle is the faster one."""

WHOLE = 2**22
"""Up to so many are sorted at once: 34 MB of keys."""

BUCKET, MOST = 2**17, 256
"""More are dealt to buckets of about this size, at most so many, for which a random byte is enough."""

DEALT = 2**17
"""Entries that are dealt at once."""


def shuffled(w: np.ndarray, seed: int | Sequence[int]) -> np.ndarray:
    """A copy of `w` with its entries permuted uniformly at random.

    Parameters
    ----------
    w
        Any shape and element type.
    seed
        As of `numpy.random.SeedSequence`: a number or several, for instance (seed, number of the layer, repetition).
        The same seed gives the same permutation for arrays of the same size, whatever the machine and the number of
        threads. Numpy may change its streams in a later version (NEP 19).

    Notes
    -----
    Float32 entries take 11 to 25 ns each on one core of an Intel Xeon, 6 to 12 up to 2²² entries on two, by two
    threads, for Python's lock is free most of the time; other types up to half as much again. Beside the result it
    holds a copy and 20 bytes for each of 2²² entries.
    """
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed)))
    flat = np.ascontiguousarray(w).reshape(-1)
    result = np.empty_like(flat)
    _shuffle_into(result, flat, rng)
    return result.reshape(w.shape)


def _shuffle_into(target: np.ndarray, source: np.ndarray, rng: np.random.Generator) -> None:
    if source.size <= WHOLE:
        (_shuffle_small if source.size <= CACHED else _sort_by_chance)(target, source, rng)
        return
    buckets = min(MOST, 1 << (source.size // BUCKET).bit_length())
    blocks, ends = _dealt(source, buckets, rng)
    start = 0
    for bucket in range(buckets):
        members = np.concatenate(
            [block[end[bucket] : end[bucket + 1]] for block, end in zip(blocks, ends, strict=True)]
        )
        _shuffle_into(target[start : start + members.size], members, rng)
        start += members.size


def _shuffle_small(target: np.ndarray, source: np.ndarray, rng: np.random.Generator) -> None:
    """In 64-bit places, for which NumPy has a fast loop: the entries themselves, or where each is to be taken from."""
    if source.itemsize not in (4, 8):
        np.take(source, rng.permutation(source.size), out=target, mode="clip")
        return
    bits = np.dtype(f"u{source.itemsize}")
    places = source.view(bits).astype(np.int64)
    rng.shuffle(places)
    target.view(bits)[...] = places


def _sort_by_chance(target: np.ndarray, source: np.ndarray, rng: np.random.Generator) -> None:
    """By random numbers, the upper halves of 64-bit keys, for which NumPy has vectorized code.

    The lower halves are the entries themselves or, where these do not fit, where each is to be taken from.
    """
    size = source.size
    halves = np.empty((size, 2), "<u4")
    halves[:, 0] = source.view(np.uint32) if source.itemsize == 4 else np.arange(size, dtype=np.uint32)
    halves[:, 1] = rng.bit_generator.random_raw((size + 1) // 2).view(np.uint32)[:size]
    halves.view("<u8").reshape(-1).sort()
    _order_ties(halves, rng)
    if source.itemsize == 4:
        target.view(np.uint32)[...] = halves[:, 0]
    else:
        np.take(source, halves[:, 0], out=target, mode="clip")


def _order_ties(halves: np.ndarray, rng: np.random.Generator) -> None:
    """Entries that drew equal numbers, a few of millions, lie in the order of their values: they are permuted too."""
    drawn = halves[:, 1]
    tied = np.flatnonzero(drawn[1:] == drawn[:-1])
    for first, last in zip(tied[np.diff(tied, prepend=-2) > 1], tied[np.diff(tied, append=-2) != 1], strict=True):
        rng.shuffle(halves[first : last + 2, 0])


def _dealt(source: np.ndarray, buckets: int, rng: np.random.Generator) -> tuple[list[np.ndarray], list[list[int]]]:
    """Blocks of the source, each ordered by bucket, and where in each block every bucket begins and ends."""
    blocks, ends = [], []
    for start in range(0, source.size, DEALT):
        block = source[start : start + DEALT]
        bucket = rng.integers(0, buckets, block.size, dtype=np.uint8)
        blocks.append(np.take(block, np.argsort(bucket, kind="stable"), mode="clip"))
        ends.append([0, *np.cumsum(np.bincount(bucket, minlength=buckets)).tolist()])
    return blocks, ends
