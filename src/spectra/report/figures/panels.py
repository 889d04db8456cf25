"""The panels of one layer: each function draws onto the axes it is given, or says why there is nothing to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spectra.report.curves import (
    bars,
    bulk_histogram,
    bulk_law,
    ccdf,
    family_ccdfs,
    log_density,
    normal_curve,
    number,
    power_law,
    spectrum,
    why_empty,
    xmin_distances,
)
from spectra.report.figures.style import (
    BLUE,
    FAMILY_STYLES,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILLION,
    legend,
    log_axes,
    say,
)
from spectra.report.result import LayerResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EIGENVALUE, DENSITY, CCDF = "eigenvalue λ of WᵀW (weight²)", "density of eigenvalues (1/weight²)", "P(Λ ≥ λ)"


def draw_histogram(layer: LayerResult, ax: Axes) -> None:
    ax.set_xlabel("weight w")
    ax.set_ylabel("number of weights in a bin")
    drawn = bars(layer.histogram)
    if drawn is None or layer.histogram is None:
        return say(ax, why_empty(layer, "histogram"))
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
    legend(ax)


def draw_esd(layer: LayerResult, ax: Axes) -> None:
    ax.set_xlabel(EIGENVALUE)
    ax.set_ylabel(DENSITY)
    edges, density = log_density(spectrum(layer))
    if not density.size:
        return say(ax, why_empty(layer, "esd"))
    ax.stairs(density, edges, fill=True, color=BLUE, alpha=0.55, label=f"{spectrum(layer).size:,} eigenvalues")
    _draw_fit(layer, ax, "density")
    _draw_noise(layer, ax)
    log_axes(ax)
    legend(ax)


def draw_bulk(layer: LayerResult, ax: Axes) -> None:
    """The ESD on linear axes around the bulk, with the law of noise."""
    ax.set_xlabel(EIGENVALUE)
    ax.set_ylabel(DENSITY)
    drawn, law = bulk_histogram(layer), bulk_law(layer)
    if drawn is None or law is None:
        return say(ax, "no bulk: analyze with null=True" if spectrum(layer).size else why_empty(layer, "esd"))
    evals = spectrum(layer).size
    ax.stairs(drawn.density, drawn.edges, fill=True, color=BLUE, alpha=0.55, label=f"{evals:,} eigenvalues")
    _draw_noise(layer, ax)
    ax.set_xlim(0, drawn.edges[-1])
    # At zero both may grow without end, in square matrices.
    ax.set_ylim(0, 1.25 * max(drawn.density[1:].max(), law.density[law.x.size // 4 :].max()) or 1.0)
    if drawn.beyond:
        ax.plot([], [], " ", label=f"{drawn.beyond:,} further out")
    legend(ax)


def draw_ccdf(layer: LayerResult, ax: Axes) -> None:
    ax.set_xlabel(EIGENVALUE)
    ax.set_ylabel(CCDF)
    x, p = ccdf(spectrum(layer))
    if not x.size:
        return say(ax, why_empty(layer, "ccdf"))
    ax.plot(x, p, ".", markersize=4, color=BLUE, label="eigenvalues")
    _draw_fit(layer, ax, "ccdf")
    log_axes(ax)
    legend(ax)


def draw_families(layer: LayerResult, ax: Axes) -> None:
    ax.set_xlabel(EIGENVALUE)
    ax.set_ylabel(CCDF)
    (families,) = family_ccdfs([layer])
    x, curves = families
    if not curves:
        return say(ax, "no power-law fit" if spectrum(layer).size else why_empty(layer, "ccdf"))
    data, p = ccdf(spectrum(layer))
    inside = data >= x[0] * (1 - 1e-6)
    ax.plot(data[inside], p[inside], "o", markersize=3.5, color="black", alpha=0.45, markeredgewidth=0, label="tail")
    for name, curve in curves.items():
        colour, dashes = FAMILY_STYLES[name]
        ratio, significance = number(layer, f"R_{name}"), number(layer, f"p_{name}")
        told = "" if ratio is None or significance is None else f": R = {ratio:.1f}, p = {significance:.2g}"
        ax.plot(x, curve, color=colour, linestyle=dashes, linewidth=1.6, label=name.replace("_", " ") + told)
    log_axes(ax, bottom=p[inside].min() / 4)
    verdict = layer.metrics.get("verdict")
    ax.legend(fontsize="x-small", frameon=False, title=verdict and str(verdict), title_fontsize="small")


def draw_xmin(layer: LayerResult, ax: Axes) -> None:
    ax.set_xlabel("start of the tail xmin (weight²)")
    ax.set_ylabel("Kolmogorov–Smirnov distance D of the fit")
    values = spectrum(layer)
    fingers = int(number(layer, "num_fingers") or 0)  # the largest, which were left out of the fit
    x, distances = xmin_distances(values[: values.size - fingers])
    if not x.size:
        return say(ax, why_empty(layer, "esd"))
    ax.plot(x, distances, ".-", color=BLUE, markersize=3, linewidth=0.8, label="every candidate")
    xmin, distance = number(layer, "xmin"), number(layer, "D")
    if xmin is not None and distance is not None:
        label = f"chosen: xmin = {xmin:.3g}, D = {distance:.3f}"
        ax.plot([xmin], [distance], "o", color=VERMILLION, fillstyle="none", markersize=9, label=label)
    low, high = number(layer, "xmin_low"), number(layer, "xmin_high")
    if low is not None and high is not None:
        ax.axvspan(low, high, color=GREEN, alpha=0.12, linewidth=0, label="95 % interval of xmin")
    log_axes(ax)
    legend(ax)


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


def _draw_noise(layer: LayerResult, ax: Axes) -> None:
    """The law of the bulk, its edge, and a stroke at the foot for each spike; nothing without `null=True`."""
    law = bulk_law(layer)
    if law is None:
        return
    ax.plot(law.x, law.density, color=ORANGE, label="noise (Marchenko–Pastur)")
    ax.axvline(law.edge, color=ORANGE, linestyle=":", linewidth=1.2, label=f"edge of noise {law.edge:.3g}")
    values = spectrum(layer)
    spikes = values[values > law.edge][-law.spikes :] if law.spikes else values[:0]
    if spikes.size:
        ax.plot(
            spikes, np.full(spikes.size, 0.02), "|", color=PURPLE, markersize=7, transform=ax.get_xaxis_transform(),
            label=f"{law.spikes:,} spikes", zorder=3,
        )  # fmt: skip


PANELS = {
    "histogram": draw_histogram,
    "esd": draw_esd,
    "ccdf": draw_ccdf,
    "bulk": draw_bulk,
    "families": draw_families,
    "xmin": draw_xmin,
}
USUAL = ("histogram", "esd", "ccdf")
"""The panels that a layer is drawn with by default."""
