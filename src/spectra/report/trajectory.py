"""A training run through its checkpoints: metrics of every layer by step, as a table and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import InputError
from spectra.report.curves import network_order, short_name
from spectra.report.figures.style import (
    ALPHA_LOG_FROM,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    figure_of,
    given_axes,
    legend,
    new_figure,
    say,
)
from spectra.report.glossary import term
from spectra.report.result import LayerResult, Metric
from spectra.report.save import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from spectra.report.comparison import ModelComparison

METRICS = ("alpha", "sigma", "stable_rank", "near_zero_std", "zero_fraction", "kurtosis", "log_spectral_norm")
"""Columns of the analysis that the table follows."""

CHANGES = {"relative_change": "‖ΔW‖ / ‖W‖ against {}", "w1_distance": "W₁ of spectra against {}"}
CHANGES |= {"overlap_u": "overlap of U with {}", "overlap_v": "overlap of V with {}"}
"""Columns of the comparison that it follows, and how the figure calls them."""

STYLES: list[tuple[str, Any]] = [
    (BLUE, "-"),
    (VERMILLION, "--"),
    (GREEN, "-."),
    (PURPLE, ":"),
    (ORANGE, "-"),
    (SKY, "--"),
]
"""Okabe & Ito's colours, with a dash each, for as many layers; more are coloured by depth."""

Point = dict[str, float | None]


def trajectory_table(comparison: ModelComparison) -> Table:
    """One row for each step and layer with a spectrum; what a step or layer does not have is None."""
    changes = {(layer.model, layer.name): layer for layer in comparison}
    rows: list[dict[str, Metric]] = []
    for step, report in zip(comparison.steps, comparison.reports, strict=True):
        for layer in report:
            if layer.metrics.get("M") is None:
                continue
            change = changes.get((report.label, layer.name))
            rows.append(
                {
                    "step": step,
                    "name": layer.name,
                    "model": report.label,
                    "kind": layer.kind,
                    "role": layer.role,
                    "depth": layer.depth,
                    "status": layer.status,
                    **{name: layer.metrics.get(name) for name in METRICS},
                    **{name: None if change is None else change.metrics.get(name) for name in CHANGES},
                    "warning": layer.warning,
                }
            )
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def plot_trajectory(comparison: ModelComparison, metrics: Sequence[str], axes: Any = None) -> Figure:
    """Draw metrics of every layer by step, one panel a metric.

    Up to six layers have a colour and a dash each; more are coloured by their place in the network, with their median
    in black.

    Parameters
    ----------
    metrics
        Numeric columns of the trajectory table.
    axes
        Where to draw, one axes a metric; by default a new figure.

    Returns
    -------
    Figure
        The figure drawn on.

    Raises
    ------
    InputError
        For a metric that the trajectory does not have, or the wrong number of axes.
    """
    known = [name for name in (*METRICS, *CHANGES) if name != "sigma"]
    unknown = [metric for metric in metrics if metric not in known]
    if unknown or not metrics:
        raise InputError(f"metrics={tuple(metrics)!r}: choose from {', '.join(known)}")
    given = given_axes(axes, len(metrics), f"{len(metrics)} metrics")
    curves = _curves(comparison)
    figure = figure_of(given[0]) if given else new_figure(7.0, 0.6 + 2.3 * len(metrics))
    targets = given or list(np.ravel(figure.subplots(len(metrics), 1, sharex=True)))
    for ax, metric in zip(targets, metrics, strict=True):
        _draw(ax, comparison, curves, metric)
    _label_steps(targets[-1], comparison)
    if len(curves) > len(STYLES):
        _colour_bar(figure, targets, len(curves))
    else:
        _legend_of_layers(targets[0], curves)
    return figure


def _curves(comparison: ModelComparison) -> dict[str, dict[float, Point]]:
    """For every layer that has a spectrum at some step, in network order: its metrics by step."""
    table = trajectory_table(comparison)
    first: dict[str, LayerResult] = {}
    for report in comparison.reports:
        for layer in report:
            if layer.eigenvalues is not None:
                first.setdefault(layer.name, layer)
    curves: dict[str, dict[float, Point]] = {layer.name: {} for layer in network_order(list(first.values()))}
    for row, name in enumerate(table.get("name", [])):
        if name in curves:
            values = {metric: _float(table[metric][row]) for metric in (*METRICS, *CHANGES)}
            curves[str(name)][float(table["step"][row] or 0)] = values
    return curves


def _float(value: Metric) -> float | None:
    return None if value is None or isinstance(value, str) else float(value)


def _draw(ax: Axes, comparison: ModelComparison, curves: dict[str, dict[float, Point]], metric: str) -> None:
    label = CHANGES.get(metric, "").format(comparison.meta.get("against", "previous")) or term(metric).axis
    ax.set_ylabel(label, fontsize="small")
    steps = np.asarray(comparison.steps, float)
    empty: Point = {}
    lines = np.array([[points.get(step, empty).get(metric) for step in steps] for points in curves.values()], float)
    if not np.isfinite(lines).any():
        return say(ax, f"no layer has {metric}")
    if len(curves) > len(STYLES):
        for line, colour in zip(lines, _by_place(len(lines)), strict=True):
            ax.plot(steps, line, color=colour, linewidth=0.8, alpha=0.7, marker=".", markersize=3)
        known = np.isfinite(lines).any(axis=0)
        ax.plot(steps[known], np.nanmedian(lines[:, known], axis=0), color="black", linewidth=2, label="median")
        legend(ax)
    else:
        for line, points, (colour, dash) in zip(lines, curves.values(), STYLES, strict=False):
            sigma = np.array([points.get(step, empty).get("sigma") for step in steps], float)
            error = sigma if metric == "alpha" else None
            ax.errorbar(steps, line, error, color=colour, ls=dash, marker="o", ms=3.5, elinewidth=0.8, capsize=2)
    shown = lines[np.isfinite(lines)]
    wide = shown.min() > 0 and shown.max() > 30 * shown.min()
    if wide or (metric == "alpha" and shown.max() > ALPHA_LOG_FROM):
        ax.set_yscale("log")


def _label_steps(ax: Axes, comparison: ModelComparison) -> None:
    counted = comparison.steps == tuple(range(len(comparison.steps)))
    ax.set_xlabel("checkpoint" if counted else "training step")
    if counted:
        few = len(comparison.steps) <= 8
        names = [short_name(label, 24) for label in comparison.labels] if few else None
        ax.set_xticks(comparison.steps if few else ax.get_xticks())
        if names:
            ax.set_xticklabels(names, fontsize="x-small", rotation=15, parse_math=False)
        else:
            from matplotlib.ticker import MaxNLocator

            ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _legend_of_layers(ax: Axes, curves: dict[str, dict[float, Point]]) -> None:
    from matplotlib.lines import Line2D

    names = [short_name(name, 40).replace("$", r"\$") for name in curves]
    handles = [Line2D([], [], color=colour, ls=dash) for colour, dash in STYLES[: len(names)]]
    legend(ax, handles=handles, labels=names)


def _by_place(count: int) -> Any:
    """A colour for each layer, from the first to the last: viridis grows steadily in lightness."""
    import matplotlib

    return matplotlib.colormaps["viridis"](np.linspace(0, 0.92, count))


def _colour_bar(figure: Figure, targets: Sequence[Axes], count: int) -> None:
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    drawn = LinearSegmentedColormap.from_list("places", matplotlib.colormaps["viridis"](np.linspace(0, 0.92, 64)))
    figure.colorbar(
        ScalarMappable(Normalize(0, count - 1), drawn), ax=list(targets), label="layer, in network order", shrink=0.6
    )
