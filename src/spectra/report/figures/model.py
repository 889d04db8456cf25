"""Figures of a whole network: metrics by depth, the heat map, the same panel of many layers, p-values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.engine.verdict import SIGNIFICANT
from spectra.errors import InputError
from spectra.report.curves import number, short_name, spectrum
from spectra.report.depth import HEAT, REST, Depth, by_depth, heat_map
from spectra.report.figures.panels import PANELS
from spectra.report.figures.style import (
    ALPHA_LOG_FROM,
    BLUE,
    GREEN,
    GREY,
    GROUP_STYLES,
    NAME,
    VERMILLION,
    figure_of,
    given_axes,
    legend,
    new_figure,
    one_axes,
    say,
)
from spectra.report.glossary import term
from spectra.report.result import LayerResult, Report
from spectra.report.words import GAUSSIAN_NEAR_ZERO, severity_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPARSITY = ("near_zero_std", "zero_fraction", "hoyer")
MOST_PANELS = 40
"""Of a grid; of more layers, so many are chosen evenly."""

PLACE = "layer in network order"


def plot_depth(report: Report, metrics: Sequence[str] = ("alpha", "near_zero_std"), axes: Any = None) -> Figure:
    """Metrics of a network by layer, one panel a metric: a colour a role, hollow where the layer carries a warning.

    Parameters
    ----------
    metrics
        Names of numeric columns; by default the exponent and the sparsity.
    axes
        Where to draw, one axes a metric; by default a new figure.

    Returns
    -------
    Figure
        The figure drawn on.

    Raises
    ------
    InputError
        For no metric at all, or the wrong number of axes.
    """
    if not metrics:
        raise InputError("metrics is empty: give the name of a column, such as 'alpha'")
    depth = by_depth(report)
    given = given_axes(axes, len(metrics), f"{len(metrics)} metrics")
    figure = figure_of(given[0]) if given else new_figure(8.0, 0.5 + 2.4 * len(metrics))
    targets = given or list(np.ravel(figure.subplots(len(metrics), 1, sharex=True)))
    for ax, metric in zip(targets, metrics, strict=True):
        _draw_depth(ax, depth, metric, named=ax is targets[0])
    _label_places(targets[-1], depth)
    return figure


def plot_alpha(report: Report, ax: Axes | None = None) -> Figure:
    """The power-law exponent by depth with its standard error, and the range from 2 to 6."""
    return plot_depth(report, ("alpha",), ax)


def plot_sparsity(report: Report, axes: Any = None) -> Figure:
    """Weights near zero, weights exactly zero, and Hoyer's sparsity by depth."""
    return plot_depth(report, SPARSITY, axes)


def _draw_depth(ax: Axes, depth: Depth, metric: str, named: bool) -> None:
    """One metric; the roles are named in one panel of a figure, since they look the same in all."""
    ax.set_ylabel(term(metric).axis, fontsize="small")
    values = np.array([number(layer, metric) for layer in depth.layers], float)
    known = np.isfinite(values)
    if not known.any():
        return say(ax, f"no layer has {metric}")
    warned = np.array([severity_of(layer) > 0 for layer in depth.layers])
    styles = iter(GROUP_STYLES)
    for name, places in depth.groups.items():
        colour, marker = (GREY, "o") if name == REST else next(styles)
        at = np.array(places)[known[places]]
        ax.plot(at, values[at], color=colour, linewidth=0 if name == REST else 0.8, alpha=0.6, zorder=2)
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "linestyle": "none", "zorder": 3}
        ax.plot(at[~warned[at]], values[at[~warned[at]]], label=short_name(name, 20) if named else None, **look)
        ax.plot(at[warned[at]], values[at[warned[at]]], markerfacecolor="white", **look)
        if metric == "alpha":
            sigma = [number(depth.layers[i], "sigma") or 0.0 for i in at]
            ax.errorbar(at, values[at], yerr=sigma, fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.6, zorder=1)
    if named and (warned & known).any():
        ax.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=5, label="hollow: with a warning")
    if metric == "alpha":
        ax.axhspan(2, 6, color=GREEN, alpha=0.08, linewidth=0, label="2 ≤ α ≤ 6", zorder=0)
        if values[known].max() > ALPHA_LOG_FROM:
            ax.set_yscale("log")
    if metric == "near_zero_std":
        ax.axhline(GAUSSIAN_NEAR_ZERO, color=GREY, linestyle=":", linewidth=1, label="Gaussian")
    ax.set_xlim(-0.5, len(values) - 0.5)
    if ax.get_legend_handles_labels()[0]:
        legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _label_places(ax: Axes, depth: Depth) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel(PLACE)
    if not depth.blocks:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        return
    every = math.ceil(len(depth.blocks) / 24)
    ax.set_xticks([at for at, _ in depth.blocks[::every]], [str(block) for _, block in depth.blocks[::every]])
    ax.set_xlabel(f"{PLACE}, ticks at its blocks")


