"""Temperature balancing: each layer's learning rate by the exponent of its spectrum, as an Optax transformation.

Zhou, Pang, Liu, Martin, Mahoney & Yang, "Temperature Balancing, Layer-wise Weight Analysis, and Neural Network
Training", NeurIPS 36 (2023). What is not in the abstract follows the authors' code (YefanZhou/TempBalance,
tempbalance.py): xmin is the median eigenvalue, rates are mapped linearly from the smallest alpha to the largest, biases
go with their weights, and the first and the last layer keep the global rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from spectra.errors import InputError
from spectra.models.formats.memory import named_leaves
from spectra.models.formats.naming import natural_key
from spectra.training.conditional import only_if
from spectra.training.measure import measure
from spectra.training.schedule import Schedule
from spectra.training.selection import Selection, select


class TemperatureBalanceState(NamedTuple):
    """State of `temperature_balance`: the layers are those of `balanced_layers`, in that order."""

    count: Int[Array, ""]
    """Updates so far."""
    alpha: Float[Array, " layers"]
    """Hill's exponent of each layer when it was last measured."""
    scale: Float[Array, " layers"]
    """Factor on each layer's updates."""


def temperature_balance(
    every: int,
    low: float = 0.5,
    high: float = 1.5,
    *,
    layers: Sequence[str] = (),
    ends: bool = False,
) -> optax.GradientTransformation:
    """Scale the updates of each layer by its place between the smallest and the largest alpha.

    Goes behind the optimiser: ``optax.chain(optax.sgd(rate, momentum=0.9), temperature_balance(every=500))``. A layer
    with a larger alpha, taken as less well trained, gets a larger rate.

    Parameters
    ----------
    every
        Steps between two measurements; the paper measures once an epoch.
    low, high
        Factors for the layer of the smallest alpha and for that of the largest; in between it is linear in alpha.
    layers
        Glob patterns on the names of the layers that are balanced; empty: all with a spectrum. The others keep 1.
    ends
        Whether the first and the last layer, in the natural order of their names, are balanced too. They are if
        `layers` names them.

    Returns
    -------
    optax.GradientTransformation
        Its `update` needs the parameters. Biases and scales in the same module as a weight go with it; slices of
        stacked weights are scaled apart. While no two layers have different exponents, all factors are 1, and so is
        the factor of a layer that has none (NaN, fewer than two distinct eigenvalues in the upper half).

    Raises
    ------
    InputError
        For factors that are not positive, a period below 1, and, from `init`, layers that are not there.

    Examples
    --------
    >>> import jax, optax, spectra.training as training
    >>> params = {f"layers_{i}": {"kernel": jax.random.normal(jax.random.key(i), (32, 32))} for i in range(4)}
    >>> transform = optax.chain(optax.sgd(0.1), training.temperature_balance(every=100))
    >>> transform.init(params)[1].scale.tolist()  # of layers_1 and layers_2, until the first update
    [1.0, 1.0]
    """
    schedule = Schedule.every(every)
    for name, factor in (("low", low), ("high", high)):
        if isinstance(factor, bool) or not (isinstance(factor, int | float) and 0 < factor < math.inf):
            raise InputError(f"{name}={factor!r} must be a positive number")

    def init(params: Any) -> TemperatureBalanceState:
        count = len(balanced_layers(params, layers, ends=ends).layers)
        return TemperatureBalanceState(jnp.int32(0), jnp.full(count, jnp.nan), jnp.ones(count))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, TemperatureBalanceState]:
        if params is None:
            raise InputError("temperature_balance needs the parameters: call update(updates, state, params)")
        selection = balanced_layers(params, layers, ends=ends)

        def balance(state: TemperatureBalanceState) -> TemperatureBalanceState:
            alpha = jnp.asarray(measure(params, selection).values[:, 0], state.alpha.dtype)
            return TemperatureBalanceState(state.count, alpha, linear_map(alpha, low, high))

        state = only_if(schedule.due(state.count), balance, state)
        scaled = scaled_updates(updates, selection, state.scale)
        return scaled, state._replace(count=jnp.asarray(optax.safe_increment(state.count)))

    return optax.GradientTransformation(init, update)


def balanced_layers(params: Any, layers: Sequence[str] = (), *, ends: bool = False) -> Selection:
    """The layers that `temperature_balance` sets the rates of, in the order of its state.

    Raises
    ------
    InputError
        As for `select`; and where fewer than two layers would be left.
    """
    found = select(params, layers, ["hill_alpha"])
    if not layers and not ends:
        tensors = sorted({layer.tensor for layer in found.layers}, key=natural_key)
        inner = [layer.name for layer in found.layers if layer.tensor in tensors[1:-1]]
        if len(inner) < 2:
            few = f"temperature_balance: {len(inner)} of {len(found.layers)} layers lie between the first and the last"
            raise InputError(f"{few}; balance all of them by ends=True, or name layers")
        return select(params, inner, ["hill_alpha"])
    if len(found.layers) < 2:
        raise InputError(f"temperature_balance: {found.names[0]!r} alone cannot be balanced; choose more layers")
    return found


def linear_map(alpha: Float[Array, " layers"], low: float | Array, high: float | Array) -> Float[Array, " layers"]:
    """From `low` at the smallest alpha to `high` at the largest; 1 for NaN, and if all are equal."""
    known = jnp.isfinite(alpha)
    least = jnp.min(jnp.where(known, alpha, jnp.inf))
    most = jnp.max(jnp.where(known, alpha, -jnp.inf))
    spread = most > least
    share = jnp.where(known & spread, alpha - least, 0) / jnp.where(spread, most - least, 1)
    return jnp.where(known & spread, low + (high - low) * share, 1)


def scaled_updates(updates: Any, selection: Selection, scale: Float[Array, " layers"]) -> Any:
    """The updates, each times the factor of its layer."""
    leaves, form = jax.tree.flatten(updates)
    # Which leaf has which name: the same pytree of places, walked by name, whatever it is made of.
    numbered = named_leaves(jax.tree.unflatten(form, map(np.asarray, range(len(leaves)))))[1]
    places = {name: int(place) for name, place in numbered}
    factors = _factors(selection, scale)
    for name, place in places.items():
        weight = name if name in factors else _weight_of(name, leaves[place], list(factors))
        if weight is not None and (weight == name or not factors[weight].ndim):
            leaves[place] = leaves[place] * factors[weight].astype(leaves[place].dtype)
    return jax.tree.unflatten(form, leaves)


def _factors(selection: Selection, scale: Float[Array, " layers"]) -> dict[str, Float[Array, ...]]:
    """The factor of each tensor: a number, or an array of its shape where it holds several layers."""
    factors: dict[str, Any] = {}
    for row, (layer, shape) in enumerate(zip(selection.layers, selection.shapes, strict=True)):
        view = layer.view
        if view is None or not view.index:
            factors[layer.tensor] = scale[row]
            continue
        place = tuple(dict(view.index).get(axis, slice(None)) for axis in range(len(view.shape)))
        before = factors.get(layer.tensor, jnp.ones(shape))
        factors[layer.tensor] = before.reshape(view.shape).at[place].set(scale[row]).reshape(shape)
    return factors


def _weight_of(name: str, leaf: Any, weights: list[str]) -> str | None:
    """The weight in whose module a bias or scale is; None if there is not exactly one."""
    module = name.rpartition(".")[0]
    found = [weight for weight in weights if weight.rpartition(".")[0] == module]
    return found[0] if module and len(found) == 1 and jnp.ndim(leaf) <= 1 else None
