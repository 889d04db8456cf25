"""Fashion-MNIST from IDX files, as they are distributed; nothing is downloaded."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from spectra.errors import InputError
from spectra.study.data import Dataset

PLACES = (Path("/usr/share/datasets/fashion-mnist"), Path("/usr/share/dataset/fashion-mnist"))
"""Where Debian's package ``dataset-fashion-mnist`` puts the files."""

PARTS = {"train": 60_000, "t10k": 10_000}
LABELS = {"train": 0x2ED6E46A, "t10k": 0x242BC73F}
"""CRC-32 of the labels: MNIST and its other kin have files of the same names and shapes."""

SIDE = 28


def load_fashion_mnist(directory: str | Path | None = None) -> Dataset:
    """The 70,000 images of clothes of Xiao, Rasul & Vollgraf (2017), in the split that comes with them.

    Parameters
    ----------
    directory
        Holds ``train-images-idx3-ubyte`` and its three companions, as they are or with ``.gz`` behind. By default where
        Debian's package ``dataset-fashion-mnist`` puts them.

    Returns
    -------
    Dataset
        Rows of 784 pixels, scaled to [0, 1] by division by 255.

    Raises
    ------
    InputError
        That names the file which is missing, damaged, or of another data set.
    """
    place = _place(directory)
    arrays = []
    for part, count in PARTS.items():
        images = read_idx(_find(place, f"{part}-images-idx3-ubyte"))
        labels = read_idx(_find(place, f"{part}-labels-idx1-ubyte"))
        if images.shape != (count, SIDE, SIDE) or labels.shape != (count,):
            raise InputError(
                f"{place}: {part} has images of shape {images.shape} and labels of shape {labels.shape}; "
                f"Fashion-MNIST has {count} of {SIDE}×{SIDE}: give its own files"
            )
        if labels.max() > 9:
            raise InputError(f"{place}: {part} has a label of {labels.max()}; Fashion-MNIST has classes 0 to 9")
        if zlib.crc32(labels.tobytes()) != LABELS[part]:
            raise InputError(f"{place}: {part} has other labels than Fashion-MNIST, as MNIST has: give its own files")
        arrays += [(images.reshape(count, -1) / 255).astype(np.float32), labels.astype(np.int32)]
    return Dataset(*arrays)


def read_idx(path: Path) -> np.ndarray:
    """The bytes of an IDX file as an array of its shape, dtype uint8.

    Raises
    ------
    InputError
        If it cannot be read, or is no IDX file of bytes, or is shorter or longer than its header says.

    References
    ----------
    LeCun, Cortes & Burges, The MNIST database: magic 0, 0, type, number of dimensions; sizes as big-endian int32.
    """
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); copy or install it anew") from error
    ndim = raw[3] if len(raw) >= 4 else 0
    header = 4 + 4 * ndim
    if raw[:3] != b"\x00\x00\x08" or not ndim or len(raw) < header:
        raise InputError(f"{path}: is no IDX file of bytes (begins with {raw[:4].hex() or 'nothing'}); give another")
    shape = tuple(np.frombuffer(raw, ">u4", ndim, 4).tolist())
    if len(raw) - header != math.prod(shape):
        raise InputError(f"{path}: holds {len(raw) - header} bytes where its header says {shape}; copy it anew")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _place(directory: str | Path | None) -> Path:
    if directory is not None:
        if not Path(directory).is_dir():
            raise InputError(f"--data {directory}: is no directory; give the one with Fashion-MNIST's IDX files")
        return Path(directory)
    for place in PLACES:
        if place.is_dir():
            return place
    raise InputError(
        "Fashion-MNIST is not installed: apt-get install dataset-fashion-mnist, or give the directory of its IDX "
        "files with --data; --quick needs neither"
    )


def _find(place: Path, name: str) -> Path:
    for path in (place / f"{name}.gz", place / name):
        if path.is_file():
            return path
    raise InputError(
        f"{place}: {name} or {name}.gz is missing; Debian has it in dataset-fashion-mnist, and so has "
        "github.com/zalandoresearch/fashion-mnist"
    )
