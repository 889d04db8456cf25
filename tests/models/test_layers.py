import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from flax.traverse_util import flatten_dict
from hypothesis import given, settings
from hypothesis import strategies as st

from spectra.models.layers import find_layers
from spectra.models.source import TensorInfo

KEY = jax.random.key(0)


def found(arrays, **options):
    """Layers by name, of a mapping of names to arrays or shapes."""
    infos = [
        TensorInfo(name, tuple(a), "float32") if isinstance(a, tuple) else TensorInfo(name, a.shape, str(a.dtype))
        for name, a in arrays.items()
    ]
    return {layer.name: layer for layer in find_layers(infos, **options)}


def told(arrays, **options):
    """(kind, role) by name."""
    return {name: (layer.kind, layer.role) for name, layer in found(arrays, **options).items()}


def numbered(shapes):
    """Parameters of these names and shapes, all of whose entries differ: what Flax would draw takes long to compile."""
    return {name: np.arange(leaf.size, dtype=leaf.dtype).reshape(leaf.shape) for name, leaf in shapes.items()}


def linen_params(module, *args):
    shapes = jax.eval_shape(module.init, KEY, *args)["params"]
    return numbered(flatten_dict(shapes, sep="."))


def nnx_params(make):
    """Of what the function makes."""
    flat = nnx.to_pure_dict(nnx.state(nnx.eval_shape(make), nnx.Param))
    return numbered({".".join(map(str, path)): leaf for path, leaf in flatten_dict(flat).items()})


def torch_params(module):
    return {name: a.numpy() for name, a in module.state_dict().items()}


def check(layer, tensor, expected):
    """The layer's only matrix is the expected one, up to transposing."""
    cut = layer.view.matrices(tensor)
    assert len(cut) == 1
    assert np.array_equal(cut[0], expected) or np.array_equal(cut[0].T, expected)


# PyTorch modules


def test_torch_linear_embedding_and_norms():
    net = torch.nn.ModuleDict(
        {
            "linear": torch.nn.Linear(3, 5),
            "embedding": torch.nn.Embedding(7, 4),
            "norm": torch.nn.LayerNorm(4),
            "stages": torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4)),
        }
    )
    layers = found(torch_params(net))
    kinds = {name: layer.kind for name, layer in layers.items()}
    assert kinds == {
        "linear.weight": "dense",
        "linear.bias": "bias",
        "embedding.weight": "embedding",
        "norm.weight": "norm",
        "norm.bias": "norm",
        "stages.0.weight": "conv2d",
        "stages.0.bias": "bias",
        "stages.1.weight": "norm",
        "stages.1.bias": "norm",
        "stages.1.running_mean": "buffer",
        "stages.1.running_var": "buffer",
        "stages.1.num_batches_tracked": "buffer",
    }
    assert layers["stages.1.running_var"].skip == "running statistics"
    assert layers["stages.1.num_batches_tracked"].skip == "int64 buffer, not weights"
    assert not any(layer.problem for layer in layers.values())


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_torch_and_flax_convolutions_have_the_same_matrices(dims, bias):
    weight = getattr(torch.nn, f"Conv{dims}d")(3, 5, (2, 3, 4)[:dims], bias=bias).weight.detach().numpy()
    kernel = weight.transpose(*range(2, 2 + dims), 1, 0)
    biases = {"torch.bias": (5,), "Conv_0.bias": (5,)} if bias else {}
    layers = found({"torch.weight": weight, "Conv_0.kernel": kernel, **biases})
    assert layers["torch.weight"].kind == layers["Conv_0.kernel"].kind == f"conv{dims}d"
    ours = layers["torch.weight"].view.matrices(weight)
    np.testing.assert_array_equal(ours, layers["Conv_0.kernel"].view.matrices(kernel))
    np.testing.assert_array_equal(ours, [weight[(..., *at)] for at in np.ndindex(weight.shape[2:])])
    flat = found({"torch.weight": weight, "Conv_0.kernel": kernel, **biases}, conv="flatten")
    spectra = [
        np.linalg.svd(flat[name].view.matrices(w)[0], compute_uv=False)
        for name, w in (("torch.weight", weight), ("Conv_0.kernel", kernel))
    ]
    np.testing.assert_allclose(spectra[0], np.linalg.svd(weight.reshape(5, -1), compute_uv=False), rtol=1e-5)
    np.testing.assert_allclose(*spectra, rtol=1e-5)


