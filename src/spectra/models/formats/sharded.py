"""Several files as one source: Hugging Face index files, and directories of shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from spectra.models.formats.base import ListedSource, checkpoint_error, guarded, one_line, tensor_label
from spectra.models.source import Layout, TensorInfo, TensorSource

Open = Callable[[Path, str], TensorSource]
Entries = list[tuple[TensorInfo, TensorSource]]


def open_index(index: Path, label: str, layout: Layout | None, open_shard: Open) -> TensorSource:
    """Open the shards that an index file names, and of each only the tensors that the index places there."""
    wanted = _weight_map(index)
    shards = _open_all(index.parent, dict.fromkeys(wanted.values()), str(index), open_shard)
    listed = {file: {info.name: info for info in shard.tensors} for file, shard in shards.items()}
    entries: Entries = []
    for name, file in wanted.items():
        if name not in listed[file]:
            _close_all(shards.values())
            where = tensor_label(str(index), name)
            raise checkpoint_error(where, f"is not in its shard {file}", "index and shards do not belong together")
        entries.append((listed[file][name], shards[file]))
    return _join(label, layout, entries, list(shards.values()))


def open_together(files: list[Path], label: str, layout: Layout | None, open_shard: Open) -> TensorSource:
    """Open files that no index joins as one source; a tensor in two of them is an error."""
    shards = _open_all(files[0].parent, [file.name for file in files], label, open_shard)
    seen: dict[str, str] = {}
    entries: Entries = []
    for file, shard in shards.items():
        for info in shard.tensors:
            if info.name in seen:
                _close_all(shards.values())
                both = f"is in both {seen[info.name]} and {file}"
                raise checkpoint_error(tensor_label(label, info.name), both, "give one of the files instead")
            seen[info.name] = file
            entries.append((info, shard))
    return _join(label, layout, entries, list(shards.values()))


def tensors_by_file(index: Path) -> dict[str, set[str]]:
    """The shards that an index file names, each with the tensors that it places there."""
    found: dict[str, set[str]] = {}
    for name, file in _weight_map(index).items():
        found.setdefault(file, set()).add(name)
    return found


def _weight_map(index: Path) -> dict[str, str]:
    remedy = "an index needs a `weight_map` from tensor names to files beside it"
    with guarded(str(index), remedy):
        content = json.loads(index.read_bytes())
        wanted = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(wanted, dict) or not wanted:
            raise checkpoint_error(str(index), "has no `weight_map`", remedy)
    for name, file in wanted.items():
        if not isinstance(file, str) or not file or Path(file).is_absolute() or ".." in Path(file).parts:
            raise checkpoint_error(tensor_label(str(index), name), f"is placed in {file!r}", remedy)
    return wanted


def _open_all(folder: Path, files: Iterable[str], asked_by: str, open_shard: Open) -> dict[str, TensorSource]:
    shards: dict[str, TensorSource] = {}
    try:
        for file in files:
            path = folder / file
            if not path.is_file():
                raise checkpoint_error(asked_by, f"its shard {one_line(str(path), 300)} is missing", "download it too")
            with guarded(str(path)):
                shards[file] = open_shard(path, str(path))
    except Exception:
        _close_all(shards.values())
        raise
    return shards


def _join(label: str, layout: Layout | None, entries: Entries, shards: list[TensorSource]) -> TensorSource:
    # each shard's own read names the shard in its errors, which is what the user has to replace
    in_memory = any(shard.in_memory for shard in shards)
    return ListedSource(
        label, layout, entries, lambda info, shard: shard.read(info.name), lambda: _close_all(shards), in_memory
    )


def _close_all(shards: Iterable[TensorSource]) -> None:
    for shard in shards:
        shard.close()
