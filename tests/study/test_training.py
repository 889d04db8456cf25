"""The study's data, networks and training loop."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest
from flax import nnx

from spectra.errors import InputError
from spectra.study.data import Dataset, load_digits
from spectra.study.models import MLP
from spectra.study.train import Epoch, TrainConfig, TrainResult, has_converged, train


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(seed=0)


@pytest.fixture(scope="module")
def initial() -> MLP:
    return MLP(2, 128, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def result(digits: Dataset, initial: MLP) -> TrainResult:
    return train(initial, digits, TrainConfig(learning_rate=1e-3), seed=0)


def weights(model: nnx.Module) -> dict[str, np.ndarray]:
    """All parameters by dotted name."""
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return {".".join(map(str, path)): np.asarray(value[...]) for path, value in flat}


def same_weights(a: nnx.Module, b: nnx.Module) -> bool:
    left, right = weights(a), weights(b)
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def numpy_logits(model: MLP, x: np.ndarray) -> np.ndarray:
    """A relu network's forward pass from its exported weights alone, in float64."""
    w = {name: value.astype(np.float64) for name, value in weights(model).items()}
    h = x.astype(np.float64)
    for i in range(model.depth):
        h = np.maximum(h @ w[f"layers.{i}.kernel"] + w[f"layers.{i}.bias"], 0.0)
    return h @ w[f"layers.{model.depth}.kernel"] + w[f"layers.{model.depth}.bias"]


def test_the_split_holds_every_image_once(digits: Dataset):
    from sklearn.datasets import load_digits as original

    pixels, classes = original(return_X_y=True)
    x, y = np.concatenate([digits.train_x, digits.test_x]), np.concatenate([digits.train_y, digits.test_y])
    rows = sorted(zip(map(tuple, x * 16), y, strict=True))
    assert rows == sorted(zip(map(tuple, pixels), classes, strict=True))


def test_the_split_is_stratified(digits: Dataset):
    test, both = np.bincount(digits.test_y), np.bincount(np.concatenate([digits.train_y, digits.test_y]))
    assert len(both) == digits.num_classes == 10
    np.testing.assert_allclose(test, 0.2 * both, atol=1.0)


def test_images_are_float32_in_the_unit_interval(digits: Dataset):
    for x, y in ((digits.train_x, digits.train_y), (digits.test_x, digits.test_y)):
        assert (x.dtype, y.dtype) == (np.float32, np.int32)
        assert x.shape == (len(y), 64)
        assert (x.min(), x.max()) == (0.0, 1.0)


def test_the_seed_decides_the_split(digits: Dataset):
    assert all(map(np.array_equal, digits, load_digits(seed=0)))
    assert not np.array_equal(digits.test_x, load_digits(seed=1).test_x)


@pytest.mark.parametrize("share", [0.0, 1.0, 0.001, float("nan")])
def test_a_share_that_empties_a_part_is_refused(share: float):
    with pytest.raises(InputError, match="test_share"):
        load_digits(seed=0, test_share=share)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"pip install 'spectra-jax\[study\]'"):
        load_digits(seed=0)


@pytest.mark.parametrize("depth", [1, 3, 12])
def test_names_and_shapes_of_the_parameters(depth: int):
    ones = jax.nn.initializers.ones
    model = MLP(depth, 20, rngs=nnx.Rngs(0), num_classes=7, in_features=9, init=ones)
    sizes = [9, *[20] * depth, 7]
    expected = {f"layers.{i}.kernel": (sizes[i], sizes[i + 1]) for i in range(depth + 1)}
    expected |= {f"layers.{i}.bias": (sizes[i + 1],) for i in range(depth + 1)}
    assert {name: value.shape for name, value in weights(model).items()} == expected
    assert all(np.all(value == float("kernel" in name)) for name, value in weights(model).items())
    assert model(np.zeros((5, 9), np.float32)).shape == (5, 7)


@pytest.mark.parametrize(("activation", "variance"), [("relu", 2 / 400), ("tanh", 2 / 800)])
def test_hidden_layers_start_gaussian_with_the_stated_variance(activation: str, variance: float):
    kernel = weights(MLP(2, 400, activation, rngs=nnx.Rngs(0)))["layers.1.kernel"]
    z = kernel / np.sqrt(variance)
    assert np.var(z) == pytest.approx(1.0, abs=0.02)
    assert np.mean(z**4) - 3 == pytest.approx(0.0, abs=0.06)  # a truncated Gaussian would have -0.63


@pytest.mark.parametrize("bad", [{"depth": 0}, {"depth": -1}, {"width": 0}, {"activation": "swish"}])
def test_bad_networks_are_refused(bad: dict):
    with pytest.raises(InputError):
        MLP(**{"depth": 2, "width": 8} | bad, rngs=nnx.Rngs(0))


