"""Figures of one layer: its usual three panels side by side, or one of `PANELS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spectra.errors import InputError
from spectra.report.curves import short_name
from spectra.report.figures.panels import PANELS, USUAL
from spectra.report.figures.style import NAME, figure_of, given_axes, new_figure
from spectra.report.result import LayerResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_layer(layer: LayerResult, kind: str = "all", axes: Any = None) -> Figure:
    """Weight histogram, ESD and CCDF of one layer with its fitted tail.

    Parameters
    ----------
    kind
        ``all`` for the three panels side by side, or one of ``histogram``, ``esd``, ``ccdf``; ``bulk``: the ESD around
        the law of noise; ``families``: the CCDF of the tail with every fitted family; ``xmin``: the distance D of the
        fit against the start of the tail.
    axes
        Where to draw: three axes for ``all``, one otherwise. By default a new figure.

    Returns
    -------
    Figure
        The figure drawn on, titled with the layer's name.

    Raises
    ------
    InputError
        For an unknown kind, or the wrong number of axes.
    """
    if kind != "all" and kind not in PANELS:
        raise InputError(f"unknown kind of figure {kind!r}: choose all, {', '.join(PANELS)}")
    chosen = USUAL if kind == "all" else (kind,)
    given = given_axes(axes, len(chosen), f"kind={kind!r}")
    figure = figure_of(given[0]) if given else new_figure(4.6 * len(chosen), 3.9)
    targets = given or [figure.add_subplot(1, len(chosen), 1 + i) for i in range(len(chosen))]
    for name, ax in zip(chosen, targets, strict=True):
        PANELS[name](layer, ax)
    if given or kind != "all":
        targets[0].set_title(short_name(layer.name, 46), loc="left", **NAME)
    else:
        figure.suptitle(short_name(layer.name, 110), x=0.01, ha="left", **NAME)
    return figure


def plot_histogram(layer: LayerResult, ax: Axes | None = None) -> Figure:
    """Weights on a logarithmic count axis, with the normal distribution of the same mean and std."""
    return plot_layer(layer, "histogram", ax)


def plot_esd(layer: LayerResult, ax: Axes | None = None) -> Figure:
    """Density of the eigenvalues in logarithmic bins, with the fitted tail from xmin on, and the noise if analyzed."""
    return plot_layer(layer, "esd", ax)


def plot_bulk(layer: LayerResult, ax: Axes | None = None) -> Figure:
    """Density of the eigenvalues around the bulk, with the Marchenko–Pastur law, its edge and the spikes."""
    return plot_layer(layer, "bulk", ax)


def plot_ccdf(layer: LayerResult, ax: Axes | None = None) -> Figure:
    """Share of eigenvalues at or above λ, with the fitted tail from xmin on."""
    return plot_layer(layer, "ccdf", ax)


def plot_families(layer: LayerResult, ax: Axes | None = None) -> Figure:
    """Share of the eigenvalues at or above λ in the tail, with every family that was fitted to it."""
    return plot_layer(layer, "families", ax)


def plot_xmin(layer: LayerResult, ax: Axes | None = None) -> Figure:
    """Distance D between tail and fit for every start of the tail, with the one that was chosen."""
    return plot_layer(layer, "xmin", ax)
