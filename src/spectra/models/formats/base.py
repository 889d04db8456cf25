"""What the formats share: how a format registers, how foreign exceptions become one line, and the common source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import ml_dtypes  # noqa: F401 — importing it teaches numpy the names bfloat16, float8_e4m3fn, …
import numpy as np

from spectra.errors import CheckpointError, InputError, SpectraError
from spectra.models.source import Array, Layout, TensorInfo, TensorSource

DAMAGED = "the file is damaged or incomplete, copy or download it again"
Entry = TypeVar("Entry")

Replace: TypeAlias = Callable[[str], np.ndarray | None]
"""What a tensor, by its name in the `TensorSource`, is replaced with, of the same shape and type; None leaves it."""


@dataclass(frozen=True)
class Format:
    """One entry of the registry.

    Attributes
    ----------
    name
        How errors call the format.
    suffixes
        File suffixes that decide where the content does not.
    detect
        ``(path, head) -> bool``: is it this format, judging by the first bytes (``b""`` for a directory), the
        structure of a directory, or a telling name such as that of an index file?
    open
        ``(path, label) -> TensorSource``; may raise anything, the registry wraps it.
    rewrite
        ``(path, target, replace)``: write the checkpoint at `path`, of this format, to `target` with some tensors
        replaced; may raise anything (`spectra.models.formats.rewriting` wraps it, and says what a file needs).
    """

    name: str
    suffixes: tuple[str, ...]
    detect: Callable[[Path, bytes], bool]
    open: Callable[[Path, str], TensorSource]
    rewrite: Callable[[Path, Path, Replace], None]


def one_line(text: str, limit: int = 0) -> str:
    """Make text from a file safe to print: one line, no control characters, cut at ``limit`` characters."""
    text = " ".join(text.split())
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if not limit or len(text) <= limit else text[: limit - 1] + "…"


def checkpoint_error(where: str, what: str, remedy: str) -> CheckpointError:
    """The one-line error: where it happened, what is wrong, what to do."""
    return CheckpointError(one_line(f"{where}: {what}; {remedy}"))


def tensor_label(label: str, name: str) -> str:
    """How errors name one tensor of a source; hostile files hold names of any length."""
    return f"{label}: tensor '{one_line(name, 200)}'"


@contextmanager
def guarded(where: str, remedy: str = DAMAGED) -> Iterator[None]:
    """Let no exception but ours out: libraries raise nearly anything when a file is damaged."""
    try:
        yield
    except SpectraError:
        raise
    except FileNotFoundError as exc:
        missing = f" {exc.filename}" if exc.filename and str(exc.filename) not in where else ""
        raise checkpoint_error(where, f"no such file or directory{missing}", "check the path") from exc
    except PermissionError as exc:
        raise checkpoint_error(where, "permission denied", "make it readable for this user") from exc
    except MemoryError as exc:
        raise checkpoint_error(where, "does not fit in memory", "if its true size is smaller, it is damaged") from exc
    except Exception as exc:
        detail = one_line(str(exc), 160).rstrip(" .;:")
        raise checkpoint_error(where, f"cannot be read ({type(exc).__name__}: {detail})", remedy) from exc


def known_dtype(name: str) -> np.dtype | None:
    """The numpy dtype called ``name``, those of ml_dtypes included; None if there is none."""
    try:
        return np.dtype(name)
    except (TypeError, ValueError, SyntaxError):
        return None


def bytes_of(array: np.ndarray) -> memoryview:
    """The entries of an array in C order as bytes, without a copy where they lie so already."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


class ListedSource(Generic[Entry]):
    """A `TensorSource` whose tensors were all listed when it was opened.

    Parameters
    ----------
    label, layout
        See `TensorSource`.
    entries
        Each tensor's description with whatever ``load`` needs to find it.
    load
        Fetches one tensor; what it raises is wrapped, what it returns is checked against the description.
    release
        Called once by ``close``.
    in_memory
        See `TensorSource`.
    """

    def __init__(
        self,
        label: str,
        layout: Layout | None,
        entries: Iterable[tuple[TensorInfo, Entry]],
        load: Callable[[TensorInfo, Entry], Array],
        release: Callable[[], None] | None = None,
        in_memory: bool = False,
    ) -> None:
        self.label = label
        self.layout = layout
        self.in_memory = in_memory
        self._entries: dict[str, tuple[TensorInfo, Entry]] = {}
        for info, entry in entries:
            if info.name in self._entries:
                raise checkpoint_error(tensor_label(label, info.name), "the name occurs twice", "rename one of them")
            self._entries[info.name] = (info, entry)
        if not self._entries:
            raise checkpoint_error(label, "holds no tensors", "give a checkpoint that contains weights")
        self.tensors = tuple(info for info, _ in self._entries.values())
        self._load = load
        self._release = release
        self._closed = False

    def read(self, name: str) -> Array:
        """Read one tensor in its own dtype and shape."""
        if self._closed:
            raise InputError(one_line(f"{self.label}: is closed; open it again to read from it"))
        where = tensor_label(self.label, name)
        if name not in self._entries:
            raise checkpoint_error(where, "there is no such tensor", "see `spectra describe` for the names")
        info, entry = self._entries[name]
        with guarded(where):
            array = self._load(info, entry)
        if tuple(array.shape) != info.shape or array.dtype.name != info.dtype:
            found = f"{array.dtype.name}{list(array.shape)} where the header says {info.dtype}{list(info.shape)}"
            raise checkpoint_error(where, f"holds {found}", DAMAGED)
        return array

    def close(self) -> None:
        """Release files and memory maps; reading afterwards is an error."""
        if not self._closed:
            self._closed = True
            self._entries = {}
            if self._release is not None:
                self._release()