@pytest.mark.parametrize("name", ["up", "deconv1", "decoder.upconv", "ConvTranspose_0"])
def test_torch_transposed_convolutions_flatten_to_their_outputs(name):
    weight = torch.nn.ConvTranspose2d(3, 5, 2).weight.detach().numpy()
    layer = found({f"{name}.weight": weight, f"{name}.bias": (5,)}, conv="flatten")[f"{name}.weight"]
    np.testing.assert_array_equal(layer.view.matrices(weight)[0], weight.swapaxes(0, 1).reshape(5, -1))


def test_torch_multihead_attention():
    joint = told(torch_params(torch.nn.MultiheadAttention(8, 2)))
    assert joint["in_proj_weight"] == ("attention", "qkv")
    assert joint["out_proj.weight"] == ("attention", "out")
    assert joint["in_proj_bias"] == ("bias", "")
    apart = told(torch_params(torch.nn.MultiheadAttention(8, 2, kdim=4, vdim=6)))
    assert apart["k_proj_weight"] == ("attention", "key")
    assert apart["out_proj.weight"] == ("attention", "out")


@pytest.mark.parametrize(
    ("cell", "letters"),
    [(torch.nn.LSTM, "ifgo"), (torch.nn.GRU, "rzn"), (torch.nn.RNN, "")],
    ids=["lstm", "gru", "rnn"],
)
def test_torch_gates_are_what_chunk_gives(cell, letters):
    net = cell(3, 5, num_layers=2, bidirectional=True)
    layers = found(torch_params(net))
    for name, w in net.state_dict().items():
        if name.startswith("bias"):
            assert layers[name].kind == "bias"
            continue
        for letter, expected in zip(letters or [""], w.chunk(len(letters) or 1), strict=True):
            layer = layers[f"{name}[{letter}]" if letter else name]
            assert (layer.kind, layer.role) == ("recurrent", f"gate:{letter}" if letter else "")
            assert layer.shape == tuple(expected.shape)
            check(layer, w.numpy(), expected.numpy())
    stacked = found(torch_params(net), gates="stack")
    assert stacked["weight_ih_l1_reverse"].shape == tuple(net.weight_ih_l1_reverse.shape)


def test_torch_lstm_with_projection():
    net = torch.nn.LSTM(3, 6, proj_size=2)
    layers = found(torch_params(net))
    for letter, expected in zip("ifgo", net.weight_hh_l0.detach().chunk(4), strict=True):
        check(layers[f"weight_hh_l0[{letter}]"], net.weight_hh_l0.detach().numpy(), expected.numpy())
    assert layers["weight_hr_l0"].role == "projection"


@pytest.mark.parametrize(("cell", "k"), [(torch.nn.LSTMCell, 4), (torch.nn.GRUCell, 3), (torch.nn.RNNCell, 1)])
def test_torch_cells(cell, k):
    layers = found({f"cell.{name}": w for name, w in torch_params(cell(3, 5)).items()})
    assert sum(layer.kind == "recurrent" for layer in layers.values()) == 2 * k


def test_recurrent_weights_without_their_sibling_stay_whole():
    assert list(found({"weight_ih_l0": (20, 3)})) == ["weight_ih_l0"]
    assert list(found({"weight_hh_l0": (20, 3)})) == ["weight_hh_l0"]


# Flax modules


def test_flax_heads_are_folded():
    x = jnp.ones((1, 4, 6))
    linen = linen_params(nn.MultiHeadDotProductAttention(num_heads=2, qkv_features=8), x)
    own = nnx_params(lambda: nnx.MultiHeadAttention(2, 6, 8, decode=False, rngs=nnx.Rngs(0)))
    for params in (linen, own):
        layers = found(params)
        for name in ("query", "key", "value"):
            assert (layers[f"{name}.kernel"].kind, layers[f"{name}.kernel"].role) == ("attention", name)
            check(layers[f"{name}.kernel"], params[f"{name}.kernel"], params[f"{name}.kernel"].reshape(6, 8))
            assert layers[f"{name}.bias"].view is None
        check(layers["out.kernel"], params["out.kernel"], params["out.kernel"].reshape(8, 6))


