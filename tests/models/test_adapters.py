"""Low-rank adapters: which tensors are a pair, at what scale, and the weights before and after, against NumPy."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from spectra.errors import CheckpointError, InputError
from spectra.models.adapted import ALONE, AdaptedSource, layers_of, open_model
from spectra.models.adapters import find_adapters
from spectra.models.layers import Layer
from spectra.models.operators import LowRank
from spectra.models.source import TensorInfo

RNG = np.random.default_rng(4)
PEFT = "base_model.model.h.0.attn.q_proj"


def normal(*shape: int, dtype: object = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def opened(tensors: dict[str, np.ndarray], base: object = None) -> tuple[AdaptedSource, dict[str, Layer]]:
    source = open_model(tensors, base)
    assert isinstance(source, AdaptedSource)
    return source, {layer.name: layer for layer in layers_of(source, layout=None)}


def product(source: AdaptedSource, layer: Layer) -> np.ndarray:
    """The change as the layer's view describes it."""
    assert isinstance(layer.view, LowRank)
    factors = layer.view.matrices(np.asarray(source.read(layer.tensor)))[0]
    return layer.view.scale * factors[: layer.view.left] @ factors[layer.view.left :].T


@pytest.mark.parametrize(
    ("names", "row", "base"),
    [
        ((f"{PEFT}.lora_A.weight", f"{PEFT}.lora_B.weight"), "h.0.attn.q_proj", "h.0.attn.q_proj.weight"),
        (
            (f"{PEFT}.lora_A.default.weight", f"{PEFT}.lora_B.default.weight"),
            "h.0.attn.q_proj",
            "h.0.attn.q_proj.weight",
        ),
        (("q.lora_A", "q.lora_B"), "q", "q.weight"),
        (("unet.to_q.lora.down.weight", "unet.to_q.lora.up.weight"), "unet.to_q", "unet.to_q.weight"),
        (
            ("lora_unet_to_q.lora_down.weight", "lora_unet_to_q.lora_up.weight"),
            "lora_unet_to_q",
            "lora_unet_to_q.weight",
        ),
    ],
)
def test_pairs_in_pytorch_order(names: tuple[str, str], row: str, base: str):
    a, b = normal(4, 30), normal(40, 4)
    source, layers = opened({names[0]: a, names[1]: b, "norm.weight": normal(30)})
    assert list(layers) == [row, "norm.weight"]
    layer = layers[row]
    assert (layer.kind, layer.shape, layer.view.N, layer.view.M, layer.view.num_evals) == ("lora", (40, 30), 40, 30, 4)
    assert layer.note == f"scale 1: nothing tells lora_alpha; {ALONE}"
    np.testing.assert_allclose(product(source, layer), b @ a, rtol=1e-5)
    [adapter] = find_adapters(source._inner.tensors)
    assert base in adapter.bases()


@pytest.mark.parametrize(
    "names",
    [
        ("mlp.lora_a", "mlp.lora_b"),
        ("mlp.lora.lora_a", "mlp.lora.lora_b"),
        ("mlp.lora_a.kernel", "mlp.lora_b.kernel"),
        ("mlp.kernel_lora_a", "mlp.kernel_lora_b"),
    ],
)
def test_pairs_in_flax_order_beside_their_base(names: tuple[str, str]):
    """The weight stands in the same checkpoint: it has a row as ever, and one for the merged weight."""
    a, b, w = normal(30, 4), normal(4, 40), normal(30, 40)
    source, layers = opened({"mlp.kernel": w, names[0]: a, names[1]: b})
    delta = layers.pop("mlp" if "kernel_lora" not in names[0] else "mlp.kernel[lora]")
    assert delta.shape == (30, 40) and ALONE not in delta.note
    np.testing.assert_allclose(product(source, delta), a @ b, rtol=1e-5)
    assert set(layers) == {"mlp.kernel", f"{delta.name}[merged]"}
    merged = layers[f"{delta.name}[merged]"]
    np.testing.assert_allclose(source.read(merged.tensor), w + a @ b, rtol=1e-5, atol=1e-6)


def test_flax_modules():
    """nnx.LoRALinear, and nnx.LoRA around a Linear, as they store themselves."""
    model = {
        "one": nnx.LoRALinear(6, 8, lora_rank=2, rngs=nnx.Rngs(0)),
        "two": nnx.LoRA(6, 2, 8, base_module=nnx.Linear(6, 8, rngs=nnx.Rngs(1)), rngs=nnx.Rngs(2)),
    }
    state = {name: nnx.state(module) for name, module in model.items()}
    _, layers = opened(state)
    assert {name for name, layer in layers.items() if layer.view} == {
        *("one", "one.kernel", "one[merged]"),
        *("two", "two.base_module.kernel", "two[merged]"),
    }


