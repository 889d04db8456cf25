"""One layer for each head, where a kernel has an axis of heads."""

from __future__ import annotations

from contextlib import closing

import numpy as np
from flax import nnx

from spectra.models.formats import open_source
from spectra.models.heads import UNKNOWN
from spectra.models.layers import Layer, find_layers
from spectra.models.source import TensorInfo


def split(*tensors: tuple[str, tuple[int, ...]], heads: str = "split") -> dict[str, Layer]:
    infos = [TensorInfo(name, shape, "float32") for name, shape in tensors]
    return {layer.name: layer for layer in find_layers(infos, heads=heads)}


def cut(layer: Layer, tensor: np.ndarray) -> np.ndarray:
    assert layer.view is not None
    return layer.view.matrices(tensor)[0]


def test_the_heads_of_flax_attention():
    module = nnx.MultiHeadAttention(4, 32, qkv_features=24, decode=False, rngs=nnx.Rngs(0))
    with closing(open_source({"attention": nnx.state(module)})) as source:
        layers = {layer.name: layer for layer in find_layers(source.tensors, layout="flax", heads="split")}
        for role, shape in (("query", (32, 6)), ("key", (32, 6)), ("value", (32, 6)), ("out", (6, 32))):
            kernel = np.asarray(source.read(f"attention.{role}.kernel"))
            for h in range(4):
                layer = layers[f"attention.{role}.kernel[{h}]"]
                assert (layer.kind, layer.role, layer.shape, layer.depth) == ("attention", role, shape, None)
                np.testing.assert_array_equal(cut(layer, kernel), kernel[h] if role == "out" else kernel[:, h])
    assert f"attention.{role}.kernel" not in layers
    assert not [name for name in layers if "bias[" in name]


def test_together_the_heads_are_the_folded_projection():
    """Σ over the heads of WₕWₕᵀ is WWᵀ of the fold."""
    w = np.random.default_rng(0).standard_normal((32, 4, 8))
    tensor = ("attn.query.kernel", w.shape)
    fold = cut(split(tensor, heads="fold")["attn.query.kernel"], w)
    heads = [cut(layer, w) for layer in split(tensor).values()]
    assert len(heads) == 4
    np.testing.assert_allclose(sum(head @ head.T for head in heads), fold @ fold.T)


def test_query_key_and_value_in_one_kernel():
    w = np.arange(32 * 3 * 4 * 8).reshape(32, 3, 4, 8)
    layers = split(("attn.qkv.kernel", w.shape), ("attn.qkv.bias", (3, 4, 8)))
    assert len(layers) == 13
    for p, role in enumerate(("query", "key", "value")):
        for h in range(4):
            layer = layers[f"attn.qkv.kernel[{p}][{h}]"]
            assert layer.role == role
            np.testing.assert_array_equal(cut(layer, w), w[:, p, h])


def test_an_axis_that_is_not_three_projections_is_left_folded():
    layers = split(("attn.qkv.kernel", (32, 4, 3, 8)), ("attn.qkv.bias", (4, 3, 8)))
    assert layers["attn.qkv.kernel"].note == UNKNOWN


def test_einsum_weights_in_stacked_blocks():
    """Gemma's: (layers, 2, heads, d, head_dim) and (layers, heads, head_dim, d); gates of the MLP are no heads."""
    w = np.arange(5 * 2 * 4 * 16 * 8).reshape(5, 2, 4, 16, 8)
    out = np.arange(5 * 4 * 8 * 16).reshape(5, 4, 8, 16)
    layers = split(
        ("layers.attn.kv_einsum.w", w.shape),
        ("layers.attn.attn_vec_einsum.w", out.shape),
        ("layers.mlp.gating_einsum.w", (5, 2, 16, 32)),
    )
    value = layers["layers.attn.kv_einsum.w[3][1][2]"]
    assert (value.role, value.depth, value.shape) == ("value", 3, (16, 8))
    np.testing.assert_array_equal(cut(value, w), w[3, 1, 2])
    np.testing.assert_array_equal(cut(layers["layers.attn.attn_vec_einsum.w[4][1]"], out), out[4, 1])
    assert layers["layers.mlp.gating_einsum.w[2][1]"].role == "up"


def test_heads_in_a_scanned_block_keep_the_depth():
    w = np.arange(6 * 32 * 4 * 8).reshape(6, 32, 4, 8)
    layers = split(
        ("blocks.attn.query.kernel", w.shape), ("blocks.attn.query.bias", (6, 4, 8)), ("blocks.norm.scale", (6, 32))
    )
    layer = layers["blocks.attn.query.kernel[5][1]"]
    assert layer.depth == 5
    np.testing.assert_array_equal(cut(layer, w), w[5, :, 1])


def test_what_has_no_axis_of_heads_stays_and_says_so():
    layers = split(
        ("h.0.self_attn.q_proj.weight", (32, 32)), ("h.0.mlp.up_proj.weight", (64, 32)), ("head.kernel", (3, 3, 8, 9))
    )
    assert layers["h.0.self_attn.q_proj.weight"].note == UNKNOWN
    assert layers["h.0.mlp.up_proj.weight"].note == layers["head.kernel"].note == ""
    folded = split(("h.0.self_attn.q_proj.weight", (32, 32)), heads="fold")
    assert folded["h.0.self_attn.q_proj.weight"].note == ""


def test_experts_are_slices_without_asking():
    w = np.arange(8 * 16 * 24).reshape(8, 16, 24)
    layers = split(("moe.experts.up_proj", w.shape), heads="fold")
    assert list(layers) == [f"moe.experts.up_proj[{i}]" for i in range(8)]
    np.testing.assert_array_equal(cut(layers["moe.experts.up_proj[7]"], w), w[7])
