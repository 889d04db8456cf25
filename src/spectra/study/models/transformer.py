"""A small vision transformer."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
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

PATCHES = 4
"""Patches a side of the image."""

ROLES = ("query", "key", "value", "out", "up", "down")


class Block(nnx.Module):
    """Attention and a network of two layers, each behind a layer normalisation and beside a skip."""

    def __init__(
        self, dim: int, activation: str, *, init: Init | None, rngs: nnx.Rngs, norm: Norm, scale: float
    ) -> None:
        attention = initializer("tanh", init)  # no rectifier follows a projection
        self.before_attention = nnx.LayerNorm(dim, rngs=rngs)
        self.query, self.key, self.value = (Layer((dim, dim), init=attention, rngs=rngs, norm=norm) for _ in range(3))
        self.out = Layer((dim, dim), init=attention, rngs=rngs, norm=norm, scale=scale)
        self.before_mlp = nnx.LayerNorm(dim, rngs=rngs)
        self.up = Layer((dim, 2 * dim), init=initializer(activation, init), rngs=rngs, norm=norm)
        self.down = Layer((2 * dim, dim), init=attention, rngs=rngs, norm=norm, scale=scale)


class VisionTransformer(Network):
    """Sixteen patches of the image, pre-norm transformer blocks, the mean over patches, one dense layer.

    Weights of block i are ``blocks.{i}.query.kernel``, ``key``, ``value`` and ``out``, each (dim, dim), and
    ``blocks.{i}.up.kernel`` (dim, 2·dim) and ``down`` (2·dim, dim); ``embed`` and ``output`` stand before and behind.

    Parameters
    ----------
    depth
        Number of blocks, at least 1.
    dim
        Size of a token, a multiple of `heads`.
    heads
        Of the attention.
    in_features
        Pixels of the square image of one channel, whose side is a multiple of four.
    activation, rngs, num_classes, init, norm
        As in `MLP`; `norm` is added to the layer normalisation that a transformer has.

    References
    ----------
    Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021. ``out`` and ``down`` start divided by √(2·depth), as
    in GPT-2 (Radford et al. 2019, section 2.3).
    """

    def __init__(
        self,
        depth: int,
        dim: int,
        activation: Activation = "gelu",
        *,
        rngs: nnx.Rngs,
        heads: int = 4,
        num_classes: int = 10,
        in_features: int = 64,
        init: Init | None = None,
        norm: Norm = "none",
    ) -> None:
        check_network("transformer", activation, norm, depth=depth, dim=dim, heads=heads)
        if dim % heads:
            raise InputError(f"transformer dim is {dim}, which {heads} heads do not divide")
        self.side = math.isqrt(in_features)
        if self.side**2 != in_features or self.side % PATCHES:
            raise InputError(f"transformer in_features is {in_features}; give a square image of side 4, 8, 12, …")
        self.depth, self.dim, self.heads = depth, dim, heads
        self.activation = ACTIVATIONS[activation]
        self.hidden = tuple(f"blocks.{i}.up" for i in range(depth))
        linear = initializer("tanh", init)
        self.embed = Layer(((self.side // PATCHES) ** 2, dim), init=linear, rngs=rngs)
        self.position = nnx.Param(0.02 * jax.random.normal(rngs.params(), (PATCHES**2, dim)))
        scale = (2 * depth) ** -0.5
        self.blocks = nnx.List(
            Block(dim, activation, init=init, rngs=rngs, norm=norm, scale=scale) for _ in range(depth)
        )
        self.last = nnx.LayerNorm(dim, rngs=rngs)
        self.output = Layer((dim, num_classes), init=linear, rngs=rngs)

    def __call__(self, x: Float[Array, "batch features"], call: Call = evaluate) -> Float[Array, "batch classes"]:
        """Logits of a batch."""
        x = call("embed", self.embed, self._patches(x)) + self.position[...]
        for i, block in enumerate(self.blocks):

            def named(part: str, x: jax.Array, i: int = i, block: Block = block) -> jax.Array:
                return call(f"blocks.{i}.{part}", getattr(block, part), x)

            y = block.before_attention(x)
            q, k, v = (named(part, y) for part in ("query", "key", "value"))
            x = x + named("out", self._attend(q, k, v))
            x = x + named("down", self.activation(named("up", block.before_mlp(x))))
        return call("output", self.output, self.last(x).mean(axis=1))

    def _patches(self, x: jax.Array) -> jax.Array:
        n, size = PATCHES, self.side // PATCHES
        return x.reshape(-1, n, size, n, size).transpose(0, 1, 3, 2, 4).reshape(-1, n * n, size * size)

    def _attend(self, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        q, k, v = (a.reshape(*a.shape[:2], self.heads, -1) for a in (q, k, v))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(self.dim // self.heads)
        return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v).reshape(-1, PATCHES**2, self.dim)

    def places(self) -> dict[str, Place]:
        """Name of each layer → where it stands; the layers of block i share index i + 1."""
        found = {"embed": Place(0, "input")}
        for i in range(self.depth):
            found |= {f"blocks.{i}.{role}": Place(i + 1, role) for role in ROLES}
        return found | {"output": Place(self.depth + 1, "output")}
