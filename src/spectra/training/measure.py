"""`measure`: chosen metrics of chosen layers as a pure function, for use inside a jitted training step.

Only what depends on the shape of a layer is compiled shape by shape: spectra of layers of one shape are
computed in a stack, and entries and fits of all layers together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from spectra.kernels import gini, spectrum
from spectra.kernels.dtypes import AnyArray, to_compute
from spectra.kernels.spectrum import Route
from spectra.kernels.turns import after
from spectra.models.layers import Layer
from spectra.training.entries import NEAR_ZERO, cut_in_chunks, moments_of_layers, share_below
from spectra.training.metrics import (
    ENTRIES,
    FIT,
    HILL,
    SORTED,
    SPECTRAL,
    SPECTRUM,
    Spectra,
    fit_spectra,
    hill_exponents,
)
from spectra.training.selection import Selection


class Measurement(NamedTuple):
    """Metrics of all selected layers at one moment."""

    values: Float[AnyArray, "layers metrics"]
    """NaN where a metric does not exist or is not resolved, where the analyzer's table is empty."""
    finite: Bool[AnyArray, " layers"]
    """False where the layer has a NaN or an infinite entry; all its values are NaN then."""


def measure(params: Any, selection: Selection) -> Measurement:
    """Measure the selected layers, inside or outside of jit.

    Parameters
    ----------
    params
        Parameters of the form that `select` was given.
    selection
        From `select`; static.

    Returns
    -------
    Measurement
        The values of `spectra.analyze` of the same parameters, computed on the device, in float32 (float64 where the
        parameters are). Where the analyzer would turn to the slow route by svd, the fit is NaN.

    Notes
    -----
    Works under `vmap` over parameters, for networks that are trained side by side. On a CPU, wrap the loop in
    `one_blas_thread`.

    Examples
    --------
    >>> import jax, spectra.training as training
    >>> params = {"dense": {"kernel": jax.random.normal(jax.random.key(0), (64, 32))}}
    >>> selection = training.select(params, metrics=["std"])
    >>> jax.jit(training.measure, static_argnums=1)(params, selection).values.shape
    (1, 1)
    """
    return measure_tensors(selection.tensors(params), selection)


def measure_tensors(tensors: Mapping[str, Num[AnyArray, ...]], selection: Selection) -> Measurement:
    """`measure` for the tensors by name, as `Selection.tensors` finds them."""
    cut = [_matrices(tensors[layer.tensor], layer) for layer in selection.layers]
    finite = jnp.stack([jnp.all(jnp.isfinite(matrices)) for matrices in cut])
    wanted = selection.metrics
    columns = _entry_columns(cut, wanted)
    places = [row for row, spectral in enumerate(selection.spectral) if spectral]
    if places and any(name in SPECTRAL for name in wanted):
        found = _spectral_columns([cut[row] for row in places], wanted, selection.method)
        columns |= {name: _spread(column, places, len(cut)) for name, column in found.items()}
    nothing = jnp.full(len(cut), jnp.nan)
    values = jnp.stack([columns.get(name, nothing) for name in wanted], axis=-1)
    return Measurement(jnp.where(finite[:, None], values, jnp.nan), finite)


def _matrices(tensor: Num[AnyArray, ...], layer: Layer) -> Float[Array, "rf n m"]:
    """The matrices of a layer with the longer side first, so that transposed layers share their program."""
    if layer.view is None:
        return to_compute(jnp.reshape(tensor, (1, -1, 1)))
    matrices = to_compute(jnp.asarray(layer.view.matrices(jnp.asarray(tensor))))
    return matrices if matrices.shape[-2] >= matrices.shape[-1] else jnp.swapaxes(matrices, -1, -2)


def _entry_columns(entries: Sequence[Float[Array, ...]], wanted: Sequence[str]) -> dict[str, Array]:
    columns: dict[str, Any] = {}
    if any(name in (*ENTRIES, *NEAR_ZERO) for name in wanted):
        chunks = cut_in_chunks(entries)
        m = moments_of_layers(chunks)
        columns |= {name: ENTRIES[name](m) for name in wanted if name in ENTRIES}
        for name in wanted:
            if name in NEAR_ZERO:
                limit = NEAR_ZERO[name](m)
                columns[name] = jnp.where(jnp.isnan(limit), jnp.nan, share_below(chunks, limit, m.count))
    if any(name in SORTED for name in wanted):
        columns["gini"] = _by_shape([each.ravel() for each in entries], jax.vmap(gini))
    return columns


def _spectral_columns(
    matrices: Sequence[Float[Array, "rf n m"]], wanted: Sequence[str], route: Route
) -> dict[str, Array]:
    longest = max(each.shape[0] * each.shape[-1] for each in matrices)

    def of_stack(stack: Float[Array, "layers rf n m"]) -> Spectra:
        found = spectrum(stack, route)
        values = found.singular_values.reshape(stack.shape[0], -1)
        floor = jnp.broadcast_to(found.floor[..., None], found.singular_values.shape).reshape(values.shape)
        padding = ((0, 0), (0, longest - values.shape[-1]))
        return Spectra(
            jnp.pad(values, padding),
            jnp.pad(jnp.ones(values.shape, bool), padding),
            jnp.pad(floor, padding),
            jnp.sum(found.num_unresolved, axis=-1),
        )

    s = _by_shape(matrices, of_stack, in_turn=lambda stack, found: after(stack, found.singular_values))
    columns: dict[str, Any] = {name: SPECTRUM[name](s) for name in wanted if name in SPECTRUM}
    if any(name in FIT for name in wanted):
        fit = fit_spectra(s, route)
        columns |= {name: FIT[name](s, fit) for name in wanted if name in FIT}
    if any(name in HILL for name in wanted):
        columns["hill_alpha"] = hill_exponents(s, route)
    return columns


def _by_shape(
    arrays: Sequence[Array], of_stack: Callable[[Array], Any], in_turn: Callable[[Array, Any], Array] | None = None
) -> Any:
    """The function of the arrays in stacks of one shape and type, its results in the order of the arrays.

    `in_turn` makes a stack wait for the result of the one before.
    """
    groups: dict[Any, list[int]] = {}
    for place, array in enumerate(arrays):
        groups.setdefault((array.shape, array.dtype), []).append(place)
    results: list[Any] = []
    for group in groups.values():
        stack = jnp.stack([arrays[place] for place in group])
        results.append(of_stack(in_turn(stack, results[-1]) if in_turn and results else stack))
    order = np.argsort([place for group in groups.values() for place in group])
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[order], *results)


def _spread(column: Num[Array, " some"], places: Sequence[int], count: int) -> Float[Array, " layers"]:
    """A column of some layers as one of all, NaN for the others."""
    dtype = jnp.promote_types(column.dtype, jnp.float32)
    return jnp.full(count, jnp.nan, dtype).at[np.array(places)].set(column.astype(dtype))
