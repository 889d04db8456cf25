"""What the other tensors of a checkpoint tell about one: its siblings, and whether its block is stacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from spectra.models.names import (
    BLOCK_LISTS,
    EXPERT_WORDS,
    SCAN_WORDS,
    WEIGHT_LEAVES,
    Name,
    is_norm,
    words,
)
from spectra.models.source import TensorInfo


class Evidence(NamedTuple):
    """How many axes of a tensor are stacks, as far as names and neighbours tell.

    Attributes
    ----------
    axes
        The stacking axes that are known of, 0 first. More may follow from the tensor's own shape.
    strong
        Whether another tensor's shape or an unmistakable name says so; a list of blocks without an index is weaker.
    blocks
        Whether the first of them counts blocks (and not experts), so that its index is a depth.
    """

    axes: tuple[int, ...] = ()
    strong: bool = False
    blocks: bool = True


@dataclass
class _Group:
    """All tensors below one prefix."""

    shapes: list[tuple[int, ...]] = field(default_factory=list)  # distinct ones with axes, few enough to compare
    vectors: dict[tuple[int, ...], set[str]] = field(default_factory=dict)
    """Shapes of biases and norm scales with two axes or more, and (two of) the modules that have them."""

    def common(self, axis: int, length: int, least: int = 1) -> bool:
        return all(len(shape) > axis and len(shape) >= least and shape[axis] == length for shape in self.shapes)


class Tree:
    """Index of the tensors of one checkpoint by name."""

    def __init__(self, tensors: Sequence[TensorInfo]) -> None:
        self.by_name = {tensor.name: tensor for tensor in tensors}
        self._children: dict[tuple[str, ...], set[str]] = {}
        self._groups: dict[tuple[str, ...], _Group] = {}
        seen: set[tuple[tuple[str, ...], tuple[int, ...]]] = set()
        for tensor in tensors:
            name = Name(tensor.name)
            # torch.nn.LayerNorm over (C, H, W) has three axes and is no stack; Flax normalizes the last axis alone.
            affine = 2 if is_norm(name.owner) and name.prefix + "scale" not in self.by_name else len(tensor.shape)
            vector = 2 <= len(tensor.shape) <= affine and _is_vector(name)
            for k in range(len(name.components)):
                prefix = name.components[:k]
                self._children.setdefault(prefix, set()).add(name.components[k])
                if tensor.shape and (prefix, tensor.shape) not in seen:
                    seen.add((prefix, tensor.shape))
                    self._groups.setdefault(prefix, _Group()).shapes.append(tensor.shape)
                if vector:
                    modules = self._groups[prefix].vectors.setdefault(tensor.shape, set())
                    if len(modules) < 2:
                        modules.add(name.prefix)

    def sibling(self, name: Name, leaf: str) -> TensorInfo | None:
        """The tensor of the same module under another leaf name."""
        return self.by_name.get(name.prefix + leaf)

    def siblings(self, name: Name) -> set[str]:
        """Names of everything directly in the same module."""
        return self._children.get(name.components[:-1], set())

    def modules_beside(self, name: Name) -> set[str]:
        """Names of the modules and parameters that stand beside the tensor's module."""
        return self._children.get(name.components[:-2], set())

    def bias(self, name: Name) -> tuple[int, ...] | None:
        """Shape of the module's bias, if it has one."""
        for leaf in ("bias", "b", f"{name.leaf}_bias"):
            if leaf != name.leaf and (found := self.sibling(name, leaf)) is not None:
                return found.shape
        return None

    def evidence(self, name: Name, shape: tuple[int, ...]) -> Evidence:
        """Which axes of a tensor are stacks according to its name and the tensors of the same block."""
        experts = _experts(name)
        for k in range(len(name.components) - 1, -1, -1):
            prefix = name.components[:k]
            axes, strong = self._shared(name, prefix, shape), True
            if not axes and k and (strength := _stacked_by_name(name.components, k - 1)) is not None:
                axis = self._common_axis(prefix, shape, strength)
                axes, strong = (() if axis is None else (axis,)), strength
            if axes:
                if experts is None:
                    return Evidence(axes, strong)
                # Experts inside of scanned blocks have one more axis, unless the block's own vectors counted it.
                if experts >= k and len(axes) == 1 and len(shape) > 3:
                    axes = tuple(sorted({*axes, 1 - axes[0]}))
                return Evidence(axes, strong, blocks=experts >= k)
        return Evidence() if experts is None else Evidence((0,), True, blocks=False)

    def _shared(self, name: Name, prefix: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        """Stacking axes that another module's bias or norm scale shares with every tensor of the group."""
        group = self._groups[prefix]
        others = [vector for vector, modules in group.vectors.items() if modules - {name.prefix}]
        if not others or max(map(len, group.shapes)) < 3:
            return ()
        shortest = min(others, key=len)
        for count in range(len(shortest) - 1, 0, -1):
            if all(group.common(axis, shape[axis]) for axis in range(min(count, len(shape)))):
                return tuple(range(count)) if count < len(shape) else ()
        # T5X and MaxText scan over the second axis: kernels (in, L, out), norm scales (d, L).
        return (1,) if len(shape) > 2 and group.common(1, shape[1]) else ()

    def _common_axis(self, prefix: tuple[str, ...], shape: tuple[int, ...], strong: bool) -> int | None:
        """The axis along which every tensor of the group has the same length, and the blocks may be stacked.

        A plain vector among them shows that they are not, unless the name leaves no doubt.
        """
        if len(shape) < 3:
            return None
        least, group = (1 if strong else 2), self._groups[prefix]
        return next((axis for axis in (0, 1) if group.common(axis, shape[axis], least)), None)


def _experts(name: Name) -> int | None:
    """Position of the last component that names experts which no index tells apart, so that they share one tensor."""
    for k in range(len(name.components) - 2, -1, -1):
        parts = words(name.components[k])
        numbered = name.components[k + 1].isdecimal() or (parts[-1:] and parts[-1].isdecimal() and "moe" not in parts)
        if EXPERT_WORDS & {*parts} and not numbered:
            return k
    return None


def _is_vector(name: Name) -> bool:
    """Whether a tensor of this name would be a vector if it were not stacked.

    Biases of head projections are matrices by themselves and prove nothing.
    """
    if name.leaf == "bias":
        return name.role()[1] not in ("query", "key", "value", "qkv", "kv") and name.owner not in (
            "query",
            "key",
            "value",
        )
    return is_norm(name.owner) and name.leaf in ("scale", "weight", "gamma", "beta")


def _stacked_by_name(components: tuple[str, ...], k: int) -> bool | None:
    """Whether component k names stacked blocks: True (ScanBlock_0, vmap), False (blocks, layers), None."""
    component, following = components[k], components[k + 1] if k + 1 < len(components) else ""
    if following.isdecimal() or following in WEIGHT_LEAVES:
        # an index picks one block; a list of blocks owns no weights of its own
        return True if following in WEIGHT_LEAVES and _scan(component) else None
    if _scan(component):
        return True
    return False if component.lower() in BLOCK_LISTS else None


def _scan(component: str) -> bool:
    return any(SCAN_WORDS.match(word) for word in words(component))
