"""Which names mean what: the tables that everything about a tensor's name is read from.

A name is split at ``.`` and ``/`` into components, a component into lower-case words (``LayerNorm_0`` → layer, norm,
0). Most rules ask for a word; the roles, which depend on how several components follow each other, are patterns on the
lower-case path of the module. A new architecture is covered by adding to a table here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from spectra.models.source import Layout

LEAF_LAYOUT: dict[str, Layout] = {"weight": "torch", "kernel": "flax"}
"""Leaf names that tell the axis convention; every other leaf needs to be told."""

WEIGHT_LEAVES = frozenset({"weight", "kernel", "recurrent_kernel", "qweight", "embedding", "w", "W"})
"""Leaves that say "the weights of the module"; under any other leaf the leaf itself is the module's name."""

BIAS_LEAVES = re.compile(r"bias|bias_[kv]|bias_(ih|hh)(_l\d+)?(_reverse)?|\w+_bias")
"""``b`` is one too if it is 1-D or stands beside a `WEIGHT_LEAVES` leaf (``{"a": …, "b": …}`` are two matrices)."""

NORM_LEAVES = frozenset({"scale", "gamma", "beta"})
"""Affine parameters that are vectors whatever their module is called."""

STATISTICS = frozenset({"running_mean", "running_var", "moving_mean", "moving_variance", "moving_var"})
"""Running statistics of normalization layers; ``mean`` and ``var`` are too, under a norm or in ``batch_stats``."""

TABLES = frozenset({"inv_freq", "original_inv_freq", "freqs_cis", "cos_cached", "sin_cached"})
"""Rotary tables, which are computed and not learned."""

REPARAMETRIZED = frozenset({"weight_v", "weight_orig"})
"""The part of weight normalization, spectral normalization or pruning that is not the weight itself (PyTorch)."""

REPARAMETRIZATION_FACTORS = frozenset({"weight_g", "weight_u", "_u", "_v", "original0"})
"""Their other parts: magnitudes and singular vectors."""

QUANTIZATION_SCALES = frozenset(
    {"weight_scale", "weight_scale_inv", "scales", "scale_inv", "weight_scales", "kernel_scale"}
)
"""What multiplies quantized weights."""

NORM_WORDS = frozenset({"norm", "ln", "bn", "gn", "normalization"})  # and words that end in norm: layernorm
EMBEDDING_WORDS = frozenset({"wte", "wpe", "emb", "embs"})  # and words that start with embed: embedder, embeddings
ATTENTION_WORDS = frozenset({"att", "mha"})  # and words that start or end with attn or attention
ATTENTION_PAIRS = tuple(
    frozenset(pair.split())
    for pair in ("query key", "q k", "wq wk", "q_proj k_proj", "q_proj_weight k_proj_weight", "in_proj_weight out_proj")
)
"""Modules that stand side by side in an attention only, whatever it is called."""

MLP_WORDS = frozenset(
    {"mlp", "mlps", "ffn", "ff", "ffw", "feedforward", "feed", "intermediate", "expert", "experts", "moe"}
)
PROJECTION_WORDS = frozenset({"proj", "projection", "project", "linear", "dense", "fc", "mlp", "conv", "modulation"})
"""What makes ``norm_proj`` or ``embed_proj`` no norm and no embedding."""

DENSE_WORDS = frozenset({"dense", "linear"})
"""Modules that own a matrix and nothing else, in every framework: with one more axis they are stacked."""

DENSE_HINTS = frozenset({"proj", "fc", "wi", "wo", "up", "down", "gate", "router", "mlp", "ffn", "expert", "experts"})
"""Modules that mostly own a matrix, though 1×1 convolutions and folded axes go by these names too."""

