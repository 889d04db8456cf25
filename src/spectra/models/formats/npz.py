"""NumPy's ``.npz`` and ``.npy``: headers are listed from inside the zip; pickled objects are never loaded."""

from __future__ import annotations

import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from spectra.models.formats.base import (
    DAMAGED,
    Format,
    ListedSource,
    Replace,
    bytes_of,
    checkpoint_error,
    tensor_label,
)
from spectra.models.source import TensorInfo, TensorSource

_MAGIC = b"\x93NUMPY"
# deflate cannot shrink data further than this, so a member that claims more is a lie
_MAX_RATIO = 1040
_COPIED = 1 << 20


def detect(path: Path, head: bytes) -> bool:
    """The ``.npy`` magic, or a zip with a ``.npy`` member and no pickle of PyTorch's."""
    if head.startswith(_MAGIC):
        return True
    if not head.startswith(b"PK"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return False
    return any(name.endswith(".npy") for name in names) and not any(name.endswith("data.pkl") for name in names)


def open_npz(path: Path, label: str) -> TensorSource:
    """Open an archive of arrays or a single one, which is then called after its file; the file's order is kept."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return _open_archive(path, label)
        file.seek(0)
        info, dtype = _read_header(file, path.stem, path.stat().st_size, label)
    return ListedSource(label, None, [(info, dtype)], lambda _, dtype: _load_file(path, dtype))


def _open_archive(path: Path, label: str) -> TensorSource:
    archive = zipfile.ZipFile(path)
    try:
        entries = []
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            name = member.filename.removesuffix(".npy")
            if member.file_size > _MAX_RATIO * member.compress_size + 1024:
                raise checkpoint_error(tensor_label(label, name), "the zip claims an impossible size", DAMAGED)
            with archive.open(member) as file:
                info, dtype = _read_header(file, name, member.file_size, label)
            entries.append((info, (member, dtype)))
        return ListedSource(label, None, entries, lambda _, entry: _load_member(archive, *entry), archive.close)
    except BaseException:
        archive.close()
        raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Files of Python 2 are fine, and numpy's advice to save them again is for their author."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read_header(file: IO[bytes], name: str, nbytes: int, label: str) -> tuple[TensorInfo, np.dtype]:
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise checkpoint_error(tensor_label(label, name), f"has .npy version {version}", "save plain arrays")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    with _quiet():
        shape, _, dtype = read_header(file)
    info = TensorInfo(name, tuple(int(size) for size in shape), dtype.name)
    # objects are pickled, so that their size tells nothing; they are refused when read
    if not dtype.hasobject and (min(info.shape, default=0) < 0 or file.tell() + info.size * dtype.itemsize != nbytes):
        lie = f"its header says {info.dtype}{list(info.shape)} but its size is {nbytes} bytes"
        raise checkpoint_error(tensor_label(label, name), lie, DAMAGED)
    return info, dtype


def _load_file(path: Path, dtype: np.dtype) -> np.ndarray:
    with path.open("rb") as file:
        return _read_array(file, dtype)


def _load_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, dtype: np.dtype) -> np.ndarray:
    with archive.open(member) as file:
        array = _read_array(file, dtype)
        file.read(1)  # the checksum is compared only when the end is reached
        return array


def _read_array(file: IO[bytes], dtype: np.dtype) -> np.ndarray:
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which are never loaded; save plain arrays")
    if dtype.kind == "V":
        raise ValueError("numpy saved raw bytes of no known type, perhaps bfloat16; save it as float32 or safetensors")
    with _quiet():
        array = npy.read_array(file, allow_pickle=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def rewrite(path: Path, target: Path, replace: Replace) -> None:
    """Write every member as it was, compressed where it was, with new entries behind the old headers."""
    with path.open("rb") as file, target.open("wb") as out:
        if file.read(len(_MAGIC)) == _MAGIC:
            _rewrite_array(lambda: path.open("rb"), out, replace(path.stem))
            return
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as made:
        made.comment = archive.comment
        for member in archive.infolist():
            listed = member.filename.endswith(".npy")
            new = replace(member.filename.removesuffix(".npy")) if listed else None
            like = zipfile.ZipInfo(member.filename, member.date_time)
            like.compress_type, like.external_attr = member.compress_type, member.external_attr
            with made.open(like, "w", force_zip64=True) as sink:
                _rewrite_array(partial(archive.open, member), sink, new)


def _rewrite_array(reopen: Callable[[], IO[bytes]], sink: IO[bytes], new: np.ndarray | None) -> None:
    """Copy a ``.npy`` file; with new entries, only its header, and they lie in the byte and axis order that it says."""
    if new is None:
        with reopen() as file:
            shutil.copyfileobj(file, sink, _COPIED)
        return
    with reopen() as file, _quiet():
        read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        _, by_columns, dtype = read_header(file)
        length = file.tell()
    with reopen() as file:
        sink.write(file.read(length))
    sink.write(bytes_of((new.T if by_columns else new).astype(dtype, copy=False)))


FORMAT = Format("npz", (".npz", ".npy"), detect, open_npz, rewrite)