def test_two_hidden_layers_learn_the_digits(initial: MLP, result: TrainResult):
    assert (result.converged, result.diverged) == (True, False)
    assert result.train_accuracy == 1.0
    assert result.test_accuracy > 0.95
    assert same_weights(initial, MLP(2, 128, rngs=nnx.Rngs(0)))  # the argument is untouched
    assert not same_weights(initial, result.model)


def test_the_history_agrees_with_the_model_computed_by_hand(digits: Dataset, initial: MLP, result: TrainResult):
    for model, epoch in ((initial, result.history[0]), (result.model, result.history[-1])):
        for x, y, loss, accuracy in (
            (digits.train_x, digits.train_y, epoch.train_loss, epoch.train_accuracy),
            (digits.test_x, digits.test_y, epoch.test_loss, epoch.test_accuracy),
        ):
            logits = numpy_logits(model, x)
            np.testing.assert_allclose(model(x), logits, rtol=1e-4, atol=1e-4)
            assert np.mean(logits.argmax(axis=1) == y) == accuracy
            logsumexp = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
            assert np.mean(logsumexp - logits[np.arange(len(y)), y]) == pytest.approx(loss, rel=1e-3)
    assert (result.train_accuracy, result.test_accuracy) == (epoch.train_accuracy, epoch.test_accuracy)
    assert [(e.epoch, e.step) for e in result.history] == [(i, i * (1437 // 64)) for i in range(len(result.history))]
    assert result.steps == epoch.step


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_the_seed_decides_the_result(digits: Dataset, initial: MLP, optimiser: str):
    config = TrainConfig(optimiser=optimiser, max_epochs=2)
    first, again, other = (train(initial, digits, config, seed=seed) for seed in (0, 0, 1))
    assert same_weights(first.model, again.model)
    assert first.history == again.history
    assert not same_weights(first.model, other.model)
    assert first.history[-1].train_loss < first.history[0].train_loss


def test_sixteen_hidden_layers_learn(digits: Dataset):
    deep = train(MLP(16, 128, rngs=nnx.Rngs(0)), digits, TrainConfig(target_accuracy=0.99, tolerance=0.1), seed=0)
    assert deep.converged
    assert deep.test_accuracy > 0.9


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_divergence_is_reported_and_not_raised(digits: Dataset, initial: MLP, optimiser: str):
    lost = train(initial, digits, TrainConfig(optimiser=optimiser, learning_rate=1e6), seed=0)
    assert (lost.converged, lost.diverged) == (False, True)
    assert len(lost.history) < 10


def test_the_callback_sees_every_epoch_from_the_initial_weights_on(digits: Dataset, initial: MLP):
    seen: list[tuple[Epoch, np.ndarray]] = []

    def follow(epoch: Epoch, params: nnx.State) -> None:
        seen.append((epoch, np.asarray(params["layers"][0]["kernel"][...])))

    outcome = train(initial, digits, TrainConfig(max_epochs=2), seed=0, callback=follow)
    assert tuple(epoch for epoch, _ in seen) == outcome.history
    np.testing.assert_array_equal(seen[0][1], weights(initial)["layers.0.kernel"])
    np.testing.assert_array_equal(seen[-1][1], weights(outcome.model)["layers.0.kernel"])
    assert (outcome.converged, outcome.diverged) == (False, False)


@pytest.mark.parametrize(
    ("losses", "accuracy", "expected"),
    [
        ([2.0, 0.5, 0.5, 0.5], 1.0, True),
        ([0.5, 0.5, 0.5], 1.0, True),
        ([0.5, 0.5], 1.0, False),  # too short to tell
        ([2.0, 0.6, 0.5, 0.5], 1.0, False),  # still falling
        ([0.5, 0.5, 0.6, 0.5], 1.0, False),  # a spike
        ([2.3, 2.3, 2.3, 2.3], 0.1, False),  # flat, but has learned nothing
    ],
)
def test_the_plateau_rule(losses: list[float], accuracy: float, expected: bool):
    history = [Epoch(i, i, loss, accuracy, loss, accuracy) for i, loss in enumerate(losses)]
    assert has_converged(history, TrainConfig(patience=2, tolerance=0.01)) is expected


@pytest.mark.parametrize(
    "bad", [{"optimiser": "lion"}, {"batch_size": 0}, {"batch_size": 5000}, {"max_epochs": 0}, {"patience": 0}]
)
def test_bad_configs_are_refused(digits: Dataset, initial: MLP, bad: dict):
    with pytest.raises(InputError, match=next(iter(bad))):
        train(initial, digits, TrainConfig(**bad), seed=0)
