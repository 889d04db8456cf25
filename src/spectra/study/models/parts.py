"""What the study's networks are made of: one affine layer, initialisers, activations, and how a layer is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from spectra.errors import InputError

Initializer: TypeAlias = jax.nn.initializers.Initializer
Activation = Literal["relu", "softplus", "tanh", "sigmoid", "softsign", "gelu"]
Init = Literal["standard", "glorot", "glorot_normal", "he", "orthogonal"]
Norm = Literal["none", "weight", "batch"]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softsign": jax.nn.soft_sign,
    "gelu": jax.nn.gelu,
}

# Plain Gaussians, not Flax's he_normal and glorot_normal: those cut the Gaussian off at two standard deviations,
# and a layer with excess kurtosis -0.63 before training is a poor yardstick for what training does to its tails.
INITIALIZERS: dict[str, Initializer] = {
    "standard": jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),  # U[±1/√n_in]
    "glorot": jax.nn.initializers.variance_scaling(1.0, "fan_avg", "uniform"),  # U[±√6/√(n_in + n_out)]
    "glorot_normal": jax.nn.initializers.variance_scaling(1.0, "fan_avg", "normal"),
    "he": jax.nn.initializers.variance_scaling(2.0, "fan_in", "normal"),
    "orthogonal": jax.nn.initializers.orthogonal(),
}

USUAL_INIT: dict[str, Init] = {"relu": "he", "softplus": "he", "gelu": "he"}
"""Where none is asked for; all other activations get ``glorot_normal``."""


@dataclass(frozen=True)
class Place:
    """Where a layer stands in its network."""

    index: int
    """From 0 at the input; layers side by side, as query and key, share it."""
    role: str
    """``input``, ``output``, or what the layer does: layers of one role have one shape and are comparable."""


class Layer(nnx.Module):
    """An affine map, dense or convolutional, with optional weight or batch normalisation of its output.

    Its parameters are ``kernel``, of shape (in, out) or (height, width, in, out), ``bias`` (out,), and with weight
    normalisation ``gain`` (out,).

    Parameters
    ----------
    shape
        Of the kernel.
    init
        Initialiser of the kernel; biases start at zero.
    norm
        ``weight``: the weight is gain · kernel / ‖kernel‖, the norm over all but the last axis; gain starts as that
        norm. ``batch``: batch normalisation of the output, scale and shift learned.
    stride
        Of a convolution, which is padded by half its kernel.
    scale
        The initial kernel is multiplied by this: branches of residual networks start small.

    References
    ----------
    Salimans & Kingma, Weight Normalization, NeurIPS 2016, equation 2.
    Ioffe & Szegedy, Batch Normalization, ICML 2015.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        init: Initializer,
        rngs: nnx.Rngs,
        norm: Norm = "none",
        stride: int = 1,
        scale: float = 1.0,
    ) -> None:
        kernel = init(rngs.params(), shape) * jnp.float32(scale)
        self.kernel = nnx.Param(kernel)
        self.bias = nnx.Param(jnp.zeros(shape[-1]))
        self.stride = stride
        self.gain = nnx.Param(_lengths(kernel)) if norm == "weight" else None
        self.normed = nnx.BatchNorm(shape[-1], momentum=0.9, rngs=rngs) if norm == "batch" else None

    def weight(self) -> jax.Array:
        """The weight that multiplies the input: the kernel itself unless it is normalised."""
        kernel = self.kernel[...]
        return kernel if self.gain is None else self.gain[...] * (kernel / _lengths(kernel))

    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """The output of a batch; `train`: batch normalisation uses and updates the statistics of this batch."""
        y = self._product(x, self.weight()) + self.bias[...]
        return y if self.normed is None else self.normed(y, use_running_average=not train)

    def calibrate(self, x: jax.Array) -> jax.Array:
        """Data-dependent initialisation of gain and bias: outputs of this batch get mean 0 and variance 1.

        References
        ----------
        Salimans & Kingma 2016, equations 5 and 6.
        """
        if self.gain is None:
            return self(x)
        kernel = self.kernel[...]
        t = self._product(x, kernel / _lengths(kernel))
        axes = tuple(range(t.ndim - 1))
        mean, std = t.mean(axes), t.std(axes) + 1e-8
        self.gain[...] = 1 / std
        self.bias[...] = -mean / std
        return self(x)

    def _product(self, x: jax.Array, w: jax.Array) -> jax.Array:
        return x @ w if w.ndim == 2 else convolve(x, w, self.stride)


