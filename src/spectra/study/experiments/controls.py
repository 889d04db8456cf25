"""Answers known beforehand: smaller batches give a smaller alpha; nothing learned gives no trend with depth."""

from __future__ import annotations

from collections.abc import Sequence

from spectra.study.experiments import depth as ladder
from spectra.study.findings import (
    SPARSE_AND_HEAVY,
    Cell,
    Finding,
    Measure,
    Tables,
    more_depth,
    present,
    trend,
)
from spectra.study.panels import Panel
from spectra.study.protocol import Protocol
from spectra.study.spec import Spec

ALPHA = Measure("alpha", 1, primary=True)
"""Rises with the batch (Martin & Mahoney 2021, section 6)."""

BATCH_DEPTH = 4


def batches(protocol: Protocol) -> list[Cell]:
    """One cell a batch size, from small to large."""
    found = []
    for size in protocol.batch_sizes:
        seeds = range(protocol.seeds)
        specs = tuple(protocol.spec("mlp", BATCH_DEPTH, seed, batch_size=size) for seed in seeds)
        found.append(Cell({"family": "mlp", "activation": "relu", "depth": size}, specs))
    return found


def random(protocol: Protocol) -> Cell:
    """Networks that learned random labels by heart."""
    depth = protocol.deep["mlp"]
    changes = {"labels": "random", "epochs": protocol.random_epochs, "count": protocol.random_count}
    changes |= {"learning_rate": 1e-3}
    specs = tuple(protocol.spec("mlp", depth, seed, **changes) for seed in range(protocol.seeds))
    return Cell({"family": "mlp", "activation": "relu", "depth": depth, "labels": "random"}, specs)


def specs(protocol: Protocol) -> Sequence[Spec]:
    """Batch sizes, random labels, and the ladder, which is looked at before it is trained."""
    cells = [*batches(protocol), random(protocol)]
    return [spec for cell in cells for spec in cell.specs] + list(ladder.specs(protocol))


def findings(protocol: Protocol, tables: Tables) -> list[Finding]:
    """The positive control, and the two negative ones."""
    found = [more_depth("positive control", batches(protocol), ALPHA, tables)]
    for measure in SPARSE_AND_HEAVY[:2]:
        found.append(trend("random labels", random(protocol), measure, tables))
        for cells in ladder.ladders(protocol):
            for cell in cells:
                finding = trend("untrained", cell, measure, tables)
                if finding is not None and finding.before is not None:
                    found.append(Finding("untrained", "depth trend", *measure, cell.labels, finding.before))
    return present(found)


def panels(protocol: Protocol, tables: Tables) -> list[Panel]:
    """Nothing: the controls are told in numbers."""
    return []