def test_flax_general_layers_fold_by_their_bias():
    params = linen_params(nn.DenseGeneral((4, 5), axis=(-2, -1)), jnp.ones((7, 2, 3)))
    check(found({f"DenseGeneral_0.{k}": v for k, v in params.items()})["DenseGeneral_0.kernel"], params["kernel"],
          params["kernel"].reshape(6, 20))  # fmt: skip


@pytest.mark.parametrize("cell", [nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell])
def test_nnx_fused_cells(cell):
    params = nnx_params(lambda: nnx.RNN(cell(3, 5, rngs=nnx.Rngs(0))))
    layers = found(params)
    letters = {nnx.OptimizedLSTMCell: "ifgo", nnx.GRUCell: "rzn", nnx.SimpleCell: ""}[cell]
    for name in ("cell.dense_i.kernel", "cell.dense_h.kernel"):
        parts = np.split(params[name], len(letters) or 1, axis=-1)
        for letter, expected in zip(letters or [""], parts, strict=True):
            layer = layers[f"{name}[{letter}]" if letter else name]
            assert layer.kind == "recurrent"
            check(layer, params[name], expected)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.OptimizedLSTMCell, nn.GRUCell, nn.MGUCell, nn.SimpleCell])
def test_linen_cells(cell):
    params = linen_params(nn.RNN(cell(5)), jnp.ones((2, 4, 3)))
    layers = found(params)
    for name, layer in layers.items():
        assert layer.kind == ("bias" if name.endswith("bias") else "recurrent")
    if cell is not nn.SimpleCell:
        assert layers["cell.hf.kernel" if "cell.hf.kernel" in layers else "cell.hz.kernel"].role in ("gate:f", "gate:z")


def test_nnx_cell_with_separate_gates():
    layers = found(nnx_params(lambda: nnx.LSTMCell(3, 5, rngs=nnx.Rngs(0))))
    assert layers["if_.kernel"].role == layers["hf.kernel"].role == "gate:f"


def test_convolutional_lstm_has_gates_of_convolutions():
    params = linen_params(nn.RNN(nn.ConvLSTMCell(5, (3, 3))), jnp.ones((2, 4, 8, 8, 3)))
    w = params["cell.ih.kernel"]
    layers = found(params)
    for letter, expected in zip("igfo", np.split(w, 4, axis=-1), strict=True):
        cut = layers[f"cell.ih.kernel[{letter}]"].view.matrices(w)
        np.testing.assert_array_equal(cut, expected.reshape(9, 3, 5).swapaxes(1, 2))


def test_keras_cells():
    params = {"lstm.kernel": np.arange(60).reshape(3, 20).astype("float32"), "lstm.recurrent_kernel": (5, 20)}
    layers = found(params)
    check(layers["lstm.kernel[c]"], params["lstm.kernel"], params["lstm.kernel"][:, 10:15])
    assert layers["lstm.recurrent_kernel[o]"].shape == (5, 5)


# Stacks


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        x = nn.LayerNorm()(x)
        x = nn.MultiHeadDotProductAttention(2)(x, x)
        x = nn.Dense(12)(x)
        x = nn.Dense(6, use_bias=False)(x)
        return nn.Conv(6, (3,))(x), None


class Scanned(nn.Module):
    axis: int = 0

    @nn.compact
    def __call__(self, x):
        scan = nn.scan(Block, variable_axes={"params": self.axis}, split_rngs={"params": True}, length=4)
        return nn.Dense(3)(scan()(x, None)[0])


@pytest.mark.parametrize("axis", [0, 1])
def test_scanned_linen_blocks_are_sliced(axis):
    params = linen_params(Scanned(axis), jnp.ones((1, 5, 6)))
    layers = found(params)
    expected = {
        "Dense_0": ("dense", (6, 12)),
        "Dense_1": ("dense", (12, 6)),
        "MultiHeadDotProductAttention_0.query": ("attention", (6, 6)),
        "MultiHeadDotProductAttention_0.out": ("attention", (6, 6)),
    }
    for module, (kind, shape) in expected.items():
        name = f"ScanBlock_0.{module}.kernel"
        for i in range(4):
            layer = layers[f"{name}[{i}]"]
            assert (layer.kind, layer.depth) == (kind, i)
            check(layer, params[name], params[name].take(i, axis).reshape(shape))
            assert layer.shape == params[name].take(i, axis).shape
    name = "ScanBlock_0.Conv_0.kernel"
    np.testing.assert_array_equal(
        layers[f"{name}[2]"].view.matrices(params[name]), params[name].take(2, axis).swapaxes(1, 2)
    )
    assert layers["ScanBlock_0.LayerNorm_0.scale"].kind == "norm"
    assert layers["ScanBlock_0.MultiHeadDotProductAttention_0.query.bias"].kind == "bias"
    assert layers["Dense_0.kernel"].shape == (6, 3)


