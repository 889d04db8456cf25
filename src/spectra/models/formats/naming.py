"""From nested trees to tensor names: walking, joining, ordering, and leaving the optimizer's state out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

from spectra.models.formats.base import checkpoint_error

Path: TypeAlias = tuple[str | int, ...]
T = TypeVar("T")

MAX_NODES = 1_000_000
MAX_DEPTH = 200

TRAINING_STATE = frozenset(
    (
        "opt_state",
        "opt_states",
        "optimizer",
        "optimizers",
        "optimizer_state",
        "optimizer_state_dict",
        "optimizer_states",
        "optim",
        "lr_scheduler",
        "lr_scheduler_state_dict",
        "lr_schedulers",
        "scheduler",
        "scheduler_state_dict",
        "scaler",
        "grad_scaler",
        "step",
        "global_step",
        "epoch",
        "rng",
        "rngs",
        "rng_state",
    )
)
"""Top-level keys of a training checkpoint that hold no weights."""


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts ``layer.2`` before ``layer.10``."""
    parts = re.split(r"([0-9]+)", name)
    # int() of a digit string from a hostile file is quadratic (and refused) beyond some thousand digits
    return tuple((0, int(p), p) if p.isdecimal() and len(p) < 20 else (1, 0, p) for p in parts if p)


def tensor_name(path: Path) -> str:
    """A path's components joined with dots."""
    return ".".join(str(part) for part in path)


def walk(
    tree: Any, children: Callable[[Any], Iterable[tuple[str | int, Any]] | None], label: str
) -> Iterator[tuple[Path, Any]]:
    """Yield (path, leaf) depth first and in order; ``children`` returns None for a leaf.

    Both limits are far above any model's: a file of a hundred bytes can describe a tree that refers to itself or
    doubles at each level.
    """
    stack: list[tuple[Path, Any]] = [((), tree)]
    visited = 0
    while stack:
        path, node = stack.pop()
        visited += 1
        if visited > MAX_NODES or len(path) > MAX_DEPTH:
            raise checkpoint_error(label, "nests too deeply or holds too many values", "save the weights alone")
        below = children(node)
        if below is None:
            yield path, node
        else:
            stack.extend(reversed([((*path, key), child) for key, child in below]))


def container_children(node: Any) -> Iterable[tuple[str | int, Any]] | None:
    """Children of plain dicts, lists and tuples."""
    if isinstance(node, Mapping):
        return [(key if isinstance(key, int) else str(key), child) for key, child in node.items()]
    if isinstance(node, list | tuple):
        return enumerate(node)
    return None


def without_training_state(leaves: Iterable[tuple[Path, T]]) -> list[tuple[Path, T]]:
    """Keep the weights of a training checkpoint.

    Where a top-level ``params`` stands beside optimizer state or counters, it alone is kept; otherwise the top-level
    keys named in `TRAINING_STATE` are left out. Names are not changed.
    """
    leaves = list(leaves)
    tops = {str(path[0]) for path, _ in leaves if path}
    if "params" in tops and tops & TRAINING_STATE:
        return [(path, leaf) for path, leaf in leaves if path and path[0] == "params"]
    return [(path, leaf) for path, leaf in leaves if not path or str(path[0]) not in TRAINING_STATE]


def without_value_boxes(leaves: Iterable[tuple[Path, T]]) -> list[tuple[Path, Path, T]]:
    """(shown path, path in the file, leaf): ``kernel.value`` is shown as ``kernel``.

    A saved `nnx.State` boxes each Variable as ``{"value": array}``. A ``value`` that has siblings is a name of the
    model's own, such as an attention's query, key and value, and stays.
    """
    leaves = list(leaves)
    family: dict[Path, int] = {}
    for path, _ in leaves:
        family[path[:-1]] = family.get(path[:-1], 0) + 1
    others = {path[:depth] for path, _ in leaves for depth in range(1, len(path) - 1)}

    def boxed(path: Path) -> bool:
        return len(path) > 1 and path[-1] == "value" and family[path[:-1]] == 1 and path[:-1] not in others

    return [(path[:-1] if boxed(path) else path, path, leaf) for path, leaf in leaves]
