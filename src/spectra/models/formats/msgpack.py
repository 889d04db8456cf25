"""Flax msgpack files (``flax.serialization.to_bytes``), listed and read without loading the file.

Flax's own reader decodes everything at once. Here only msgpack's structure is walked, in place: an array is an
extension that wraps (shape, dtype name, bytes), so that its offset in the file is all that has to be remembered.
Arrays above a gigabyte are split by Flax into chunks of a marked dict; they are joined again upon reading.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from spectra.models.formats.base import (
    DAMAGED,
    Format,
    ListedSource,
    Replace,
    bytes_of,
    checkpoint_error,
    known_dtype,
    tensor_label,
)
from spectra.models.formats.msgpack_walker import Slot, Walker, checked_shape
from spectra.models.formats.naming import (
    container_children,
    natural_key,
    tensor_name,
    walk,
    without_training_state,
    without_value_boxes,
)
from spectra.models.source import TensorInfo, TensorSource

_CHUNKED = "__msgpack_chunked_array__"


def detect(path: Path, head: bytes) -> bool:
    """A map whose first key is a string."""
    at = 1 if head[:1] and 0x81 <= head[0] <= 0x8F else {0xDE: 3, 0xDF: 5}.get(head[0] if head else 0, 0)
    return at > 0 and len(head) > at and (0xA0 <= head[at] <= 0xBF or head[at] in (0xD9, 0xDA, 0xDB))


def open_msgpack(path: Path, label: str) -> TensorSource:
    """List the arrays of the file; numbers and strings beside them are ignored, as is the optimizer's state."""
    return ListedSource(label, "flax", _entries(path, label), lambda info, slot: _load(path, info, slot))


def _entries(path: Path, label: str) -> list[tuple[TensorInfo, Slot]]:
    """The arrays of the file and where their bytes lie, in natural order."""
    with path.open("rb") as file:
        walker = Walker(file, path.stat().st_size)
        tree = walker.value()
        if walker.position != walker.end:
            raise checkpoint_error(label, f"has {walker.end - walker.position} bytes too many", DAMAGED)
    leaves = [(where, _joined(leaf)) for where, leaf in walk(tree, _children, label) if isinstance(leaf, Slot | dict)]
    entries = [
        (_described(tensor_name(shown), slot, label), slot)
        for shown, _, slot in without_value_boxes(without_training_state(leaves))
    ]
    return sorted(entries, key=lambda entry: natural_key(entry[0].name))


def _children(node: Any) -> Iterable[tuple[str | int, Any]] | None:
    return None if isinstance(node, dict) and _CHUNKED in node else container_children(node)


def _joined(leaf: Any) -> Slot:
    if isinstance(leaf, Slot):
        return leaf
    shape, chunks = leaf["shape"], leaf["chunks"]
    parts = [chunks[str(i)] for i in range(len(chunks))]
    if not parts or not all(isinstance(part, Slot) and part.dtype == parts[0].dtype for part in parts):
        raise ValueError("a chunked array lacks chunks")
    sizes = checked_shape(shape[str(i)] for i in range(len(shape)))
    return Slot(sizes, parts[0].dtype, tuple(span for part in parts for span in part.spans))


def _described(name: str, slot: Slot, label: str) -> TensorInfo:
    dtype = known_dtype(slot.dtype)
    nbytes = sum(span.nbytes for span in slot.spans)
    if dtype is None or dtype.hasobject or math.prod(slot.shape) * dtype.itemsize != nbytes:
        lie = f"is said to be {slot.dtype}{list(slot.shape)} but has {nbytes} bytes"
        raise checkpoint_error(tensor_label(label, name), lie, DAMAGED)
    return TensorInfo(name, slot.shape, dtype.name)


def _load(path: Path, info: TensorInfo, slot: Slot) -> np.ndarray:
    data = np.empty(sum(span.nbytes for span in slot.spans), np.uint8)
    filled = 0
    with path.open("rb") as file:
        for span in slot.spans:
            file.seek(span.offset)
            filled += file.readinto(data.data[filled : filled + span.nbytes])
    if filled != data.size:
        raise ValueError(f"only {filled} of its {data.size} bytes are there")
    return data.view(np.dtype(slot.dtype)).reshape(info.shape)


def rewrite(path: Path, target: Path, replace: Replace) -> None:
    """Copy the file byte for byte and overwrite the replaced arrays where they lie."""
    shutil.copyfile(path, target)
    with target.open("r+b") as file:
        for info, slot in _entries(path, str(path)):
            if (new := replace(info.name)) is None:
                continue
            data, written = bytes_of(new), 0
            for span in slot.spans:
                file.seek(span.offset)
                file.write(data[written : written + span.nbytes])
                written += span.nbytes


FORMAT = Format("Flax msgpack", (".msgpack",), detect, open_msgpack, rewrite)
