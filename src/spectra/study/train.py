"""Training to a plateau: config, one epoch as a single compiled program, and the loop around it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from spectra.errors import InputError
from spectra.study.data import Dataset

OPTIMISERS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "adam": optax.adam,
    "sgd": partial(optax.sgd, momentum=0.9),
}


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained, and when that counts as done.

    The plateau rule: a network has *converged* at the first epoch where its accuracy on the whole training set is
    at least `target_accuracy` and its loss there has stayed within `tolerance` over the last `patience` epochs.
    Flat alone is not enough, since deep networks often sit at chance for a while before they start to learn.

    Attributes
    ----------
    optimiser
        ``"adam"``, or ``"sgd"`` with momentum 0.9; the rest are Optax's defaults.
    learning_rate
        Constant. At the default, MLPs of 2 to 16 hidden layers learn the digits; at 1e-3 tanh fails at 16.
    batch_size
        Images a step. An epoch shuffles all images and leaves out the last few that do not fill a batch.
    max_epochs, target_accuracy, tolerance, patience
        Where to stop without a plateau; the plateau: a share, largest minus smallest training loss in nats, epochs.
    divergence_loss
        A loss above this, in nats, or not finite has diverged: Adam can keep a hopeless network finite for ever.
    """

    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 3e-4
    batch_size: int = 64
    max_epochs: int = 300
    target_accuracy: float = 1.0
    tolerance: float = 1e-4
    patience: int = 5
    divergence_loss: float = 1e4

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise InputError(f"optimiser is {self.optimiser!r}; give one of {', '.join(OPTIMISERS)}")
        for name in ("batch_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give at least 1")


class Epoch(NamedTuple):
    """The network at the end of an epoch, measured on whole data sets; epoch 0 is before the first step."""

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


Callback: TypeAlias = Callable[[Epoch, nnx.State], None]
"""Called at epoch 0 and after each epoch with the measurements and the parameters at that point."""


class TrainResult(NamedTuple):
    """A trained network and how it came about.

    Attributes
    ----------
    model
        A new module; the one given to `train` still holds the initial weights.
    history, steps
        One record an epoch, from epoch 0 (the initial weights) to the last; optimiser steps taken.
    converged, diverged
        Whether the plateau rule was met, or the loss ran away; neither if `max_epochs` came first.
    train_accuracy, test_accuracy, seconds
        Of `model`, between 0 and 1; wall-clock time, compilation included.
    """

    model: nnx.Module
    history: tuple[Epoch, ...]
    steps: int
    converged: bool
    diverged: bool
    train_accuracy: float
    test_accuracy: float
    seconds: float


def train(
    model: nnx.Module, data: Dataset, config: TrainConfig, *, seed: int, callback: Callback | None = None
) -> TrainResult:
    """Train a classifier with cross-entropy until it converges, diverges, or runs out of epochs.

    Parameters
    ----------
    model
        Maps (batch, features) to logits (batch, classes) and holds no state but `nnx.Param`. It is not modified:
        afterwards it still has the initial weights, ready to be compared with those of the result.
    data, config, seed
        What to learn; how, and until when; the order of the batches. The same four arguments give the same numbers
        on the same machine.
    callback
        Follows the run: a progress bar, or measurements of the weights as they change.
    """
    if config.batch_size > len(data.train_y):
        raise InputError(f"batch_size is {config.batch_size}, but there are {len(data.train_y)} training images")
    start = time.perf_counter()
    graphdef, params = nnx.split(nnx.clone(model), nnx.Param)
    opt_state = OPTIMISERS[config.optimiser](config.learning_rate).init(params)
    train_set, test_set = jax.device_put(((data.train_x, data.train_y), (data.test_x, data.test_y)))
    key = jax.random.key(seed)
    steps_per_epoch = len(data.train_y) // config.batch_size
    recipe = (config.optimiser, config.batch_size, config.learning_rate)

    history: list[Epoch] = []
    for epoch in range(config.max_epochs + 1):
        if epoch > 0:
            carry = (params, opt_state)
            params, opt_state = _run_epoch(graphdef, *recipe, carry, train_set, jax.random.fold_in(key, epoch))
        scores = (*_evaluate(graphdef, params, train_set), *_evaluate(graphdef, params, test_set))
        history.append(Epoch(epoch, epoch * steps_per_epoch, *scores))
        if callback is not None:
            callback(history[-1], params)
        converged, diverged = has_converged(history, config), has_diverged(history[-1], config)
        if converged or diverged:
            break
    trained, last, seconds = nnx.merge(graphdef, params), history[-1], time.perf_counter() - start
    accuracies = (last.train_accuracy, last.test_accuracy)
    return TrainResult(trained, tuple(history), last.step, converged, diverged, *accuracies, seconds)


def has_converged(history: Sequence[Epoch], config: TrainConfig) -> bool:
    """Whether the last epochs meet the plateau rule of `TrainConfig`."""
    losses = [epoch.train_loss for epoch in history[-config.patience - 1 :]]
    flat = len(losses) > config.patience and max(losses) - min(losses) <= config.tolerance
    return flat and history[-1].train_accuracy >= config.target_accuracy


def has_diverged(epoch: Epoch, config: TrainConfig) -> bool:
    """Whether the training loss is beyond recovery."""
    return not math.isfinite(epoch.train_loss) or epoch.train_loss > config.divergence_loss


Carry: TypeAlias = tuple[nnx.State, optax.OptState]
Images: TypeAlias = tuple[jax.Array, jax.Array]


# Only what shapes the program is static, so networks of one shape share it whatever their seed or learning rate.
@partial(jax.jit, static_argnames=("graphdef", "optimiser", "batch_size"))
def _run_epoch(
    graphdef: Any, optimiser: str, batch_size: int, learning_rate: float, carry: Carry, images: Images, key: jax.Array
) -> Carry:
    """One pass over the shuffled images: a single scan over batches."""
    transform = OPTIMISERS[optimiser](learning_rate)
    x, y = images
    batches = len(y) // batch_size
    order = jax.random.permutation(key, len(y))[: batches * batch_size]

    def step(carry: Carry, rows: jax.Array) -> tuple[Carry, None]:
        params, opt_state = carry
        grads = jax.grad(lambda p: _mean_loss(nnx.merge(graphdef, p)(x[rows]), y[rows]))(params)
        updates, opt_state = transform.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    carry, _ = jax.lax.scan(step, carry, order.reshape(batches, batch_size))
    return carry


def _mean_loss(logits: jax.Array, y: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


@partial(jax.jit, static_argnames="graphdef")
def _loss_and_correct(graphdef: Any, params: nnx.State, images: Images) -> tuple[jax.Array, jax.Array]:
    x, y = images
    logits = nnx.merge(graphdef, params)(x)
    return _mean_loss(logits, y), jnp.sum(logits.argmax(axis=-1) == y)


def _evaluate(graphdef: Any, params: nnx.State, images: Images) -> tuple[float, float]:
    """Mean loss in nats and accuracy over all images; the accuracy is a count divided exactly."""
    loss, correct = jax.device_get(_loss_and_correct(graphdef, params, images))
    return float(loss), int(correct) / len(images[1])
