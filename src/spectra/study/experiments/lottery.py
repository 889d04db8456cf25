"""C3: winning tickets, and the density that pruning leaves in each layer (Frankle & Carbin 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spectra.study.data import Dataset
from spectra.study.findings import SEED, Cell, Finding, Measure, Tables, present
from spectra.study.measures import Row
from spectra.study.models import Network
from spectra.study.network import measured
from spectra.study.panels import Panel, curve, panel
from spectra.study.protocol import Protocol
from spectra.study.spec import Spec
from spectra.study.stats import depth_trend, mean_effect
from spectra.study.train import TrainResult, loss_and_accuracy, train

PRUNED = 0.2
"""Share of the remaining weights that a round prunes; of an output layer half of that."""

ROUNDS = {"lottery": 15, "global lottery": 10}
"""Down to the paper's smallest ticket, 3.6 % of the weights, and to about a tenth."""

COMPARED = 3
"""Fresh weights and a random mask are tried in the first round, then in every third, and in the last."""

CHECKS = 20
"""Evaluations on validation images during a training, evenly spaced."""

ACCURACY = Measure("test_accuracy", 1, primary=True)
FASTER = (Measure("best_step", -1), Measure("best_test_accuracy", 1))
"""The paper's own measures: the step of the best validation loss, and the accuracy there."""

KEPT = Measure("kept", -1, primary=True)

Masks = dict[str, np.ndarray]


def draw_tickets(spec: Spec, model: Network, data: Dataset, layers: list[Row], curves: list[Row]) -> TrainResult:
    """Iterative magnitude pruning with rewinding to the initial weights; returns the training of the dense network.

    Appends to `curves` for each round and kind of ticket (``winning``, ``fresh``: the same mask and other initial
    weights, ``random``: a random mask of the same density in each layer) a row ``ticket`` of accuracies at the end, of
    the step of the best validation loss and the accuracy there, and for each round and layer a row ``kept``. A ticket
    that diverges is the last one.
    """
    # Half of the test images say at which step the validation loss is best, the other half how good the network is.
    half = len(data.test_y) // 2
    validation = (data.test_x[:half], data.test_y[:half])
    data = data._replace(test_x=data.test_x[half:], test_y=data.test_y[half:])
    fresh = replace(spec, seed=spec.seed + 1_000_000).build(data.train_x.shape[1])
    rng = np.random.default_rng([spec.seed, 5])
    places = model.places()
    masks: Masks = {name: np.ones(model.layer(name).kernel.shape, bool) for name in places}
    rounds = ROUNDS[spec.method]
    dense: TrainResult | None = None
    for number in range(rounds + 1):
        result = _ticket("winning", number, spec, model, masks, data, validation, curves)
        if dense is None:
            dense = result
            for step, network in ((0, model), (result.steps, result.model)):
                gof = spec.gof if spec.method == "lottery" else 0
                layers.extend(measured(spec, network, data, step, gof=gof, final=step > 0))
        if result.diverged:
            break
        if number and spec.method == "lottery" and (number % COMPARED == 1 or number == rounds):
            _ticket("fresh", number, spec, fresh, masks, data, validation, curves)
            _ticket("random", number, spec, model, _shuffled(masks, rng), data, validation, curves)
        for name, mask in masks.items():
            kept = {"layer": name, "index": places[name].index, "role": places[name].role, "kept": float(mask.mean())}
            curves.append({"what": "kept", "round": number, "density": _density(masks), **kept})
        masks = _pruned(masks, result.model, everywhere=spec.method == "global lottery")
    assert dense is not None
    return dense


