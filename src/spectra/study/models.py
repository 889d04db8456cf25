"""The families of networks that the study trains, in Flax NNX."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from spectra.errors import InputError

Initializer: TypeAlias = jax.nn.initializers.Initializer

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"relu": jax.nn.relu, "tanh": jnp.tanh}

# Plain Gaussians, not Flax's he_normal and glorot_normal: those cut the Gaussian off at two standard deviations,
# and a layer with excess kurtosis -0.63 before training is a poor yardstick for what training does to its tails.
HE: Initializer = jax.nn.initializers.variance_scaling(2.0, "fan_in", "normal")
GLOROT: Initializer = jax.nn.initializers.variance_scaling(1.0, "fan_avg", "normal")
INITIALIZERS: dict[str, Initializer] = {"relu": HE, "tanh": GLOROT}


class MLP(nnx.Module):
    """A plain multi-layer perceptron: no skips, no normalisation, so that depth itself is what varies.

    Its weights are named ``layers.0.kernel`` to ``layers.{depth}.kernel``, each of shape (inputs, outputs), with
    ``layers.{i}.bias`` beside them. Layer 0 is (in_features, width), layers 1 to depth-1 are (width, width), and
    layer `depth`, the output, is (width, num_classes).

    Parameters
    ----------
    depth
        Number of hidden layers, at least 1.
    width
        Units in every hidden layer.
    activation
        ``"relu"`` or ``"tanh"``, after each hidden layer.
    rngs
        Where the initial weights come from: ``nnx.Rngs(seed)``.
    num_classes, in_features
        Size of the output and of the input; the defaults are those of the digits.
    kernel_init
        Initialiser of all kernels. By default Gaussian with He's variance 2 / inputs for relu, and with Glorot's
        2 / (inputs + outputs) for tanh. Biases start at zero.

    References
    ----------
    He, Zhang, Ren & Sun, Delving Deep into Rectifiers, ICCV 2015.
    Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        activation: Literal["relu", "tanh"] = "relu",
        *,
        rngs: nnx.Rngs,
        num_classes: int = 10,
        in_features: int = 64,
        kernel_init: Initializer | None = None,
    ) -> None:
        if depth < 1:
            raise InputError(f"MLP depth is {depth}; give at least 1 hidden layer")
        if width < 1:
            raise InputError(f"MLP width is {width}; give at least 1 unit")
        if activation not in ACTIVATIONS:
            raise InputError(f"MLP activation is {activation!r}; give one of {', '.join(ACTIVATIONS)}")
        init = kernel_init or INITIALIZERS[activation]
        sizes = [in_features, *[width] * depth, num_classes]
        self.depth = depth
        self.activation = ACTIVATIONS[activation]
        self.layers = nnx.List(
            nnx.Linear(inputs, outputs, kernel_init=init, rngs=rngs) for inputs, outputs in itertools.pairwise(sizes)
        )

    def __call__(self, x: Float[Array, "batch in_features"]) -> Float[Array, "batch num_classes"]:
        """Logits of a batch."""
        *hidden, output = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return output(x)
