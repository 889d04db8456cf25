"""Low-rank adapters (LoRA): which tensors are the two factors of a change to which weight, and at what scale.

An adapter adds scale·L·R to a matrix, with thin factors L and R. The factors by themselves say nothing: L·G and G⁻¹·R
are the same adapter for every invertible G. So a pair is one layer, the change, and its factors are none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from spectra.models.dtypes import refusal
from spectra.models.formats.base import one_line
from spectra.models.names import Name
from spectra.models.source import TensorInfo

Order = Literal["torch", "embedding", "flax"]

_TORCH = re.compile(
    r"(?P<module>.+?)\.(?:lora_(?P<letter>[AB])|lora_embedding_(?P<table>[AB])|lora[._](?P<way>down|up))"
    r"(?:\.(?P<adapter>(?!weight$)[^.]+))?(?:\.weight)?"
)
"""PEFT and loralib (``q_proj.lora_A.default.weight``), diffusers and kohya (``to_q.lora.down.weight``)."""

_FLAX = re.compile(
    r"(?:(?P<module>.+?)[./])?(?:lora[./])?(?:(?P<weight>\w+?)_)?lora_(?P<letter>[ab])(?:[./](?:kernel|w|value))?"
)
"""nnx.LoRA and nnx.LoRALinear (``query.lora.lora_a``), and their like (``query.kernel_lora_a``)."""

_WRAPPER = "base_model.model."
"""What PEFT puts before the names of the base model."""


@dataclass(frozen=True)
class Factor:
    """One of the two tensors of an adapter, as its name describes it."""

    module: str
    weight: str
    adapter: str
    first: bool
    """Whether the input goes through it first: A, down."""
    order: Order
    info: TensorInfo


@dataclass(frozen=True)
class Adapter:
    """A change scale·L·R of one weight.

    Attributes
    ----------
    name
        What the rows of the report are called: the module that is adapted, as the base model names it.
    module
        The same with the names of the adapter's own file.
    factors
        The tensors that belong to it, in the order of the file.
    left, right
        L, shape (rows, rank), and R, shape (rank, cols …), before axes are turned and folded; None where missing.
    order
        ``torch``: L = B (out, r), R = A (r, in …); ``embedding``: L = Aᵀ, R = Bᵀ; ``flax``: L = a (in, r), R = b.
    weight
        Leaf of the weight where the factors' names tell it, else "".
    problem
        Why it is no adapter that could be measured; "" if it is.
    """

    name: str
    module: str
    factors: tuple[str, ...]
    left: TensorInfo | None
    right: TensorInfo | None
    order: Order
    weight: str
    problem: str

    @property
    def rank(self) -> int:
        """The inner dimension of the product."""
        assert self.left is not None
        return self.left.shape[0 if self.order == "embedding" else 1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the change: rows, and the columns, which have several axes where a convolution is adapted."""
        assert self.left is not None and self.right is not None
        if self.order == "embedding":
            return self.left.shape[1], self.right.shape[0]
        return self.left.shape[0], *self.right.shape[1:]

    def bases(self) -> tuple[str, ...]:
        """Names that the weight may have, in its own file or in that of the base model."""
        if self.order == "flax":
            leaf = self.weight or "kernel"
            places = (self.module, f"{self.module}.base_module" if self.module else "base_module")
            return tuple(f"{place}.{leaf}" if place else leaf for place in places)
        plain = self.module.removeprefix(_WRAPPER)
        return f"{plain}.weight", f"{self.module}.weight", f"{self.module}.base_layer.weight"


FACTOR = "a factor of a low-rank adapter, which means nothing by itself"


def find_adapters(tensors: Sequence[TensorInfo]) -> list[Adapter]:
    """The adapters of a checkpoint, known by the names of their factors; nothing is read.

    A factor without its partner, factors that do not fit, and adapters of rank 0 are adapters with a `problem`.
    """
    pairs: dict[tuple[str, str, str, bool], list[Factor]] = {}
    for info in tensors:
        if (factor := _factor(info)) is not None:
            key = (factor.module, factor.weight, factor.adapter, factor.order == "flax")
            pairs.setdefault(key, []).append(factor)
    taken = {info.name for info in tensors}
    called = [_plain(module, weight) for module, weight, _, _ in pairs]
    found = []
    for (key, factors), name in zip(pairs.items(), called, strict=True):
        _, _, adapter, _ = key
        if called.count(name) > 1:
            name = f"{name}[{adapter or 'lora'}]"
        found.append(_pair(factors, f"{name}[lora]" if name in taken else name))
    return found


