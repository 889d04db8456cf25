"""Figures of one layer, and of a whole network by depth, drawn with matplotlib.

Each function draws onto the axes it is given, or onto a figure of its own, and returns the figure. Nothing goes
through pyplot, so figures can be made without a display and from several threads.

The curves themselves (`ccdf`, `log_density`, `power_law`, `normal_curve`) are plain NumPy; the HTML report draws
the same ones.
"""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from spectra.errors import InputError
from spectra.report.result import LayerResult, Report, WeightHistogram

if TYPE_CHECKING:  # matplotlib builds a font cache when first imported; the HTML report must not wait for that
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008): told apart under every common colour blindness.
BLUE, VERMILLION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"

# Eigenvalues that small next to the largest are rounding error; drawn, they would squeeze the spectrum to a line.
DRAWN_ABOVE = 1e-10

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


class PowerLaw(NamedTuple):
    """The fitted tail of one ESD: density ``share · (alpha − 1)/xmin · (x/xmin)^−alpha`` from xmin to xmax."""

    alpha: float
    xmin: float
    xmax: float
    share: float

    def density(self, x: np.ndarray) -> np.ndarray:
        """Density at x, as a part of the whole ESD."""
        return self.share * (self.alpha - 1) / self.xmin * (x / self.xmin) ** -self.alpha

    def ccdf(self, x: np.ndarray) -> np.ndarray:
        """P(Λ ≥ x), as a part of the whole ESD."""
        return self.share * (x / self.xmin) ** (1 - self.alpha)


def number(layer: LayerResult, key: str) -> float | None:
    """A metric as a finite float; None where it is missing, None, NaN, infinite or text."""
    value = layer.metrics.get(key)
    return float(value) if value is not None and not isinstance(value, str) and math.isfinite(value) else None


def spectrum(layer: LayerResult) -> np.ndarray:
    """The finite eigenvalues, ascending; empty where the layer has none."""
    values = np.asarray([] if layer.eigenvalues is None else layer.eigenvalues, dtype=np.float64).ravel()
    return np.sort(values[np.isfinite(values)])


def drawable(values: np.ndarray) -> np.ndarray:
    """The eigenvalues that a logarithmic axis can show: positive and above rounding error."""
    return values[values > max(float(values[-1]) * DRAWN_ABOVE, 0.0)] if values.size else values


