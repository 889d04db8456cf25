"""The table of layers in a terminal: as many columns as fit, the worst layers marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spectra.report.curves import short_name
from spectra.report.result import LayerResult, Report
from spectra.report.save import Table as Columns

Cell = Callable[[LayerResult], str]


def _number(name: str, digits: int = 3) -> Cell:
    def cell(layer: LayerResult) -> str:
        value = layer.metrics.get(name)
        return "–" if value is None else f"{float(value):.{digits}g}"

    return cell


def _whole(name: str) -> Cell:
    return lambda layer: "–" if layer.metrics.get(name) is None else f"{layer.metrics[name]}"


def _alpha(layer: LayerResult) -> str:
    alpha, sigma = layer.metrics.get("alpha"), layer.metrics.get("sigma")
    if alpha is None or sigma is None:
        return "–"
    return f"{float(alpha):.2f} ±{float(sigma):.2f}"


def _matrix(layer: LayerResult) -> str:
    m, n, rf = (layer.metrics.get(name) for name in ("M", "N", "rf"))
    if m is None:
        return "×".join(map(str, layer.shape))
    return f"{n}×{m}" + (f" ·{rf}" if rf != 1 else "")


COLUMNS: list[tuple[str, Cell, int]] = [
    ("alpha", _alpha, 1),
    ("tail", _whole("num_pl_spikes"), 2),
    ("D", _number("D"), 3),
    ("N×M", _matrix, 4),
    ("stable rank", _number("stable_rank"), 5),
    ("λ max", _number("lambda_max"), 7),
    ("kurtosis", _number("kurtosis"), 8),
    ("|w|<.1σ", _number("near_zero_std"), 9),
    ("xmin", _number("xmin"), 10),
    ("kind", lambda layer: layer.kind, 6),
]
"""Heading, cell, and the order in which columns are given room: those of high numbers go first."""

STYLES = {"failed": "bold red", "over-trained": "yellow", "under-trained": "yellow", "": "none"}
NAME_WIDTH, NOTE_WIDTH = 36, 22
LONGEST = 1000
"""Of a name where lines may have any length; files have it whole."""
"""Columns of numbers make room until layer names have this many characters; longer warnings are cut."""


def print_report(report: Report, console: Console) -> None:
    """Print the layers that have or should have a spectrum, then one line that sums up."""
    shown = [layer for layer in report if layer.metrics.get("M") is not None or layer.status == "failed"]
    if shown:
        width = console.width if console.is_terminal else None
        console.print(Text(short_name(report.label, width or 1000), style="italic"))
        console.print(layer_table(shown, width))
    console.print(summary_line(report), soft_wrap=True, highlight=False, markup=False)


def layer_table(layers: Sequence[LayerResult], width: int | None) -> Table:
    """A table of layers for a terminal of `width` columns; None prints everything in full."""
    cells = {heading: [cell(layer) for layer in layers] for heading, cell, _ in COLUMNS}
    notes = [short_name(layer.warning, 200 if width is None else NOTE_WIDTH) for layer in layers]
    longest = min(max(len(layer.name) for layer in layers), LONGEST)
    wanted = [(heading, cells[heading], rank) for heading, _, rank in COLUMNS]
    kept, taken = _fitting(wanted, ["warning", *notes], min(longest, NAME_WIDTH), width)
    names = _names([layer.name for layer in layers], longest if width is None else max(width - taken, 8))

    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("")
    table.add_column("layer", no_wrap=True)
    for heading in kept:
        table.add_column(heading, justify="left" if heading == "kind" else "right", no_wrap=True)
    table.add_column("warning", no_wrap=True)
    for row, layer in enumerate(layers):
        mark, style = _mark(layer)
        values = [Text(cells[heading][row]) for heading in kept]
        table.add_row(mark, Text(names[row]), *values, Text(notes[row]), style=style)
    return table


def _fitting(
    columns: Sequence[tuple[str, list[str], int]], last: list[str], first_width: int, width: int | None
) -> tuple[list[str], int]:
    """Headings of the columns that fit beside the first and the last, and the width that all but the first take.

    Columns of the highest rank go first; one always stays. Three characters are for the mark before the first.
    """
    widths = {heading: max(map(len, [heading, *cells])) + 2 for heading, cells, _ in columns}
    kept = [heading for heading, _, _ in columns]
    fixed = 3 + max(map(len, last)) + 2
    for heading, _, _ in sorted(columns, key=lambda column: -column[2]):
        room = width is None or fixed + sum(widths[kept_one] for kept_one in kept) + first_width <= width
        if not room and len(kept) > 1:
            kept.remove(heading)
    return kept, fixed + sum(widths[heading] for heading in kept)


def _names(names: list[str], room: int) -> list[str]:
    """Layer names in `room` characters; too long, they lose the leaf that all share, then their middles."""
    leaves = {name.rpartition(".")[2] for name in names}
    if max(map(len, names)) > room and len(leaves) == 1 and all("." in name for name in names):
        names = [name.rpartition(".")[0] for name in names]
    return [short_name(name, room) for name in names]


def _mark(layer: LayerResult) -> tuple[str, str]:
    if layer.status == "failed":
        return "✗", STYLES["failed"]
    for word in ("over-trained", "under-trained"):
        if word in layer.warning:
            return "!", STYLES[word]
    return " ", "dim" if layer.status == "skipped" else "none"


def summary_line(report: Report) -> str:
    """One line: how many layers, the median alpha, how many carry which warning, how many failed."""
    s = report.summary()
    parts = [f"{s['fitted']} of {s['layers']} layers fitted"]
    if s["alpha"] is not None:
        parts.append(f"median alpha {s['alpha']:.2f}")
    parts += [f"{count} {warning}" for warning, count in s["warnings"].items()]
    if s["skipped"]:
        parts.append(f"{s['skipped']} skipped")
    if s["failed"]:
        parts.append(f"{s['failed']} failed")
    seconds = report.meta.get("seconds")
    took = f" in {seconds:.1f} s" if isinstance(seconds, int | float) else ""
    return f"{short_name(report.label, 1000)}: {', '.join(parts)}; {s['weights']:,} weights{took}"


PLAN_COLUMNS = {
    **{"kind": 5, "role": 8, "shape": 2, "dtype": 6, "matrices": 4, "N": 7, "M": 7, "action": 1},
    **{"order": 9, "bucket": 9, "gflops": 3, "peak_megabytes": 9},
}
"""Columns of the plan with their ranks; those of high numbers go first."""

NUMBERS = {"matrices", "N", "M", "order", "gflops", "peak_megabytes"}


def print_plan(plan: Columns, console: Console) -> None:
    """Print what would be analyzed, one line a layer, and the total."""
    label = str(plan["model"][0])
    width = console.width if console.is_terminal else None
    cells = {name: [_plain(value) for value in plan[name]] for name in (*PLAN_COLUMNS, "name", "note")}
    notes = [short_name(note, 200 if width is None else NOTE_WIDTH) for note in cells["note"]]
    longest = min(max(map(len, cells["name"])), LONGEST)
    wanted = [(name, cells[name], rank) for name, rank in PLAN_COLUMNS.items()]
    kept, taken = _fitting(wanted, ["note", *notes], min(longest, NAME_WIDTH - 8), width)
    names = _names(cells["name"], longest if width is None else max(width - taken, 8))

    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("layer", no_wrap=True)
    for name in kept:
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=True)
    table.add_column("note", no_wrap=True)
    for row, (name, note) in enumerate(zip(names, notes, strict=True)):
        table.add_row(*map(Text, (name, *(cells[column][row] for column in kept), note)))
    console.print(Text(short_name(label, width or 1000), style="italic"))
    console.print(table)

    spectral = [cast(int, n) for n, action in zip(plan["matrices"], plan["action"], strict=True) if action == "analyze"]
    gflops, megabytes = (cast(list[float], plan[name]) for name in ("gflops", "megabytes"))
    total = f"{len(spectral)} of {len(gflops)} layers with a spectrum, {sum(spectral)} matrices"
    cost = f"{sum(gflops):.3g} Gflop, largest tensor {max(megabytes):.3g} MB"
    console.print(f"{short_name(label, 1000)}: {total}, {cost}", soft_wrap=True, highlight=False, markup=False)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)
