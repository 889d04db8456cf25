"""PyTorch files: ``torch.save`` in both its containers, and shards with an index.

Files are loaded with ``weights_only=True``, which builds tensors and plain containers and runs no code; tensors of a
zip container are memory-mapped, so that reading one touches its bytes only. The older container is loaded whole.
"""

from __future__ import annotations

import mmap
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from spectra.errors import InputError
from spectra.models.formats.base import (
    DAMAGED,
    Format,
    ListedSource,
    Replace,
    checkpoint_error,
    known_dtype,
    tensor_label,
)
from spectra.models.formats.naming import Path as TreePath
from spectra.models.formats.naming import container_children, tensor_name, walk, without_training_state
from spectra.models.formats.sharded import open_index, tensors_by_file
from spectra.models.source import TensorInfo, TensorSource

_INDEX = ".bin.index.json"
_RESAVE = "re-save it with safetensors.torch.save_file(model.state_dict(), …)"
_WRAPPERS = ("state_dict", "model_state_dict")


def detect(path: Path, head: bytes) -> bool:
    """A zip that holds ``data.pkl``, a bare pickle, an index of ``.bin`` shards, or a directory with one."""
    if path.is_dir():
        return any(path.glob("*" + _INDEX))
    if path.name.endswith(_INDEX):
        return True
    if head.startswith(b"PK"):
        return any(name.endswith("/data.pkl") for name in _members(path))
    return head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def open_torch(path: Path, label: str) -> TensorSource:
    """Open a file, an index or a directory with an index; the file's order is kept."""
    path = _file_in(path, label)
    if path.name.endswith(_INDEX):
        return open_index(path, label, "torch", _open_file)
    return _open_file(path, label)


def _file_in(path: Path, label: str) -> Path:
    """The index of a directory; a file itself."""
    if not path.is_dir():
        return path
    indices = sorted(path.glob("*" + _INDEX))
    if len(indices) > 1:
        names = ", ".join(index.name for index in indices)
        raise checkpoint_error(label, f"has several indices ({names})", "give one of them instead")
    return indices[0]


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return []


def _open_file(path: Path, label: str) -> TensorSource:
    tensors = _tensors(_unpickled(path, label), label)
    entries = [(_described(name, tensor), tensor) for name, tensor in tensors]

    def load(info: TensorInfo, tensor: Any) -> np.ndarray:
        return to_numpy(tensor, tensor_label(label, info.name))

    # The arrays share memory with the file's map, and with each other where weights are tied.
    return ListedSource(label, "torch", entries, load, in_memory=True)


def _tensors(content: Any, label: str) -> list[tuple[str, Any]]:
    """The weights of an unpickled file by name."""
    import torch

    leaves = walk(content, container_children, label)
    return _named([(where, leaf) for where, leaf in leaves if isinstance(leaf, torch.Tensor)])


def _named(leaves: list[tuple[TreePath, Any]]) -> list[tuple[str, Any]]:
    """Dotted paths; a ``state_dict`` that holds all the weights is packaging and not part of their names."""
    leaves = without_training_state(leaves)
    tops = {path[0] for path, _ in leaves if path}
    packaged = len(tops) == 1 and tops <= set(_WRAPPERS) and all(len(path) > 1 for path, _ in leaves)
    return [(tensor_name(path[1:] if packaged else path) or "tensor", tensor) for path, tensor in leaves]


def _unpickled(path: Path, label: str, to_change: bool = False) -> Any:
    """What the file holds; `to_change`: its tensors can be changed without the file."""
    try:
        import torch
    except ImportError as exc:
        raise InputError(f"{label}: PyTorch files need torch; pip install 'spectra-jax[torch]'") from exc
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if _mappable(path, label) and (not to_change or _maps_privately()):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        with path.open("rb") as file:
            container = file.read(2)[:1] in (b"P", b"\x80")  # a zip, or a pickle of protocol 2 or later
        if container and ("global" in str(exc).lower() or "unsupported" in str(exc).lower()):
            raise checkpoint_error(
                label, "holds pickled objects, which could run code and are refused", _RESAVE
            ) from exc
        raise checkpoint_error(label, "is not a PyTorch file, or is damaged", "copy or download it again") from exc


def _mappable(path: Path, label: str) -> bool:
    """Whether torch can map it into memory: a zip container, after checking that torch would read it as it is meant."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return False
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise checkpoint_error(label, "is a TorchScript archive, which contains code", _RESAVE)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        # a memory map would take the compressed bytes for numbers
        raise checkpoint_error(label, "is a compressed zip, which torch.save does not write", DAMAGED)
    # torch hands whatever has this suffix to safetensors, unless it is given an open file
    return path.suffix != ".safetensors"


def _maps_privately() -> bool:
    """Whether what is changed in mapped memory stays out of the file: unless somebody told torch otherwise."""
    from torch.serialization import get_default_mmap_options

    return bool(get_default_mmap_options() == getattr(mmap, "MAP_PRIVATE", None))


def _described(name: str, tensor: Any) -> TensorInfo:
    return TensorInfo(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def to_numpy(tensor: Any, name: str) -> np.ndarray:
    """A torch tensor as a numpy array of the same memory, bfloat16 and float8 included."""
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        raise checkpoint_error(name, "is sparse, quantized or without data", "save it as a dense tensor")
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise checkpoint_error(name, "repeats stored values to fill its shape", "save it after .contiguous()")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    kind = str(tensor.dtype).removeprefix("torch.")
    dtype = known_dtype(kind)
    if dtype is None:
        raise checkpoint_error(name, f"the type {kind} is packed or unknown", "convert it to bfloat16 or float32")
    if dtype.kind in "biufc" and dtype.type.__module__ == "numpy":
        return tensor.numpy()
    carrier = {1: torch.uint8, 2: torch.uint16}[dtype.itemsize]
    return tensor.view(carrier).numpy().view(dtype)


def rewrite(path: Path, target: Path, replace: Replace) -> None:
    """Change the tensors in memory and save what was loaded, in the container that it was loaded from.

    Where the file is mapped, its pages are copied as they are changed: the replaced tensors are in memory together.
    Tensors that share memory, such as tied weights, share it in the new file too.
    """
    path = _file_in(path, str(path))
    if not path.name.endswith(_INDEX):
        _rewrite_file(path, target, replace)
        return
    for file, names in tensors_by_file(path).items():
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        _rewrite_file(path.parent / file, target / file, replace, names)
    shutil.copyfile(path, target / path.name)


def _rewrite_file(path: Path, target: Path, replace: Replace, names: Collection[str] | None = None) -> None:
    """Write one file; `names`: the tensors that count in it, by default all."""
    import torch

    content = _unpickled(path, str(path), to_change=True)
    for name, tensor in _tensors(content, str(path)):
        new = replace(name) if names is None or name in names else None
        if new is not None:
            to_numpy(tensor, tensor_label(str(path), name))[...] = new
    torch.save(content, target, _use_new_zipfile_serialization=zipfile.is_zipfile(path))


FORMAT = Format("PyTorch", (".pt", ".pth", ".bin", ".ckpt"), detect, open_torch, rewrite)