def ccdf(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Empirical P(Λ ≥ λ) at each distinct drawable λ; eigenvalues too small to draw still count in P."""
    x, first = np.unique(drawable(values), return_index=True)
    hidden = values.size - drawable(values).size
    return x, 1.0 - (first + hidden) / max(values.size, 1)


def log_density(values: np.ndarray, max_bins: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Edges and densities of logarithmic bins over the drawable λ, as a part of the whole ESD.

    The number of bins grows as 2√n, so that a short spectrum is not shown as a row of single spikes.
    """
    x = drawable(values)
    if not x.size:
        return np.empty(0), np.empty(0)
    low, high = (float(x[0]), float(x[-1])) if x[0] < x[-1] else (float(x[0]) / 3, float(x[0]) * 3)
    edges = np.geomspace(low, high, int(np.clip(2 * math.sqrt(x.size), 7, max_bins)) + 1)
    edges[0], edges[-1] = low, high  # geomspace rounds, and must not lose the largest eigenvalue
    counts, _ = np.histogram(x, edges)
    widths = np.diff(edges)
    return edges, np.divide(counts, widths * values.size, out=np.zeros_like(widths), where=widths > 0)


def power_law(layer: LayerResult) -> PowerLaw | None:
    """The layer's fitted tail, None where there is no usable fit or no spectrum to hold it against."""
    alpha, xmin = number(layer, "alpha"), number(layer, "xmin")
    values = spectrum(layer)
    if alpha is None or xmin is None or alpha <= 1 or xmin <= 0 or not values.size or values[-1] < xmin:
        return None
    tail = number(layer, "num_pl_spikes")
    size = tail if tail is not None else float(np.count_nonzero(values >= xmin))
    return PowerLaw(alpha, xmin, float(values[-1]), size / values.size) if size > 0 else None


def normal_curve(layer: LayerResult, edges: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Counts that bins of the histogram's mean width would hold if the weights were normal, along w.

    The curve ends where it falls to half a weight, below which a bin should be empty, or at the histogram's edge.
    """
    mean, std = number(layer, "mean"), number(layer, "std")
    if mean is None or std is None or std <= 0:
        return None
    total, width = number(layer, "count") or float(np.sum(counts)), float(edges[-1] - edges[0]) / counts.size
    reach = width / 2 + std * math.sqrt(2 * max(math.log(2 * total * width / (std * math.sqrt(2 * math.pi))), 1.0))
    x = np.linspace(max(mean - reach, edges[0]), min(mean + reach, edges[-1]), 81)
    if x[0] >= x[-1]:
        return None
    erf = [math.erf((at + half - mean) / (std * math.sqrt(2))) for at in x for half in (-width / 2, width / 2)]
    y = total / 2 * np.diff(np.reshape(erf, (-1, 2)), axis=1)[:, 0]
    return x[y >= 0.5], y[y >= 0.5]


def bars(histogram: WeightHistogram | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Edges and counts that can be drawn, None where nothing was counted or the bins have no width."""
    if histogram is None:
        return None
    edges, counts = np.asarray(histogram.edges, np.float64), np.asarray(histogram.counts, np.float64)
    sound = edges.size == counts.size + 1 > 1 and bool(np.isfinite(edges).all() and np.isfinite(counts).all())
    return (edges, counts) if sound and edges[-1] > edges[0] and counts.sum() > 0 else None


def why_empty(layer: LayerResult, what: str) -> str:
    """Why a panel has nothing to draw, in words."""
    if layer.status == "failed":
        return "analysis failed"
    if what == "histogram":
        constant = number(layer, "min") is not None and number(layer, "min") == number(layer, "max")
        return f"all weights equal {number(layer, 'min'):.6g}" if constant else "no weight histogram"
    values = spectrum(layer)
    if values.size and values[-1] <= 0:
        return "all eigenvalues are zero"
    return f"no spectrum ({layer.kind or 'unknown kind'})"


def short_name(name: str, length: int = 60) -> str:
    """A name on one line of at most `length` characters: control characters replaced, the middle left out."""
    head, tail = name[: 2 * length], name[-2 * length :]
    line = "".join(c if c.isprintable() else "�" for c in (name if len(name) <= 4 * length else head + tail))
    keep = length - 1
    return line if len(line) <= length else f"{line[: keep - keep // 2]}…{line[len(line) - keep // 2 :]}"


def network_order(layers: Sequence[LayerResult]) -> list[LayerResult]:
    """Layers by depth: files list ``h.10`` before ``h.2``. Blocks counted apart (encoder, decoder) stay apart."""
    first: dict[str, int] = {}

    def key(layer: LayerResult) -> tuple[int, int]:
        stack = layer.name if layer.depth is None else re.split(r"\d", layer.name, maxsplit=1)[0]
        return first.setdefault(stack, len(first)), layer.depth or 0

    return sorted(layers, key=key)


def has_spectrum(layer: LayerResult) -> bool:
    """Whether the layer is a matrix with eigenvalues, unlike biases and norm scales."""
    return layer.eigenvalues is not None or number(layer, "num_evals") is not None or number(layer, "alpha") is not None


def plot_layer(layer: LayerResult, kind: str = "all", axes: Any = None) -> Figure:
    """Weight histogram, ESD and CCDF of one layer with its fitted tail.

    Parameters
    ----------
    kind
        ``all`` for the three panels side by side, or one of ``histogram``, ``esd``, ``ccdf``.
    axes
        Where to draw: three axes for ``all``, one otherwise. By default a new figure.

    Returns
    -------
    Figure
        The figure drawn on, titled with the layer's name.
    """
    panels = {"histogram": _draw_histogram, "esd": _draw_esd, "ccdf": _draw_ccdf}
    if kind != "all" and kind not in panels:
        raise InputError(f"unknown kind of figure {kind!r}: choose all, {', '.join(panels)}")
    chosen = list(panels.values()) if kind == "all" else [panels[kind]]
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