def plot_heat_map(report: Report, metrics: Sequence[str] = HEAT, ax: Axes | None = None) -> Figure:
    """Layers × metrics: each row coloured from its lowest value to its highest, which stand beside it.

    Parameters
    ----------
    metrics
        Names of numeric columns; those that no layer has are left out.
    """
    depth = by_depth(report)
    heat = heat_map(depth.layers, metrics)
    count = len(depth.layers)
    figure, ax = one_axes(ax, float(np.clip(3.6 + 0.12 * count, 6.5, 14)), 1.3 + 0.24 * max(len(heat.metrics), 2))
    ax.set_xlabel(PLACE)
    if not heat.metrics:
        say(ax, "no layer has any of these metrics")
        return figure
    ax.set_facecolor("white")
    edges = np.arange(count + 1) - 0.5, np.arange(len(heat.metrics) + 1) - 0.5
    line: dict[str, Any] = {"edgecolors": "white", "linewidth": 0.4} if count <= 120 else {}
    drawn = ax.pcolormesh(*edges, heat.shades, cmap="viridis", vmin=0, vmax=1, **line)
    ax.invert_yaxis()
    middles = np.arange(len(heat.metrics))
    ax.set_yticks(middles, [term(metric).label for metric in heat.metrics], fontsize="small")
    _label_places(ax, depth)
    beside = ax.secondary_yaxis("right")
    beside.set_yticks(middles, [_range(row, scale) for row, scale in zip(heat.values, heat.scales, strict=True)])
    beside.tick_params(length=0, labelsize="x-small")
    ax.tick_params(length=0)
    bar = figure.colorbar(drawn, ax=ax, location="top", shrink=0.3, aspect=30, ticks=[0, 1])
    bar.ax.set_xticklabels(["row's lowest", "highest"], fontsize="x-small")
    return figure


def _range(row: np.ndarray, scale: str) -> str:
    low, high = (f"{v:,.0f}" if 1000 <= abs(v) < 1e7 else f"{v:.3g}" for v in (np.nanmin(row), np.nanmax(row)))
    return (f"{low} … {high}" if low != high else f"all {low}") + ("" if scale == "linear" else f"  ({scale})")


def plot_grid(report: Report, kind: str = "esd", layers: Sequence[str] | None = None, columns: int = 4) -> Figure:
    """The same panel of many layers, in network order.

    Parameters
    ----------
    kind
        A panel of `plot_layer`: ``histogram``, ``esd``, ``ccdf``, ``bulk``, ``families`` or ``xmin``.
    layers
        Names of the layers, as they index a report; by default all with a spectrum, of more than 40 so many chosen
        evenly, which the title says.
    columns
        Panels side by side.

    Raises
    ------
    InputError
        For an unknown kind or layer, or fewer than one column.
    """
    if kind not in PANELS:
        raise InputError(f"unknown kind of figure {kind!r}: choose {', '.join(PANELS)}")
    if columns < 1:
        raise InputError(f"columns={columns}: at least one is needed")
    every = _drawable(report, kind) if layers is None else [_named(report, name) for name in layers]
    chosen = every if layers is not None else _evenly(every)
    width = min(columns, max(len(chosen), 1))
    height = math.ceil(len(chosen) / width) or 1
    figure = new_figure(3.1 * width, 0.3 + 2.6 * height)
    if not chosen:
        say(figure.add_subplot(), "no layers")
        return figure
    for place, layer in enumerate(chosen):
        ax = figure.add_subplot(height, width, place + 1)
        PANELS[kind](layer, ax)
        alpha, sigma = number(layer, "alpha"), number(layer, "sigma")
        told = f"\nα = {alpha:.2f} ± {sigma:.2f}" if alpha is not None and sigma is not None else ""
        ax.set_title(short_name(layer.name, 40) + told, loc="left", **(NAME | {"fontsize": "x-small"}))
        ax.tick_params(labelsize="x-small")
        ax.set_xlabel(ax.get_xlabel() if place >= len(chosen) - width else "", fontsize="x-small")
        ax.set_ylabel(ax.get_ylabel() if place % width == 0 else "", fontsize="x-small")
    _share_legend(figure)
    if len(chosen) < len(every):
        figure.suptitle(f"{len(chosen)} of {len(every)} layers, evenly chosen", x=0.01, ha="left", fontsize="small")
    return figure


