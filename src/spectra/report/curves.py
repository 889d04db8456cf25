"""The curves behind every chart, as plain NumPy: the HTML page and the matplotlib figures draw the same ones."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from spectra.report.result import LayerResult, WeightHistogram

if TYPE_CHECKING:
    from spectra.kernels import Family

# Eigenvalues that small next to the largest are rounding error; drawn, they would squeeze the spectrum to a line.
DRAWN_ABOVE = 1e-10


class PowerLaw(NamedTuple):
    """The fitted tail of one ESD: density ``share · (alpha − 1)/xmin · (x/xmin)^−alpha`` from xmin to xmax."""

    alpha: float
    xmin: float
    xmax: float
    share: float
    beyond: float
    """Share of the eigenvalues above xmax, which were left out of the fit (`fix_fingers`)."""

    def density(self, x: np.ndarray) -> np.ndarray:
        """Density at x, as a part of the whole ESD."""
        return self.share * (self.alpha - 1) / self.xmin * (x / self.xmin) ** -self.alpha

    def ccdf(self, x: np.ndarray) -> np.ndarray:
        """P(Λ ≥ x), as a part of the whole ESD."""
        return self.beyond + self.share * (x / self.xmin) ** (1 - self.alpha)


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
    fingers = int(number(layer, "num_fingers") or 0)
    tail = number(layer, "num_pl_spikes")
    size = tail if tail is not None else float(np.count_nonzero(values >= xmin) - fingers)
    xmax = float(values[-1 - fingers]) if fingers < values.size else xmin
    return PowerLaw(alpha, xmin, max(xmax, xmin), size / values.size, fingers / values.size) if size > 0 else None


class Families(NamedTuple):
    """P(Λ ≥ λ) of the families fitted to a tail, as a part of the whole ESD, from xmin to the largest eigenvalue."""

    x: np.ndarray
    p: dict[str, np.ndarray]
    """By the family's name; empty where none was fitted."""


def family_ccdfs(layers: Sequence[LayerResult], points: int = 80) -> list[Families]:
    """The families of each layer: of all at once, since a call of a kernel costs more than a curve."""
    fits = [power_law(layer) if layer.families else None for layer in layers]
    found = [Families(np.geomspace(fit.xmin, fit.xmax, points) if fit else np.empty(0), {}) for fit in fits]
    for name in dict.fromkeys(name for layer in layers for name in layer.families):
        known = [
            (i, fit) for i, fit in enumerate(fits) if fit and np.isfinite(layers[i].families.get(name, np.nan)).all()
        ]
        if name == "power_law":  # the fit itself; a program for it would take longer to compile than all else
            for i, fit in known:
                found[i].p[name] = fit.ccdf(found[i].x)
        elif known:
            from spectra.kernels import tail_ccdf

            multiples = np.array([found[i].x / found[i].x[0] for i, _ in known], np.float32)
            params = np.array([layers[i].families[name] for i, _ in known], np.float32)
            curves = np.asarray(tail_ccdf(multiples, cast("Family", name), params, 1), np.float64)
            for (i, fit), curve in zip(known, curves, strict=True):
                found[i].p[name] = fit.beyond + fit.share * curve
    return found


class BulkLaw(NamedTuple):
    """The Marchenko–Pastur law of the eigenvalues that are no spikes, as a part of the whole ESD."""

    x: np.ndarray
    density: np.ndarray
    edge: float
    """What noise alone exceeds with a probability of 5 %: the spikes lie beyond."""
    spikes: int


def bulk_law(layer: LayerResult, points: int = 80) -> BulkLaw | None:
    """The law that `--null` fitted, None where it was not asked for or there is none.

    k spikes leave noise of (N − k)×(M − k), spread over the positions of a convolution; see `kernels.random_matrix`.
    """
    sigma, edge, spikes = (number(layer, key) for key in ("sigma_mp", "bulk_edge", "num_spikes"))
    n, m, evals = (number(layer, key) for key in ("N", "M", "num_evals"))
    if sigma is None or edge is None or spikes is None or n is None or m is None or not evals or sigma <= 0:
        return None
    taken = spikes / (number(layer, "rf") or 1)
    n, m = max(n - taken, 1.0), max(m - taken, 1.0)
    # In the angle the points crowd at the edges, where the density changes most.
    angle = np.linspace(np.pi, 0, points + 2)[1:-1]
    x = n + m + 2 * np.sqrt(n * m) * np.cos(angle)
    density = np.sqrt(n * m) * np.sin(angle) / (np.pi * m * x) / sigma**2
    return BulkLaw(sigma**2 * x, (1 - spikes / evals) * density, edge, int(spikes))


class BulkHistogram(NamedTuple):
    """The ESD on linear bins from zero to beyond the bulk, as a part of the whole."""

    edges: np.ndarray
    density: np.ndarray
    beyond: int
    """Eigenvalues further out, which are not drawn."""


def bulk_histogram(layer: LayerResult, max_bins: int = 60) -> BulkHistogram | None:
    """The part of the spectrum that its bulk law can be held against."""
    law, values = bulk_law(layer), spectrum(layer)
    if law is None or not values.size or law.edge <= 0:
        return None
    reach = 1.6 * max(law.edge, float(law.x[-1]))
    inside = values[values <= reach]
    edges = np.linspace(0, reach, int(np.clip(2 * math.sqrt(inside.size), 12, max_bins)) + 1)
    counts, _ = np.histogram(inside, edges)
    return BulkHistogram(edges, counts / (np.diff(edges) * values.size), int(values.size - inside.size))


def xmin_distances(values: np.ndarray, candidates: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """The Kolmogorov–Smirnov distance D of the fit that starts at each xmin, of at most so many spread evenly."""
    x = drawable(values)
    starts = np.flatnonzero(np.append(True, x[1:] != x[:-1]) & (x < x[-1])) if x.size else np.empty(0, int)
    if starts.size > candidates:
        starts = starts[np.unique(np.linspace(0, starts.size - 1, candidates).round().astype(int))]
    first = np.searchsorted(x, x, "left")  # repeated values: the share strictly below
    logs = np.log(x)
    found = []
    for i in starts:
        u, n = logs[i:] - logs[i], x.size - i
        found.append(np.abs(1 - np.exp(-n / u.sum() * u) - (first[i:] - i) / n).max())
    return x[starts], np.array(found)


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
