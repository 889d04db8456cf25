"""A convolutional network, plain or with skips."""

from __future__ import annotations

import math

import jax
from flax import nnx
from jaxtyping import Array, Float

from spectra.errors import InputError
from spectra.study.models.parts import (
    ACTIVATIONS,
    Activation,
    Call,
    Init,
    Layer,
    Network,
    Norm,
    Place,
    check_network,
    evaluate,
    initializer,
)


class CNN(Network):
    """Convolutions of 3×3, one after the other, then one dense layer over the whole image.

    Layer 0 takes the image to `channels` channels, layer 1 halves its sides, and layers 1 to depth-1 all have kernels
    of shape (3, 3, channels, channels): ``layers.{i}.kernel``. ``output.kernel`` is dense.

    Parameters
    ----------
    depth
        Number of convolutions, at least 2; with skips an even number.
    channels
        Of every convolution.
    residual
        Whether each pair of convolutions from layer 2 on is a branch that is added to its input. The second kernel of a
        branch starts divided by the square root of their number, so that signals keep their size at any depth.
    in_features
        Pixels of the square image of one channel.
    activation, rngs, num_classes, init, norm
        As in `MLP`.

    References
    ----------
    He, Zhang, Ren & Sun, Deep Residual Learning, CVPR 2016, and Identity Mappings, ECCV 2016 (activation first).
    """

    def __init__(
        self,
        depth: int,
        channels: int,
        activation: Activation = "relu",
        *,
        rngs: nnx.Rngs,
        residual: bool = False,
        num_classes: int = 10,
        in_features: int = 64,
        init: Init | None = None,
        norm: Norm = "none",
    ) -> None:
        check_network("CNN", activation, norm, depth=depth - 1, channels=channels)
        if residual and depth % 2:
            raise InputError(f"CNN depth is {depth}; with skips give an even number")
        self.side = math.isqrt(in_features)
        if self.side**2 != in_features:
            raise InputError(f"CNN in_features is {in_features}, which is no square image")
        make = initializer(activation, init)
        self.depth = depth
        self.residual = residual
        self.activation = ACTIVATIONS[activation]
        # The second layer of a branch is followed by a sum, and the non-linearity comes after it.
        self.hidden = tuple(f"layers.{i}" for i in range(depth) if not residual or i == 0 or (i >= 2 and i % 2 == 0))
        branches = max(1, (depth - 2) // 2)
        self.layers = nnx.List(
            Layer(
                (3, 3, channels if i else 1, channels),
                init=make,
                rngs=rngs,
                norm=norm,
                stride=2 if i == 1 else 1,
                scale=branches**-0.5 if residual and i >= 2 and i % 2 else 1.0,
            )
            for i in range(depth)
        )
        half = -(-self.side // 2)
        self.output = Layer((half * half * channels, num_classes), init=make, rngs=rngs)

    def __call__(self, x: Float[Array, "batch features"], call: Call = evaluate) -> Float[Array, "batch classes"]:
        """Logits of a batch."""
        x = x.reshape(-1, self.side, self.side, 1)
        x = self._call(0, x, call)
        in_line = 2 if self.residual else self.depth
        for i in range(1, in_line):
            x = self._call(i, self.activation(x), call)
        for i in range(in_line, self.depth, 2):
            branch = self._call(i, self.activation(x), call)
            x = x + self._call(i + 1, self.activation(branch), call)
        return call("output", self.output, self.activation(x).reshape(len(x), -1))

    def _call(self, i: int, x: jax.Array, call: Call) -> jax.Array:
        return call(f"layers.{i}", self.layers[i], x)

    def places(self) -> dict[str, Place]:
        """Name of each layer → where it stands."""
        roles = ["input", *["hidden"] * (self.depth - 1)]
        found = {f"layers.{i}": Place(i, role) for i, role in enumerate(roles)}
        return found | {"output": Place(self.depth, "output")}