def _share_legend(figure: Figure) -> None:
    """One legend for all panels, without the numbers of each."""
    found: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(_without_numbers(label), handle)
        if (shown := ax.get_legend()) is not None:
            shown.remove()
    found = {label: handle for label, handle in found.items() if label.strip()}
    if found:
        figure.legend(
            list(found.values()), list(found), loc="outside lower center", ncols=4, fontsize="x-small", frameon=False
        )


def _without_numbers(label: str) -> str:
    for pattern, plain in (
        (r"^α = .*", "fitted tail"), (r"^(chosen: )?xmin = .*", r"\1xmin"), (r": R = .*", ""),
        (r"^[\d,]+ (outside|further).*", ""), (r"^[\d,]+ ", ""), (r" [-+.\de]+$", ""),
    ):  # fmt: skip
        label = re.sub(pattern, plain, label)
    return label


def _drawable(report: Report, kind: str) -> list[LayerResult]:
    layers = by_depth(report).layers
    return layers if kind == "histogram" else [layer for layer in layers if spectrum(layer).size]


def _named(report: Report, name: str) -> LayerResult:
    try:
        return report[name]
    except KeyError as error:
        raise InputError(str(error.args[0])) from None


def _evenly(layers: list[LayerResult]) -> list[LayerResult]:
    if len(layers) <= MOST_PANELS:
        return layers
    return [layers[i] for i in np.linspace(0, len(layers) - 1, MOST_PANELS).round().astype(int)]


def plot_p_values(report: Report, ax: Any = None) -> Figure:
    """Histogram of the goodness-of-fit p-values over layers; were all tails power laws, it would be flat."""
    figure, ax = one_axes(ax, 5.0, 3.4)
    ax.set_xlabel("goodness-of-fit p-value")
    ax.set_ylabel("number of layers")
    p = [value for layer in report.layers if (value := number(layer, "gof_p")) is not None]
    if not p:
        say(ax, "no p-values: analyze with gof=1000")
        return figure
    ax.hist(p, list(np.linspace(0, 1, 11)), color=BLUE, alpha=0.55, label=f"{len(p)} layers")
    rejected = sum(value <= SIGNIFICANT for value in p)
    ax.axvline(
        SIGNIFICANT, color=VERMILLION, linestyle="--", linewidth=1, label=f"p ≤ {SIGNIFICANT}: {rejected} rejected"
    )
    ax.axhline(len(p) / 10, color=GREY, linewidth=1, label="if all were power laws")
    ax.set_xlim(0, 1)
    legend(ax)
    return figure


MODEL_KINDS: dict[str, Callable[[Report], Figure]] = {
    "alpha": plot_alpha,
    "sparsity": plot_sparsity,
    "heatmap": plot_heat_map,
    "p-values": plot_p_values,
}
GRID_KINDS = {
    "histograms": "histogram",
    "esds": "esd",
    "ccdfs": "ccdf",
    "bulks": "bulk",
    "families": "families",
    "xmins": "xmin",
}


def plot_report(report: Report, kind: str) -> Figure:
    """A figure of a network by its name: one of `MODEL_KINDS`, or of `GRID_KINDS` for the same panel of all layers.

    Raises
    ------
    InputError
        For an unknown kind.
    """
    if kind in GRID_KINDS:
        return plot_grid(report, GRID_KINDS[kind])
    if kind not in MODEL_KINDS:
        raise InputError(f"unknown kind of figure {kind!r}: choose {', '.join((*MODEL_KINDS, *GRID_KINDS))}")
    return MODEL_KINDS[kind](report)