GENERAL_WORDS = frozenset({"general", "einsum"})  # DenseGeneral, LinearGeneral, Einsum: several axes in or out
TRANSPOSED_WORDS = re.compile(r"conv_?\d?d?_?transpose|transposed?_?conv|deconv|up_?conv|conv_?tr(?![a-z])")
DEPTHWISE_WORDS = frozenset({"depthwise", "dw", "dwconv", "convdw"})
SCAN_WORDS = re.compile(r"^(scan|scanned|vmap|vmapped|stacked|ensemble)$")
BLOCK_LISTS = frozenset({"layers", "blocks", "layer", "block", "h", "stages", "cells"})
"""Lists of blocks: one that no index follows holds the blocks stacked in one tensor."""

EXPERT_WORDS = frozenset({"expert", "experts", "moe"})

Context = Literal["", "attention", "mlp", "block"]


@dataclass(frozen=True)
class Role:
    """What a module does inside its block.

    Attributes
    ----------
    role, kind
        What the layer is reported as.
    pattern
        Searched for at the end of the module's path.
    context
        Which surroundings a name needs that by itself could mean anything: ``attention`` or ``mlp`` if the nearest
        telling ancestor is one, ``block`` if it is inside an MLP or a numbered block, "" for none.
    """

    role: str
    kind: Literal["attention", "dense"]
    pattern: re.Pattern[str]
    context: Context = ""


def _role(role: str, kind: Literal["attention", "dense"], names: str, context: Context = "") -> Role:
    return Role(role, kind, re.compile(rf"(?:^|\.)(?:{names})$"), context)


ROLES = (
    # attention; the first match counts
    _role("query", "attention", r"q_proj(?:_weight)?|q_lin|query_proj|to_q|q_einsum|q_[ab]_proj"),
    _role("key", "attention", r"k_proj(?:_weight)?|k_lin|key_proj|to_k|k_einsum"),
    _role("value", "attention", r"v_proj(?:_weight)?|v_lin|value_proj|to_v|v_einsum"),
    _role("qkv", "attention", r"c_attn|w_?qkv|qkv|qkv_proj|to_qkv|query_key_value|qkv_einsum"),
    _role("kv", "attention", r"kv_proj|to_kv|kv_einsum|kv_b_proj|kv_a_proj_with_mqa"),
    _role("out", "attention", r"attn_vec_einsum|out_lin"),
    _role("qkv", "attention", r"in_proj_weight"),  # torch.nn.MultiheadAttention; in_proj alone is Mamba's too
    _role("query", "attention", r"query|q|wq|query_\d+", "attention"),
    _role("key", "attention", r"key|k|wk", "attention"),
    _role("value", "attention", r"value|v|wv", "attention"),
    _role("qkv", "attention", r"in_proj", "attention"),
    _role(
        "out",
        "attention",
        r"out_proj|o_proj|out|o|wo|c_proj|proj|proj_out|linear_out|to_out(?:\.\d+)?|dense|output(?:\.dense)?",
        "attention",
    ),
    # multi-layer perceptrons
    _role("gate_up", "dense", r"gate_up_proj|gating_einsum"),
    _role("gate", "dense", r"gate_proj|wi_0"),
    _role("up", "dense", r"up_proj|c_fc|wi|wi_1|dense_h_to_4h|intermediate\.dense"),
    _role("down", "dense", r"down_proj|dense_4h_to_h"),
    _role("router", "dense", r"router|gate", "mlp"),
    _role("gate", "dense", r"w1", "mlp"),
    _role("up", "dense", r"w3|dense_0", "mlp"),
    _role("down", "dense", r"w2|wo|c_proj|dense_1", "mlp"),
    _role("up", "dense", r"fc1|fc_in|lin1|linear1|linear_1", "block"),
    _role("down", "dense", r"fc2|fc_out|lin2|linear2|linear_2|output\.dense|wo", "block"),
    # heads
    _role(
        "head", "dense", r"lm_head|classifier(?:\.\d+)?|head|heads\.head|score|embed_out|logits|predictions\.decoder"
    ),
    Role("head", "dense", re.compile(r"^(?:module\.)?(?:fc|output)$")),
)


