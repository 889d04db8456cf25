"""C2: does the rectifier drive weights to zero, and more so in deeper layers? (Glorot, Bordes & Bengio 2011)"""

from __future__ import annotations

from collections.abc import Sequence

from spectra.study.findings import (
    Cell,
    Finding,
    Measure,
    Tables,
    contrast,
    level_of,
    present,
    trend,
)
from spectra.study.panels import Panel, by_layer, panel
from spectra.study.protocol import Protocol
from spectra.study.spec import Spec

ACTIVATIONS = ("relu", "softplus", "tanh")
PENALTY = 1e-4
"""Of the L1 norm of an image's hidden activations."""

NEAR_ZERO = Measure("near_zero_std", 1, primary=True)
BESIDE = (Measure("zero_fraction", 1), Measure("kurtosis", 1), Measure("hoyer", 1), Measure("near_zero_max", 1))
ZEROS = Measure("activation_zeros", 1)


def cells(protocol: Protocol) -> dict[tuple[str, int, bool], Cell]:
    """By activation, depth, and whether activations are penalised."""
    found: dict[tuple[str, int, bool], Cell] = {}
    for depth in (depth for depth in (4, 8) if depth in protocol.ladders["mlp"]):
        for activation in ACTIVATIONS:
            for penalised in (False, True):
                labels = {"family": "mlp", "activation": activation, "depth": depth, "l1": PENALTY if penalised else 0}
                changes = {"activation": activation, "l1": PENALTY if penalised else 0.0}
                specs = tuple(protocol.spec("mlp", depth, seed, **changes) for seed in range(protocol.seeds))
                found[activation, depth, penalised] = Cell(labels, specs)
    return found


def specs(protocol: Protocol) -> Sequence[Spec]:
    """All three non-linearities, with and without the penalty; without it they are those of the ladder."""
    return [spec for cell in cells(protocol).values() for spec in cell.specs]


def findings(protocol: Protocol, tables: Tables) -> list[Finding]:
    """Weights near zero for the claim as it circulates; zeros among activations for the paper's own."""
    found = []
    all_cells = cells(protocol)
    for (activation, depth, penalised), cell in all_cells.items():
        found.append(level_of("C2 paper", cell, ZEROS, tables))
        if activation != "relu":
            continue
        found.append(trend("C2 paper", cell, ZEROS, tables))
        for measure in (NEAR_ZERO, *BESIDE):
            found.append(trend("C2", cell, measure, tables))
            found.append(contrast("C2", cell, all_cells["tanh", depth, penalised], measure, tables))
            softplus = all_cells["softplus", depth, penalised]
            found.append(contrast("C2", cell, softplus, measure._replace(primary=False), tables))
        if penalised:
            found.append(contrast("C2 paper", cell, all_cells["relu", depth, False], ZEROS, tables))
    return present(found)


def panels(protocol: Protocol, tables: Tables) -> list[Panel]:
    """Zeros among activations, and weights near zero, by layer, for each non-linearity."""
    found = []
    all_cells = cells(protocol)
    depth = max(depth for _, depth, _ in all_cells)
    for measure, role in (("activation_zeros", None), ("near_zero_std", "hidden")):
        for penalised in (False, True):
            title = f"{depth} layers, {'with' if penalised else 'without'} L1 on activations"
            series = [
                by_layer(activation, all_cells[activation, depth, penalised], measure, tables, role=role)
                for activation in ACTIVATIONS
            ]
            found += panel("C2", title, "layer", measure, series)
    return found
