"""C5: does weight normalisation make weights heavy-tailed and near zero, the more so in deeper layers?"""

from __future__ import annotations

from collections.abc import Sequence

from spectra.study.findings import SPARSE_AND_HEAVY, Cell, Finding, Tables, contrast, present, trend
from spectra.study.panels import Panel, by_layer, panel
from spectra.study.protocol import Protocol
from spectra.study.spec import Spec

NORMS = ("none", "weight", "batch")


def cells(protocol: Protocol) -> dict[tuple[str, str], Cell]:
    """By family and normalisation."""
    found: dict[tuple[str, str], Cell] = {}
    for family, depth in protocol.deep.items():
        for norm in NORMS:
            labels = {"family": family, "depth": depth, "norm": norm}
            specs = tuple(protocol.spec(family, depth, seed, norm=norm) for seed in range(protocol.seeds))
            found[family, norm] = Cell(labels, specs)
    return found


def specs(protocol: Protocol) -> Sequence[Spec]:
    """Plain networks are those of the ladder."""
    return [spec for cell in cells(protocol).values() for spec in cell.specs]


def findings(protocol: Protocol, tables: Tables) -> list[Finding]:
    """The effective weight for the verdict; v, and batch normalisation, beside it."""
    found = []
    all_cells = cells(protocol)
    for family in protocol.deep:
        plain, weight, batch = (all_cells[family, norm] for norm in NORMS)
        v = weight._replace(labels=weight.labels | {"part": "v"})
        for measure in SPARSE_AND_HEAVY:
            beside = measure._replace(primary=False)
            found += [contrast("C5", weight, plain, measure, tables), trend("C5", weight, measure, tables)]
            found += [contrast("C5", v, plain, beside, tables, part="v"), trend("C5", v, beside, tables, part="v")]
            found += [contrast("C5", batch, plain, beside, tables), trend("C5", batch, beside, tables)]
    return present(found)


def panels(protocol: Protocol, tables: Tables) -> list[Panel]:
    """Both primary measures by layer for each normalisation, and of v."""
    found = []
    for measure in ("near_zero_std", "kurtosis"):
        for family in protocol.deep:
            names = {"none": "plain", "weight": "weight norm, w", "batch": "batch norm"}
            series = [
                by_layer(label, cells(protocol)[family, norm], measure, tables, role="hidden")
                for norm, label in names.items()
            ]
            series.append(
                by_layer("weight norm, v", cells(protocol)[family, "weight"], measure, tables, part="v", role="hidden")
            )
            found += panel("C5", f"{family} of {protocol.deep[family]}", "layer", measure, series)
    return found