def _plain(module: str, weight: str) -> str:
    name = module.removeprefix(_WRAPPER) or "lora"
    return f"{name}.{weight}" if weight else name


def _factor(info: TensorInfo) -> Factor | None:
    if "lora" not in info.name:  # the patterns take time on long names
        return None
    if found := _TORCH.fullmatch(info.name):
        first = (found["letter"] or found["table"]) == "A" or found["way"] == "down"
        order: Order = "embedding" if found["table"] else "torch"
        return Factor(found["module"], "", found["adapter"] or "", first, order, info)
    if found := _FLAX.fullmatch(info.name):
        return Factor(found["module"] or "", found["weight"] or "", "", found["letter"] == "a", "flax", info)
    return None


def _pair(factors: list[Factor], name: str) -> Adapter:
    one = factors[0]
    first = next((factor.info for factor in factors if factor.first), None)
    second = next((factor.info for factor in factors if not factor.first), None)
    left, right = (second, first) if one.order == "torch" else (first, second)
    problem = _problem(factors, left, right)
    names = tuple(factor.info.name for factor in factors)
    return Adapter(name, one.module, names, left, right, one.order, one.weight, problem)


def _problem(factors: list[Factor], left: TensorInfo | None, right: TensorInfo | None) -> str:
    order = factors[0].order
    if left is None or right is None:
        return f"a low-rank adapter lacks one of its factors: only {factors[0].info.name!r} is there"
    if len(factors) > 2 or factors[-1].order != order:
        return f"{len(factors)} tensors look like the factors of one adapter: save each adapter on its own"
    for info in (left, right):
        problem, skip = refusal(Name(info.name), info.shape, info.dtype)
        if problem or skip:
            return f"factor {info.name!r}: {problem or skip}"
    ranks, shapes = _ranks(order, left.shape, right.shape), f"{left.shape} and {right.shape}"
    if ranks is None or ranks[0] != ranks[1]:
        return f"the factors of a low-rank adapter, {shapes}, do not fit together: save the adapter again"
    if 0 in (*left.shape, *right.shape):
        return f"a low-rank adapter of rank {ranks[0]} ({shapes}) changes nothing: leave it out"
    return ""


def _ranks(order: Order, left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, int] | None:
    """The rank that each factor has, None if they have no axes for one."""
    if len(left) < 2 or len(right) < 2 or math.prod(left[2:]) != 1:  # PyTorch adapts convolutions by (out, r, 1, 1)
        return None
    return (left[0], right[1]) if order == "embedding" else (left[1], right[0])


@dataclass(frozen=True)
class Scales:
    """What multiplies the products: alpha/r, or alpha/√r for rank-stabilised adapters.

    Parameters
    ----------
    config
        The content of PEFT's ``adapter_config.json``; empty where there is none.
    """

    config: Mapping[str, Any]

    def of(self, adapter: Adapter, alpha: float | None = None) -> tuple[float, str]:
        """The scale of an adapter and what to say about it.

        Parameters
        ----------
        alpha
            As the checkpoint itself has it, in a tensor beside the factors.
        """
        if alpha is None or not math.isfinite(alpha):
            alpha = self._alpha(adapter.module.removeprefix(_WRAPPER))
        if alpha is None and (given := self.config.get("lora_alpha")) is not None:
            return 1.0, one_line(f"scale 1: lora_alpha of adapter_config.json is {given!r}, which is no number", 200)
        if alpha is None:
            return 1.0, "scale 1: nothing tells lora_alpha"
        rank = adapter.rank
        return alpha / (math.sqrt(rank) if self.config.get("use_rslora") is True else rank), ""

    def _alpha(self, module: str) -> float | None:
        pattern = self.config.get("alpha_pattern")
        for suffix, value in pattern.items() if isinstance(pattern, Mapping) else ():
            if module == suffix or module.endswith(f".{suffix}"):
                return _number(value)
        return _number(self.config.get("lora_alpha"))


def _number(value: object) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if plain else None


def alphas(tensors: Sequence[TensorInfo], adapters: Sequence[Adapter]) -> Iterator[tuple[Adapter, str]]:
    """Adapters with a scalar ``alpha`` beside their factors, as kohya's files have it, and its name."""
    scalars = {info.name for info in tensors if math.prod(info.shape) == 1}
    for adapter in adapters:
        if (name := f"{adapter.module}.alpha") in scalars:
            yield adapter, name
