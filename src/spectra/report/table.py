"""The table of layers in a terminal: as many columns as fit, the worst layers marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
NAME_WIDTH = 18
"""Narrower than this a layer's name tells nothing."""


def print_report(report: Report, console: Console) -> None:
    """Print the layers that have or should have a spectrum, then one line that sums up."""
    shown = [layer for layer in report if layer.metrics.get("M") is not None or layer.status == "failed"]
    if shown:
        console.print(layer_table(report.label, shown, console.width if console.is_terminal else None))
    console.print(summary_line(report), soft_wrap=True, highlight=False, markup=False)


def layer_table(title: str, layers: Sequence[LayerResult], width: int | None) -> Table:
    """A table of layers for a terminal of `width` columns; None prints everything in full."""
    cells = {heading: [cell(layer) for layer in layers] for heading, cell, _ in COLUMNS}
    notes = [layer.warning for layer in layers]
    names = [layer.name for layer in layers]
    kept = [heading for heading, _, _ in COLUMNS]
    note_width = max(map(len, notes)) if width is None else min(max(map(len, notes)), 28)
    if width is not None:

        def needed() -> int:
            widths = [max(map(len, [heading, *cells[heading]])) for heading in kept]
            return sum(w + 2 for w in widths) + 3 + min(max(map(len, names)), NAME_WIDTH) + 2 + note_width

        for heading, _, _ in sorted(COLUMNS, key=lambda column: -column[2]):
            if needed() > width and len(kept) > 1:
                kept.remove(heading)
    table = Table(title=Text(title), title_justify="left", box=None, padding=(0, 1), pad_edge=False, width=width)
    table.add_column("", width=1)
    longest = max(map(len, names))
    table.add_column("layer", no_wrap=True, overflow="ellipsis", ratio=1, max_width=longest)
    for heading in kept:
        table.add_column(heading, justify="right" if heading != "kind" else "left", no_wrap=True)
    table.add_column("warning", no_wrap=True, overflow="ellipsis", width=max(note_width, 7))
    if width is None:
        table.width = None
        table.columns[1].ratio = None
        table.columns[1].min_width = longest
    for row, layer in enumerate(layers):
        mark, style = _mark(layer)
        values = [Text(cells[heading][row]) for heading in kept]
        table.add_row(mark, Text(names[row]), *values, Text(notes[row]), style=style)
    return table


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
