"""C0: do converged networks end sparse and heavy-tailed, and more so in deeper layers? The ladder over all families."""

from __future__ import annotations

from collections.abc import Sequence

from spectra.study.findings import (
    SPARSE_AND_HEAVY,
    Cell,
    Finding,
    Measure,
    Tables,
    more_depth,
    present,
    training_effect,
    trend,
)
from spectra.study.panels import Panel, by_layer, panel
from spectra.study.protocol import Protocol
from spectra.study.spec import Spec

LARGEST = Measure("largest_share", 1, primary=True)
KEPT = Measure("beyond_std", -1, primary=True)


def ladders(protocol: Protocol) -> list[list[Cell]]:
    """For each family (the perceptron twice, with relu and with tanh) its cells from shallow to deep."""
    found = []
    for family, depths in protocol.ladders.items():
        activations = {"mlp": ("relu", "tanh"), "vit": ("gelu",)}.get(family, ("relu",))
        for activation in activations:
            cells = []
            for depth in depths:
                labels = {"family": family, "activation": activation, "depth": depth}
                seeds = range(protocol.seeds)
                specs = tuple(protocol.spec(family, depth, seed, activation=activation) for seed in seeds)
                cells.append(Cell(labels, specs))
            found.append(cells)
    return found


def specs(protocol: Protocol) -> Sequence[Spec]:
    """All networks of the ladders."""
    return [spec for ladder in ladders(protocol) for cell in ladder for spec in cell.specs]


def findings(protocol: Protocol, tables: Tables) -> list[Finding]:
    """Trends, effects of training, and depth of the network; of the largest weights for C4."""
    found = []
    for ladder in ladders(protocol):
        for cell in ladder:
            for measure in SPARSE_AND_HEAVY:
                found += [trend("C0", cell, measure, tables), training_effect("C0", cell, measure, tables)]
                if measure.primary:
                    found.append(trend("C0", cell, measure._replace(primary=False), tables, ends=True))
            found += [trend("C4", cell, measure, tables) for measure in (LARGEST, KEPT)]
        for measure in SPARSE_AND_HEAVY:
            found.append(more_depth("C0", ladder, measure._replace(primary=False), tables))
    return present(found)


def panels(protocol: Protocol, tables: Tables) -> list[Panel]:
    """Both primary measures by layer, before and after training, in the deepest network of each ladder."""
    found = []
    for measure in ("near_zero_std", "kurtosis"):
        for ladder in ladders(protocol):
            cell = ladder[-1]
            role = "up" if cell.labels["family"] == "vit" else "hidden"
            title = f"{cell.labels['family']}, {cell.labels['activation']}, depth {cell.labels['depth']}"
            series = [
                by_layer(label, cell, measure, tables, moment=moment, role=role)
                for label, moment in (("initial", "initial"), ("trained", "end"))
            ]
            found += panel("C0", title, "layer", measure, series)
    return found
