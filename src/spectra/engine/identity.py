"""What makes two runs the same: versions, options, and checkpoints that have not changed meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from spectra.engine.options import Options
from spectra.errors import CheckpointError, InputError
from spectra.models.formats.base import guarded, one_line
from spectra.models.formats.registry import FORMATS
from spectra.models.source import TensorSource

WHOLE = 1 << 26
"""Files up to this size are hashed whole."""

SAMPLES = 256
BLOCK = 4096

_INDEX = ".index.json"
_FLAT = ("safetensors", "PyTorch")
"""Formats whose directories hold the weights in files of known names, beside others that do not matter."""


def run_identity(options: Options, models: Sequence[tuple[str, Mapping[str, Any]]], backend: str) -> dict[str, Any]:
    """What a journal must agree on to go on with: all that the numbers depend on and that can be known beforehand.

    Parameters
    ----------
    models
        Label and `fingerprint` of each; a model given twice counts once.
    backend
        What the spectra are computed with, ``auto`` resolved, and on which platform.

    Raises
    ------
    InputError
        If two different models have the same label.
    """
    prints: dict[str, Mapping[str, Any]] = {}
    for label, found in models:
        if prints.setdefault(label, found) != found:
            raise InputError(one_line(f"two different models are called {label!r}: give them different labels"))
    return {
        "spectra": version("spectra-jax"),
        **{name: version(name) for name in ("jax", "jaxlib", "numpy", "scipy")},  # their routines give the last digits
        "options": asdict(options) | {"backend": backend},
        "models": prints,
    }


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What tells the run on disk from this one, as the predicate of a sentence; None if nothing does."""
    if then == now:
        return None
    before, after = _settings(then), _settings(now)
    for name in (*after, *before):
        if before.get(name) != after.get(name):
            old, new = (_shown(values.get(name)) for values in (before, after))
            return f"holds a run with {name}={old}, this one has {name}={new}"
    old_models, new_models = then.get("models") or {}, now.get("models") or {}
    if set(old_models) != set(new_models):
        return f"holds a run of {_shown(list(old_models))}, this one is of {_shown(list(new_models))}"
    for label, found in new_models.items():
        if old_models[label] != found:
            return f"holds a run of {label} as it was before it changed: {_change(old_models[label], found)}"
    return "holds another run"


def _settings(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Versions and options in one, under the names that a user knows."""
    plain = {name: value for name, value in identity.items() if name not in ("options", "models")}
    return plain | dict(identity.get("options") or {})


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "none"
    return one_line(",".join(map(str, value)) if isinstance(value, list) else str(value), 200)


_FACTS = {"size": "another size", "hash": "other content", "mtime_ns": "another time of writing"}


def _change(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    before, after = then.get("files") or {}, now.get("files") or {}
    for name in (*after, *before):
        if name not in before or name not in after:
            return f"{name} is {'new' if name in after else 'missing'}"
        for fact, told in _FACTS.items():
            if before[name].get(fact) != after[name].get(fact):
                return f"{name} has {told}"
    return "its tensors are others"


def fingerprint(source: TensorSource, target: Any, leave_out: Sequence[Path | None] = ()) -> dict[str, Any]:
    """What identifies a checkpoint: its tensors' names, shapes and dtypes, and what its files hold.

    A file of up to 64 MiB counts with all its bytes. A larger one counts with its size, blocks sampled evenly from it,
    and the time when it was written: a copy that did not keep the time (``cp -p`` does) is taken for a changed file,
    because samples alone cannot vouch for it. Where the files lie does not matter. Parameters in memory are hashed
    whole, which takes about a second a gigabyte.

    Parameters
    ----------
    target
        What `open_source` was given, a path or an object.
    leave_out
        Files and folders that are no part of a checkpoint although they may lie in its directory: results, journal.

    Raises
    ------
    CheckpointError
        If a file cannot be read.
    """
    tensors = _digest()
    for info in source.tensors:
        tensors.update(repr((info.name, info.shape, info.dtype)).encode("utf-8", "surrogatepass"))
    found: dict[str, Any] = {"tensors": tensors.hexdigest(), "count": len(source.tensors)}
    if not isinstance(target, str | os.PathLike):
        return found | {"content": _hash_arrays(source)}
    ignored = {os.path.realpath(place) for place in leave_out if place is not None}
    with guarded(source.label):
        path = Path(os.fsdecode(target)).expanduser()
        root = path if path.is_dir() else path.parent
        files = {os.path.relpath(file, root): file for file in _files(path, ignored)}
        return found | {"files": {name: _hash_file(file) for name, file in sorted(files.items())}}


def _hash_arrays(source: TensorSource) -> str:
    digest = _digest()
    for info in source.tensors:
        try:
            array = source.read(info.name)
        except CheckpointError:
            digest.update(b"unreadable")  # as it will be for the analysis, which then has nothing to take up
            continue
        if isinstance(array, jax.Array) and not array.is_fully_addressable:
            what = f"{source.label}: '{info.name}' is spread over several processes, so that a journal cannot know it"
            raise InputError(one_line(f"{what}; save a checkpoint and analyze that"))
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _files(path: Path, ignored: set[str]) -> Iterator[Path]:
    """The files that a path stands for: all that the formats would read, and rather too many than too few."""
    if not path.is_dir():
        yield path
        if path.name.endswith(_INDEX):
            yield from _shards(path)
        return
    found = next((form for form in FORMATS if form.detect(path, b"")), None)
    if found is None or found.name not in _FLAT:
        yield from _walk(path, ignored, set())
        return
    for file in path.iterdir():
        if file.name.endswith(_INDEX):
            yield file
            yield from _shards(file)
        elif file.suffix in found.suffixes and file.is_file():
            yield file


def _shards(index: Path) -> Iterator[Path]:
    """The files that an index names; it may be broken if it is not the one that was opened."""
    try:
        content = json.loads(index.read_bytes())
    except ValueError:
        return
    named = content.get("weight_map") if isinstance(content, dict) else None
    shards = {name for name in named.values() if isinstance(name, str)} if isinstance(named, dict) else set()
    yield from (index.parent / name for name in sorted(shards) if (index.parent / name).is_file())


def _walk(folder: Path, ignored: set[str], seen: set[str]) -> Iterator[Path]:
    """All regular files below, links followed, each folder once."""
    place = os.path.realpath(folder)
    if place in seen or place in ignored:
        return
    seen.add(place)
    for child in folder.iterdir():
        if child.is_dir():
            yield from _walk(child, ignored, seen)
        elif child.is_file() and os.path.realpath(child) not in ignored:
            yield child


def _hash_file(path: Path) -> dict[str, Any]:
    with path.open("rb", buffering=0) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError("not a regular file")
        facts: dict[str, Any] = {"size": about.st_size}
        if about.st_size <= WHOLE:
            return facts | {"hash": hashlib.file_digest(file, _digest).hexdigest()}
        digest = _digest()
        for sample in range(SAMPLES):
            file.seek((about.st_size - BLOCK) * sample // (SAMPLES - 1))
            digest.update(file.read(BLOCK))
        return facts | {"hash": digest.hexdigest(), "mtime_ns": about.st_mtime_ns}


def _digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
