"""Orbax checkpoints: a saved tree, a step of a `CheckpointManager`, or its root, of which the latest step is taken.

Orbax describes the tree. The arrays themselves are opened one by one through tensorstore, on which Orbax stores
them, because restoring a single leaf through Orbax needs a template of the whole tree.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spectra.models.formats.base import Format, ListedSource, Replace, checkpoint_error
from spectra.models.formats.naming import (
    container_children,
    natural_key,
    tensor_name,
    walk,
    without_training_state,
    without_value_boxes,
)
from spectra.models.formats.orbax_storage import copy_tree, database, is_database, read_array
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
    entries, use_zarr3 = _entries(folder, label)
    return ListedSource(label, "flax", entries, lambda _, stored: read_array(folder, stored, use_zarr3))


def _entries(folder: Path, label: str) -> tuple[list[tuple[TensorInfo, str]], bool]:
    """The arrays of a tree, each with what it is called in storage, in natural order; and whether that is zarr 3."""
    tree, use_zarr3 = _metadata(folder, label)
    leaves = [(where, leaf) for where, leaf in walk(tree, container_children, label) if _is_array(leaf)]
    entries = [
        (TensorInfo(tensor_name(shown), tuple(leaf.shape), np.dtype(leaf.dtype).name), str(leaf.name))
        for shown, _, leaf in without_value_boxes(without_training_state(leaves))
    ]
    return sorted(entries, key=lambda entry: natural_key(entry[0].name)), use_zarr3


def _is_tree(path: Path) -> bool:
    return (path / "_METADATA").is_file() or is_database(path)


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
    if is_database(folder):
        stored = database(folder)
        headers = [key for key in stored.list().result() if key.endswith((b".zarray", b"zarr.json"))]
        for future in [stored.read(key) for key in headers]:
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


def rewrite(path: Path, target: Path, replace: Replace) -> None:
    """Copy the tree, its other arrays and its metadata as they are, and what lies beside it in its step.

    Of a directory of steps the one that is read is written, and the files beside the steps.
    """
    folder = _tree_folder(path, str(path))
    entries, use_zarr3 = _entries(folder.resolve(), str(path))
    place = folder.relative_to(path)
    for level in range(len(place.parts)):  # 1000/default: the files beside 1000, then all else in 1000
        above = path.joinpath(*place.parts[:level])
        inside_step = level == len(place.parts) - 1 and (level > 0 or bool(_items(path)))
        for beside in above.iterdir():
            if beside.name != place.parts[level] and (beside.is_file() or inside_step):
                copied = target.joinpath(*place.parts[:level], beside.name)
                copied.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if beside.is_dir() else shutil.copyfile)(beside, copied)
    arrays = ((stored, replace(info.name)) for info, stored in entries)
    copy_tree(folder.resolve(), target / place, arrays, use_zarr3)


FORMAT = Format("Orbax", (), detect, open_orbax, rewrite)