class NNXBlock(nnx.Module):
    def __init__(self, rngs):
        self.ln = nnx.LayerNorm(6, rngs=rngs)
        self.linear = nnx.Linear(6, 8, rngs=rngs)
        self.other = nnx.Linear(8, 6, use_bias=False, rngs=rngs)
        self.attn = nnx.MultiHeadAttention(2, 6, decode=False, use_bias=False, rngs=rngs)
        self.cell = nnx.OptimizedLSTMCell(6, 5, rngs=rngs)


@pytest.mark.parametrize("prefix", ["", "blocks.", "anything."])
def test_vmapped_nnx_blocks_are_sliced(prefix):
    make = nnx.split_rngs(splits=3)(nnx.vmap(NNXBlock))
    params = {prefix + name: w for name, w in nnx_params(lambda: make(nnx.Rngs(0))).items()}
    layers = found(params)
    for module, shape in {"linear": (6, 8), "other": (8, 6), "attn.value": (6, 6), "attn.out": (6, 6)}.items():
        w = params[f"{prefix}{module}.kernel"]
        check(layers[f"{prefix}{module}.kernel[1]"], w, w[1].reshape(shape))
    w = params[f"{prefix}cell.dense_i.kernel"]
    check(layers[f"{prefix}cell.dense_i.kernel[2][g]"], w, w[2][:, 10:15])


def test_a_bias_alone_shows_a_stack():
    flax = {"m.kernel": (3, 6, 8), "m.bias": (3, 8)}
    assert [layer.shape for name, layer in found(flax).items() if "kernel" in name] == [(6, 8)] * 3
    torch_ = {"m.weight": (3, 8, 6), "m.bias": (3, 8)}
    assert [layer.shape for name, layer in found(torch_).items() if "weight" in name] == [(8, 6)] * 3


def test_attention_by_convolutions():
    shapes = {"attn.proj.kernel": (1, 1, 6, 8), "attn.proj.bias": (8,), "attn.v.weight": (8, 6, 1)}
    layers = found(shapes)
    assert (layers["attn.proj.kernel"].kind, layers["attn.v.weight"].kind) == ("conv2d", "conv1d")


def test_without_a_stack_the_same_shapes_are_convolutions():
    assert found({"m.kernel": (3, 6, 8), "m.bias": (8,)})["m.kernel"].kind == "conv1d"
    assert found({"Conv_0.kernel": (3, 6, 8)})["Conv_0.kernel"].kind == "conv1d"
    assert found({"layers.conv.kernel": (3, 3, 6, 8)})["layers.conv.kernel"].kind == "conv2d"
    assert found({"layers.attn.query.kernel": (6, 2, 3), "layers.norm.scale": (6,)})["layers.attn.query.kernel"].view


def test_norms_over_images_are_no_stacks():
    shapes = {"block.conv.weight": (16, 3, 3, 3), "block.norm.weight": (16, 8, 8), "block.norm.bias": (16, 8, 8)}
    assert found(shapes)["block.conv.weight"].kind == "conv2d"


def test_a_square_stack_or_fold_is_not_guessed():
    assert found({"m.kernel": (4, 4, 5), "m.bias": (4, 5)})["m.kernel"].problem
    assert found({"Dense_0.kernel": (4, 4, 5), "Dense_0.bias": (4, 5)})["Dense_0.kernel[3]"].view
    assert found({"DenseGeneral_0.kernel": (4, 4, 5), "DenseGeneral_0.bias": (4, 5)})["DenseGeneral_0.kernel"].view


