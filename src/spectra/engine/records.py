"""Results as bytes: a `LayerResult` packed without loss, and checksummed records that are found among damaged ones.

A file of records begins with HEAD and the key of its run. A record is MARK, the length of its content (8 bytes), a
checksum of length and content (16 bytes), and the content. The checksum is keyed with the run that the record belongs
to, so that no bytes inside a tensor's name or of another run can pass for a record.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple

import msgpack
import numpy as np

from spectra.report.result import LayerResult, WeightHistogram

HEAD = b"spectra journal\n"
MARK = b"\x89layer\r\n"
KEY_SIZE = 16

_START = len(HEAD) + KEY_SIZE
_HEADER = struct.Struct(f"<{len(MARK)}sQ{KEY_SIZE}s")
_NAMED_TUPLES = {kind.__name__: kind for kind in (WeightHistogram,)}
_ARRAY, _TUPLE, _INTEGER = range(3)
_TEXT = "surrogatepass"  # a file's name need not be valid UTF-8


class Found(NamedTuple):
    """A whole record and where it lies."""

    start: int
    end: int
    content: bytes


class Content(NamedTuple):
    """What one file of records holds."""

    layers: list[tuple[str, LayerResult]]
    """Label of the model and result, in the order they were written."""
    end: int
    """Where the last whole record ends."""
    size: int
    damaged: int
    """Bytes between whole records that belong to none."""


def read_content(data: bytes, key: bytes) -> Content:
    """What a file of records holds.

    Raises
    ------
    ValueError
        If it is not one of this run, with what is wrong.
    """
    head = HEAD + key
    if not data.startswith(head):
        if head.startswith(data):  # its writer was killed while making it
            return Content([], 0, len(data), 0)
        other = data.startswith(HEAD) and len(data) >= _START
        raise ValueError("belongs to another run" if other else "its beginning is damaged")
    layers, end, damaged = [], _START, 0
    for record in find_records(data, key, _START):
        damaged += record.start - end
        end = record.end
        try:
            layers.append(unpack_result(record.content))
        except (TypeError, ValueError, LookupError) as error:  # whole, of this run, and yet not understood
            raise ValueError("was written by another version of spectra") from error
    return Content(layers, end, len(data), damaged)


def frame(content: bytes, key: bytes) -> bytes:
    """The record of this content."""
    return _HEADER.pack(MARK, len(content), _checksum(content, key)) + content


def find_records(data: bytes, key: bytes, start: int = 0) -> Iterator[Found]:
    """All whole records in the order of the file; what lies between them is passed over."""
    while start >= 0:
        found = _record_at(data, key, start)
        if found:
            yield found
            start = found.end
        else:
            start = data.find(MARK, start + 1)


def _record_at(data: bytes, key: bytes, start: int) -> Found | None:
    if len(data) - start < _HEADER.size:
        return None
    mark, length, checksum = _HEADER.unpack_from(data, start)
    begin = start + _HEADER.size
    if mark != MARK or length > len(data) - begin:
        return None
    content = data[begin : begin + length]
    return Found(start, begin + length, content) if checksum == _checksum(content, key) else None


def _checksum(content: bytes, key: bytes) -> bytes:
    digest = hashlib.blake2b(len(content).to_bytes(8, "little"), key=key, digest_size=KEY_SIZE)
    digest.update(content)
    return digest.digest()


def pack_result(label: str, result: LayerResult) -> bytes:
    """A layer's result with the label of its model; `unpack_result` gives both back equal to the last bit.

    Raises
    ------
    TypeError
        If the result holds something else than numbers, text, None, arrays of numbers, tuples and mappings of them.
    """
    content = {field.name: getattr(result, field.name) for field in fields(LayerResult)}
    return _pack((label, content))


def unpack_result(content: bytes) -> tuple[str, LayerResult]:
    """Label and result from what `pack_result` made; arrays are new and writable."""
    label, values = _unpack(content)
    return label, LayerResult(**values)


def _pack(value: Any) -> bytes:
    # strict_types: tuples and NumPy's scalars come to `_pack_other` instead of passing for lists and floats
    packed: Any = msgpack.packb(value, default=_pack_other, strict_types=True, unicode_errors=_TEXT)
    return packed


def _unpack(content: bytes) -> Any:
    return msgpack.unpackb(content, ext_hook=_unpack_other, strict_map_key=False, unicode_errors=_TEXT)


def _pack_other(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.isbuiltin:
        return msgpack.ExtType(_ARRAY, _pack([value.dtype.str, list(value.shape), value.tobytes()]))
    if isinstance(value, np.generic) and isinstance(value.item(), bool | int | float | str):
        return value.item()
    if isinstance(value, tuple) and type(value).__name__ in ("tuple", *_NAMED_TUPLES):
        return msgpack.ExtType(_TUPLE, _pack([type(value).__name__, list(value)]))
    if isinstance(value, int):  # beyond 64 bits
        return msgpack.ExtType(_INTEGER, str(int(value)).encode())
    raise TypeError(f"a journal cannot hold a {type(value).__name__}: {value!r:.80}")


def _unpack_other(code: int, content: bytes) -> Any:
    if code == _INTEGER:
        return int(content)
    if code == _TUPLE:
        name, values = _unpack(content)
        return _NAMED_TUPLES[name](*values) if name in _NAMED_TUPLES else tuple(values)
    dtype, shape, data = _unpack(content)
    return np.frombuffer(data, np.dtype(dtype)).reshape(shape).copy()
