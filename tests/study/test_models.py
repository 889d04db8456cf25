"""The study's networks: their layers, initial weights and normalisations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spectra.errors import InputError
from spectra.study.models import CNN, INITIALIZERS, MLP, Layer, Network, VisionTransformer, calibrating
from spectra.study.models.parts import convolve

IMAGES = np.random.default_rng(0).random((6, 64)).astype(np.float32)


def network(family: str, **options) -> Network:
    rngs = nnx.Rngs(0)
    match family:
        case "mlp":
            return MLP(3, 12, rngs=rngs, **options)
        case "cnn":
            return CNN(4, 6, rngs=rngs, **options)
        case "resnet":
            return CNN(6, 6, rngs=rngs, residual=True, **options)
        case _:
            return VisionTransformer(3, 8, rngs=rngs, heads=2, **options)


FAMILIES = ["mlp", "cnn", "resnet", "vit"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_called_once_by_its_name_and_has_a_place(family: str):
    model, called = network(family), []

    def call(name: str, layer: Layer, x: jax.Array) -> jax.Array:
        assert model.layer(name) is layer
        called.append(name)
        return layer(x)

    logits = jax.eval_shape(lambda x: model(x, call), jnp.asarray(IMAGES))
    assert logits.shape == (6, 10)
    assert sorted(called) == sorted(model.places())
    assert set(model.hidden) <= set(called)
    assert list(model.kernels()) == [f"{name}.kernel" for name in model.places()]
    indices = [place.index for place in model.places().values()]
    assert indices == sorted(indices)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_of_one_role_have_one_shape(family: str):
    model = network(family)
    shapes: dict[str, set] = {}
    for name, place in model.places().items():
        shapes.setdefault(place.role, set()).add(model.layer(name).kernel.shape)
    assert all(len(found) == 1 for found in shapes.values())
    assert {"input", "output"} < set(shapes)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [4, 7])
def test_convolution_is_that_of_xla(stride: int, side: int):
    rng = np.random.default_rng(side)
    x = rng.normal(size=(2, side, side, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 3, 5)).astype(np.float32)
    order = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=order)
    np.testing.assert_allclose(jax.jit(convolve, static_argnums=2)(x, kernel, stride), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("init", "variance", "kurtosis"),
    [
        ("standard", 1 / (3 * 300), -1.2),
        ("glorot", 2 / 500, -1.2),
        ("glorot_normal", 2 / 500, 0.0),
        ("he", 2 / 300, 0.0),
    ],
)
def test_initialisers_have_their_published_variance(init: str, variance: float, kurtosis: float):
    w = np.asarray(INITIALIZERS[init](jax.random.key(1), (300, 200)), np.float64)
    z = w / np.sqrt(variance)
    assert np.var(z) == pytest.approx(1.0, abs=0.03)
    assert np.mean(z**4) / np.var(z) ** 2 - 3 == pytest.approx(kurtosis, abs=0.1)
    if init == "standard":
        assert np.abs(w).max() <= 1 / np.sqrt(300)
    if init == "glorot":
        assert np.abs(w).max() <= np.sqrt(6 / 500)


def test_orthogonal_kernels_are_orthogonal():
    w = np.asarray(INITIALIZERS["orthogonal"](jax.random.key(1), (30, 30)))
    np.testing.assert_allclose(w.T @ w, np.eye(30), atol=1e-5)


def test_a_weight_normalised_layer_begins_as_the_plain_one_and_its_weight_has_the_length_of_its_gain():
    kwargs = {"init": INITIALIZERS["he"], "rngs": nnx.Rngs(3)}
    layer = Layer((20, 7), norm="weight", **kwargs)
    np.testing.assert_allclose(layer.weight(), layer.kernel[...], rtol=1e-5)
    layer.gain[...] = jnp.arange(1.0, 8.0)
    np.testing.assert_allclose(np.linalg.norm(np.asarray(layer.weight()), axis=0), np.arange(1, 8), rtol=1e-5)
    layer.kernel[...] = 5 * layer.kernel[...]  # the length of v does not matter
    np.testing.assert_allclose(np.linalg.norm(np.asarray(layer.weight()), axis=0), np.arange(1, 8), rtol=1e-5)


@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_calibration_gives_outputs_of_mean_zero_and_variance_one(family: str):
    model = network(family, norm="weight")
    images = jnp.asarray(np.random.default_rng(1).random((200, 64)), jnp.float32)

    @nnx.jit
    def outputs_of(model: nnx.Module, images: jax.Array) -> dict[str, jax.Array]:
        outputs = {}

        def call(name: str, layer: Layer, x: jax.Array) -> jax.Array:
            outputs[name] = layer(x)
            return outputs[name]

        model(images, calibrating)
        model(images, call)
        return outputs

    outputs = outputs_of(model, images)
    for name in model.hidden:
        values = np.asarray(outputs[name], np.float64).reshape(-1, outputs[name].shape[-1])
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-3)
        np.testing.assert_allclose(values.std(0), 1, atol=1e-3)


def test_batch_normalisation_uses_the_batch_in_training_and_running_statistics_otherwise():
    layer = Layer((8, 3), norm="batch", init=INITIALIZERS["he"], rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(2).normal(3, 2, (50, 8)), jnp.float32)
    seen = np.asarray(layer(x, train=True))
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(0), 1, atol=1e-2)
    assert np.abs(np.asarray(layer(x)).mean(0)).max() > 0.1  # one batch has hardly moved the running mean


def test_patches_of_the_transformer_are_squares_of_the_image():
    model = network("vit")
    image = np.arange(64, dtype=np.float32).reshape(1, 64)
    patches = np.asarray(model._patches(jnp.asarray(image)))
    assert patches.shape == (1, 16, 4)
    np.testing.assert_array_equal(patches[0, 0], [0, 1, 8, 9])
    np.testing.assert_array_equal(patches[0, 5], [18, 19, 26, 27])


def test_attention_is_that_of_its_formula():
    model = network("vit")
    rng = np.random.default_rng(4)
    q, k, v = (rng.normal(size=(1, 16, 8)).astype(np.float32) for _ in range(3))
    found = np.asarray(model._attend(*map(jnp.asarray, (q, k, v))))[0]
    for head in (slice(0, 4), slice(4, 8)):
        scores = q[0][:, head] @ k[0][:, head].T / 2
        weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        np.testing.assert_allclose(found[:, head], weights @ v[0][:, head], atol=1e-5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda r: CNN(1, 4, rngs=r), "depth"),
        (lambda r: CNN(5, 4, rngs=r, residual=True), "even"),
        (lambda r: CNN(4, 4, rngs=r, in_features=63), "square"),
        (lambda r: VisionTransformer(2, 9, rngs=r), "heads"),
        (lambda r: VisionTransformer(2, 8, rngs=r, in_features=49), "side 4"),
        (lambda r: MLP(2, 8, rngs=r, norm="layer"), "norm"),
        (lambda r: MLP(2, 8, rngs=r, init="zeros"), "initialiser"),
    ],
)
def test_networks_that_cannot_be_are_refused(make, said: str):
    with pytest.raises(InputError, match=said):
        make(nnx.Rngs(0))