def test_fused_experts_are_sliced():
    layers = found(
        {
            "model.layers.5.mlp.experts.gate_up_proj": (2, 8, 12),
            "model.layers.5.mlp.experts.gate_up_proj_bias": (2, 12),
            "model.layers.5.mlp.experts.down_proj": (2, 6, 8),
            "layers.1.moe.experts.w1.weight": (2, 4, 8),
            "layers.moe.experts.wi.kernel": (3, 2, 8, 12),
            "layers.moe.norm.scale": (3, 8),
        }
    )
    down = layers["model.layers.5.mlp.experts.down_proj[1]"]
    assert (down.kind, down.role, down.depth, down.shape) == ("dense", "down", 5, (6, 8))
    assert layers["model.layers.5.mlp.experts.gate_up_proj[0]"].role == "gate_up"
    assert layers["model.layers.5.mlp.experts.gate_up_proj_bias"].kind == "bias"
    assert layers["layers.1.moe.experts.w1.weight[1]"].shape == (4, 8)
    assert layers["layers.moe.experts.wi.kernel[2][1]"].depth == 2


def test_experts_with_biases_are_one_stack():
    layers = found({"experts.fc1.kernel": (4, 8, 6), "experts.fc1.bias": (4, 6), "experts.fc2.kernel": (4, 6, 8)})
    assert layers["experts.fc1.kernel[3]"].shape == (8, 6)
    assert layers["experts.fc2.kernel[3]"].shape == (6, 8)


def test_gemma_einsums():
    arrays = {
        "transformer/layer_0/attn/q_einsum.w": np.arange(64.0).reshape(2, 8, 4),
        "transformer/layer_0/attn/kv_einsum.w": np.arange(128.0).reshape(2, 2, 8, 4),
        "transformer/layer_0/attn/attn_vec_einsum.w": np.arange(64.0).reshape(2, 4, 8),
        "transformer/layer_0/mlp/gating_einsum": np.arange(256.0).reshape(2, 16, 8),
        "layers.attn.kv_einsum.w": (3, 2, 2, 8, 4),
        "transformer/embedder.input_embedding": (99, 8),
    }
    layers = found(arrays)
    q, kv, o, gating = list(arrays)[:4]
    check(layers[q], arrays[q], arrays[q].swapaxes(0, 1).reshape(8, 8))
    check(layers[f"{kv}[1]"], arrays[kv], arrays[kv][1].swapaxes(0, 1).reshape(8, 8))
    check(layers[o], arrays[o], arrays[o].reshape(8, 8))
    check(layers[f"{gating}[0]"], arrays[gating], arrays[gating][0])
    assert [layers[f"{kv}[{i}]"].role for i in range(2)] == ["key", "value"]
    assert (layers["layers.attn.kv_einsum.w[2][1]"].role, layers["layers.attn.kv_einsum.w[2][1]"].depth) == ("value", 2)
    assert layers["transformer/embedder.input_embedding"].kind == "embedding"


# Names of published checkpoints


