"""Figures of one layer, and of a whole network by depth, drawn with matplotlib.

Each function draws onto the axes it is given, or onto a figure of its own, and returns the figure. Nothing goes
through pyplot, so figures can be made without a display and from several threads.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.engine.verdict import SIGNIFICANT
from spectra.errors import InputError
from spectra.report.curves import (
    bars,
    ccdf,
    family_ccdfs,
    has_spectrum,
    log_density,
    network_order,
    normal_curve,
    number,
    power_law,
    short_name,
    spectrum,
    why_empty,
    xmin_distances,
)
from spectra.report.result import LayerResult, Report

if TYPE_CHECKING:  # matplotlib builds a font cache when first imported; the HTML report must not wait for that
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008): told apart under every common colour blindness.
BLUE, VERMILLION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"

FAMILY_STYLES = {
    "power_law": (VERMILLION, "-"),
    "truncated_power_law": (BLUE, "-"),
    "lognormal": (GREEN, "--"),
    "exponential": (GREY, ":"),
    "stretched_exponential": (PURPLE, "-."),
}

# Some layers of a few hundred weights fit to an alpha in the hundreds; beyond this a linear axis shows nothing else.
ALPHA_LOG_FROM = 20.0

LABELS = {
    "alpha": "power-law exponent α",
    "near_zero_std": "share of |w| < 0.1 std",
    "zero_fraction": "share of exact zeros",
    "hoyer": "Hoyer sparsity",
    "stable_rank": "stable rank Σλ / λmax",
    "log_spectral_norm": "log₁₀ λmax",
}


def plot_layer(layer: LayerResult, kind: str = "all", axes: Any = None) -> Figure:
    """Weight histogram, ESD and CCDF of one layer with its fitted tail.

    Parameters
    ----------
    kind
        ``all`` for the three panels side by side, or one of ``histogram``, ``esd``, ``ccdf``; ``families``: the CCDF of
        the tail with every fitted family; ``xmin``: the distance D of the fit against the start of the tail.
    axes
        Where to draw: three axes for ``all``, one otherwise. By default a new figure.

    Returns
    -------
    Figure
        The figure drawn on, titled with the layer's name.
    """
    usual = {"histogram": _draw_histogram, "esd": _draw_esd, "ccdf": _draw_ccdf}
    panels = usual | {"families": _draw_families, "xmin": _draw_xmin}
    if kind != "all" and kind not in panels:
        raise InputError(f"unknown kind of figure {kind!r}: choose all, {', '.join(panels)}")
    chosen = list(usual.values()) if kind == "all" else [panels[kind]]
    given = [] if axes is None else list(np.ravel(np.asarray(axes, dtype=object)))
    if axes is not None and len(given) != len(chosen):
        raise InputError(f"kind={kind!r} needs {len(chosen)} axes, not {len(given)}")

    figure = given[0].figure if given else _new_figure(4.6 * len(chosen), 3.9)
    targets = given or [figure.add_subplot(1, len(chosen), 1 + i) for i in range(len(chosen))]
    for draw, ax in zip(chosen, targets, strict=True):
        draw(layer, ax)
    title = {"fontsize": "medium", "parse_math": False, "usetex": False}  # names may hold $ and _
    if given or kind != "all":
        targets[0].set_title(short_name(layer.name, 46), loc="left", **title)
    else:
        figure.suptitle(short_name(layer.name, 110), x=0.01, ha="left", **title)
    return figure


def plot_histogram(layer: LayerResult, ax: Axes | None = None) -> Figure:
    """Weights on a logarithmic count axis, with the normal distribution of the same mean and std."""
    return plot_layer(layer, "histogram", ax)


def plot_esd(layer: LayerResult, ax: Axes | None = None) -> Figure:
    """Density of the eigenvalues in logarithmic bins, with the fitted tail from xmin on."""
    return plot_layer(layer, "esd", ax)


def plot_ccdf(layer: LayerResult, ax: Axes | None = None) -> Figure:
    """Share of eigenvalues at or above λ, with the fitted tail from xmin on."""
    return plot_layer(layer, "ccdf", ax)


def plot_families(layer: LayerResult, ax: Axes | None = None) -> Figure:
    """Share of the eigenvalues at or above λ in the tail, with every family that was fitted to it."""
    return plot_layer(layer, "families", ax)


def plot_xmin(layer: LayerResult, ax: Axes | None = None) -> Figure:
    """Distance D between tail and fit for every start of the tail, with the one that was chosen."""
    return plot_layer(layer, "xmin", ax)


def plot_p_values(report: Report, ax: Any = None) -> Figure:
    """Histogram of the goodness-of-fit p-values over layers; were all tails power laws, it would be flat."""
    figure = ax.figure if ax is not None else _new_figure(5.0, 3.4)
    ax = ax if ax is not None else figure.add_subplot()
    ax.set_xlabel("goodness-of-fit p-value")
    ax.set_ylabel("number of layers")
    p = [value for layer in report.layers if (value := number(layer, "gof_p")) is not None]
    if not p:
        _say(ax, "no p-values: analyze with gof=1000")
        return figure
    ax.hist(p, list(np.linspace(0, 1, 11)), color=BLUE, alpha=0.55, label=f"{len(p)} layers")
    rejected = sum(value <= SIGNIFICANT for value in p)
    ax.axvline(
        SIGNIFICANT, color=VERMILLION, linestyle="--", linewidth=1, label=f"p ≤ {SIGNIFICANT}: {rejected} rejected"
    )
    ax.axhline(len(p) / 10, color=GREY, linewidth=1, label="if all were power laws")
    ax.set_xlim(0, 1)
    _legend(ax)
    return figure


def plot_depth(report: Report, metrics: Sequence[str] = ("alpha", "near_zero_std")) -> Figure:
    """Metrics of a network by layer, one panel a metric; layers with a warning are ringed.

    Parameters
    ----------
    metrics
        Names of metrics; by default the exponent and the sparsity.
    """
    layers = network_order(report.layers)
    layers = [layer for layer in layers if has_spectrum(layer)] or layers
    figure = _new_figure(8.0, 2.6 * max(len(metrics), 1))
    for row, metric in enumerate(metrics):
        ax = figure.add_subplot(len(metrics), 1, row + 1)
        _draw_depth(ax, layers, metric)
        ax.set_ylabel(LABELS.get(metric, metric))
        if row == len(metrics) - 1:
            ax.set_xlabel("layer, in network order")
    return figure


def _draw_depth(ax: Axes, layers: Sequence[LayerResult], metric: str) -> None:
    found = [(i, value, layer) for i, layer in enumerate(layers) if (value := number(layer, metric)) is not None]
    if not found:
        return _say(ax, f"no layer has {metric}")
    x, y = [i for i, _, _ in found], [value for _, value, _ in found]
    ax.plot(x, y, color=BLUE, marker="o", markersize=3.5, linewidth=0.8, label="value")
    if metric == "alpha":
        sigma = [number(layer, "sigma") or 0.0 for _, _, layer in found]
        ax.errorbar(x, y, yerr=sigma, fmt="none", ecolor=BLUE, elinewidth=0.8, alpha=0.6)
        ax.axhspan(2, 6, color=GREEN, alpha=0.08, linewidth=0, label="2 ≤ α ≤ 6")
        if max(y) > ALPHA_LOG_FROM:
            ax.set_yscale("log")
    warned = [(i, value) for i, value, layer in found if layer.warning and layer.status != "skipped"]
    if warned:
        ax.plot(*zip(*warned, strict=True), "o", color=VERMILLION, fillstyle="none", markersize=7, label="warning")
    ax.set_xlim(-0.5, len(layers) - 0.5)
    _legend(ax)


def _draw_histogram(layer: LayerResult, ax: Axes) -> None:
    ax.set_xlabel("weight w")
    ax.set_ylabel("number of weights")
    drawn = bars(layer.histogram)
    if drawn is None or layer.histogram is None:
        return _say(ax, why_empty(layer, "histogram"))
    edges, counts = drawn
    ax.stairs(counts, edges, fill=True, color=BLUE, alpha=0.55, label=f"{int(counts.sum()):,} weights")
    normal = normal_curve(layer, edges, counts)
    if normal is not None:
        ax.plot(*normal, color=VERMILLION, label="normal, same mean and std")
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.5)
    outside = layer.histogram.underflow + layer.histogram.overflow
    if outside:
        ax.plot([], [], " ", label=f"{outside:,} outside the range")
    _legend(ax)


def _draw_esd(layer: LayerResult, ax: Axes) -> None:
    ax.set_xlabel("eigenvalue λ of WᵀW")
    ax.set_ylabel("density")
    edges, density = log_density(spectrum(layer))
    if not density.size:
        return _say(ax, why_empty(layer, "esd"))
    ax.stairs(density, edges, fill=True, color=BLUE, alpha=0.55, label=f"{spectrum(layer).size:,} eigenvalues")
    _draw_fit(layer, ax, "density")
    ax.set_xscale("log")
    ax.set_yscale("log")
    _legend(ax)


def _draw_ccdf(layer: LayerResult, ax: Axes) -> None:
    ax.set_xlabel("eigenvalue λ of WᵀW")
    ax.set_ylabel("P(Λ ≥ λ)")
    x, p = ccdf(spectrum(layer))
    if not x.size:
        return _say(ax, why_empty(layer, "ccdf"))
    ax.plot(x, p, ".", markersize=4, color=BLUE, label="eigenvalues")
    _draw_fit(layer, ax, "ccdf")
    ax.set_xscale("log")
    ax.set_yscale("log")
    _legend(ax)


def _draw_families(layer: LayerResult, ax: Axes) -> None:
    ax.set_xlabel("eigenvalue λ of WᵀW")
    ax.set_ylabel("P(Λ ≥ λ)")
    x, curves = family_ccdfs(layer)
    if not curves:
        return _say(ax, "no power-law fit" if spectrum(layer).size else why_empty(layer, "ccdf"))
    data, p = ccdf(spectrum(layer))
    inside = data >= x[0] * (1 - 1e-6)
    ax.plot(data[inside], p[inside], "o", markersize=3.5, color="black", alpha=0.45, markeredgewidth=0, label="tail")
    for name, curve in curves.items():
        colour, dashes = FAMILY_STYLES[name]
        ratio, significance = number(layer, f"R_{name}"), number(layer, f"p_{name}")
        told = "" if ratio is None or significance is None else f": R = {ratio:.1f}, p = {significance:.2g}"
        ax.plot(x, curve, color=colour, linestyle=dashes, linewidth=1.6, label=name.replace("_", " ") + told)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(bottom=p[inside].min() / 4)
    verdict = layer.metrics.get("verdict")
    ax.legend(fontsize="x-small", frameon=False, title=verdict and str(verdict), title_fontsize="small")


def _draw_xmin(layer: LayerResult, ax: Axes) -> None:
    ax.set_xlabel("start of the tail xmin")
    ax.set_ylabel("distance D of the fit")
    x, distances = xmin_distances(spectrum(layer))
    if not x.size:
        return _say(ax, why_empty(layer, "esd"))
    ax.plot(x, distances, ".-", color=BLUE, markersize=3, linewidth=0.8, label="every candidate")
    xmin, distance = number(layer, "xmin"), number(layer, "D")
    if xmin is not None and distance is not None:
        label = f"chosen: xmin = {xmin:.3g}, D = {distance:.3f}"
        ax.plot([xmin], [distance], "o", color=VERMILLION, fillstyle="none", markersize=9, label=label)
    low, high = number(layer, "xmin_low"), number(layer, "xmin_high")
    if low is not None and high is not None:
        ax.axvspan(low, high, color=GREEN, alpha=0.12, linewidth=0, label="95 % interval of xmin")
    ax.set_xscale("log")
    ax.set_yscale("log")
    _legend(ax)


def _draw_fit(layer: LayerResult, ax: Axes, curve: str) -> None:
    fit = power_law(layer)
    if fit is None:
        ax.plot([], [], " ", label="no power-law fit")
        return
    x = np.geomspace(fit.xmin, fit.xmax, 64)
    label = f"α = {fit.alpha:.2f}"
    sigma, distance, tail = (number(layer, key) for key in ("sigma", "D", "num_pl_spikes"))
    label += f" ± {sigma:.2f}" if sigma is not None else ""
    label += f", D = {distance:.3f}" if distance is not None else ""
    ax.plot(x, fit.density(x) if curve == "density" else fit.ccdf(x), color=VERMILLION, label=label)
    size = f", tail of {tail:.0f}" if tail is not None else ""
    ax.axvline(fit.xmin, color=GREY, linestyle="--", linewidth=1, label=f"xmin = {fit.xmin:.3g}{size}")


def _legend(ax: Axes) -> None:
    ax.legend(fontsize="x-small", frameon=False)


def _say(ax: Axes, words: str) -> None:
    ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, color=GREY, parse_math=False)
    ax.set_xticks([])
    ax.set_yticks([])


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    # A notebook shows what has `_repr_png_`; matplotlib's own hook is there only once pyplot has been loaded.
    vars(figure)["_repr_png_"] = functools.partial(_png, figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