def test_scale_from_peft():
    """alpha/r, alpha/√r for rsLoRA, and alpha_pattern by the end of a module's name."""
    tensors = {f"{PEFT}.lora_A.weight": (4, 30), f"{PEFT}.lora_B.weight": (40, 4)}
    tensors |= {name.replace("q_proj", "v_proj"): shape for name, shape in tensors.items()}
    arrays = {name: normal(*shape) for name, shape in tensors.items()}
    for config, q, v in (
        ({"lora_alpha": 16, "r": 4}, 4, 4),
        ({"lora_alpha": 16, "use_rslora": True}, 8, 8),
        ({"lora_alpha": 16, "alpha_pattern": {"v_proj": 2}}, 4, 0.5),
        ({"lora_alpha": "much"}, 1, 1),
    ):
        with closing(
            AdaptedSource(open_plain(arrays), find_adapters(open_plain(arrays).tensors), config, None)
        ) as source:
            layers = {layer.name: layer for layer in source.layers(None)}
        assert [layers[f"h.0.attn.{p}_proj"].view.scale for p in "qv"] == [q, v]
        assert ("scale 1" in layers["h.0.attn.q_proj"].note) == (q == 1)


def open_plain(tensors: dict[str, np.ndarray]):
    from spectra.models.formats import open_source

    return open_source(tensors)


def test_scale_from_a_tensor():
    tensors = {"u.lora_down.weight": normal(4, 30), "u.lora_up.weight": normal(40, 4), "u.alpha": np.float32([2.0])}
    _, layers = opened(tensors)
    assert layers["u"].view.scale == 0.5 and list(layers) == ["u"]


def test_a_convolution_and_an_embedding():
    conv, table = normal(16, 8, 3, 3), normal(50, 12)
    down, up = normal(2, 8, 3, 3), normal(16, 2, 1, 1)
    a, b = normal(3, 50), normal(12, 3)
    source, layers = opened(
        {
            "base_model.model.c.lora_A.weight": down,
            "base_model.model.c.lora_B.weight": up,
            "base_model.model.wte.lora_embedding_A": a,
            "base_model.model.wte.lora_embedding_B": b,
        },
        {"c.weight": conv, "wte.weight": table},
    )
    change = np.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
    assert layers["c"].shape == (16, 8, 3, 3)
    np.testing.assert_allclose(product(source, layers["c"]), change.reshape(16, -1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(source.read(layers["c[merged]"].tensor), conv + change, rtol=1e-5, atol=1e-6)
    assert (layers["c[merged]"].kind, layers["c[merged]"].view.rf) == ("conv2d", 9)
    np.testing.assert_allclose(product(source, layers["wte"]), (b @ a).T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(source.read(layers["wte[merged]"].tensor), table + (b @ a).T, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 30), (30, 40)])
def test_base_delta_and_merged(shape: tuple[int, int]):
    """GPT-2 keeps its weights as (in, out): the change is turned. Types are widened, and the scale is applied."""
    a, b, w = normal(4, 30, dtype=ml_dtypes.bfloat16), normal(40, 4, dtype=ml_dtypes.bfloat16), normal(*shape)
    tensors = {f"{PEFT}.lora_A.weight": a, f"{PEFT}.lora_B.weight": b, f"{PEFT}.alpha": np.float32([2])}
    source, layers = opened(tensors, {"h.0.attn.q_proj.weight": w.astype(np.float16), "other.weight": normal(9, 9)})
    row = "h.0.attn.q_proj"
    assert list(layers) == [row, f"{row}[base]", f"{row}[merged]"]
    assert [layer.kind for layer in layers.values()] == ["lora", "attention", "attention"]
    assert [layer.role for layer in layers.values()] == ["query"] * 3 and layers[row].depth == 0
    assert layers[row].note == ""
    change = 0.5 * b.astype(np.float64) @ a.astype(np.float64)
    before = w.astype(np.float16)
    np.testing.assert_array_equal(source.read(layers[f"{row}[base]"].tensor), before)
    merged = source.read(layers[f"{row}[merged]"].tensor)
    assert merged.dtype == np.float32 and layers[f"{row}[merged]"].dtype == "float32"
    np.testing.assert_allclose(merged, before + (change if shape == (40, 30) else change.T), rtol=1e-5, atol=1e-6)


def test_a_stacked_base_has_rows_for_its_slices():
    """A weight that is cut into several matrices is cut alike when it is merged."""
    tensors = {"attn.query.lora_a": normal(32, 4), "attn.query.lora_b": normal(4, 24)}
    base = {"attn.query.kernel": normal(32, 3, 8), "attn.query.bias": normal(3, 8)}
    source, layers = opened(tensors, base)
    assert layers["attn.query[merged]"].shape == (32, 3, 8)
    by_head = {layer.name for layer in source.layers(None, heads="split")}
    assert {f"attn.query[{stage}][{h}]" for stage in ("base", "merged") for h in range(3)} <= by_head
    change = tensors["attn.query.lora_a"] @ tensors["attn.query.lora_b"]
    want = base["attn.query.kernel"] + change.reshape(32, 3, 8)
    np.testing.assert_allclose(source.read(layers["attn.query[merged]"].tensor), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ((0, 30), (40, 0), "of rank 0 ((40, 0) and (0, 30)) changes nothing"),
        ((4, 30), (40, 5), "(40, 5) and (4, 30), do not fit together"),
        ((30,), (40, 4), "do not fit together"),
        ((4, 30), None, "lacks one of its factors: only 'bad.lora_A.weight' is there"),
    ],
)
def test_a_bad_adapter_is_one_failed_row(a: tuple[int, ...], b: tuple[int, ...] | None, says: str):
    tensors = {"bad.lora_A.weight": normal(*a), "q.lora_A.weight": normal(4, 30), "q.lora_B.weight": normal(40, 4)}
    if b is not None:
        tensors["bad.lora_B.weight"] = normal(*b)
    _, layers = opened(tensors)
    assert says in layers["bad"].problem and layers["bad"].view is None
    assert layers["q"].view is not None and layers["q"].problem == ""


def test_integer_factors_fail():
    tensors = {"q.lora_A.weight": np.ones((4, 30), np.int8), "q.lora_B.weight": normal(40, 4)}
    _, layers = opened(tensors)
    assert "factor 'q.lora_A.weight': integer weights (int8)" in layers["q"].problem


def test_a_base_that_does_not_go_with_it():
    tensors = {f"{p}.lora_{x}.weight": normal(*s) for p in "qv" for x, s in (("A", (4, 30)), ("B", (40, 4)))}
    _, layers = opened(tensors, {"q.weight": normal(40, 31)})
    assert layers["q[merged]"].problem == (
        "the weight 'q.weight' (40, 31) is not of the adapter's shape (40, 30): is params the base?"
    )
    assert layers["v[merged]"].problem == "params has no 'v.weight': is it the base?"
    assert layers["q"].view is not None and layers["v"].view is not None


def test_a_dora_is_not_merged():
    tensors = {
        "q.lora_A.weight": normal(4, 30),
        "q.lora_B.weight": normal(40, 4),
        "q.lora_magnitude_vector.weight": normal(40),
    }
    _, layers = opened(tensors, {"q.weight": normal(40, 30)})
    assert "a DoRA" in layers["q"].note and "a DoRA" in layers["q[merged]"].problem


def test_two_adapters_of_one_weight_have_two_rows():
    tensors = {
        f"q.lora_{x}.{name}.weight": normal(*shape)
        for name in ("default", "other")
        for x, shape in (("A", (4, 30)), ("B", (40, 4)))
    }
    assert list(opened(tensors)[1]) == ["q[default]", "q[other]"]


def test_a_checkpoint_without_adapters_is_left_alone():
    """Names that merely contain the word are no adapters; a base has nothing to go with."""
    tensors = {"flora.weight": normal(8, 8), "lora.weight": normal(8, 8), "lora_alpha": normal(8, 8)}
    assert find_adapters([TensorInfo(name, array.shape, "float32") for name, array in tensors.items()]) == []
    assert not isinstance(open_model(tensors), AdaptedSource)
    with pytest.raises(InputError, match="params: has no low-rank adapters that a base could go with; give the adapt"):
        open_model(tensors, tensors)


def test_configuration_beside_the_file(tmp_path: Path):
    save_file({"q.lora_A.weight": normal(4, 30), "q.lora_B.weight": normal(40, 4)}, tmp_path / "adapter.safetensors")
    config = tmp_path / "adapter_config.json"
    for target in (tmp_path, tmp_path / "adapter.safetensors"):
        config.write_text(json.dumps({"lora_alpha": 8}))
        with closing(open_model(target)) as source:
            [layer] = layers_of(source, layout=None)
            assert layer.view.scale == 2
        for text in ("{", "[]"):
            config.write_text(text)
            with pytest.raises(
                CheckpointError, match=r"adapter_config\.json: .*repair it, or remove it for a scale of 1"
            ):
                open_model(target)


def test_a_scale_is_part_of_a_tensor_s_name():
    """So that a journal does not go on with results of another scale."""
    tensors = {"q.lora_A.weight": normal(4, 30), "q.lora_B.weight": normal(40, 4), "q.alpha": np.float32([4])}
    first = [info.name for info in opened(tensors)[0].tensors]
    tensors["q.alpha"] = np.float32([8])
    assert first != [info.name for info in opened(tensors)[0].tensors]
