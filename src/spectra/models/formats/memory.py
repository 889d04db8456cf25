"""Parameters in memory: pytrees, mappings of names to arrays, Flax NNX modules and states."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from spectra.errors import InputError
from spectra.models.formats.base import ListedSource, one_line
from spectra.models.formats.naming import container_children, tensor_name, walk, without_training_state
from spectra.models.source import Array, Layout, TensorInfo, TensorSource

LABEL = "params"


def open_memory(target: Any) -> TensorSource:
    """List the arrays of an object in memory, in its own order.

    Of an `nnx.Module` or `nnx.State`, the Variables of type `nnx.Param` are taken; of a training state, its
    ``params``. Numbers, functions and None beside the arrays are ignored; anything else is an error.

    Raises
    ------
    InputError
        If there are no arrays, or abstract or deleted ones, or values that are no weights.
    """
    if _is(target, "torch.nn", "Module"):
        raise _error("a torch module", "pass model.state_dict()")
    if _array_like(target):
        raise _error("a single array", "pass a mapping of names to arrays, such as {'kernel': array}")
    layout, leaves = named_leaves(target)
    entries = [(_described(name, leaf), leaf) for name, leaf in leaves]
    if not entries:
        raise _error("it holds no arrays", "pass a model's parameters as jax, numpy or torch arrays")
    if all(_is(leaf, "torch", "Tensor") for _, leaf in entries):
        layout = "torch"
    return ListedSource(LABEL, layout, entries, lambda _, leaf: _value(leaf), in_memory=True)


def named_leaves(target: Any) -> tuple[Layout | None, list[tuple[str, Any]]]:
    """The leaves of an object in memory as they are, abstract or traced ones too, under the names of its tensors.

    Returns
    -------
    tuple
        The axis convention where the object tells, and pairs (name, leaf) in the object's own order.
    """
    is_nnx = _is(target, "flax.nnx", "Module") or _is(target, "flax.nnx", "State")
    leaves = [(path, _unboxed(leaf)) for path, leaf in walk(target, _children, LABEL)]
    leaves = [(path, leaf) for path, leaf in leaves if not _ignored(leaf)]
    return "flax" if is_nnx else None, [(tensor_name(path), leaf) for path, leaf in without_training_state(leaves)]


def _error(what: str, remedy: str) -> InputError:
    return InputError(one_line(f"{LABEL}: {what}; {remedy}"))


def _is(value: Any, module: str, name: str) -> bool:
    """``isinstance`` without importing the module: where it was never imported, nothing can be its instance."""
    loaded = sys.modules.get(module)
    kind = getattr(loaded, name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _array_like(value: Any) -> bool:
    return isinstance(value, np.ndarray | jax.Array | jax.ShapeDtypeStruct) or _is(value, "torch", "Tensor")


def _children(node: Any) -> Iterable[tuple[str | int, Any]] | None:
    if _is(node, "flax.nnx", "Module"):
        from flax import nnx

        return container_children(nnx.state(node))
    if _is(node, "flax.nnx", "Variable"):
        # running statistics, caches and random keys are Variables too, but no weights
        return [] if not _is(node, "flax.nnx", "Param") else None
    if isinstance(node, Mapping):
        return container_children(node)
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return list(zip(node._fields, node, strict=True))
    if isinstance(node, list | tuple):
        return enumerate(node)
    if dataclasses.is_dataclass(node) and not isinstance(node, type) and not _array_like(node):
        return [(field.name, getattr(node, field.name)) for field in dataclasses.fields(node) if not _static(field)]
    return None


def _static(field: dataclasses.Field[Any]) -> bool:
    """Fields that flax.struct and equinox mark as no part of the pytree."""
    return field.metadata.get("pytree_node") is False or field.metadata.get("static") is True


def _ignored(leaf: Any) -> bool:
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return True
    is_number = isinstance(leaf, bool | int | float | complex | np.generic)
    return leaf is None or is_number or (callable(leaf) and not _array_like(leaf))


def _described(name: str, leaf: Any) -> TensorInfo:
    if _is(leaf, "torch", "Tensor"):
        return TensorInfo(name, tuple(leaf.shape), str(leaf.dtype).removeprefix("torch."))
    if isinstance(leaf, jax.ShapeDtypeStruct | jax.core.Tracer):
        raise _error(f"'{name}' is abstract and has no values", "pass concrete arrays, outside of jit and eval_shape")
    if not isinstance(leaf, np.ndarray | jax.Array):
        raise _error(f"'{name}' is a {type(leaf).__name__}, not an array", "leave it out or pass an array")
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OSUVMm" and leaf.dtype.type.__module__ == "numpy":
        raise _error(f"'{name}' is a numpy array of {leaf.dtype.name}, not of numbers", "leave it out or convert it")
    if isinstance(leaf, jax.Array) and leaf.is_deleted():
        raise _error(f"'{name}' was deleted or donated", "pass the arrays that the jitted function returned")
    return TensorInfo(name, tuple(leaf.shape), leaf.dtype.name)


def _unboxed(leaf: Any) -> Any:
    return leaf.get_value() if _is(leaf, "flax.nnx", "Variable") else leaf


def _value(leaf: Any) -> Array:
    if _is(leaf, "torch", "Tensor"):
        from spectra.models.formats.torch import to_numpy

        return to_numpy(leaf, "a tensor in memory")
    if isinstance(leaf, jax.Array) and leaf.is_deleted():
        raise _error("an array was deleted or donated meanwhile", "pass the arrays that the jitted function returned")
    if isinstance(leaf, np.ndarray) and not leaf.dtype.isnative:
        return leaf.astype(leaf.dtype.newbyteorder("="))
    return leaf