def _ticket(
    kind: str,
    number: int,
    spec: Spec,
    model: Network,
    masks: Masks,
    data: Dataset,
    validation: tuple[np.ndarray, np.ndarray],
    curves: list[Row],
) -> TrainResult:
    last = spec.epochs * (len(data.train_y) // spec.batch_size)
    marks = sorted({round(last * (i + 1) / CHECKS) for i in range(CHECKS)})
    losses: list[float] = []
    accuracies: list[float] = []

    def probe(step: int, now: Network) -> None:
        losses.append(loss_and_accuracy(now, *validation)[0])
        accuracies.append(loss_and_accuracy(now, data.test_x, data.test_y)[1])

    result = train(model, data, spec.config, seed=spec.seed, marks=marks, probe=probe, masks=masks)
    best = int(np.argmin(losses)) if losses and np.all(np.isfinite(losses)) else None
    row: Row = {"what": "ticket", "kind": kind, "round": number, "density": _density(masks)}
    row["best_step"] = None if best is None else marks[best]
    row["best_test_accuracy"] = None if best is None else accuracies[best]
    row |= {"train_accuracy": result.train_accuracy, "test_accuracy": result.test_accuracy}
    curves.append(row)
    return result


def _density(masks: Masks) -> float:
    """Share of the weights of all layers that are left."""
    return sum(int(mask.sum()) for mask in masks.values()) / sum(mask.size for mask in masks.values())


def _pruned(masks: Masks, trained: Network, everywhere: bool) -> Masks:
    """The masks without the smallest remaining weights of each layer, or of all layers together."""
    sizes = {name: np.abs(np.asarray(trained.layer(name).kernel[...])) for name in masks}
    if everywhere:
        left = np.concatenate([sizes[name][mask] for name, mask in masks.items()])
        limit = np.sort(left)[round(PRUNED * left.size)]
        return {name: mask & (sizes[name] >= limit) for name, mask in masks.items()}
    found = {}
    for name, mask in masks.items():
        left = np.sort(sizes[name][mask])
        share = PRUNED / 2 if trained.places()[name].role == "output" else PRUNED
        found[name] = mask & (sizes[name] >= left[min(round(share * left.size), left.size - 1)])
    return found


def _shuffled(masks: Masks, rng: np.random.Generator) -> Masks:
    return {name: rng.permutation(mask.ravel()).reshape(mask.shape) for name, mask in masks.items()}


def cells(protocol: Protocol) -> dict[str, Cell]:
    """LeNet-300-100, and a deeper perceptron that is pruned over all layers at once."""
    seeds = range(protocol.seeds)
    deep = protocol.deep["mlp"]
    changes = {"epochs": protocol.lottery_epochs}
    lenet = tuple(protocol.spec("lenet", 2, seed, method="lottery", **changes) for seed in seeds)
    everywhere = tuple(protocol.spec("mlp", deep, seed, method="global lottery", **changes) for seed in seeds)
    return {
        "lottery": Cell({"family": "lenet", "depth": 2}, lenet),
        "global lottery": Cell({"family": "mlp", "depth": deep}, everywhere),
    }


def specs(protocol: Protocol) -> Sequence[Spec]:
    """Both networks."""
    return [spec for cell in cells(protocol).values() for spec in cell.specs]


def findings(protocol: Protocol, tables: Tables) -> list[Finding]:
    """Winning tickets against others, and the density by layer against depth."""
    found = []
    lenet, deep = cells(protocol).values()
    rounds = sorted({row["round"] for spec in lenet.specs for row in tables.curve(spec, "ticket")})
    for number in rounds[1:]:
        for kind in ("fresh", "random"):
            found.append(_difference("C3", lenet, tables, ACCURACY, number, (kind, number)))
        for measure in (ACCURACY._replace(primary=False), *FASTER):
            found.append(_difference("C3 paper", lenet, tables, measure, number, ("winning", 0)))
        found += [_difference("C3 paper", lenet, tables, measure, number, ("fresh", number)) for measure in FASTER]
    for number in sorted({row["round"] for spec in deep.specs for row in tables.curve(spec, "kept")})[1:]:
        by_layer = []
        for spec in (spec for spec in deep.specs if tables.learned(spec)):
            rows = [row for row in tables.curve(spec, "kept") if row["round"] == number and row["role"] == "hidden"]
            by_layer.append([[row["kept"] for row in rows]])
        effect = depth_trend(by_layer, SEED)
        if effect.n:
            labels = deep.labels | {"round": number}
            found.append(Finding("C3", "depth trend", *KEPT, labels, effect))
    return present(found)


def _difference(
    claim: str, cell: Cell, tables: Tables, measure: Measure, number: int, other: tuple[str, int]
) -> Finding | None:
    """A measure of the winning ticket of a round minus that of another ticket, seed by seed."""
    values, density = [], float("nan")
    for spec in (spec for spec in cell.specs if tables.learned(spec)):
        tickets = {(row["kind"], row["round"]): row for row in tables.curve(spec, "ticket")}
        one, another = (tickets.get(key, {}).get(measure.name) for key in (("winning", number), other))
        if one is not None and another is not None:
            values.append(one - another)
            density = tickets["winning", number]["density"]
    if not values:
        return None
    labels = cell.labels | {"round": number, "density": round(density, 3)}
    labels["minus"] = other[0] if other[1] else "dense"
    return Finding(claim, "contrast", *measure, labels, mean_effect(values, SEED), values=tuple(values))


def panels(protocol: Protocol, tables: Tables) -> list[Panel]:
    """Accuracy against weights kept for each kind of ticket, and the density by layer in the last round."""
    lenet, deep = cells(protocol).values()
    tickets = [tables.curve(spec, "ticket") for spec in lenet.specs if tables.learned(spec)]
    series = []
    for kind in ("winning", "fresh", "random"):
        rows = [[row | {"density": round(row["density"], 4)} for row in t if row["kind"] == kind] for t in tickets]
        series.append(curve(kind, rows, "density", "test_accuracy"))
    found = panel("C3", "LeNet-300-100", "share of weights kept", "test_accuracy", series, log_x=True)
    kept = [tables.curve(spec, "kept") for spec in deep.specs if tables.learned(spec)]
    last = max((row["round"] for rows in kept for row in rows), default=0)
    series = []
    for number in sorted({last // 3, 2 * last // 3, last} - {0}):
        rows = [[row for row in one if row["round"] == number and row["role"] == "hidden"] for one in kept]
        series.append(curve(f"round {number}", rows, "index", "kept"))
    return found + panel("C3", f"MLP of {deep.labels['depth']}, pruned over all layers", "layer", "kept", series)
