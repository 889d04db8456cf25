"""What does tracking cost a training run?

The study's multi-layer perceptrons of width 256 on data of Fashion-MNIST's size (60,000 images of 784 pixels, random
ones, which take as long), batches of 128, Adam: an epoch is one `lax.scan` of 468 steps. The same epoch is run without
and with a `Recorder` in the scan, in turn, at the default cadence and with the default metrics of all layers; BLAS has
one thread. Rows:

- `overhead`: time that tracking adds, as a share of the time without, after one epoch and after all of them (4,680
  steps by default, which is how long the study trains such networks), by the wall and of the CPU. The second does not
  depend on what else runs here, but does not tell how well both cores are used;
- `a record`: what one measurement takes, in training steps;
- `idle`: the same share where no step is due, that is, what it costs to ask;
- `compile`: what the first call takes longer.
"""

from __future__ import annotations

import argparse
import statistics
import time
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
from spectra.training import DEFAULT_METRICS, Recorder, Schedule, Selection, one_blas_thread, select

IMAGES, PIXELS, BATCH, WIDTH = 60_000, 784, 128, 256
LIMIT = 0.05
IDLE_EPOCHS = 2
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
    for number in range(epochs):
        for name, run in runs.items():
            if name != "idle" or number < IDLE_EPOCHS:
                run.epoch()
    steps, name, plain, tracked = len(x) // BATCH, f"depth {depth}", runs["plain"], runs["tracked"]
    wall, cpu = one_record(params, selection)
    for count in sorted({1, epochs}):
        for clock, both in (
            ("wall", (tracked.seconds, plain.seconds)),
            ("CPU", (tracked.cpu_seconds, plain.cpu_seconds)),
        ):
            spent, usual = (sum(seconds[:count]) for seconds in both)
            question.figure(
                f"{name}: overhead after {count} epochs of {steps} steps, {clock} time",
                spent / usual - 1,
                "of the training time",
                LIMIT if count == epochs else None,
                records=Schedule.log().count(count * steps - 1),
                layers=len(selection.layers),
                metrics=DEFAULT_METRICS,
                plain_seconds=usual,
                tracked_seconds=spent,
            )
    step, cpu_step = (statistics.median(times) / steps for times in (plain.seconds, plain.cpu_seconds))
    question.figure(
        f"{name}: a record",
        cpu / cpu_step,
        "training steps, CPU time",
        wall_steps=wall / step,
        record_seconds=wall,
        record_cpu_seconds=cpu,
        step_seconds=step,
        step_cpu_seconds=cpu_step,
    )
    idle = runs["idle"].cpu_seconds
    share = sum(idle) / sum(plain.cpu_seconds[: len(idle)]) - 1
    question.figure(f"{name}: idle", share, "of the training time, CPU time", steps=len(idle) * steps)
    question.figure(f"{name}: compile", tracked.compiled - plain.compiled, "s of CPU time")


def one_record(params: Any, selection: Selection) -> tuple[float, float]:
    """Seconds of one measurement by itself, by the wall and of the CPU."""
    program = jax.jit(partial(spectra.training.measure, selection=selection))
    jax.block_until_ready(program(params))
    found = [clocked(lambda: program(params)) for _ in range(9)]
    return statistics.median(wall for wall, _, _ in found), statistics.median(cpu for _, cpu, _ in found)


def clocked(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds by the wall and of the CPU, and what came of it; the latter does not depend on what else runs."""
    start = time.process_time()
    seconds, found = timed(call)
    return seconds, time.process_time() - start, found


class Run:
    """A training run, epoch by epoch."""

    def __init__(self, graphdef: Any, params: Any, recorder: Recorder | None, x: jax.Array, y: jax.Array) -> None:
        records = recorder.init() if recorder else None
        self._carry = (params, OPTIMISER.init(params), records)
        self._data, self._number = (x, y), 0
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        program = jax.jit(epoch_of(graphdef, recorder))
        _, self.compiled, self._program = clocked(lambda: program.lower(self._carry, 0, *self._data).compile())

    def times(self, clock: str) -> list[float]:
        """Seconds of each epoch by the wall, or of the CPU."""
        return self.seconds if clock == "wall" else self.cpu_seconds

    def epoch(self) -> None:
        """Train one more and keep its time."""
        wall, cpu, self._carry = clocked(lambda: self._program(self._carry, self._number, *self._data))
        self._number += 1
        self.seconds.append(wall)
        self.cpu_seconds.append(cpu)


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
