"""How Orbax stores a tree's arrays: zarr, each chunk a file of its own or a value in one OCDBT database."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

_MANIFEST = "manifest.ocdbt"
_DATABASE = (_MANIFEST, "d", "ocdbt*")
"""What belongs to a database; processes leave parts of it in directories ``ocdbt.process_0``, …."""

_METADATA = (".zarray", ".zattrs", ".zgroup", "zarr.json")
_AT_ONCE = 64 << 20
"""Bytes of values that are copied together."""


def is_database(folder: Path) -> bool:
    """Whether the arrays of a tree lie in a database."""
    return (folder / _MANIFEST).is_file()


def database(folder: Path, config: dict[str, Any] | None = None) -> Any:
    """Open the database of a tree; with the settings of a new one, create it there."""
    import tensorstore

    spec: dict[str, Any] = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder}/"}}
    return tensorstore.KvStore.open(spec if config is None else spec | {"config": config}).result()


def read_array(folder: Path, stored: str, use_zarr3: bool) -> np.ndarray:
    """Read an array, by the name that it has in storage."""
    import tensorstore

    # without missing chunks: a lost one would read as zeros
    spec = _array(folder, stored, use_zarr3) | {"fill_missing_data_reads": False}
    array = tensorstore.open(spec, open=True, read=True).result()
    return np.asarray(array.read().result())


def copy_tree(folder: Path, target: Path, arrays: Iterable[tuple[str, np.ndarray | None]], use_zarr3: bool) -> None:
    """Copy a saved tree to a new directory, with other entries in some of its arrays.

    Parameters
    ----------
    arrays
        Names in storage, each with what is to stand there, None for what there is; they are asked for one by one.
    """
    if not is_database(folder):
        shutil.copytree(folder, target)
        for stored, new in arrays:
            if new is not None:
                _write_array(target, stored, use_zarr3, new)
        return
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns(*_DATABASE))
    source = database(folder)
    left = dict.fromkeys(source.list().result())
    config = source.spec().to_json()["config"]  # which is known once something has been read
    made = database(target, {name: value for name, value in config.items() if name != "uuid"})
    for stored, new in arrays:
        own = [key for key in left if key.startswith(f"{stored}/".encode())]
        for key in own:
            del left[key]
        if new is None:
            _copy_values(source, made, own)
        else:
            _copy_values(source, made, [key for key in own if key.decode().endswith(_METADATA)])
            _write_array(target, stored, use_zarr3, new)
    _copy_values(source, made, left)


def _copy_values(source: Any, target: Any, keys: Iterable[bytes]) -> None:
    waiting: list[Any] = []
    nbytes = 0
    for key in keys:
        value = source.read(key).result().value
        waiting.append(target.write(key, value))
        nbytes += len(value)
        if nbytes > _AT_ONCE:
            _wait(waiting)
            waiting, nbytes = [], 0
    _wait(waiting)


def _wait(futures: list[Any]) -> None:
    for future in futures:
        future.result()


def _write_array(folder: Path, stored: str, use_zarr3: bool, new: np.ndarray) -> None:
    import tensorstore

    # zeros too, as Orbax has it: what is not there counts as lost
    spec = _array(folder, stored, use_zarr3) | {"store_data_equal_to_fill_value": True}
    tensorstore.open(spec, open=True, write=True).result().write(new).result()


def _array(folder: Path, stored: str, use_zarr3: bool) -> dict[str, Any]:
    """How tensorstore opens an array."""
    if is_database(folder):
        base = {"driver": "file", "path": f"{folder}/"}
        kvstore: dict[str, Any] = {"driver": "ocdbt", "base": base, "path": f"{stored}/"}
    else:
        kvstore = {"driver": "file", "path": f"{folder / stored}/"}
    return {"driver": "zarr3" if use_zarr3 else "zarr", "kvstore": kvstore}
