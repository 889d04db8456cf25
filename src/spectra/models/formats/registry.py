"""Which formats there are, and `open_source`, which finds the right one.

To add a format is to add a file with a ``FORMAT`` and its entry here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from spectra.models.formats import foreign, memory, msgpack, npz, orbax, safetensors, torch
from spectra.models.formats.base import Format, checkpoint_error, guarded
from spectra.models.source import TensorSource

FORMATS: tuple[Format, ...] = (safetensors.FORMAT, orbax.FORMAT, npz.FORMAT, torch.FORMAT, msgpack.FORMAT)
_READABLE = "spectra reads safetensors, Orbax directories, Flax msgpack, npz, npy and PyTorch files"


class Located(NamedTuple):
    """A checkpoint on disk whose format is known."""

    format: Format
    path: Path
    """The file, or the directory; of a directory that holds a single checkpoint file, the file."""
    label: str
    """How errors name it."""


def open_source(target: Any) -> TensorSource:
    """Open a checkpoint, or parameters in memory, without reading any tensor.

    Parameters
    ----------
    target
        Path of a file or directory; or a pytree of arrays, an `nnx.Module`, an `nnx.State`, or a mapping of names to
        arrays. Formats are told by content and directory structure first, by suffix second.

    Returns
    -------
    TensorSource
        Its tensors, to be read one at a time. Close it when done.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or of no format that spectra reads; one line that names it and the remedy.
    InputError
        If an object in memory holds no arrays or other things than arrays.
    """
    if not isinstance(target, str | os.PathLike):
        return memory.open_memory(target)
    found = locate(target)
    with guarded(
        found.label, f"it is damaged, incomplete, or no {found.format.name} checkpoint: copy or download it again"
    ):
        return found.format.open(found.path, found.label)


def locate(target: str | os.PathLike) -> Located:
    """Find out of which format a checkpoint on disk is.

    Raises
    ------
    CheckpointError
        If there is none, or of no format that spectra reads.
    """
    label = os.fspath(target)
    label = os.fsdecode(label) if isinstance(label, bytes) else label
    with guarded(label or "''"):
        path = Path(label).expanduser()
        if not label or not path.exists():
            raise checkpoint_error(label or "''", "no such file or directory", "check the path")
        return _directory(path, label) if path.is_dir() else _file(path, label)


def _file(path: Path, label: str) -> Located:
    if not path.is_file():  # a pipe would block for ever
        raise checkpoint_error(label, "is not a regular file", _READABLE)
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise checkpoint_error(label, "is empty", "copy or download it again")
    found = next((form for form in FORMATS if form.detect(path, head)), None)
    if found is None:
        _refuse_foreign(path, head, label)
        found = next((form for form in FORMATS if path.suffix.lower() in form.suffixes), None)
    if found is None:
        raise checkpoint_error(label, "its format is not recognized", _READABLE)
    return Located(found, path, label)


def _directory(path: Path, label: str) -> Located:
    found = next((form for form in FORMATS if form.detect(path, b"")), None)
    if found is not None:
        return Located(found, path, label)
    _refuse_foreign(path, b"", label)
    suffixes = {suffix for form in FORMATS for suffix in form.suffixes}
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes and file.is_file())
    if not files:
        raise checkpoint_error(label, "the directory holds no checkpoint", _READABLE)
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:4]) + (", …" if len(files) > 4 else "")
        raise checkpoint_error(label, f"the directory holds several checkpoints ({names})", "give one of them")
    return _file(files[0], str(files[0]))


def _refuse_foreign(path: Path, head: bytes, label: str) -> None:
    recognized = foreign.identify(path, head)
    if recognized is not None:
        name, remedy = recognized
        what = f"{name} is not supported" if name.startswith(("the ", "PyTorch's")) else f"is {name}"
        raise checkpoint_error(label, what, remedy)
