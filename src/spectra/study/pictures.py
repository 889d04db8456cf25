"""Figures of the study: curves by layer, and every cell of a verdict with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spectra.study.panels import Panel

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe & Ito's, which the colour-blind can tell apart."""

SIDES = {1: ("#009E73", "on the claimed side"), -1: ("#D55E00", "on the other side"), 0: ("#888888", "neither")}

MOST_ROWS = 40
"""Cells of a figure; beyond that the page has them as a table only."""


def draw_panels(panels: Sequence[Panel], path: Path) -> None:
    """Curves with the range over networks as a band."""
    columns = _columns(panels)
    rows = -(-len(panels) // columns)
    width = 3.6 if columns <= 3 else 2.8
    figure = Figure(figsize=(width * columns, 0.75 * width * rows), layout="constrained")
    for axes, panel in zip(figure.subplots(rows, columns, squeeze=False).ravel(), panels, strict=False):
        _panel(axes, panel)
    for axes in figure.axes[len(panels) :]:
        axes.remove()
    figure.savefig(path, dpi=110)


def _columns(panels: Sequence[Panel]) -> int:
    """A row for each quantity where there are equally many panels of each, else rows of three."""
    counts = set(Counter(panel.ylabel for panel in panels).values())
    return counts.pop() if len(counts) == 1 and 2 <= max(counts) <= 5 else min(3, len(panels))


def _panel(axes: Axes, panel: Panel) -> None:
    for series, colour in zip(panel.series, COLOURS * 2, strict=False):
        x = np.array(series.x)
        axes.plot(
            x, np.nanmean(series.values, axis=0), "o-", color=colour, label=series.label, markersize=3, linewidth=1.2
        )
        axes.fill_between(
            x, np.nanmin(series.values, axis=0), np.nanmax(series.values, axis=0), color=colour, alpha=0.2, linewidth=0
        )
    if panel.reference is not None:
        axes.axhline(panel.reference, color="black", linewidth=0.8, linestyle=":", label="Gaussian")
    if panel.log_x:
        axes.set_xscale("log")
        axes.invert_xaxis()
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if panel.log_y:
        axes.set_yscale("log")
    axes.set_title(panel.title, fontsize=8)
    axes.set_xlabel(panel.xlabel, fontsize=8)
    axes.set_ylabel(fill(panel.ylabel, 24), fontsize=8)
    axes.tick_params(which="both", labelsize=7)
    axes.legend(fontsize=6, frameon=False)


def draw_cells(cells: Sequence[dict[str, Any]], path: Path) -> None:
    """The effect of each cell with its interval, a panel for each question and measure; hollow at initialisation."""
    parts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in cells:
        parts.setdefault((cell["question"], cell["measure"]), []).append(cell)
    height = max(len(part) for part in parts.values())
    figure = Figure(figsize=(4.2 * len(parts), 1.1 + 0.2 * height), layout="constrained")
    for axes, ((question, measure), part) in zip(
        figure.subplots(1, len(parts), squeeze=False)[0], parts.items(), strict=True
    ):
        for row, cell in enumerate(part):
            _cell(axes, row, cell)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(part)), [label(cell["cell"]) for cell in part], fontsize=7)
        axes.set_ylim(height - 0.5, -0.5)
        axes.tick_params(axis="x", labelsize=7)
        arrow = "→ claimed" if part[0]["claimed"] > 0 else "claimed ←"
        what = {"depth trend": "mean ρ of layer and ", "contrast": "difference of ", "training effect": "change of "}
        axes.set_xlabel(f"{what.get(question, '')}{measure}   ({arrow})", fontsize=8)
        axes.set_title(question, fontsize=9)
    handles = [figure.axes[0].plot([], [], "o", color=colour, markersize=4)[0] for colour, _ in SIDES.values()]
    names = [name for _, name in SIDES.values()]
    handles.append(figure.axes[0].plot([], [], "o", mfc="none", color="black", markersize=4)[0])
    figure.legend(
        handles, [*names, "at initialisation"], loc="outside lower center", ncols=4, fontsize=7, frameon=False
    )
    figure.savefig(path, dpi=110)


def _cell(axes: Axes, row: int, cell: dict[str, Any]) -> None:
    effect, (colour, _) = cell["effect"], SIDES[cell["side"]]
    if effect["low"] is not None:
        axes.plot([effect["low"], effect["high"]], [row, row], color=colour, linewidth=1.5)
    axes.plot(effect["mean"], row, "o", color=colour, markersize=4)
    if (start := cell.get("initial")) and start["mean"] is not None:
        axes.plot(start["mean"], row, "o", mfc="none", color="black", markersize=4)


def label(cell: dict[str, Any]) -> str:
    """A cell in a few words: values speak for themselves, numbers are named."""
    words = []
    for name, value in cell.items():
        if isinstance(value, str):
            words.append(f"− {value}" if name == "minus" else value)
        elif value not in (0, None):
            words.append(f"{name} {value}")
    return " ".join(words)
