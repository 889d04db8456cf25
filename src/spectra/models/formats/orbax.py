"""Orbax checkpoints: a saved tree, a step of a `CheckpointManager`, or its root, of which the latest step is taken.

Orbax describes the tree. The arrays themselves are opened one by one through tensorstore, on which Orbax stores
them, because restoring a single leaf through Orbax needs a template of the whole tree.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spectra.models.formats.base import Format, ListedSource, checkpoint_error
from spectra.models.formats.naming import (
    container_children,
    natural_key,
    tensor_name,
    walk,
    without_training_state,
    without_value_boxes,
)
from spectra.models.source import TensorInfo, TensorSource

_USUAL_ITEMS = ("default", "params", "state", "model", "pytree")
_UNFINISHED = "orbax-checkpoint-tmp"


def detect(path: Path, head: bytes) -> bool:
    """A directory that holds a saved tree, or a step that does."""
    return path.is_dir() and (_is_tree(path) or bool(_items(path)) or _latest_step(path) is not None)


def open_orbax(path: Path, label: str) -> TensorSource:
    """List the tree's arrays from its metadata; tensors are in natural order.

    The optimizer's state is left out, and the ``value`` that boxes each Variable of a saved `nnx.State` is not shown.
    """
    folder = _tree_folder(path, label).resolve()
    tree, use_zarr3 = _metadata(folder, label)
    leaves = [(where, leaf) for where, leaf in walk(tree, container_children, label) if _is_array(leaf)]
    entries = [
        (TensorInfo(tensor_name(shown), tuple(leaf.shape), np.dtype(leaf.dtype).name), str(leaf.name))
        for shown, _, leaf in without_value_boxes(without_training_state(leaves))
    ]
    entries.sort(key=lambda entry: natural_key(entry[0].name))
    return ListedSource(label, "flax", entries, lambda _, stored: _load(folder, stored, use_zarr3))


def _is_tree(path: Path) -> bool:
    return (path / "_METADATA").is_file() or (path / "manifest.ocdbt").is_file()


def _items(path: Path) -> list[Path]:
    """Trees below a step: ``default`` unless the user named them."""
    return [
        child
        for child in sorted(path.iterdir())
        if child.is_dir() and not child.name.startswith("ocdbt.") and _UNFINISHED not in child.name and _is_tree(child)
    ]


def _latest_step(path: Path) -> Path | None:
    steps = [
        (int(number[0]), child)
        for child in path.iterdir()
        if (number := re.search(r"[0-9]{1,18}$", child.name)) and child.is_dir() and (_is_tree(child) or _items(child))
    ]
    return max(steps)[1] if steps else None


def _tree_folder(path: Path, label: str) -> Path:
    if _is_tree(path):
        return path
    items = _items(path)
    if len(items) == 1:
        return items[0]
    if items:
        chosen = next((path / name for name in _USUAL_ITEMS if path / name in items), None)
        if chosen is None:
            names = ", ".join(item.name for item in items)
            raise checkpoint_error(label, f"holds several items ({names})", "give the directory of one of them")
        return chosen
    step = _latest_step(path)
    if step is None:
        raise checkpoint_error(label, "holds no finished Orbax checkpoint", "give the directory of a saved step")
    return _tree_folder(step, label)


@contextmanager
def _quiet() -> Iterator[None]:
    """Orbax logs what is wrong at length before it raises; our error line is to stand alone."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check_database(folder: Path) -> None:
    """Read every array's header first: on a damaged one Orbax fails without saying which file, and leaves reads behind
    that print tracebacks from their threads.
    """
    import tensorstore

    if (folder / "manifest.ocdbt").is_file():
        base = {"driver": "file", "path": f"{folder}/"}
        database = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
        headers = [key for key in database.list().result() if key.endswith((b".zarray", b"zarr.json"))]
        for future in [database.read(key) for key in headers]:
            future.result()


def _metadata(folder: Path, label: str) -> tuple[Any, bool]:
    import orbax.checkpoint as ocp

    _check_database(folder)
    with _quiet(), ocp.PyTreeCheckpointer() as checkpointer:
        found = checkpointer.metadata(folder).item_metadata
    if found is None:
        raise checkpoint_error(
            label, "its tree cannot be read", "the checkpoint is damaged or incomplete, copy it again"
        )
    return found.tree, bool(found.use_zarr3)


def _is_array(leaf: Any) -> bool:
    shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
    if shape is None or dtype is None:
        return False
    try:
        return bool(np.dtype(dtype).name)
    except TypeError:  # random keys have dtypes of jax's own
        return False


def _load(folder: Path, stored: str, use_zarr3: bool) -> np.ndarray:
    import tensorstore

    base = {"driver": "file", "path": f"{folder}/"}
    if (folder / "manifest.ocdbt").is_file():
        kvstore: dict[str, Any] = {"driver": "ocdbt", "base": base, "path": f"{stored}/"}
    else:
        kvstore = {"driver": "file", "path": f"{folder / stored}/"}
    spec = {
        "driver": "zarr3" if use_zarr3 else "zarr",
        "kvstore": kvstore,
        "fill_missing_data_reads": False,  # or a lost chunk would read as zeros
    }
    array = tensorstore.open(spec, open=True, read=True).result()
    return np.asarray(array.read().result())


FORMAT = Format("Orbax", (), detect, open_orbax)
