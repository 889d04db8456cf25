"""A plain multi-layer perceptron."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float

from spectra.study.models.parts import (
    ACTIVATIONS,
    Activation,
    Call,
    Init,
    Initializer,
    Layer,
    Network,
    Norm,
    Place,
    check_network,
    evaluate,
    initializer,
)


class MLP(Network):
    """A multi-layer perceptron: no skips, so that depth itself is what varies.

    Its weights are named ``layers.0.kernel`` to ``layers.{depth}.kernel``, each of shape (inputs, outputs), with
    ``layers.{i}.bias`` beside them. Layer 0 is (in_features, width), layers 1 to depth-1 are (width, width), and
    layer `depth`, the output, is (width, num_classes).

    Parameters
    ----------
    depth
        Number of hidden layers, at least 1.
    width
        Units in every hidden layer, or of each of them.
    activation
        After each hidden layer.
    rngs
        Where the initial weights come from: ``nnx.Rngs(seed)``.
    num_classes, in_features
        Size of the output and of the input; the defaults are those of the digits.
    init
        Initialiser of all kernels, a name or a function. By default Gaussian with He's variance 2 / inputs for relu and
        its kin, and with Glorot's 2 / (inputs + outputs) for the others. Biases start at zero.
    norm
        Normalisation of the hidden layers.

    References
    ----------
    He, Zhang, Ren & Sun, Delving Deep into Rectifiers, ICCV 2015.
    Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.
    """

    def __init__(
        self,
        depth: int,
        width: int | Sequence[int],
        activation: Activation = "relu",
        *,
        rngs: nnx.Rngs,
        num_classes: int = 10,
        in_features: int = 64,
        init: Init | Initializer | None = None,
        norm: Norm = "none",
    ) -> None:
        widths = [width] * depth if isinstance(width, int) else list(width)
        check_network("MLP", activation, norm, depth=depth, width=min(widths, default=1))
        make = init if callable(init) else initializer(activation, init)
        sizes = [in_features, *widths, num_classes]
        self.depth = depth
        self.activation = ACTIVATIONS[activation]
        self.hidden = tuple(f"layers.{i}" for i in range(depth))
        self.layers = nnx.List(
            Layer((inputs, outputs), init=make, rngs=rngs, norm=norm if i < depth else "none")
            for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes))
        )

    def __call__(self, x: Float[Array, "batch features"], call: Call = evaluate) -> Float[Array, "batch classes"]:
        """Logits of a batch."""
        *hidden, output = self.layers
        for i, layer in enumerate(hidden):
            x = self.activation(call(f"layers.{i}", layer, x))
        return call(f"layers.{self.depth}", output, x)

    def places(self) -> dict[str, Place]:
        """Name of each layer → where it stands."""
        roles = ["input", *["hidden"] * (self.depth - 1), "output"]
        return {f"layers.{i}": Place(i, role) for i, role in enumerate(roles)}