@pytest.mark.parametrize(
    ("name", "kind", "role"),
    [
        ("embeddings.word_embeddings.weight", "embedding", ""),
        ("embeddings.position_embeddings.weight", "embedding", ""),
        ("encoder.layer.0.attention.self.query.weight", "attention", "query"),
        ("encoder.layer.0.attention.output.dense.weight", "attention", "out"),
        ("encoder.layer.0.intermediate.dense.weight", "dense", "up"),
        ("encoder.layer.0.output.dense.weight", "dense", "down"),
        ("pooler.dense.weight", "dense", ""),
        ("wte.weight", "embedding", ""),
        ("transformer.wpe.weight", "embedding", ""),
        ("h.0.attn.c_attn.weight", "attention", "qkv"),
        ("h.0.attn.c_proj.weight", "attention", "out"),
        ("h.0.mlp.c_fc.weight", "dense", "up"),
        ("h.0.mlp.c_proj.weight", "dense", "down"),
        ("model.embed_tokens.weight", "embedding", ""),
        ("model.layers.3.self_attn.q_proj.weight", "attention", "query"),
        ("model.layers.3.self_attn.o_proj.weight", "attention", "out"),
        ("model.layers.3.mlp.gate_proj.weight", "dense", "gate"),
        ("model.layers.3.mlp.up_proj.weight", "dense", "up"),
        ("model.layers.3.mlp.down_proj.weight", "dense", "down"),
        ("lm_head.weight", "dense", "head"),
        ("model.layers.3.block_sparse_moe.gate.weight", "dense", "router"),
        ("model.layers.3.block_sparse_moe.experts.7.w1.weight", "dense", "gate"),
        ("model.layers.3.block_sparse_moe.experts.7.w2.weight", "dense", "down"),
        ("model.layers.3.block_sparse_moe.experts.7.w3.weight", "dense", "up"),
        ("layers.3.attention.wq.weight", "attention", "query"),
        ("layers.3.attention.wo.weight", "attention", "out"),
        ("tok_embeddings.weight", "embedding", ""),
        ("output.weight", "dense", "head"),
        ("block.0.layer.0.SelfAttention.q.weight", "attention", "query"),
        ("block.0.layer.0.SelfAttention.relative_attention_bias.weight", "embedding", ""),
        ("block.0.layer.1.DenseReluDense.wo.weight", "dense", "down"),
        ("blocks.0.attn.qkv.weight", "attention", "qkv"),
        ("blocks.0.attn.proj.weight", "attention", "out"),
        ("blocks.0.mlp.fc1.weight", "dense", "up"),
        ("transformer.resblocks.0.attn.in_proj_weight", "attention", "qkv"),
        ("backbone.layers.0.mixer.in_proj.weight", "dense", ""),
        ("blocks.0.ffn.key.weight", "dense", ""),
        ("blocks.0.att.key.weight", "attention", "key"),
        ("layers.0.q_proj.lora_A.weight", "dense", ""),
        ("fc.weight", "dense", "head"),
        ("fc1.weight", "dense", ""),
        ("W1", "dense", ""),
        ("a", "dense", ""),
        ("b", "dense", ""),
    ],
)
def test_names_of_matrices(name, kind, role):
    layer = found({name: (16, 8)})[name]
    assert (layer.kind, layer.role, layer.problem) == (kind, role, "")
    assert (layer.view.N, layer.view.M) == (16, 8)


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        ("embeddings.LayerNorm.weight", (8,), "norm"),
        ("h.0.ln_1.bias", (8,), "norm"),
        ("model.layers.0.input_layernorm.weight", (8,), "norm"),
        ("layers.0.attention_norm.weight", (8,), "norm"),
        ("bn1.weight", (8,), "norm"),
        ("ScanBlock_0.RMSNorm_0.scale", (4, 8), "norm"),
        ("model.layers.0.self_attn.q_proj.bias", (8,), "bias"),
        ("layers.attn.query.bias", (3, 2, 4), "bias"),
        ("logit_bias", (8,), "bias"),
        ("alpha", (8,), "vector"),
        ("cls_token", (1, 1, 8), "vector"),
        ("pos_embed", (1, 16, 8), "embedding"),
        ("pos_embed_2d", (1, 4, 4, 8), "embedding"),
        ("patch_embed.proj.weight", (8, 3, 4, 4), "conv2d"),
        ("embedding.kernel", (4, 4, 3, 8), "conv2d"),
        ("visual.patch_embedding.weight", (8, 3, 4, 4), "conv2d"),
    ],
)
def test_names_of_other_tensors(name, shape, kind):
    layer = found({name: shape})[name]
    assert (layer.kind, layer.problem) == (kind, "")
    assert (layer.view is None) == (kind in ("norm", "bias", "vector"))


@pytest.mark.parametrize(
    ("name", "depth"), [("layers.12.mlp.weight", 12), ("conv2d.weight", None), ("layer_3.fc1.kernel", 3), ("fc2.w", 2)]
)
def test_depth(name, depth):
    assert found({name: (4, 4)})[name].depth == depth


