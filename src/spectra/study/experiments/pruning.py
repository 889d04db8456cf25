"""C4: what pruning a layer costs, and what pruning at its standard deviation keeps, by depth (Han et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spectra.study.data import Dataset
from spectra.study.findings import SEED, Cell, Finding, Measure, Tables, present
from spectra.study.measures import Row
from spectra.study.models import Network
from spectra.study.network import train_and_measure
from spectra.study.panels import Panel, curve, panel
from spectra.study.protocol import Protocol
from spectra.study.spec import Family, Spec
from spectra.study.stats import depth_trend, mean_effect
from spectra.study.train import TrainResult, loss_and_accuracy, train

DENSITIES = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02)
"""Of the one layer that is pruned."""

QUALITY = 1.0
"""A layer is pruned at this many of its standard deviations."""

LOSS = Measure("accuracy_loss", -1)
"""A layer that is much sparser loses less when it is pruned."""

KEPT = Measure("kept", -1)


def prune_layers(spec: Spec, model: Network, data: Dataset, layers: list[Row], curves: list[Row]) -> TrainResult:
    """Train, prune each layer by itself, then all at once at a multiple of their standard deviations and retrain.

    Appends to `curves` a row ``alone`` for each layer and density, ``kept`` for each layer, and one ``retrained``.
    """
    result = train_and_measure(spec, model, data, layers)
    trained, places = result.model, model.places()
    whole = result.test_accuracy
    for name, place in places.items():
        sizes = np.abs(np.asarray(trained.layer(name).kernel[...]))
        for density in DENSITIES:
            limit = np.quantile(sizes, 1 - density)
            accuracy = _accuracy_without(trained, {name: sizes >= limit}, data)
            row = {"what": "alone", "layer": name, "index": place.index, "role": place.role, "density": density}
            curves.append(row | {"accuracy_loss": whole - accuracy})
    masks = {}
    for name, place in places.items():
        w = np.asarray(trained.layer(name).kernel[...])
        masks[name] = np.abs(w) >= QUALITY * w.std()
        kept = {"layer": name, "index": place.index, "role": place.role, "kept": float(masks[name].mean())}
        curves.append({"what": "kept", **kept})
    pruned = _accuracy_without(trained, masks, data)
    shorter = replace(spec.config, max_epochs=max(2, spec.epochs // 3), learning_rate=spec.learning_rate / 3)
    again = train(trained, data, shorter, seed=spec.seed + 1, masks=masks)
    accuracies = {"dense": whole, "pruned": pruned, "retrained": again.test_accuracy}
    density = sum(int(mask.sum()) for mask in masks.values()) / sum(mask.size for mask in masks.values())
    curves.append({"what": "retrained", "density": density, **accuracies})
    return result


def _accuracy_without(model: Network, masks: dict[str, np.ndarray], data: Dataset) -> float:
    """Test accuracy with some weights set to zero, which are put back afterwards."""
    kept = {name: model.layer(name).kernel[...] for name in masks}
    try:
        for name, mask in masks.items():
            model.layer(name).kernel[...] = kept[name] * mask
        return loss_and_accuracy(model, data.test_x, data.test_y)[1]
    finally:
        for name, kernel in kept.items():
            model.layer(name).kernel[...] = kernel


def cells(protocol: Protocol) -> dict[str, Cell]:
    """LeNet-300-100, and the deeper networks of one depth."""
    nets: dict[Family, int] = {"lenet": 2, **protocol.deep}
    return {
        family: Cell(
            {"family": family, "depth": depth},
            tuple(protocol.spec(family, depth, seed, method="pruning") for seed in range(protocol.seeds)),
        )
        for family, depth in nets.items()
    }


def specs(protocol: Protocol) -> Sequence[Spec]:
    """All of them."""
    return [spec for cell in cells(protocol).values() for spec in cell.specs]


def findings(protocol: Protocol, tables: Tables) -> list[Finding]:
    """Sensitivity and density against depth; of LeNet's three layers, which differ in shape, what each keeps."""
    found: list[Finding | None] = []
    for family, cell in cells(protocol).items():
        learned = [spec for spec in cell.specs if tables.learned(spec)]
        if family == "lenet":
            found += _by_layer(cell, learned, tables)
            continue
        for density in DENSITIES:
            rows = [[r for r in tables.curve(spec, "alone") if r["density"] == density] for spec in learned]
            labels = cell.labels | {"density": density}
            found.append(_trend(rows, LOSS, labels))
        found.append(_trend([tables.curve(spec, "kept") for spec in learned], KEPT, dict(cell.labels)))
    return present(found)


def _trend(networks: Sequence[Sequence[Row]], measure: Measure, labels: dict[str, object]) -> Finding | None:
    values = [[[row[measure.name] for row in rows if row["role"] == "hidden"]] for rows in networks]
    effect = depth_trend(values, SEED)
    return Finding("C4", "depth trend", *measure, labels, effect) if effect.n else None


def _by_layer(cell: Cell, learned: Sequence[Spec], tables: Tables) -> list[Finding]:
    """What pruning at a standard deviation keeps of LeNet's layers, to be read beside the paper's 8, 9 and 26 %."""
    found = []
    rows = [row for spec in learned for row in tables.curve(spec, "kept")]
    for name in dict.fromkeys(row["layer"] for row in rows):
        values = tuple(row["kept"] for row in rows if row["layer"] == name)
        labels = cell.labels | {"layer": name}
        found.append(Finding("C4 paper", "level", *KEPT, labels, mean_effect(values, SEED), values=values))
    return found


def panels(protocol: Protocol, tables: Tables) -> list[Panel]:
    """What pruning a layer alone costs, and what pruning at one std keeps, by layer."""
    found = []
    for family, cell in cells(protocol).items():
        learned = [spec for spec in cell.specs if tables.learned(spec)]
        series = []
        for density in DENSITIES:
            rows = [[row for row in tables.curve(spec, "alone") if row["density"] == density] for spec in learned]
            series.append(curve(f"{density:.0%} kept", rows, "index", "accuracy_loss"))
        title = f"{family} of {cell.labels['depth']}, one layer pruned alone"
        found += panel("C4", title, "layer", "accuracy_loss", series)
        kept = [tables.curve(spec, "kept") for spec in learned]
        series = [curve("pruned at one std", kept, "index", "kept")]
        found += panel("C4", f"{family} of {cell.labels['depth']}, all layers", "layer", "kept", series)
    return found
