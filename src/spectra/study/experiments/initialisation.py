"""C1: weights and signals after standard and after normalised initialisation (Glorot & Bengio 2010)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spectra.study.findings import (
    Cell,
    Finding,
    Measure,
    Tables,
    contrast,
    groups,
    level_of,
    present,
    training_effect,
    trend,
)
from spectra.study.measures import Row
from spectra.study.panels import Panel, by_layer, panel
from spectra.study.protocol import Protocol
from spectra.study.spec import Spec

WEIGHTS = (Measure("near_zero_std", 1, primary=True), Measure("kurtosis", 1, primary=True), Measure("hoyer", 1))
SIGNALS = (Measure("activation_std", 1), Measure("gradient_std", 1))
"""The paper's own claim: with the standard initialisation they drift more by layer than with the normalised one."""

INITS = ("standard", "glorot")


def cells(protocol: Protocol) -> dict[tuple[str, int, int, str], Cell]:
    """By activation, depth, width and initialisation: the paper's five layers of tanh, then other depths and curves."""
    width = protocol.widths["mlp"]
    depths = (5,) if protocol.name == "quick" else (5, 10)
    nets = [("tanh", 5, protocol.theory_width), *(("tanh", depth, width) for depth in depths)]
    nets += [("sigmoid", 5, width), ("softsign", 5, width)]
    found = {}
    for activation, depth, size in nets:
        for init in INITS:
            labels = {"family": "mlp", "activation": activation, "depth": depth, "width": size, "init": init}
            changes = {"activation": activation, "init": init, "width": size}
            if size == protocol.theory_width:
                changes["epochs"] = protocol.theory_epochs
            seeds = range(protocol.seeds)
            found[activation, depth, size, init] = Cell(
                labels, tuple(protocol.spec("mlp", depth, seed, **changes) for seed in seeds)
            )
    return found


def specs(protocol: Protocol) -> Sequence[Spec]:
    """Both initialisations of each network."""
    return [spec for cell in cells(protocol).values() for spec in cell.specs]


def findings(protocol: Protocol, tables: Tables) -> list[Finding]:
    """Weights for the claim as it circulates; signals for the paper's own."""
    found = []
    all_cells = cells(protocol)
    for cell in all_cells.values():
        for measure in WEIGHTS:
            found += [trend("C1", cell, measure, tables), training_effect("C1", cell, measure, tables)]
            found.append(level_of("C1", cell, measure._replace(primary=False), tables))
    for (activation, depth, width, init), cell in all_cells.items():
        if init == "standard":
            other = all_cells[activation, depth, width, "glorot"]
            for measure in SIGNALS:
                for moment in ("initial", "end"):
                    when = cell._replace(labels=cell.labels | {"moment": moment})
                    against = other._replace(labels=other.labels | {"moment": moment})
                    found.append(contrast("C1 paper", when, against, measure, tables, moment=moment, number=drift))
    return present(found)


def drift(rows: Sequence[Row], measure: str) -> float:
    """By how many powers of ten a signal's std changes from the first hidden layer to the last, up or down."""
    (by_layer,) = groups(rows, measure)
    return float(abs(by_layer[-1] - by_layer[0])) if len(by_layer) > 1 and np.all(np.isfinite(by_layer)) else np.nan


def panels(protocol: Protocol, tables: Tables) -> list[Panel]:
    """Signals by layer at step 0 and at the end, in the network of the paper."""
    found = []
    width = protocol.theory_width
    for measure in ("activation_std", "gradient_std"):
        for moment, when in (("initial", "at step 0"), ("end", "trained")):
            series = [
                by_layer(init, cells(protocol)["tanh", 5, width, init], measure, tables, moment=moment)
                for init in INITS
            ]
            found += panel("C1", f"tanh, 5 layers of {width}, {when}", "hidden layer", measure, series)
    return found
