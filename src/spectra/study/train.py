"""Training to a plateau: config, stretches of steps as one compiled program, and the loop around it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from spectra.errors import InputError
from spectra.study.data import Dataset
from spectra.study.models import Layer, Network, evaluate

OPTIMISERS: dict[str, Callable[[optax.ScalarOrSchedule], optax.GradientTransformation]] = {
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
        At the default, constant, MLPs of 2 to 16 hidden layers learn the digits; at 1e-3 tanh fails at 16.
    schedule
        ``"constant"``, which stops at the plateau; or ``"cosine"``: linearly up over the first twentieth of the steps
        and by half a cosine down to zero at `max_epochs`, where it is asked whether a plateau was reached.
    batch_size
        Images a step. An epoch shuffles all images and leaves out the last few that do not fill a batch.
    max_epochs, target_accuracy, tolerance, patience
        Where to stop without a plateau; the plateau: a share, largest minus smallest training loss in nats, epochs.
    divergence_loss
        A loss above this, in nats, or not finite has diverged: Adam can keep a hopeless network finite for ever.
    l1
        Added to the loss: this times the sum of the magnitudes of all hidden activations of an image.
    evaluate_every
        Epochs between two evaluations; the last `patience` + 1 are evaluated in any case.
    """

    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 3e-4
    batch_size: int = 64
    max_epochs: int = 300
    target_accuracy: float = 1.0
    tolerance: float = 1e-4
    patience: int = 5
    divergence_loss: float = 1e4
    schedule: Literal["constant", "cosine"] = "constant"
    l1: float = 0.0
    evaluate_every: int = 1

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise InputError(f"optimiser is {self.optimiser!r}; give one of {', '.join(OPTIMISERS)}")
        for name in ("batch_size", "max_epochs", "patience", "evaluate_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give at least 1")
        if self.schedule not in ("constant", "cosine"):
            raise InputError(f"schedule is {self.schedule!r}; give constant or cosine")


class Epoch(NamedTuple):
    """The network at the end of an epoch, measured on whole data sets; epoch 0 is before the first step."""

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


Callback: TypeAlias = Callable[[Epoch, nnx.State], None]
"""Called at epoch 0 and after each evaluated epoch with the measurements and the parameters, which live until it
returns."""

Probe: TypeAlias = Callable[[int, Network], None]
"""Called with the number of steps done and the network as it is then, which lives until it returns."""


class TrainResult(NamedTuple):
    """A trained network and how it came about.

    Attributes
    ----------
    model
        A new module; the one given to `train` still holds the initial weights.
    history, steps
        One record an evaluated epoch, from epoch 0 (the initial weights) to the last; optimiser steps taken.
    converged, diverged
        Whether the plateau rule was met, or the loss ran away; neither if `max_epochs` came first.
    train_accuracy, test_accuracy, seconds
        Of `model`, between 0 and 1; wall-clock time, compilation included.
    """

    model: Network
    history: tuple[Epoch, ...]
    steps: int
    converged: bool
    diverged: bool
    train_accuracy: float
    test_accuracy: float
    seconds: float


def train(
    model: Network,
    data: Dataset,
    config: TrainConfig,
    *,
    seed: int,
    callback: Callback | None = None,
    marks: Sequence[int] = (),
    probe: Probe | None = None,
    masks: Mapping[str, Any] | None = None,
) -> TrainResult:
    """Train a classifier with cross-entropy until it converges, diverges, or runs out of epochs.

    Parameters
    ----------
    model
        It is not modified: afterwards it still has the initial weights, ready to be compared with those of the result.
    data, config, seed
        What to learn; how, and until when; the order of the batches. The same four arguments give the same numbers
        on the same machine.
    callback
        Follows the run: a progress bar, or measurements of the weights as they change.
    marks, probe
        After these numbers of steps, 0 for none, `probe` sees the network.
    masks
        Name of a layer → 0 where a weight of its kernel is pruned, 1 elsewhere. What is pruned is zero and stays so.
    """
    if config.batch_size > len(data.train_y):
        raise InputError(f"batch_size is {config.batch_size}, but there are {len(data.train_y)} training images")
    start = time.perf_counter()
    graphdef, (params, rest) = split(model)
    # Copies, since a program takes over the memory of the weights that it changes.
    params, rest = jax.tree.map(jnp.copy, (params, rest))
    mask = None if masks is None else _whole_mask(model, masks)
    if mask is not None:
        params = jax.tree.map(jnp.multiply, params, mask)
    train_set, test_set = jax.device_put(((data.train_x, data.train_y), (data.test_x, data.test_y)))
    steps_per_epoch = len(data.train_y) // config.batch_size
    recipe = _Recipe(config.optimiser, config.schedule, config.batch_size, config.max_epochs * steps_per_epoch)
    numbers = (jnp.float32(config.learning_rate), jnp.float32(config.l1))
    carry = (params, rest, recipe.transform(config.learning_rate).init(params))
    key = jax.random.key(seed)

    history: list[Epoch] = []
    for epoch in range(config.max_epochs + 1):
        done = (epoch - 1) * steps_per_epoch
        # The marks within this epoch and its end; epoch 0 is the initial weights alone.
        stops = sorted({mark for mark in marks if done < mark < done + steps_per_epoch} | {done + steps_per_epoch})
        for stop in stops if epoch > 0 else [0]:
            if epoch > 0:
                order = jax.random.fold_in(key, epoch)
                begin = max(done, *(s for s in (done, *stops) if s < stop))
                carry = _run_steps(graphdef, recipe, numbers, carry, train_set, mask, order, begin - done, stop - done)
            if probe is not None and stop in marks:
                probe(stop, nnx.merge(graphdef, *carry[:2], copy=True))
        if not (epoch % config.evaluate_every == 0 or epoch >= config.max_epochs - config.patience):
            continue
        scores = (*_evaluate(graphdef, carry, train_set), *_evaluate(graphdef, carry, test_set))
        history.append(Epoch(epoch, epoch * steps_per_epoch, *scores))
        if callback is not None:
            callback(history[-1], carry[0])
        converged, diverged = has_converged(history, config), has_diverged(history[-1], config)
        if diverged or (converged and config.schedule == "constant"):
            break
    trained, last, seconds = nnx.merge(graphdef, *carry[:2]), history[-1], time.perf_counter() - start
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