# What cannot be analyzed, and why


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "problem", "skip"),
    [
        ("l.weight", (4, 4), "int8", "integer weights (int8): dequantize", ""),
        ("l.qweight", (4, 4), "int32", "integer weights (int32)", ""),
        ("l.weight", (4, 4), "float4_e2m1fn", "quantized weights", ""),
        ("l.weight", (4, 4), "complex64", "complex weights", ""),
        ("position_ids", (1, 512), "int64", "", "int64 buffer, not weights"),
        ("mask", (4, 4), "bool", "", "bool buffer"),
        ("l.weight", (0, 4), "float32", "", "empty"),
        ("logit_scale", (), "float32", "", "scalar"),
        ("h.0.attn.bias", (1, 1, 9, 9), "float32", "", "causal mask"),
        ("rotary.inv_freq", (9,), "float32", "", "rotary table"),
        ("batch_stats.BatchNorm_0.mean", (9,), "float32", "", "running statistics"),
        ("conv.weight_v", (4, 4, 3), "float32", "a part of a reparametrized weight", ""),
        ("conv.parametrizations.weight.original1", (4, 4, 3), "float32", "a part of a reparametrized weight", ""),
        ("conv.w", (3, 4, 5), "float32", "cannot tell which axes", ""),
        ("proj.kernel", (3, 4, 5), "float32", "cannot tell whether", ""),
        ("x.weight", (2, 2, 2, 2, 2, 2), "float32", "cannot tell whether", ""),
        ("rngs.key", (), "key<fry>", "", "key<fry> buffer"),
    ],
)
def test_reasons(name, shape, dtype, problem, skip):
    [layer] = find_layers([TensorInfo(name, shape, dtype)])
    assert layer.view is None
    assert layer.problem.startswith(problem)
    assert layer.skip.startswith(skip)
    assert bool(layer.problem) == bool(problem)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_floating_types_are_analyzed(dtype):
    [layer] = find_layers([TensorInfo("w", (4, 4), dtype)])
    assert layer.view is not None


def test_scaled_float8_is_refused_and_its_scales_are_no_weights():
    layers = find_layers(
        [TensorInfo("l.weight", (4, 4), "float8_e4m3fn"), TensorInfo("l.weight_scale_inv", (2, 2), "float32")]
    )
    assert layers[0].problem.startswith("scaled weights")
    assert layers[1].skip == "quantization scales"


def test_an_explicit_layout_wins_over_the_leaf_name():
    shape = (2, 3, 4, 5)
    torch_, flax = (found({"w": shape}, layout=layout)["w"].view for layout in ("torch", "flax"))
    assert (torch_.positions, torch_.rows, torch_.cols) == ((2, 3), (0,), (1,))
    assert (flax.positions, flax.rows, flax.cols) == ((0, 1), (3,), (2,))
    assert found({"conv.weight": shape}, layout="flax")["conv.weight"].view == flax
    assert found({"conv.kernel": shape}, layout="torch")["conv.kernel"].view == torch_


def test_order_is_that_of_the_tensors():
    names = [layer.name for layer in find_layers([TensorInfo(n, s, "float32") for n, s in
             [("z.weight", (4, 4)), ("experts.w1", (2, 4, 4)), ("a.bias", (4,))]])]  # fmt: skip
    assert names == ["z.weight", "experts.w1[0]", "experts.w1[1]", "a.bias"]


TELLING = """
weight kernel bias scale w b W1 embedding mean var scales layers blocks experts moe attn query key value out conv proj
Dense_0 ScanX_0 norm upconv 0 3 dense_i dense_h hh ih h i if in hf hn weight_ih_l0 weight_hh_l0 weight_hr_l0 q_einsum
kv_einsum recurrent_kernel parametrizations original original0
"""
COMPONENTS = st.sampled_from(TELLING.split()) | st.text(max_size=4)
NAMES = st.builds(
    lambda parts, sep: sep.join(parts), st.lists(COMPONENTS, min_size=1, max_size=4), st.sampled_from("./")
)
DTYPES = st.sampled_from(["float32"] * 6 + ["bfloat16", "int8", "float8_e4m3fn", "complex64", "bool", "key<fry>", ""])
INFOS = st.builds(TensorInfo, NAMES, st.lists(st.integers(0, 4), max_size=7).map(tuple), DTYPES)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(INFOS, max_size=12, unique_by=lambda info: info.name),
    st.sampled_from([None, "torch", "flax"]),
    st.sampled_from(["pool", "flatten"]),
    st.sampled_from(["split", "stack"]),
)
def test_any_checkpoint_has_layers_that_cover_it_once(infos, layout, conv, gates):
    layers = find_layers(infos, layout=layout, conv=conv, gates=gates)
    for info in infos:
        own = [layer for layer in layers if layer.tensor == info.name]
        assert own
        assert len({layer.name for layer in own}) == len(own)
        assert not any(layer.problem and layer.skip for layer in own)
        cut = [layer.view.matrices(np.arange(info.size).reshape(info.shape)) for layer in own if layer.view]
        if cut:
            assert sorted(np.concatenate([m.ravel() for m in cut])) == list(range(info.size))
            assert all(np.prod(layer.shape) == m.size for layer, m in zip(own, cut, strict=True))
    assert layers == [layer for info in infos for layer in layers if layer.tensor == info.name]
