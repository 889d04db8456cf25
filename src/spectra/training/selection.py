"""Which metrics of which layers: settled before training, from names and shapes alone."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from spectra.engine.options import Gates, Heads, Options
from spectra.engine.plan import make_plan, matches
from spectra.errors import InputError
from spectra.kernels.spectrum import Route
from spectra.models.adapters import find_adapters
from spectra.models.formats.base import ListedSource
from spectra.models.formats.memory import LABEL, named_leaves
from spectra.models.layers import Layer
from spectra.models.source import Layout, TensorInfo
from spectra.training.metrics import DEFAULT_METRICS, METRICS, SPECTRAL

Conv = Literal["pool", "flatten"]


@dataclass(frozen=True)
class Selection:
    """Metrics of layers; hashable, so that it may be a static argument or a constant of a jitted function.

    Attributes
    ----------
    layers
        In the order of the model; a measurement has a row for each.
    metrics
        Names from `METRICS`; a measurement has a column for each.
    spectral
        For each layer whether it has a spectrum.
    shapes
        Shape of the tensor that each layer is cut from.
    method
        Route to the eigenvalues.
    left_out
        Pairs (name, reason) of the tensors that cannot be measured, or have none of the metrics.
    """

    layers: tuple[Layer, ...]
    metrics: tuple[str, ...]
    spectral: tuple[bool, ...]
    shapes: tuple[tuple[int, ...], ...]
    method: Route
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, those of `spectra.analyze`."""
        return tuple(layer.name for layer in self.layers)

    def tensors(self, params: Any) -> dict[str, Any]:
        """The tensors to be measured, by name; inside and outside of jit.

        Raises
        ------
        InputError
            If one is missing or has another shape than when it was selected.
        """
        leaves = dict(named_leaves(params)[1])
        found = {}
        for layer, shape in zip(self.layers, self.shapes, strict=True):
            leaf = leaves.get(layer.tensor)
            if leaf is None:
                known = ", ".join(list(leaves)[:3]) or "nothing"
                raise InputError(
                    f"{LABEL}: {layer.tensor!r} was selected but is not there (there is {known}, …); {SAME}"
                )
            if tuple(leaf.shape) != shape:
                raise InputError(f"{LABEL}: {layer.tensor!r} is {tuple(leaf.shape)}, but {shape} was selected; {SAME}")
            found[layer.tensor] = leaf
        return found


SAME = "measure the same object that `select` or `track` was given"


def select(
    params: Any,
    layers: Sequence[str] = (),
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    method: Route = "gram",
    conv: Conv = "pool",
    gates: Gates = "split",
    heads: Heads = "fold",
    min_evals: int = 10,
    layout: Layout | None = None,
) -> Selection:
    """Choose metrics of layers; nothing is computed.

    Parameters
    ----------
    params
        A params pytree, a Linen `TrainState`, an `nnx.Module` or state; abstract or traced arrays will do.
    layers
        Glob patterns on layer names, each of which must match. Empty: all layers with a spectrum. Others (biases,
        norm scales) have metrics of their entries only.
    metrics
        Names from `METRICS`.
    method
        ``gram``, or ``svd``, which takes some thirty times as long and resolves smaller eigenvalues.
    conv, gates, heads, min_evals, layout
        As for `spectra.analyze`.

    Returns
    -------
    Selection
        To be handed to `measure`, or to a `Recorder`.

    Raises
    ------
    InputError
        For an unknown metric or option, a pattern that matches nothing or a tensor that cannot be measured, and if
        no layer is left.

    Examples
    --------
    >>> import jax, spectra.training as training
    >>> params = {"dense": {"kernel": jax.numpy.ones((64, 32)), "bias": jax.numpy.zeros(32)}}
    >>> training.select(params, metrics=["alpha", "std"]).names
    ('dense.kernel',)
    """
    chosen = _known_metrics(metrics)
    for name, value, choices in (("method", method, get_args(Route)), ("conv", conv, get_args(Conv))):
        if value not in choices:
            raise InputError(f"{name}={value!r} cannot be tracked: choose one of {', '.join(choices)}")
    options = Options(layers, conv, gates, method=method, min_evals=min_evals, layout=layout, heads=heads)
    source, left_out = _source(params)
    shapes = {info.name: info.shape for info in source.tensors}
    kept: list[tuple[Layer, bool]] = []
    steps = make_plan(source, options).steps
    for pattern in options.layers:
        if not any(matches(step.layer.name, [pattern]) for step in steps):
            raise InputError(f"layers: no layer matches {pattern!r}; names look like {steps[0].layer.name!r}")
    for step in steps:
        spectral = step.action == "analyze"
        if step.action == "fail" and options.layers:
            raise InputError(f"{step.layer.name}: cannot be tracked: {step.note}")
        if step.action in ("fail", "skip"):
            left_out.append((step.layer.name, step.note))
        elif not spectral and (not options.layers or set(chosen) <= set(SPECTRAL)):
            left_out.append((step.layer.name, step.note or "no spectrum"))
        else:
            kept.append((step.layer, spectral))
    if not kept:
        raise InputError(f"{LABEL}: no layer has a spectrum of {min_evals} eigenvalues; lower min_evals or name layers")
    return Selection(
        layers=tuple(layer for layer, _ in kept),
        metrics=chosen,
        spectral=tuple(spectral for _, spectral in kept),
        shapes=tuple(shapes[layer.tensor] for layer, _ in kept),
        method=method,
        left_out=tuple(left_out),
    )


def _known_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    if isinstance(metrics, str) or not metrics:
        raise InputError(f"metrics={metrics!r} must be a sequence of names, such as ['alpha', 'stable_rank']")
    for name in metrics:
        if name not in METRICS:
            near = difflib.get_close_matches(str(name), METRICS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(METRICS)}"
            raise InputError(f"metric {name!r} cannot be tracked: {hint}")
    if len(set(metrics)) < len(metrics):
        raise InputError(f"metrics={tuple(metrics)!r} names one twice: give each once")
    return tuple(metrics)


def _source(params: Any) -> tuple[ListedSource[None], list[tuple[str, str]]]:
    """The tensors as a source of headers, and the factors of low-rank adapters, which are no layers by themselves."""
    layout, leaves = named_leaves(params)
    for name, leaf in leaves:
        if not hasattr(getattr(leaf, "dtype", None), "name"):
            what = f"{LABEL}: {name or 'it'!r} is a {type(leaf).__name__}, not an array of JAX or NumPy"
            raise InputError(f"{what}; pass a params pytree, a TrainState, an nnx.Module or an nnx.State")
    infos = [TensorInfo(name, tuple(leaf.shape), leaf.dtype.name) for name, leaf in leaves]
    if not infos or infos[0].name == "":
        raise InputError(f"{LABEL}: no named arrays; pass a params pytree, such as {{'dense': {{'kernel': array}}}}")
    factors = {name for adapter in find_adapters(infos) for name in adapter.factors}
    plain = [(info, None) for info in infos if info.name not in factors]
    if not plain:
        raise InputError(
            f"{LABEL}: nothing but low-rank adapters, which cannot be tracked; analyze checkpoints of them"
        )

    def unread(info: TensorInfo, _: None) -> Any:
        raise AssertionError(f"{info.name} is read from the parameters, not from the source")

    source = ListedSource(LABEL, layout, plain, unread, in_memory=True)
    return source, [(name, "factor of a low-rank adapter") for name in sorted(factors)]