def loss_and_accuracy(model: Network, x: Any, y: Any) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy of a network on images, as predictions are made."""
    graphdef, (params, rest) = split(model)
    return _evaluate(graphdef, (params, rest), jax.device_put((x, y)))


def split(model: nnx.Module) -> tuple[Any, tuple[nnx.State, nnx.State]]:
    """The structure of a network, its parameters, and the rest of its state, such as running statistics."""
    graphdef, *states = nnx.split(model, nnx.Param, ...)
    return graphdef, (states[0], states[1])


Carry: TypeAlias = tuple[Any, ...]  # parameters, other state of the network, state of the optimiser
Images: TypeAlias = tuple[jax.Array, jax.Array]


class _Recipe(NamedTuple):
    """What shapes the program of a step."""

    optimiser: str
    schedule: str
    batch_size: int
    total: int
    """Steps of the whole schedule."""

    def transform(self, learning_rate: float | jax.Array) -> optax.GradientTransformation:
        make = OPTIMISERS[self.optimiser]
        if self.schedule == "constant":
            return make(learning_rate)
        shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, max(1, self.total // 20), max(2, self.total))
        return make(lambda count: learning_rate * shape(count))


def _whole_mask(model: Network, masks: Mapping[str, Any]) -> nnx.State:
    """Ones in the shape of all parameters, but for the kernels that have a mask."""
    graphdef, (params, rest) = split(nnx.clone(model))
    ones: Network = nnx.merge(graphdef, jax.tree.map(jnp.ones_like, params), rest)
    for name, mask in masks.items():
        kernel = ones.layer(name).kernel
        if kernel.shape != mask.shape:
            raise InputError(f"the mask of {name} has shape {mask.shape}, its kernel {kernel.shape}")
        kernel[...] = jnp.asarray(mask, kernel.dtype)
    return nnx.state(ones, nnx.Param)


# Only what shapes the program is static, so networks of one shape share it whatever their seed or learning rate.
@partial(jax.jit, static_argnames=("graphdef", "recipe"), donate_argnames="carry")
def _run_steps(
    graphdef: Any,
    recipe: _Recipe,
    numbers: tuple[jax.Array, jax.Array],
    carry: Carry,
    images: Images,
    mask: nnx.State | None,
    key: jax.Array,
    begin: jax.Array,
    end: jax.Array,
) -> Carry:
    """Steps `begin` to `end` of an epoch, whose order of images `key` decides."""
    learning_rate, l1 = numbers
    transform = recipe.transform(learning_rate)
    x, y = images
    order = jax.random.permutation(key, len(y))

    def step(i: jax.Array, carry: Carry) -> Carry:
        params, rest, opt_state = carry
        rows = jax.lax.dynamic_slice_in_dim(order, i * recipe.batch_size, recipe.batch_size)
        grads, rest = jax.grad(_loss, has_aux=True)(params, graphdef, rest, x[rows], y[rows], l1)
        if mask is not None:
            grads = jax.tree.map(jnp.multiply, grads, mask)
        updates, opt_state = transform.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), rest, opt_state

    return jax.lax.fori_loop(begin, end, step, carry)


def _loss(
    params: nnx.State, graphdef: Any, rest: nnx.State, x: jax.Array, y: jax.Array, l1: jax.Array
) -> tuple[jax.Array, nnx.State]:
    """Cross-entropy and penalty of a batch, and the state of the network after it."""
    model: Network = nnx.merge(graphdef, params, rest, copy=True)  # variables of this trace
    penalty = jnp.float32(0)

    def call(name: str, layer: Layer, x: jax.Array) -> jax.Array:
        nonlocal penalty
        y = layer(x, train=True)
        if name in model.hidden:
            penalty += jnp.sum(jnp.abs(model.activation(y))) / len(y)
        return y

    loss = _mean_loss(model(x, call), y) + l1 * penalty
    return loss, split(model)[1][1]


def _mean_loss(logits: jax.Array, y: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


AT_ONCE = 10_000
"""Images that are evaluated together: convolutions of all of them would take gigabytes."""


@partial(jax.jit, static_argnames="graphdef")
def _loss_and_correct(graphdef: Any, state: tuple[nnx.State, nnx.State], images: Images) -> tuple[jax.Array, jax.Array]:
    x, y = images
    logits = nnx.merge(graphdef, *state)(x, evaluate)
    return _mean_loss(logits, y) * len(y), jnp.sum(logits.argmax(axis=-1) == y)


def _evaluate(graphdef: Any, carry: Carry, images: Images) -> tuple[float, float]:
    """Mean loss in nats and accuracy over all images; the accuracy is a count divided exactly."""
    x, y = images
    parts = [(x[i : i + AT_ONCE], y[i : i + AT_ONCE]) for i in range(0, len(y), AT_ONCE)]
    found = jax.device_get([_loss_and_correct(graphdef, carry[:2], part) for part in parts])
    loss, correct = (sum(float(part[k]) for part in found) for k in (0, 1))
    return loss / len(y), int(correct) / len(y)