@lru_cache(maxsize=65536)
def words(component: str) -> tuple[str, ...]:
    """Lower-case words and numbers of a component: ``MultiHeadAttention_0`` → multi, head, attention, 0."""
    return tuple(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", component))


def is_norm(component: str) -> bool:
    """Whether a module of this name is a normalization layer."""
    parts = words(component)
    return not PROJECTION_WORDS & {*parts} and any(word in NORM_WORDS or word.endswith("norm") for word in parts)


def is_embedding(component: str) -> bool:
    """Whether a module or parameter of this name is a table of embeddings."""
    parts = words(component)
    if PROJECTION_WORDS & {*parts}:
        return False
    if parts[:2] in (("relative", "attention"), ("relative", "position")) and "bias" in parts:
        return True  # T5 and Swin call their tables of relative positions a bias
    return any(word in EMBEDDING_WORDS or word.startswith("embed") for word in parts) or parts == ("shared",)


def is_convolution(component: str) -> bool:
    """Whether a module of this name is a convolution."""
    return any("conv" in word for word in words(component))


def is_transposed(component: str) -> bool:
    """Whether a module of this name is a transposed convolution."""
    return TRANSPOSED_WORDS.search("_".join(words(component))) is not None


def is_depthwise(module: tuple[str, ...]) -> bool:
    """Whether a module of this path, or the one around it, is called a depthwise convolution."""
    return any(DEPTHWISE_WORDS & {*words(component)} for component in module[-2:])


def _is_attention(component: str) -> bool:
    return any(
        word in ATTENTION_WORDS or word.startswith(("attn", "attention")) or word.endswith(("attn", "attention"))
        for word in words(component)
    )


@dataclass(frozen=True)
class Name:
    """A tensor's name, taken apart."""

    text: str

    @cached_property
    def components(self) -> tuple[str, ...]:
        """What stands between the dots and slashes."""
        return tuple(re.split(r"[./]", self.text))

    @cached_property
    def leaf(self) -> str:
        """The last component."""
        return self.components[-1]

    @cached_property
    def prefix(self) -> str:
        """Everything before the leaf, with the separator: siblings start with it."""
        return self.text[: len(self.text) - len(self.leaf)]

    @cached_property
    def module(self) -> tuple[str, ...]:
        """Components of the module that owns the weights.

        The leaf is dropped where it only says "weight", and stays where it is the parameter's own name:
        ``experts.down_proj``, ``in_proj_weight``, ``W1``.
        """
        if self.leaf in WEIGHT_LEAVES | NORM_LEAVES | {"bias", "b"}:
            return self.components[:-1]
        return (*self.components[:-1], self.leaf)

    @cached_property
    def owner(self) -> str:
        """The module's own name; "" for a lone ``weight``."""
        return self.module[-1] if self.module else ""

    @cached_property
    def depth(self) -> int | None:
        """First number that ends a component (``layers.3``, ``layer_3``, ``fc3``, not ``conv2d``)."""
        for component in self.components:
            if (found := re.search(r"[0-9]{1,9}$", component)) is not None:
                return int(found.group())
        return None

    def inside(self, context: Context) -> bool:
        """Whether the module's ancestors are such a context."""
        nearest = ""
        for component in self.module[:-1]:
            if _is_attention(component):
                nearest = "attention"
            elif MLP_WORDS & {*words(component)}:
                nearest = "mlp"
        if context == "block":
            return nearest == "mlp" or any(words(c) and words(c)[-1].isdecimal() for c in self.module[:-1])
        return nearest == context

    def role(self, attention: bool = False) -> tuple[str, str]:
        """(kind, role) of a dense matrix; `attention`: siblings tell that the module is part of an attention."""
        path = ".".join(self.module).lower()
        for entry in ROLES:
            if entry.pattern.search(path) and (
                not entry.context or self.inside(entry.context) or (attention and entry.context == "attention")
            ):
                return entry.kind, entry.role
        return "dense", ""
