"""What was cleaned, in a terminal: what was removed from each layer and what that did to its spectrum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from spectra.report.cleaning import Cleaning, LayerCleaning
from spectra.report.comparison_table import MISSING, pair_table
from spectra.report.curves import short_name
from spectra.report.table import _matrix

Cell = Callable[[Any], str]


def _pair(name: str, form: str) -> Cell:
    def cell(layer: LayerCleaning) -> str:
        values = [layer.metrics.get(f"{name}_{side}") for side in "ab"]
        if values == [None, None]:
            return MISSING
        return " → ".join(MISSING if value is None else format(value, form) for value in values)

    return cell


def _removed(layer: LayerCleaning) -> str:
    entries, means = (layer.metrics.get(name) for name in ("removed_entries", "removed_means"))
    if entries is not None and means is not None:
        return removed_words(int(entries), int(means)) or MISSING
    kept, gone = (layer.metrics.get(name) for name in ("kept_components", "removed_components"))
    return MISSING if not gone else f"{gone} components, {kept} kept"


def removed_words(entries: int, means: int) -> str:
    """``2 entries, 1 mean``; "" for nothing."""
    parts = [f"{entries} {'entry' if entries == 1 else 'entries'}"] if entries else []
    parts += [f"{means} {'mean' if means == 1 else 'means'}"] if means else []
    return ", ".join(parts)


def _change(layer: LayerCleaning) -> str:
    change = layer.metrics.get("relative_change")
    return MISSING if not change else f"{float(change):.3g}"


COLUMNS: list[tuple[str, Cell, int]] = [
    ("removed", _removed, 1),
    ("‖ΔW‖/‖W‖", _change, 2),
    ("alpha", _pair("alpha", ".2f"), 3),
    ("stable rank", _pair("stable_rank", ".3g"), 4),
    ("spikes", _pair("num_spikes", "d"), 6),
    ("traps", _pair("rand_num_spikes", "d"), 5),
    ("N×M", _matrix, 7),
]
"""Heading, cell, and the order in which columns are given room: those of high numbers go first."""


def print_cleaning(cleaning: Cleaning, console: Console) -> None:
    """Print the layers that changed or failed or that something is to be said of, then one line that sums up."""
    shown = [layer for layer in cleaning if layer.changed or layer.warning]
    width = console.width if console.is_terminal else None
    if shown:
        console.print(Text(short_name(f"{cleaning.label} → {cleaning.out}", width or 2000), style="italic"))
        console.print(pair_table(shown, width, COLUMNS))
    console.print(summary_line(cleaning), soft_wrap=True, highlight=False, markup=False)


def summary_line(cleaning: Cleaning) -> str:
    """One line: how many layers changed, what was removed from all of them together."""
    s = cleaning.summary()
    parts = [f"{s['changed']} of {s['layers']} layers with matrices changed"]
    if not s["changed"]:
        parts.append("nothing was removed and all weights are as they were")
    if words := removed_words(s["removed_entries"], s["removed_means"]):
        parts.append(f"{words} removed, traps {s['traps_a']} → {s['traps_b']}")
    if s["changed"] and s["removed_components"]:
        parts.append(f"{s['removed_components']} singular components removed")
    if s["relative_change"] is not None:
        parts.append(f"median relative change {s['relative_change']:.3g}")
    parts += [f"{s[status]} {status}" for status in ("skipped", "failed") if s[status]]
    seconds = cleaning.meta.get("seconds")
    took = f" in {seconds:.1f} s" if isinstance(seconds, int | float) else ""
    return f"{short_name(cleaning.out, 1000)}: {', '.join(parts)}{took}"
