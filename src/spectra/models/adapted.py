"""A checkpoint with low-rank adapters, and the base model that they change, as one source of tensors.

The factors of an adapter are handed over in one tensor, from which its spectrum is had without forming the product
(`operators.LowRank`). With a base there are two more layers for each adapter: the weight before, and the weight after,
which is formed when it is read and gone when it has been measured.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spectra.errors import CheckpointError, InputError
from spectra.models.adapters import Adapter, Scales, alphas, find_adapters
from spectra.models.formats import open_source
from spectra.models.formats.base import checkpoint_error, one_line
from spectra.models.layers import Layer, find_layers
from spectra.models.names import Name
from spectra.models.operators import LowRank
from spectra.models.source import Array, Layout, TensorInfo, TensorSource

CONFIG = "adapter_config.json"
ALONE = "delta only: no base given"
DORA = "lora_magnitude_vector"
ROWS = 256
"""Rows of a merged weight that are changed together."""


def open_model(target: Any, base: Any = None) -> TensorSource:
    """Open a checkpoint, or parameters in memory, with its low-rank adapters if it has any.

    Parameters
    ----------
    target, base
        As for `open_source`; `base` is the model that the adapters of `target` change, None if it is not at hand.

    Raises
    ------
    CheckpointError
        As for `open_source`, and for an ``adapter_config.json`` that cannot be read.
    InputError
        If `base` is given and `target` has no adapters.
    """
    source = open_source(target)
    adapters = find_adapters(source.tensors)
    try:
        if not adapters:
            if base is not None:
                what = f"{source.label}: has no low-rank adapters that a base could go with"
                remedy = "give the adapters as the model, and the model that they change as the base"
                raise InputError(one_line(f"{what}; {remedy}"))
            return source
        config = _config(target) if isinstance(target, str | os.PathLike) else {}
        return AdaptedSource(source, adapters, config, None if base is None else open_source(base))
    except BaseException:
        source.close()
        raise


def layers_of(source: TensorSource, *, layout: Layout | None, **rules: Any) -> list[Layer]:
    """`find_layers` on a source, with its adapters if it has any; `layout` overrides that of the format."""
    if isinstance(source, AdaptedSource):
        return source.layers(layout, **rules)
    return find_layers(source.tensors, layout=layout or source.layout, **rules)


def _config(target: str | os.PathLike) -> Mapping[str, Any]:
    path = Path(os.fsdecode(target)).expanduser()
    path = (path if path.is_dir() else path.parent) / CONFIG
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise checkpoint_error(str(path), "cannot be read", "repair it, or remove it for a scale of 1") from error
    if not isinstance(content, dict):
        raise checkpoint_error(str(path), "is no JSON object", "repair it, or remove it for a scale of 1")
    return content


@dataclass(frozen=True)
class _Change:
    """An adapter that can be measured."""

    adapter: Adapter
    scale: float
    note: str
    base: tuple[TensorSource, TensorInfo] | None
    """Where the weight that it changes is; None where it is not to be had."""
    missing: str
    """Why there is none although there should be one."""


class AdaptedSource:
    """A `TensorSource` that has the factors of each adapter as one tensor, and merged weights.

    Parameters
    ----------
    inner
        The checkpoint that has the adapters.
    adapters
        What `find_adapters` found in it.
    config
        Content of PEFT's ``adapter_config.json``.
    base
        The model that they change; without it, the weights are looked for in the checkpoint itself.
    """

    in_memory = False

    def __init__(
        self, inner: TensorSource, adapters: list[Adapter], config: Mapping[str, Any], base: TensorSource | None
    ) -> None:
        self.label, self.layout, self.base = inner.label, inner.layout, base
        self._inner, self._adapters, self._config = inner, adapters, config
        self._factors = {name for adapter in adapters for name in adapter.factors}
        self._known = [(source, {info.name: info for info in source.tensors}) for source in (inner, base) if source]
        self._doras = {info.name.partition(f".{DORA}")[0] for info in inner.tensors if f".{DORA}" in info.name}
        self._alphas: dict[str, float] = {}
        for adapter, name in alphas(inner.tensors, adapters):
            self._factors.add(name)
            with suppress(CheckpointError, ValueError):
                self._alphas[adapter.name] = float(np.asarray(inner.read(name)).reshape(()))
        self._plain = tuple(info for info in inner.tensors if info.name not in self._factors)
        self._changes = {adapter.name: self._change(adapter) for adapter in adapters if not adapter.problem}
        self._made: dict[str, tuple[TensorInfo, Callable[[], Array]]] = {}
        for change in self._changes.values():
            self._make(change)
        self.tensors = (*self._plain, *(info for info, _ in self._made.values()))

    def _change(self, adapter: Adapter) -> _Change:
        scale, note = Scales(self._config).of(adapter, self._alphas.get(adapter.name))
        notes, missing = [note] if note else [], ""
        there = ((source, known[name]) for source, known in self._known for name in adapter.bases() if name in known)
        base = next(there, None)
        if base is None and self.base is None:
            notes.append(ALONE)
        if base is None and self.base is not None:
            missing = f"{self._known[-1][0].label} has no {adapter.bases()[0]!r}: is it the base?"
        elif base is not None and _fit(adapter, base[1].shape, self._config) is None:
            what = f"the weight {base[1].name!r} {base[1].shape} is not of the adapter's shape {adapter.shape}"
            missing, base = f"{what}: is {base[0].label} the base?", None
        if adapter.module in self._doras:
            notes.append("a DoRA: the product alone, without its magnitudes")
            missing = missing or (
                "" if base is None else "a DoRA rescales the weight: merge it (PEFT) and analyze that"
            )
            base = None
        return _Change(adapter, scale, "; ".join(notes), base, missing)

    def _make(self, change: _Change) -> None:
        """Enter the tensors of a change; their names tell the scale, which a journal must not confuse."""
        adapter = change.adapter
        dtype = _wide(adapter.left, adapter.right)
        rows = adapter.shape[0] + math.prod(adapter.shape[1:])
        factors = TensorInfo(_tensor(change, "factors"), (rows, adapter.rank), dtype)
        self._made[factors.name] = factors, lambda: np.concatenate(self._sides(adapter, np.dtype(dtype)))
        if change.base is None:
            return
        source, info = change.base
        merged = TensorInfo(_tensor(change, "merged"), info.shape, _wide(adapter.left, adapter.right, info))
        self._made[merged.name] = merged, lambda: self._merged(change, np.dtype(merged.dtype))
        if source is self.base:
            before = TensorInfo(_tensor(change, "base"), info.shape, info.dtype)
            self._made[before.name] = before, lambda: source.read(info.name)

    def layers(self, layout: Layout | None, **rules: Any) -> list[Layer]:
        """The layers of the checkpoint, with those of each adapter in the place of its factors.

        Parameters
        ----------
        layout
            Overrides what the formats of the checkpoint and of its base imply.
        rules
            As for `find_layers`.
        """
        plain = _by_tensor(find_layers(self._plain, layout=layout or self.layout, **rules))
        before = plain
        if self.base is not None:
            before = _by_tensor(find_layers(self.base.tensors, layout=layout or self.base.layout, **rules)) | plain
        firsts = {adapter.factors[0]: adapter for adapter in self._adapters}
        found: list[Layer] = []
        for info in self._inner.tensors:
            found += plain.get(info.name, ())
            if info.name in firsts:
                found += self._layers(firsts[info.name], before)
        return found

    def _layers(self, adapter: Adapter, before: Mapping[str, list[Layer]]) -> Iterator[Layer]:
        """The change, and the weight before and after it."""
        name = Name(adapter.bases()[0])
        whole = Layer(adapter.name, adapter.factors[0], "lora", name.role()[1], name.depth, (), "", None)
        if adapter.problem:
            info = adapter.left or adapter.right
            assert info is not None
            yield replace(whole, shape=info.shape, dtype=info.dtype, problem=adapter.problem)
            return
        change = self._changes[adapter.name]
        factors, _ = self._made[_tensor(change, "factors")]
        view = LowRank(factors.shape, (), (0,), (1,), left=adapter.shape[0], scale=change.scale)
        dtype = (adapter.left or factors).dtype
        whole = replace(whole, tensor=factors.name, shape=adapter.shape, dtype=dtype)
        yield replace(whole, view=view, note=change.note)
        if change.missing:
            yield replace(whole, name=f"{adapter.name}[merged]", problem=change.missing)
        for stage in ("base", "merged"):
            if change.base is None or _tensor(change, stage) not in self._made:
                continue
            made, _ = self._made[_tensor(change, stage)]
            tensor = change.base[1].name
            for layer in before.get(tensor, ()):
                part = layer.name.removeprefix(tensor)  # [i] of a stack
                own = f"{adapter.name}[{stage}]{part}"
                yield replace(layer, name=own, tensor=made.name, dtype=made.dtype)

    def read(self, name: str) -> Array:
        """Read a tensor; the factors of an adapter as one, merged weights when they are asked for."""
        if name in self._made:
            return self._made[name][1]()
        return self._inner.read(name)

    def close(self) -> None:
        """Release the checkpoint and its base."""
        self._inner.close()
        if self.base is not None:
            self.base.close()

    def _sides(self, adapter: Adapter, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """L, shape (rows, rank), and Rᵀ, shape (cols, rank)."""
        assert adapter.left is not None and adapter.right is not None
        left, right = (np.asarray(self._inner.read(info.name)).astype(dtype) for info in (adapter.left, adapter.right))
        if adapter.order == "embedding":
            return left.T, right
        return left.reshape(left.shape[:2]), right.reshape(right.shape[0], -1).T

    def _merged(self, change: _Change, dtype: np.dtype) -> np.ndarray:
        assert change.base is not None
        source, info = change.base
        merged = np.array(source.read(info.name), dtype, order="C")
        left, right = self._sides(change.adapter, dtype)
        rows, cols = left.shape[0], right.shape[0]
        turned = _fit(change.adapter, info.shape, self._config) == "turned"
        matrix = merged.reshape(cols, rows).T if turned else merged.reshape(rows, cols)
        for start in range(0, rows, ROWS):
            part = slice(start, start + ROWS)
            matrix[part] += dtype.type(change.scale) * (left[part] @ right.T)
        return merged


def _tensor(change: _Change, stage: str) -> str:
    return f"{change.adapter.name}[{stage} {change.scale:.9g}]"


def _by_tensor(layers: list[Layer]) -> dict[str, list[Layer]]:
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        found.setdefault(layer.tensor, []).append(layer)
    return found


def _wide(*infos: TensorInfo | None) -> str:
    """The type in which factors are handed over and weights are merged."""
    return "float64" if any(info is not None and info.dtype == "float64" for info in infos) else "float32"


def _fit(adapter: Adapter, shape: tuple[int, ...], config: Mapping[str, Any]) -> str | None:
    """How the change lies in a weight: ``straight``, ``turned`` (GPT-2's are (in, out)), or None: not at all."""
    rows, cols = adapter.shape[0], math.prod(adapter.shape[1:])
    straight = any(math.prod(shape[:k]) == rows and math.prod(shape[k:]) == cols for k in range(1, len(shape)))
    turned = adapter.order == "torch" and shape == (cols, rows)
    if turned and (not straight or config.get("fan_in_fan_out") is True):
        return "turned"
    return "straight" if straight else None
