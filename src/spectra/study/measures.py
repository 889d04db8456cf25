"""What is measured of a network: its weights layer by layer, and the signals that pass through it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import spectra
from spectra.study.models import Layer, Network, Place
from spectra.study.train import split

Row = dict[str, Any]

ALWAYS = (
    "std",
    "kurtosis",
    "zero_fraction",
    "near_zero_std",
    "near_zero_max",
    "hoyer",
    "gini",
    "alpha",
    "D",
    "num_pl_spikes",
    "stable_rank",
    "effective_rank",
)
"""Columns of `spectra.analyze` that are kept at every measurement."""

AT_THE_ENDS = ("gof_p", "verdict", "num_spikes", "mp_softrank", "w1_rand_distance")
"""Those that are kept at initialisation and at the end only: they take bootstraps and permutations."""

SHORTEST = 4096
"""Entries are padded to this many or a larger power of two, so that few programs are compiled."""


def measure_weights(
    kernels: Mapping[str, np.ndarray], places: Mapping[str, Place], *, gof: int = 0, seed: int = 0
) -> list[Row]:
    """One row a layer, in the order of `places`.

    Parameters
    ----------
    kernels
        Name → weights in Flax's order, (in, out) or (height, width, in, out), by ``NAME.kernel``.
    gof
        Bootstrap replicates; 0: only the columns of `ALWAYS`. Otherwise those of `AT_THE_ENDS` too, and the degrees of
        freedom of Student's t and the power-law exponent of |w|.
    seed
        Of bootstrap and permutations.

    Returns
    -------
    list of dict
        ``layer``, ``index``, ``role``, and the measures; None where one does not exist, as in a layer with NaN.
    """
    # The pattern asks for vectors too, such as the gains of weight normalisation.
    report = spectra.analyze(dict(kernels), layout="flax", layers=["*"], null=gof > 0, gof=gof, seed=seed)
    shares = largest_shares({name: kernels[f"{name}.kernel"] for name in places}, places)
    rows = []
    for name, place in places.items():
        result = report[f"{name}.kernel"]
        row: Row = {"layer": name, "index": place.index, "role": place.role}
        row |= {"largest_share": shares[name], "beyond_std": beyond_std(kernels[f"{name}.kernel"])}
        row |= {column: result.metrics.get(column) for column in (*ALWAYS, *(AT_THE_ENDS if gof else ()))}
        if gof and result.status != "failed":
            row |= _entries(kernels[f"{name}.kernel"])
        rows.append(row)
    return rows


LARGEST = 0.01
"""Share of the weights that count as the largest."""


def largest_shares(kernels: Mapping[str, np.ndarray], places: Mapping[str, Place]) -> dict[str, float | None]:
    """Of a role's largest 1 % of weights, the share that each of its layers holds: 1/layers if all are alike."""
    found: dict[str, float | None] = {}
    for role in {place.role for place in places.values()}:
        sizes = {name: np.abs(kernels[name]).ravel() for name, place in places.items() if place.role == role}
        pooled = np.concatenate(list(sizes.values()))
        if not np.all(np.isfinite(pooled)):
            found |= dict.fromkeys(sizes, None)
            continue
        count = max(1, round(LARGEST * pooled.size))
        limit = np.partition(pooled, pooled.size - count)[pooled.size - count]
        above = {name: int(np.count_nonzero(size >= limit)) for name, size in sizes.items()}
        found |= {name: number / sum(above.values()) for name, number in above.items()}
    return found


def beyond_std(w: np.ndarray) -> float | None:
    """Share of the weights larger in magnitude than their standard deviation: 0.317 in a Gaussian layer.

    It is what a layer keeps when it is pruned at |w| < std (Han et al. 2015, section 3.1, with a quality of 1).
    """
    share = float(np.mean(np.abs(w) > np.std(w, dtype=np.float64)))
    return share if np.all(np.isfinite(w)) else None


def _entries(w: np.ndarray) -> Row:
    """What the table of the analyzer has for the two sides apart or not at all: tails of the entries as a whole."""
    flat = np.asarray(w, np.float32).ravel()
    unit = float(np.abs(flat).max()) or 1.0
    length = max(SHORTEST, 1 << (flat.size - 1).bit_length())
    padded = np.zeros(length, np.float32)
    padded[: flat.size] = flat / unit
    df, alpha, n_tail = jax.device_get(_tails(padded, np.arange(length) < flat.size))
    found: Row = {"student_t_df": float(min(df, 1e6)), "tail_alpha": float(alpha), "tail_n": int(n_tail)}
    return {name: value if np.isfinite(value) else None for name, value in found.items()}


@jax.jit
def _tails(w: jax.Array, where: jax.Array) -> tuple[Any, Any, Any]:
    fit = spectra.fit_power_law(jnp.abs(w), where & (w != 0))
    return spectra.fit_student_t(w, where).df, fit.alpha, fit.n_tail


def measure_signals(model: Network, x: np.ndarray, y: np.ndarray) -> dict[str, Row]:
    """Activations and back-propagated gradients of each hidden layer on a batch of images.

    Returns
    -------
    dict
        Name of the layer → ``activation_std`` and ``activation_zeros`` (share of exact zeros) of its output after the
        non-linearity, and ``gradient_std``, of the derivative of an image's cross-entropy by the layer's output before
        the non-linearity: all over units and images.

    References
    ----------
    Glorot & Bengio 2010, section 4.2: z and ∂Cost/∂s.
    """
    graphdef, state = split(model)
    found = jax.device_get(_signals(graphdef, state, jnp.asarray(x), jnp.asarray(y)))
    return {name: {key: float(value) for key, value in row.items()} for name, row in found.items()}


@partial(jax.jit, static_argnames="graphdef")
def _signals(graphdef: Any, state: tuple[Any, Any], x: jax.Array, y: jax.Array) -> dict[str, dict[str, jax.Array]]:
    model: Network = nnx.merge(graphdef, *state)

    def forward(shifts: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
        outputs: dict[str, jax.Array] = {}

        def call(name: str, layer: Layer, x: jax.Array) -> jax.Array:
            s = layer(x)
            if name in model.hidden:
                outputs[name] = s
                s = s + shifts.get(name, 0)
            return s

        logits = model(x, call)
        return jnp.sum(-jax.nn.log_softmax(logits)[jnp.arange(len(y)), y]), outputs

    shapes = jax.eval_shape(forward, {})[1]
    gradients, outputs = jax.grad(forward, has_aux=True)({n: jnp.zeros(s.shape, s.dtype) for n, s in shapes.items()})
    activations = {name: model.activation(s) for name, s in outputs.items()}
    return {
        name: {
            "activation_std": jnp.std(z),
            "activation_zeros": jnp.mean(z == 0),
            "gradient_std": jnp.std(gradients[name]),
        }
        for name, z in activations.items()
    }
