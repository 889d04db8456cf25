"""What does tracking cost a training run?

The study's multi-layer perceptrons of width 256 on data of Fashion-MNIST's size (60,000 images of 784 pixels, random
ones, which take as long), batches of 128, Adam: an epoch is one `lax.scan` of 468 steps. The same epoch is run without
and with a `Recorder` in the scan, in turn, at the default cadence and with the default metrics of all layers; BLAS has
one thread. Rows:

- `overhead`: time that tracking adds, as a share of the time without, after one epoch and after all of them;
- `a record`: what one measurement takes, in training steps;
- `idle`: the same share where no step is due, that is, what it costs to ask;
- `compile`: how much longer the first call takes.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from support.question import Question, answer
from support.timing import timed

import spectra.training
from spectra.study.models import MLP
from spectra.training import DEFAULT_METRICS, Recorder, Schedule, one_blas_thread, select

IMAGES, PIXELS, BATCH, WIDTH = 60_000, 784, 128, 256
LIMIT = 0.05
OPTIMISER = optax.adam(1e-3)


def measure(question: Question) -> None:
    """Rows for each depth."""
    depths, epochs = ((4,), 2) if question.quick else (question.options.depths, question.options.epochs)
    x = jax.random.uniform(jax.random.key(0), (IMAGES // (20 if question.quick else 1), PIXELS))
    y = jax.random.randint(jax.random.key(1), (len(x),), 0, 10)
    with one_blas_thread():
        for depth in depths:
            network(question, depth, epochs, x, y)
            question.save()


def network(question: Question, depth: int, epochs: int, x: jax.Array, y: jax.Array) -> None:
    """All rows of one depth."""
    graphdef, params = nnx.split(MLP(depth, WIDTH, rngs=nnx.Rngs(0), in_features=PIXELS))
    selection = select(params)
    never = Schedule.at([2**31 - 1])
    recorders = {"plain": None, "tracked": Recorder(selection), "idle": Recorder(selection, never)}
    runs = {name: Run(graphdef, params, recorder, x, y) for name, recorder in recorders.items()}
    for _ in range(epochs):
        for run in runs.values():
            run.epoch()
    seconds = {name: run.seconds for name, run in runs.items()}
    steps = len(x) // BATCH
    step = statistics.median(seconds["plain"]) / steps
    record = one_record(params, selection)
    name = f"depth {depth}"
    for count in sorted({1, epochs}):
        records = Schedule.log().count(count * steps - 1)
        share = sum(seconds["tracked"][:count]) / sum(seconds["plain"][:count]) - 1
        question.figure(
            f"{name}: overhead after {count} epochs of {steps} steps",
            share,
            "of the training time",
            LIMIT if count == epochs else None,
            records=records,
            layers=len(selection.layers),
            metrics=DEFAULT_METRICS,
            estimate=records * record / (count * steps * step),
            plain_seconds=sum(seconds["plain"][:count]),
            tracked_seconds=sum(seconds["tracked"][:count]),
        )
    question.figure(f"{name}: a record", record / step, "training steps", record_seconds=record, step_seconds=step)
    idle = statistics.median(i / p - 1 for i, p in zip(seconds["idle"], seconds["plain"], strict=True))
    question.figure(f"{name}: idle", idle, "of the training time")
    question.figure(f"{name}: compile", runs["tracked"].compiled - runs["plain"].compiled, "s")


def one_record(params: Any, selection: Any) -> float:
    """Seconds of one measurement by itself."""
    program = jax.jit(partial(spectra.training.measure, selection=selection))
    jax.block_until_ready(program(params))
    return statistics.median(timed(lambda: program(params))[0] for _ in range(9))


class Run:
    """A training run, epoch by epoch."""

    def __init__(self, graphdef: Any, params: Any, recorder: Recorder | None, x: jax.Array, y: jax.Array) -> None:
        records = recorder.init() if recorder else None
        self._carry = (params, OPTIMISER.init(params), records)
        self._data, self._number, self.seconds = (x, y), 0, list[float]()
        program = jax.jit(epoch_of(graphdef, recorder))
        self.compiled, self._program = timed(lambda: program.lower(self._carry, 0, *self._data).compile())

    def epoch(self) -> None:
        """Train one more and keep its time."""
        seconds, self._carry = timed(lambda: self._program(self._carry, self._number, *self._data))
        self._number += 1
        self.seconds.append(seconds)


def epoch_of(graphdef: Any, recorder: Recorder | None) -> Callable[..., Any]:
    """One pass over shuffled batches."""

    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(nnx.merge(graphdef, params)(x), y).mean()

    def epoch(carry: Any, number: Any, x: jax.Array, y: jax.Array) -> Any:
        steps = len(y) // BATCH
        order = jax.random.permutation(jax.random.fold_in(jax.random.key(2), number), len(y))

        def train_step(carry: Any, batch: Any) -> tuple[Any, None]:
            params, opt_state, records = carry
            step, rows = batch
            if recorder is not None:
                records = recorder.update(records, params, step)
            updates, opt_state = OPTIMISER.update(jax.grad(loss)(params, x[rows], y[rows]), opt_state, params)
            return (optax.apply_updates(params, updates), opt_state, records), None

        batches = (number * steps + jnp.arange(steps), order[: steps * BATCH].reshape(steps, BATCH))
        return jax.lax.scan(train_step, carry, batches)[0]

    return epoch


def options(parser: argparse.ArgumentParser) -> None:
    """Which networks, and for how long."""
    parser.add_argument("--depths", type=int, nargs="+", default=[4, 16], help="hidden layers")
    parser.add_argument("--epochs", type=int, default=10)


if __name__ == "__main__":
    answer(__file__, __doc__, measure, options)
