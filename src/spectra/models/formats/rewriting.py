"""A checkpoint written again with some of its tensors replaced: same format, files, names, types and metadata.

Each format has a `rewrite` that leaves all other tensors as they are, bit for bit. Here is what they share: which
places are refused, and that a checkpoint appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spectra.errors import OutputError, SpectraError
from spectra.models.formats.base import Replace, guarded, one_line
from spectra.models.formats.registry import FORMATS, Located, locate

INDEX = ".index.json"

_SUFFIXES = {suffix for form in FORMATS for suffix in form.suffixes}
WEIGHTS = _SUFFIXES | {".h5", ".hdf5", ".keras", ".gguf", ".onnx", ".onnx_data", ".tflite", ".pb", ".ot", ".mlmodel"}
"""Suffixes of files that hold weights: beside changed ones the old ones would be taken for the same model."""


@dataclass(frozen=True)
class Rewriting:
    """A checkpoint and the place where it will be written again; made by `plan_rewriting`."""

    found: Located
    folder: Path | None
    """The directory of the model where that is what is written; None for a single file."""
    out: Path


def plan_rewriting(model: str | os.PathLike, out: str | os.PathLike) -> Rewriting:
    """Find out before the work that a checkpoint can be written again to another place.

    Parameters
    ----------
    model
        A file, an index of shards, or a directory.
    out
        A file of the same suffix for a file; else a directory, which may be there if it is empty.

    Raises
    ------
    CheckpointError
        If there is no checkpoint that spectra reads.
    OutputError
        If `out` is the model itself, lies in it, exists, has another suffix, or cannot be written.
    """
    found = locate(model)
    given, target = Path(os.fsdecode(model)).expanduser(), Path(os.fsdecode(out)).expanduser()
    folder = given if given.is_dir() else given.parent if given.name.endswith(INDEX) else None
    if not os.fspath(out):
        raise _refusal("''", "is no place to write to", "give the name of a new file or directory")
    if target.exists() and any(target.samefile(place) for place in (given, found.path, folder) if place):
        raise _refusal(out, "is the model itself", "write the result to another place")
    if folder and folder.resolve() in target.resolve().parents:
        raise _refusal(out, "lies inside the model", "write the result to another place")
    if folder is None and target.suffix.lower() != given.suffix.lower():
        wanted = given.suffix or "without a suffix"
        raise _refusal(out, f"the model is {found.format.name}", f"name the result like it, {wanted}")
    if folder is None and target.is_dir():
        raise _refusal(out, "is a directory", "give the name of a file")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        what = "is a directory that is not empty" if target.is_dir() else "exists already"
        raise _refusal(out, what, "remove it or choose another name")
    _check_room(target, _size(folder or found.path), out)
    return Rewriting(found, folder, target)


def rewrite(plan: Rewriting, replace: Replace) -> None:
    """Write the checkpoint, under a temporary name until it is complete.

    Parameters
    ----------
    replace
        Asked once for every tensor that the `TensorSource` lists, mostly in the order of the list.

    Raises
    ------
    CheckpointError
        If something of the model that is to be copied is damaged.
    OutputError
        If the result cannot be written.
    """
    path, out = plan.found.path, plan.out.absolute()
    place = out.with_name(f".{out.stem[:100]}.{os.getpid()}{out.suffix}")
    failed: list[BaseException] = []

    def asked(name: str) -> np.ndarray | None:
        try:
            return replace(name)
        except BaseException as error:
            failed.append(error)
            raise

    try:
        with guarded(f"{plan.found.label}, on the way to {plan.out}"):
            try:
                inside = plan.folder is not None and path.is_file() and not path.name.endswith(INDEX)
                if inside:
                    place.mkdir()
                plan.found.format.rewrite(path, place / path.name if inside else place, asked)
                if plan.folder and plan.found.format.suffixes:  # Orbax, which has none, copies what is beside
                    _copy_companions(plan.folder, place)
                if out.is_dir():
                    out.rmdir()
                os.rename(place, out)
            except OSError as error:
                raise _refusal(
                    plan.out, f"cannot be written ({error.strerror or error})", "choose another place"
                ) from error
    except SpectraError:
        if failed:  # not the fault of a file
            raise failed[0] from None
        raise
    finally:
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)


def _refusal(out: str | os.PathLike, what: str, remedy: str) -> OutputError:
    return OutputError(one_line(f"{os.fsdecode(out)}: {what}; {remedy}"))


def _check_room(target: Path, nbytes: int, out: str | os.PathLike) -> None:
    parent = target.parent
    if not parent.is_dir():
        raise _refusal(out, f"there is no directory {parent}", "create it first")
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise _refusal(out, f"cannot be written ({error.strerror})", "choose another place") from error
    free = shutil.disk_usage(parent).free
    if free < nbytes:
        what = f"takes {nbytes / 1e9:.3g} GB, and there are {free / 1e9:.3g} GB free"
        raise _refusal(out, what, "choose another place")


def _size(model: Path) -> int:
    """Bytes of a file, or of the weights directly in a directory; of a tree of Orbax all."""
    if model.is_file():
        return model.stat().st_size
    tree = any(model.glob("**/_METADATA"))
    files = (file for file in model.glob("**/*" if tree else "*") if tree or file.suffix.lower() in _SUFFIXES)
    return sum(file.stat().st_size for file in files if file.is_file())


def _copy_companions(folder: Path, target: Path) -> None:
    """Copy what belongs to a model beside its weights: configuration, tokenizer, text.

    Weights in other formats are left out, and directories that have weights of their own.
    """
    for beside in folder.iterdir():
        copied = target / beside.name
        if beside.name.startswith(".") or copied.exists() or _holds_weights(beside):
            continue
        if beside.is_dir():
            shutil.copytree(beside, copied)
        elif beside.is_file():
            shutil.copyfile(beside, copied)


def _holds_weights(path: Path) -> bool:
    if path.is_dir():
        return any(_holds_weights(child) for child in path.iterdir())
    return path.suffix.lower() in WEIGHTS or path.name.endswith(INDEX)
