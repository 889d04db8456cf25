"""The structure of a msgpack file, walked in place: where its strings and Flax's arrays lie, not what they hold."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

_ARRAY, _SCALAR = 1, 3  # Flax's extension codes
_MAX_DEPTH = 100

# type bytes, and the width of the number that follows each
_UINT = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_INT = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_RAW = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXT = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXEXT = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_LIST = {0xDC: 2, 0xDD: 4}
_DICT = {0xDE: 2, 0xDF: 4}


def checked_shape(sizes: Iterable[Any]) -> tuple[int, ...]:
    """A shape, or ValueError: sizes come from a file."""
    shape = tuple(sizes)
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{shape} is not a shape")
    return shape


@dataclass(frozen=True)
class Span:
    """A string's or an array's bytes in the file."""

    offset: int
    nbytes: int


@dataclass(frozen=True)
class Slot:
    """An array: in one piece, or in chunks."""

    shape: tuple[int, ...]
    dtype: str
    spans: tuple[Span, ...]


class Walker:
    """Reads msgpack's structure from a file; strings, binaries and arrays stay where they are.

    The file is read and not mapped: a map of a file that another program cuts short ends the process.
    """

    def __init__(self, file: BinaryIO, end: int) -> None:
        self.file, self.position, self.end = file, 0, end

    def skip(self, nbytes: int) -> Span:
        if nbytes > self.end - self.position:
            raise ValueError(f"{nbytes} bytes at offset {self.position} reach beyond the end")
        span = Span(self.position, nbytes)
        self.position += nbytes
        return span

    def bytes_of(self, span: Span) -> bytes:
        self.file.seek(span.offset)
        content = self.file.read(span.nbytes)
        if len(content) != span.nbytes:
            raise ValueError(f"the file ends before offset {span.offset + span.nbytes}")
        return content

    def integer(self, nbytes: int, signed: bool = False) -> int:
        return int.from_bytes(self.bytes_of(self.skip(nbytes)), "big", signed=signed)

    def value(self, depth: int = 0) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError("it nests too deeply")
        code = self.integer(1)
        if code <= 0x7F:
            return code
        if code <= 0x8F or code in _DICT:
            return self.dictionary(self.integer(_DICT[code]) if code > 0x8F else code & 15, depth)
        if code <= 0x9F or code in _LIST:
            count = self.integer(_LIST[code]) if code > 0x9F else code & 15
            return [self.value(depth + 1) for _ in range(count)]
        if code <= 0xBF:
            return self.skip(code & 31)
        if code >= 0xE0:
            return code - 256
        return self.scalar(code)

    def scalar(self, code: int) -> Any:
        if code in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[code]
        if code in _UINT or code in _INT:
            return self.integer((_UINT | _INT)[code], signed=code in _INT)
        if code in (0xCA, 0xCB):
            kind, nbytes = (">f", 4) if code == 0xCA else (">d", 8)
            return struct.unpack(kind, self.bytes_of(self.skip(nbytes)))[0]
        if code in _RAW:
            return self.skip(self.integer(_RAW[code]))
        if code in _EXT or code in _FIXEXT:
            return self.extension(_FIXEXT[code] if code in _FIXEXT else self.integer(_EXT[code]))
        raise ValueError(f"byte {code:#x} at offset {self.position - 1} is not msgpack")

    def dictionary(self, count: int, depth: int) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for _ in range(count):
            key = self.value(depth + 1)
            key = self.bytes_of(key).decode() if isinstance(key, Span) else key
            if not isinstance(key, str | int):
                raise ValueError("a key is neither a string nor a number")
            if str(key) in content:
                raise ValueError(f"the key {str(key)!r} occurs twice")
            content[str(key)] = self.value(depth + 1)
        return content

    def extension(self, nbytes: int) -> Slot | None:
        code = self.integer(1, signed=True)
        after = self.position + nbytes
        if code not in (_ARRAY, _SCALAR):
            self.skip(nbytes)
            return None
        parts = self.value()
        if self.position != after or not isinstance(parts, list) or [type(p) for p in parts] != [list, Span, Span]:
            raise ValueError("an array is not described by shape, dtype and bytes")
        shape, dtype, data = parts
        return Slot(checked_shape(shape), self.bytes_of(dtype).decode(), (data,))
