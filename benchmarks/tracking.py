"""What does tracking cost a training run?

The study's multi-layer perceptrons of width 256 on data of Fashion-MNIST's size (images of 784 pixels, random ones,
which take as long), batches of 128, Adam, one `lax.scan` of 117 steps at a time; BLAS has one thread. Three runs in
turn: without a `Recorder` in the scan; with one that is never due; with one that measures the default metrics of all
layers once. The least time of each, by the wall and of the CPU: what else runs here only adds. CPU time hardly depends
on it, but does not tell how well both cores are used. Rows:

- `a record`: what one measurement adds, in training steps;
- `idle`: what it costs to ask at each step, as a share of the time without;
- `overhead`: both together at the default cadence, after one epoch of 468 steps and after ten, which is how long the
  study trains such networks;
- `whole run`, with `--epochs`: the same directly, for a quiet machine, in a scan and as a callback of a loop in Python
  that calls a jitted step;
- `compile`: what the first call takes longer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from support.question import Question, answer
from support.timing import timed

from spectra.study.models import MLP
from spectra.training import DEFAULT_METRICS, Recorder, Schedule, Tracker, one_blas_thread, select

PIXELS, BATCH, WIDTH = 784, 128, 256
STEPS, EPOCH = 117, 468
LIMIT = 0.05
OPTIMISER = optax.adam(1e-3)


def measure(question: Question) -> None:
    """Rows for each depth."""
    depths, blocks = ((4,), 2) if question.quick else (question.options.depths, question.options.blocks)
    with one_blas_thread():
        for depth in depths:
            network(question, depth, blocks)
            question.save()


def network(question: Question, depth: int, blocks: int) -> None:
    """All rows of one depth."""
    graphdef, params = nnx.split(MLP(depth, WIDTH, rngs=nnx.Rngs(0), in_features=PIXELS))
    selection, name = select(params), f"depth {depth}"
    schedules = {"plain": None, "idle": Schedule.at([2**31 - 1]), "once": Schedule.every(STEPS)}
    runs = {
        side: Run(graphdef, params, schedule and Recorder(selection, schedule)) for side, schedule in schedules.items()
    }
    for _ in range(blocks + 1):
        for run in runs.values():
            run.block()
    for clock in ("wall", "CPU"):
        plain, idle, once = (min(run.seconds[clock][1:]) for run in runs.values())
        step, record, asking = plain / STEPS, once - idle, idle / plain - 1
        details = {"step_seconds": step, "record_seconds": record, "layers": len(selection.layers), "blocks": blocks}
        question.figure(f"{name}: a record, {clock} time", record / step, "training steps", **details)
        question.figure(f"{name}: idle, {clock} time", asking, "of the training time")
        for epochs in (1, 10):
            records = Schedule.log().count(epochs * EPOCH - 1)
            share = asking + records * record / (epochs * EPOCH * step)
            limit = LIMIT if epochs == 10 else None
            question.figure(
                f"{name}: overhead after {epochs * EPOCH} steps, {clock} time",
                share,
                "of the training time",
                limit,
                records=records,
                metrics=DEFAULT_METRICS,
            )
    question.figure(f"{name}: compile", runs["once"].compiled - runs["plain"].compiled, "s of CPU time")
    if question.options.epochs:
        scans = [Run(graphdef, params, recorder) for recorder in (None, Recorder(selection))]
        whole_run(question, f"{name}: whole run in a scan", scans)
        callback(question, name, Loop(graphdef, params, Tracker(Recorder(selection), [], "params")))


def callback(question: Question, name: str, loop: Loop) -> None:
    """Seconds in the calls of the tracker beside those of the rest: nothing that has to be told from noise."""
    steps = question.options.epochs * EPOCH
    for _ in range(steps // STEPS):
        loop.block()
    share = loop.asked / (loop.seconds - loop.asked)
    details = {"loop_seconds": loop.seconds, "tracker_seconds": loop.asked}
    question.figure(
        f"{name}: whole run, callback, {steps} steps, wall time", share, "of the training time", LIMIT, **details
    )


def whole_run(question: Question, work: str, runs: Sequence[Run]) -> None:
    """The overhead directly: blocks of both runs in turn, to the end."""
    steps = question.options.epochs * EPOCH
    for _ in range(steps // STEPS):
        for run in runs:
            run.block()
    for clock in ("wall", "CPU"):
        plain, tracked = (sum(run.seconds[clock]) for run in runs)
        share = tracked / plain - 1
        details = {"plain_seconds": plain, "tracked_seconds": tracked}
        question.figure(f"{work}, {steps} steps, {clock} time", share, "of the training time", LIMIT, **details)


class Loop:
    """A training run step by step in Python; the parameters are there before the tracker is asked."""

    def __init__(self, graphdef: Any, params: Any, tracker: Tracker) -> None:
        self._x = list(jax.random.uniform(jax.random.key(0), (STEPS, BATCH, PIXELS)))
        self._y = list(jax.random.randint(jax.random.key(1), (STEPS, BATCH), 0, 10))
        self._params, self._state = jax.tree.map(jnp.copy, (params, OPTIMISER.init(params)))
        self._tracker, self._number = tracker, 0
        self.seconds = self.asked = 0.0
        step = jax.jit(partial(train_step, graphdef), donate_argnums=(0, 1))
        self._step = step.lower(self._params, self._state, self._x[0], self._y[0]).compile()
        tracker.record(2**31 - 1, params)  # compiles

    def block(self) -> None:
        """Train on and keep the times."""
        start = time.perf_counter()
        for x, y in zip(self._x, self._y, strict=True):
            if self._tracker.recorder.schedule.due(self._number):
                jax.block_until_ready(self._params)
            begin = time.perf_counter()
            self._tracker(self._number, self._params)
            self.asked += time.perf_counter() - begin
            self._params, self._state = self._step(self._params, self._state, x, y)
            self._number += 1
        jax.block_until_ready(self._params)
        self.seconds += time.perf_counter() - start


class Run:
    """A training run, block by block, each a scan."""

    def __init__(self, graphdef: Any, params: Any, recorder: Recorder | None) -> None:
        x = jax.random.uniform(jax.random.key(0), (STEPS * BATCH, PIXELS))
        self._data = (x, jax.random.randint(jax.random.key(1), (len(x),), 0, 10))
        self._carry = (params, OPTIMISER.init(params), recorder.init() if recorder else None)
        self._number = 0
        self.seconds: dict[str, list[float]] = {"wall": [], "CPU": []}
        program = jax.jit(block_of(graphdef, recorder))
        start = time.process_time()
        self._program = program.lower(self._carry, 0, *self._data).compile()
        self.compiled = time.process_time() - start

    def block(self) -> None:
        """Train on and keep the times."""
        start = time.process_time()
        wall, self._carry = timed(lambda: self._program(self._carry, self._number, *self._data))
        self.seconds["CPU"].append(time.process_time() - start)
        self.seconds["wall"].append(wall)
        self._number += 1


def train_step(graphdef: Any, params: Any, opt_state: Any, x: jax.Array, y: jax.Array) -> tuple[Any, Any]:
    """Cross-entropy and one step of the optimiser."""

    def loss(params: Any) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(nnx.merge(graphdef, params)(x), y).mean()

    updates, opt_state = OPTIMISER.update(jax.grad(loss)(params), opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def block_of(graphdef: Any, recorder: Recorder | None) -> Callable[..., Any]:
    """117 steps on shuffled batches."""

    def block(carry: Any, number: Any, x: jax.Array, y: jax.Array) -> Any:
        order = jax.random.permutation(jax.random.fold_in(jax.random.key(2), number), len(y))

        def step(carry: Any, batch: Any) -> tuple[Any, None]:
            params, opt_state, records = carry
            number, rows = batch
            if recorder is not None:
                records = recorder.update(records, params, number)
            return (*train_step(graphdef, params, opt_state, x[rows], y[rows]), records), None

        batches = (number * STEPS + jnp.arange(STEPS), order.reshape(STEPS, BATCH))
        return jax.lax.scan(step, carry, batches)[0]

    return block


def options(parser: argparse.ArgumentParser) -> None:
    """Which networks, and how long."""
    parser.add_argument("--depths", type=int, nargs="+", default=[4, 16], help="hidden layers")
    parser.add_argument("--blocks", type=int, default=10, help="of 117 steps, of each run")
    parser.add_argument("--epochs", type=int, default=0, help="of a whole run without and with tracking; 0: none")


if __name__ == "__main__":
    answer(__file__, __doc__, measure, options)
