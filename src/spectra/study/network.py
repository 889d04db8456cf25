"""One network from its initial weights to its record: trained, measured on the way, and told how it went."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from spectra.study.data import Dataset
from spectra.study.measures import Row, measure_signals, measure_weights
from spectra.study.models import Network, calibrating
from spectra.study.spec import LEARNED, PLATEAU, Spec
from spectra.study.train import TrainResult, train

Record: TypeAlias = dict[str, Any]
"""What the journal keeps of a network, of numbers, text, lists and dicts only: ``name``, ``spec``, ``status``
(``learned``, ``not learned``, ``diverged``, ``failed``), ``reason``, ``seconds``, ``result`` (accuracies, losses,
steps), ``layers`` (a row for each layer and measured step) and ``curves`` (rows of what an experiment measures beside
them)."""

PROBED = 500
"""Test images whose activations and gradients are measured."""


def run_network(spec: Spec, directory: str | None = None) -> Record:
    """Train, measure, and describe one network.

    Parameters
    ----------
    directory
        Holds the data set, where it is not installed.
    """
    start = time.perf_counter()
    data = spec.data(directory)
    model = initial_network(spec, data)
    layers: list[Row] = []
    curves: list[Row] = []
    match spec.method:
        case "train":
            result = train_and_measure(spec, model, data, layers)
        case "lottery" | "global lottery":
            from spectra.study.experiments.lottery import draw_tickets

            result = draw_tickets(spec, model, data, layers, curves)
        case "pruning":
            from spectra.study.experiments.pruning import prune_layers

            result = prune_layers(spec, model, data, layers, curves)
    status, reason = fate(result)
    return {
        "name": spec.name,
        "spec": asdict(spec),
        "status": status,
        "reason": reason,
        "seconds": round(time.perf_counter() - start, 2),
        "result": described(result),
        "layers": layers,
        "curves": curves,
    }


def initial_network(spec: Spec, data: Dataset) -> Network:
    """The network before training; weight normalisation has set its gains from the first images."""
    model = spec.build(data.train_x.shape[1])
    if spec.norm == "weight":
        model(jnp.asarray(data.train_x[:PROBED]), calibrating)
    return model


def train_and_measure(spec: Spec, model: Network, data: Dataset, layers: list[Row]) -> TrainResult:
    """Train with the network's own configuration, and append a row for each layer and measured step to `layers`."""
    last = spec.epochs * (len(data.train_y) // spec.batch_size)

    def probe(step: int, now: Network) -> None:
        ends = step in (0, last)
        layers.extend(measured(spec, now, data, step, gof=spec.gof if ends else 0, final=step == last))

    return train(model, data, spec.config, seed=spec.seed, marks=log_spaced(last), probe=probe)


def log_spaced(last: int) -> list[int]:
    """Steps 0, 10, 30, 100, 300, … and the last one."""
    between = [int(10 * 10 ** (k // 2) * (3 if k % 2 else 1)) for k in range(20)]
    return [0, *(step for step in between if step < last), last]


def measured(spec: Spec, model: Network, data: Dataset, step: int, *, gof: int, final: bool) -> list[Row]:
    """A row a layer: weights as they multiply, signals; of weight-normalised ones also v and g."""
    places = model.places()
    rows = measure_weights(model.kernels(), places, gof=gof, seed=spec.seed)
    signals = measure_signals(model, data.test_x[:PROBED], data.test_y[:PROBED])
    for row in rows:
        row |= {"part": "w", **signals.get(row["layer"], {})}
    if spec.norm == "weight":
        gains = {name: gain for name in places if (gain := model.layer(name).gain) is not None}
        normed = {name: places[name] for name in gains}
        v = {f"{name}.kernel": np.asarray(model.layer(name).kernel[...]) for name in normed}
        rows += [row | {"part": "v"} for row in measure_weights(v, normed, gof=gof, seed=spec.seed)]
        g = {f"{name}.kernel": np.asarray(gain[...]) for name, gain in gains.items()}
        rows += [row | {"part": "g"} for row in measure_weights(g, normed, seed=spec.seed)]
    moment = "end" if final else "initial" if step == 0 else "on the way"
    return [{"step": step, "moment": moment, **row} for row in rows]


def fate(result: TrainResult) -> tuple[str, str]:
    """Status of a trained network, and why it is left out of the verdict if it is."""
    if result.diverged:
        return "diverged", f"training loss {result.history[-1].train_loss:.3g} after {result.steps} steps"
    if result.train_accuracy < LEARNED:
        return "not learned", f"accuracy {result.train_accuracy:.3f} in training, less than {LEARNED}"
    return (
        "learned",
        "" if result.converged else f"no plateau: the training loss still moved by more than {PLATEAU} nats",
    )


def described(result: TrainResult) -> Row:
    """The numbers of a training."""
    last = result.history[-1]
    return {
        "train_accuracy": result.train_accuracy,
        "test_accuracy": result.test_accuracy,
        "train_loss": last.train_loss if np.isfinite(last.train_loss) else None,
        "test_loss": last.test_loss if np.isfinite(last.test_loss) else None,
        "steps": result.steps,
        "converged": result.converged,
        "training_seconds": round(result.seconds, 2),
    }
