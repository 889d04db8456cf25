"""The table of layers in a terminal: as many columns as fit, the worst layers marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spectra.report.curves import short_name
from spectra.report.result import LayerResult, Report

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
"""Columns of numbers make room until layer names have this many characters; longer warnings are cut."""


def print_report(report: Report, console: Console) -> None:
    """Print the layers that have or should have a spectrum, then one line that sums up."""
    shown = [layer for layer in report if layer.metrics.get("M") is not None or layer.status == "failed"]
    if shown:
        console.print(layer_table(report.label, shown, console.width if console.is_terminal else None))
    console.print(summary_line(report), soft_wrap=True, highlight=False, markup=False)


def layer_table(title: str, layers: Sequence[LayerResult], width: int | None) -> Table:
    """A table of layers for a terminal of `width` columns; None prints everything in full."""
    cells = {heading: [cell(layer) for layer in layers] for heading, cell, _ in COLUMNS}
    notes = [short_name(layer.warning, 200 if width is None else NOTE_WIDTH) for layer in layers]
    longest = max(len(layer.name) for layer in layers)
    kept = [heading for heading, _, _ in COLUMNS]

    def taken() -> int:
        """Width of the mark, the kept columns and the warnings, with the gaps between them."""
        columns = [[heading, *cells[heading]] for heading in kept] + [["warning", *notes]]
        return 1 + 2 + sum(max(map(len, column)) + 2 for column in columns)

    for heading, _, _ in sorted(COLUMNS, key=lambda column: -column[2]):
        if width is not None and taken() + min(longest, NAME_WIDTH) > width and len(kept) > 1:
            kept.remove(heading)
    names = _names(layers, longest if width is None else max(width - taken(), 8))

    table = Table(
        title=Text(short_name(title, width or 1000)), title_justify="left", box=None, padding=(0, 1), pad_edge=False
    )
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


def _names(layers: Sequence[LayerResult], room: int) -> list[str]:
    """Layer names in `room` characters; too long, they lose the leaf that all share, then their middles."""
    names = [layer.name for layer in layers]
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
    return f"{report.label}: {', '.join(parts)}; {s['weights']:,} weights{took}"


PLAN_COLUMNS = ("name", "kind", "role", "shape", "dtype", "matrices", "N", "M", "action", "gflops", "note")


def print_plan(frame: pd.DataFrame, console: Console) -> None:
    """Print what would be analyzed, one line a layer, and the total."""
    label = str(frame["model"].iloc[0])
    table = Table(title=Text(label), title_justify="left", box=None, padding=(0, 1), pad_edge=False)
    for column in PLAN_COLUMNS:
        numeric = column in ("matrices", "N", "M", "gflops")
        full = not console.is_terminal or column not in ("name", "note")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True,
                         overflow="ellipsis", min_width=None if not full else 1)  # fmt: skip
    for row in frame[list(PLAN_COLUMNS)].itertuples(index=False):
        cells = ["" if pd.isna(value) else f"{value:.3g}" if isinstance(value, float) else str(value) for value in row]
        table.add_row(*map(Text, cells))
    console.print(table)
    analyzed = int((frame["action"] == "analyze").sum())
    matrices = int(frame.loc[frame["action"] == "analyze", "matrices"].sum())
    console.print(
        f"{label}: {analyzed} of {len(frame)} layers with a spectrum, {matrices} matrices, "
        f"{frame['gflops'].sum():.3g} Gflop, largest tensor {frame['megabytes'].max():.3g} MB",
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip
