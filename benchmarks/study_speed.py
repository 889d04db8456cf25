"""How many networks of the study are trained and analyzed in a minute, and how is that best done on this machine?

Flax models of varying depth, in the sizes of the published study, on scikit-learn's digits for a fixed number of steps:
the seconds of training alone and with all the study's measurements, and the share of these. Then the same networks one
after the other on all cores, one process a core, and, for perceptrons, all seeds in one program under `vmap`; the
accuracies of all three ways must agree.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support.question import Question, answer, check

from spectra.cache import use_compilation_cache
from spectra.study import train as training
from spectra.study.network import initial_network, run_network
from spectra.study.protocol import PUBLISHED
from spectra.study.run import usual_jobs
from spectra.study.spec import Spec
from spectra.study.workers import run_all

LADDER = (("mlp", 4), ("mlp", 16), ("cnn", 4), ("cnn", 8), ("resnet", 8), ("vit", 3))
SEEDS = 4
EPOCHS = {"mlp": 60, "cnn": 28, "resnet": 28, "vit": 20}
"""As published; an epoch of digits has 22 steps of 64 images, one of the study 78."""


def measure(question: Question) -> None:
    """One row a network for training and analysis, then the ways to train several."""
    use_compilation_cache()
    for family, depth in LADDER[: 2 if question.quick else None]:
        one_network(question, spec(question, family, depth, seed=0))
    for family, depth in (("mlp", 4), ("cnn", 4)):
        several(question, [spec(question, family, depth, seed) for seed in range(SEEDS)])


def spec(question: Question, family: Any, depth: int, seed: int) -> Spec:
    """A network of the published study, but for its images."""
    epochs = 3 if question.quick else EPOCHS[family]
    return PUBLISHED.spec(family, depth, seed, images="digits", count=0, epochs=epochs)


def one_network(question: Question, spec: Spec) -> None:
    """Seconds of training with and without the measurements, both warm."""
    data = spec.data()
    run_network(replace(spec, epochs=1))
    run_network(spec)  # the schedule is part of the program
    start = time.perf_counter()
    record = run_network(spec)
    whole = time.perf_counter() - start
    start = time.perf_counter()
    training.train(initial_network(spec, data), data, spec.config, seed=spec.seed)
    alone = time.perf_counter() - start
    rows = len(record["layers"])
    share = max(0.0, 1 - alone / whole)
    work = f"{spec.family} of depth {spec.depth}, {record['result']['steps']} steps"
    details = {"seconds": whole, "training": alone, "measured_rows": rows, "analysis_share": share}
    question.figure(work, 60 / whole, "networks a minute, analysis included", **details)
    question.figure(f"{work}: analysis", 100 * share, "% of the time", measured_rows=rows)


def several(question: Question, specs: list[Spec]) -> None:
    """Networks that differ in their seed: in turn, side by side, and under `vmap`."""
    cores = usual_jobs()
    warm = replace(specs[0], epochs=specs[0].epochs, seed=99)
    accuracies, seconds = {}, {}
    ways = {"one process, all cores": 1, f"{cores} processes, one core each": max(2, cores)}
    for way, jobs in ways.items():
        records, start = [], 0.0
        # The first networks of each process compile; what follows them is timed.
        for done, record in enumerate(
            run_all([*[replace(warm, seed=90 + i) for i in range(jobs)], *specs], None, jobs)
        ):
            if done == jobs - 1:
                start = time.perf_counter()
            records.append(record)
        seconds[way] = time.perf_counter() - start
        names = {one.name for one in specs}
        accuracies[way] = sorted(r["result"]["test_accuracy"] for r in records if r["name"] in names)
    if specs[0].family == "mlp":
        seconds["one program under vmap, no analysis"], accuracies["vmap"] = under_vmap(specs)
    found = list(accuracies.values())
    spread = max(float(np.abs(np.subtract(a, found[0])).max()) for a in found)
    check(spread < 0.05, f"the ways to train do not agree: accuracies {accuracies}")
    for way, taken in seconds.items():
        work = f"{len(specs)} networks, {specs[0].family} of depth {specs[0].depth}: {way}"
        question.figure(work, 60 * len(specs) / taken, "networks a minute", seconds=taken)


def under_vmap(specs: list[Spec]) -> tuple[float, list[float]]:
    """All seeds in one compiled program, warm; training alone."""
    data = specs[0].data()
    config = specs[0].config
    steps = len(data.train_y) // config.batch_size
    recipe = training._Recipe(config.optimiser, config.schedule, config.batch_size, config.max_epochs * steps)
    parts = [training.split(initial_network(spec, data)) for spec in specs]
    graphdef = parts[0][0]
    states = [state for _, state in parts]
    carries = [(*state, recipe.transform(config.learning_rate).init(state[0])) for state in states]
    numbers = (jnp.float32(config.learning_rate), jnp.float32(0))
    images = jax.device_put((data.train_x, data.train_y))

    @partial(jax.jit, donate_argnums=0)
    @partial(jax.vmap, in_axes=(0, 0))
    def epoch(carry: Any, key: jax.Array) -> Any:
        run = training._run_steps.__wrapped__
        return run(graphdef, recipe, numbers, carry, images, None, key, 0, steps)

    def run() -> tuple[float, Any]:
        carry = jax.tree.map(lambda *leaves: jnp.stack(leaves), *carries)
        keys = jnp.stack([jax.random.key(spec.seed) for spec in specs])
        start = time.perf_counter()
        for number in range(1, config.max_epochs + 1):
            carry = epoch(carry, jax.vmap(lambda key, n=number: jax.random.fold_in(key, n))(keys))
        jax.block_until_ready(carry)
        return time.perf_counter() - start, carry

    run()
    seconds, carry = run()
    accuracies = []
    for i in range(len(specs)):
        state = jax.tree.map(lambda leaf, i=i: leaf[i], carry[:2])
        correct = training._loss_and_correct(graphdef, state, jax.device_put((data.test_x, data.test_y)))[1]
        accuracies.append(int(correct) / len(data.test_y))
    return seconds, sorted(accuracies)


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
