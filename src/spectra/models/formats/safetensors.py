"""safetensors: a file, a directory of them, or an index of shards.

The library checks the header (sizes, offsets, overlaps, dtypes). The bytes are then read here, because its numpy
side does not know bfloat16 and the float8 types: each tensor is one ranged read of its own bytes, in its own dtype.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from spectra.models.formats.base import Format, ListedSource, Replace, bytes_of, checkpoint_error, known_dtype
from spectra.models.formats.naming import natural_key
from spectra.models.formats.sharded import open_index, open_together, tensors_by_file
from spectra.models.source import TensorInfo, TensorSource

_INDEX = ".safetensors.index.json"
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F6_E2M3": "float6_e2m3fn",
    "F6_E3M2": "float6_e3m2fn",
    "F4": "float4_e2m1fn",
    "C64": "complex64",
    "BOOL": "bool",
    **{f"{sign}{bits}": f"{word}{bits}" for sign, word in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
}
_PACKED = ("F4", "F6_E2M3", "F6_E3M2")


@dataclass(frozen=True)
class _Slot:
    tag: str
    offset: int
    nbytes: int


def detect(path: Path, head: bytes) -> bool:
    """A length and then JSON; or a directory with ``.safetensors`` files; or an index of such."""
    if path.is_dir():
        return any(path.glob("*.safetensors")) or any(path.glob("*" + _INDEX))
    if path.name.endswith(_INDEX):
        return True
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size - 8


def open_safetensors(path: Path, label: str) -> TensorSource:
    """Open one file, a directory, or an index file; tensors are in natural order."""
    if path.is_dir():
        return _open_directory(path, label)
    if path.name.endswith(_INDEX):
        return _in_natural_order(open_index(path, label, None, _open_file))
    return _open_file(path, label)


def _open_directory(path: Path, label: str) -> TensorSource:
    index = _index_of(path, label)
    if index is not None:
        return _in_natural_order(open_index(index, label, None, _open_file))
    return _in_natural_order(open_together(_files(path), label, None, _open_file))


def _index_of(folder: Path, label: str) -> Path | None:
    """The index file of a directory, the usual one of several; None if it has none."""
    indices = sorted(folder.glob("*" + _INDEX))
    if len(indices) > 1:
        usual = [index for index in indices if index.name == "model" + _INDEX]
        if not usual:
            names = ", ".join(index.name for index in indices)
            raise checkpoint_error(label, f"has several indices ({names})", "give one of them instead")
        indices = usual
    return indices[0] if indices else None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"), key=lambda file: natural_key(file.name))


def _in_natural_order(source: TensorSource) -> TensorSource:
    source.tensors = tuple(sorted(source.tensors, key=lambda info: natural_key(info.name)))
    return source


def _open_file(path: Path, label: str) -> TensorSource:
    with safe_open(path, framework="numpy"):
        pass  # raises unless the whole header is consistent with the file
    return ListedSource(label, None, _entries(path), lambda info, slot: _load(path, info, slot))


def _entries(path: Path) -> list[tuple[TensorInfo, _Slot]]:
    """The tensors of a file and where their bytes lie, in natural order."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length), object_pairs_hook=_without_duplicates)
    header.pop("__metadata__", None)
    entries = [_entry(name, described, start=8 + length) for name, described in header.items()]
    return sorted(entries, key=lambda entry: natural_key(entry[0].name))


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = next(key for position, (key, _) in enumerate(pairs) if key in dict(pairs[:position]))
        raise ValueError(f"the header names {twice!r} twice")
    return content


def _entry(name: str, described: dict[str, Any], start: int) -> tuple[TensorInfo, _Slot]:
    tag = described["dtype"]
    begin, end = described["data_offsets"]
    info = TensorInfo(name, tuple(described["shape"]), _DTYPES.get(tag, tag.lower()))
    return info, _Slot(tag, start + begin, end - begin)


def _load(path: Path, info: TensorInfo, slot: _Slot) -> np.ndarray:
    dtype = known_dtype(info.dtype)
    if slot.tag in _PACKED or dtype is None:
        raise ValueError(f"{slot.tag} is packed or unknown, convert it to bfloat16 or float32")
    data = np.fromfile(path, dtype=np.uint8, count=slot.nbytes, offset=slot.offset)
    if data.size != slot.nbytes:
        raise ValueError(f"only {data.size} of its {slot.nbytes} bytes are there")
    return data.view(dtype).reshape(info.shape)


def rewrite(path: Path, target: Path, replace: Replace) -> None:
    """Copy the files byte for byte and overwrite the replaced tensors where they lie, in natural order."""
    if path.is_file() and not path.name.endswith(_INDEX):
        shutil.copyfile(path, target)
        _overwrite([(target, info.name, slot) for info, slot in _entries(path)], replace)
        return
    folder, index = (path, _index_of(path, str(path))) if path.is_dir() else (path.parent, path)
    shards = tensors_by_file(index) if index else {file.name: None for file in _files(folder)}
    places: list[tuple[Path, str, _Slot]] = []
    for file, names in shards.items():
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / file, target / file)
        placed = [entry for entry in _entries(folder / file) if names is None or entry[0].name in names]
        places += [(target / file, info.name, slot) for info, slot in placed]
    if index:
        shutil.copyfile(index, target / index.name)
    _overwrite(sorted(places, key=lambda place: natural_key(place[1])), replace)


def _overwrite(places: list[tuple[Path, str, _Slot]], replace: Replace) -> None:
    for file, name, slot in places:
        if (new := replace(name)) is not None:
            with file.open("r+b") as opened:
                opened.seek(slot.offset)
                opened.write(bytes_of(new))


FORMAT = Format("safetensors", (".safetensors",), detect, open_safetensors, rewrite)
