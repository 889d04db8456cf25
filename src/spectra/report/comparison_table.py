"""The comparison in a terminal: the run in medians, and the last two checkpoints layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spectra.report.comparison import LayerComparison, ModelComparison
from spectra.report.curves import short_name
from spectra.report.table import LONGEST, NAME_WIDTH, NOTE_WIDTH, _fitting, _names
from spectra.report.trajectory import trajectory_table

Cell = Callable[[LayerComparison], str]
MISSING = "–"


def _number(name: str, form: str = ".3g") -> Cell:
    def cell(layer: LayerComparison) -> str:
        value = layer.metrics.get(name)
        return MISSING if value is None else format(value, form)

    return cell


def _overlap(side: str) -> Cell:
    def cell(layer: LayerComparison) -> str:
        value, chance = (layer.metrics.get(f"{name}_{side}") for name in ("overlap", "chance"))
        return MISSING if value is None or chance is None else f"{value:.3f} ({chance:.3f})"

    return cell


def _alpha(layer: LayerComparison) -> str:
    before, after = (layer.metrics.get(f"alpha_{side}") for side in "ab")
    return MISSING if before is None or after is None else f"{before:.2f} → {after:.2f}"


COLUMNS: list[tuple[str, Cell, int]] = [
    ("‖ΔW‖/‖W‖", _number("relative_change"), 1),
    ("rank ΔW", _number("delta_stable_rank"), 6),
    ("W₁", _number("w1_distance"), 5),
    ("U (chance)", _overlap("u"), 3),
    ("V (chance)", _overlap("v"), 4),
    ("alpha", _alpha, 2),
    ("z", _number("alpha_z", "+.1f"), 7),
    ("kind", lambda layer: layer.kind, 8),
]
"""Heading, cell, and the order in which columns are given room: those of high numbers go first."""

MARKS = {"failed": ("✗", "bold red"), "unmatched": ("≠", "yellow"), "skipped": (" ", "dim")}


def print_comparison(comparison: ModelComparison, console: Console) -> None:
    """Print the run in medians if it has more than two checkpoints, the last pair, and a line that sums up."""
    if len(comparison.labels) > 2:
        console.print(run_table(comparison))
    last = [layer for layer in comparison if layer.model == comparison.labels[-1]]
    shown = [layer for layer in last if layer.metrics.get("M") is not None or layer.status == "failed"]
    width = console.width if console.is_terminal else None
    if shown:
        pair = f"{shown[0].against} → {shown[0].model}"
        console.print(Text(short_name(pair, width or 2000), style="italic"))
        console.print(pair_table(shown, width))
    console.print(summary_line(comparison), soft_wrap=True, highlight=False, markup=False)


def pair_table(layers: Sequence[Any], width: int | None, columns: Sequence[tuple[str, Any, int]] = COLUMNS) -> Table:
    """A table of layers before and after for a terminal of `width` columns; None prints everything in full."""
    cells = {heading: [cell(layer) for layer in layers] for heading, cell, _ in columns}
    notes = [short_name(layer.warning, 200 if width is None else NOTE_WIDTH) for layer in layers]
    longest = min(max(len(layer.name) for layer in layers), LONGEST)
    wanted = [(heading, cells[heading], rank) for heading, _, rank in columns]
    kept, taken = _fitting(wanted, ["warning", *notes], min(longest, NAME_WIDTH), width)
    names = _names([layer.name for layer in layers], longest if width is None else max(width - taken, 8))

    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("")
    table.add_column("layer", no_wrap=True)
    for heading in kept:
        table.add_column(heading, justify="left" if heading == "kind" else "right", no_wrap=True)
    table.add_column("warning", no_wrap=True)
    for row, layer in enumerate(layers):
        mark, style = MARKS.get(layer.status, (" ", "none"))
        values = [Text(cells[heading][row]) for heading in kept]
        table.add_row(mark, Text(names[row]), *values, Text(notes[row]), style=style)
    return table


def run_table(comparison: ModelComparison) -> Table:
    """The checkpoints of a run, each with the medians over its layers."""
    columns = {"alpha": "alpha", "stable rank": "stable_rank", "|w|<.1σ": "near_zero_std"}
    columns |= {"‖ΔW‖/‖W‖": "relative_change"}
    rows: Any = trajectory_table(comparison)
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("step", justify="right")
    table.add_column("checkpoint", no_wrap=True)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for step, label in zip(comparison.steps, comparison.labels, strict=True):
        of_step = [row for row, model in enumerate(rows.get("model", [])) if model == label]
        cells = []
        for name in columns.values():
            values = [rows[name][row] for row in of_step if rows[name][row] is not None]
            cells.append(f"{np.median(values):.3g}" if values else MISSING)
        table.add_row(*map(Text, (f"{step:g}", short_name(label, 48), *cells)))
    return table


def summary_line(comparison: ModelComparison) -> str:
    """One line: how many layers were compared, how many not, the median change."""
    s = comparison.summary()
    compared = s["layers"] - s["unmatched"] - s["skipped"] - s["failed"]
    parts = [f"{compared} of {s['layers']} layers compared"]
    parts += [f"{s[status]} {status}" for status in ("unchanged", "unmatched", "skipped", "failed") if s[status]]
    if s["relative_change"] is not None:
        parts.append(f"median relative change {s['relative_change']:.3g}")
    seconds = comparison.meta.get("seconds")
    took = f" in {seconds:.1f} s" if isinstance(seconds, int | float) else ""
    return f"{short_name(' → '.join(comparison.labels), 1000)}: {', '.join(parts)}{took}"