def convolve(
    x: Float[Array, "batch h w in_channels"], kernel: Float[Array, "k k in_channels out_channels"], stride: int
) -> Float[Array, "batch _h _w out_channels"]:
    """A convolution of images padded with zeros by half a kernel, as one product of matrices.

    XLA's own convolution, inside a loop on a CPU, does 1 to 4 Gflop/s with its gradients; this form 40 to 50.
    """
    size = kernel.shape[0]
    h, w = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    shifted = [padded[:, i : i + h : stride, j : j + w : stride] for i in range(size) for j in range(size)]
    patches = jnp.concatenate(shifted, axis=-1)
    return patches @ kernel.reshape(-1, kernel.shape[-1])


Call: TypeAlias = Callable[[str, Layer, jax.Array], jax.Array]
"""How a network calls each of its layers, given its name: training, probes and calibration differ in this alone."""


def evaluate(name: str, layer: Layer, x: jax.Array) -> jax.Array:
    """As for predictions: running statistics, nothing recorded."""
    return layer(x)


def calibrating(name: str, layer: Layer, x: jax.Array) -> jax.Array:
    """Sets gain and bias of each weight-normalised layer from the batch that passes."""
    return layer.calibrate(x)


class Network(nnx.Module):
    """A classifier of flattened images whose layers are called through a hook.

    Attributes
    ----------
    activation
        The non-linearity of the hidden layers.
    hidden
        Names of the layers whose output passes through it.
    """

    activation: Callable[[jax.Array], jax.Array]
    hidden: tuple[str, ...]

    def __call__(self, x: Float[Array, "batch features"], call: Call = evaluate) -> Float[Array, "batch classes"]:
        """Logits of a batch."""
        raise NotImplementedError

    def places(self) -> dict[str, Place]:
        """Name of each layer with a kernel → where it stands, from input to output."""
        raise NotImplementedError

    def layer(self, name: str) -> Layer:
        """The layer of that name."""
        found: Any = self
        for part in name.split("."):
            found = found[int(part)] if part.isdigit() else getattr(found, part)
        return found

    def kernels(self) -> dict[str, np.ndarray]:
        """What multiplies the inputs, by ``NAME.kernel``; with weight normalisation the effective weight."""
        return {f"{name}.kernel": np.asarray(self.layer(name).weight()) for name in self.places()}


def initializer(activation: str, init: str | None) -> Initializer:
    """The initialiser of that name, or the usual one for the activation."""
    name = init or USUAL_INIT.get(activation, "glorot_normal")
    if name not in INITIALIZERS:
        raise InputError(f"initialiser is {name!r}; give one of {', '.join(INITIALIZERS)}")
    return INITIALIZERS[name]


def check_network(what: str, activation: str, norm: str, **sizes: int) -> None:
    """Refuse what no network can have, before anything is made.

    Raises
    ------
    InputError
        That names the argument.
    """
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{what} {name} is {size}; give at least 1")
    if activation not in ACTIVATIONS:
        raise InputError(f"{what} activation is {activation!r}; give one of {', '.join(ACTIVATIONS)}")
    if norm not in get_args(Norm):
        raise InputError(f"{what} norm is {norm!r}; give one of {', '.join(get_args(Norm))}")


def _lengths(kernel: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(kernel), axis=tuple(range(kernel.ndim - 1))))
