"""What the page knows of a model and of a layer: the data inside it, short enough to carry and safe to show."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from spectra.engine.verdict import NO_FIT, NOT_TESTED, PLAUSIBLE, REJECTED, TOO_FEW
from spectra.report.curves import (
    Families,
    bars,
    bulk_histogram,
    bulk_law,
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
)
from spectra.report.depth import by_depth, heat_map
from spectra.report.result import LayerResult, Metric, Report, WeightHistogram
from spectra.report.words import (
    BETTER,
    FAILED,
    NO_RESULT,
    big,
    layer_words,
    model_words,
    notes_of,
    severity_of,
    verdict_of,
)

MAX_BINS = 60  # of the ESD
MAX_BARS = 120  # of the weight histogram
TOP_RANKS = 100  # eigenvalues that are all shown in the CCDF: the tail is what one looks at
MAX_POINTS = 400  # of the CCDF
MAX_TEXT = 200  # characters of a name, a warning, a value of meta
CURVE_POINTS = 48  # of a fitted curve
CURVE_DIGITS = 4  # of its values, which nobody reads off
EXACT = 22  # powers of ten up to this one are exact in float64, so that a division by them rounds to what is printed

VERDICTS = (PLAUSIBLE, "better", REJECTED, TOO_FEW, NOT_TESTED, NO_FIT, FAILED)
"""Parts of the bar of verdicts, from the best news to the worst; all other families are one part."""


def report_record(report: Report) -> dict[str, Any]:
    """One model: its summary, its layers in network order, and the axis of depth."""
    ordered = network_order(report.layers)
    families = family_ccdfs(ordered, CURVE_POINTS)
    layers = [
        layer_record(layer) | {"families": _families(found)} for layer, found in zip(ordered, families, strict=True)
    ]
    return {
        "label": short(report.label, 80),
        "words": model_words(report),
        "summary": _summary(report, layers),
        "verdicts": _verdicts(ordered),
        "meta": {short(key): _meta_value(value) for key, value in report.meta.items()},
        "depth": _depth(report, {id(layer): i for i, layer in enumerate(ordered)}),
        "layers": layers,
    }


def layer_record(layer: LayerResult) -> dict[str, Any]:
    """One layer: the table's fields, all metrics, and the reduced curves but those of the families."""
    return {
        "name": short(layer.name),
        "kind": short(layer.kind),
        "role": short(layer.role),
        "depth": layer.depth,
        "shape": "×".join(str(int(n)) for n in layer.shape) or "scalar",
        "dtype": short(layer.dtype),
        "status": short(layer.status),
        "warning": short(layer.warning),
        "spectral": has_spectrum(layer),
        "notes": notes_of(layer),
        "severity": severity_of(layer),
        "outcome": _part(verdict_of(layer)),
        "words": layer_words(layer),
        "metrics": {short(key): _number(value) for key, value in layer.metrics.items()},
        "histogram": _histogram(layer, layer.histogram, normal=True),
        "logHistogram": _histogram(layer, layer.log_histogram, normal=False),
        "esd": _esd(layer),
        "bulk": _bulk(layer),
        "ccdf": _ccdf(layer),
        "fit": _fit(layer),
        "empty": {what: short(why_empty(layer, what)) for what in ("histogram", "esd")},
    }


def _summary(report: Report, layers: list[dict[str, Any]]) -> dict[str, str]:
    """The figures at the head of the page."""

    def median(key: str) -> str:
        found = [value for layer in report if has_spectrum(layer) and (value := number(layer, key)) is not None]
        return f"{np.median(found):.3g}" if found else "–"

    warned = sum(0 < layer["severity"] < NO_RESULT for layer in layers)
    return {
        "layers": f"{len(layers):,}",
        "weights": big(sum(number(layer, "count") or 0 for layer in report), ("M", "B", "T")),
        "with a spectrum": f"{sum(layer['spectral'] for layer in layers):,}",
        "median α": median("alpha"),
        "median stable rank": median("stable_rank"),
        "with warnings": f"{warned:,}",
        "failed": f"{sum(layer['severity'] == NO_RESULT for layer in layers):,}",
    }


def _verdicts(layers: Iterable[LayerResult]) -> dict[str, int]:
    counted = Counter(_part(verdict_of(layer)) for layer in layers)
    return {part: counted[part] for part in VERDICTS if counted[part]}


def _part(verdict: str) -> str:
    """The part of the bar that a verdict falls into."""
    return "better" if verdict.startswith(BETTER) else short(verdict)


def _depth(report: Report, index: dict[int, int]) -> dict[str, Any]:
    depth = by_depth(report)
    heat = heat_map(depth.layers)
    return {
        "layers": [index[id(layer)] for layer in depth.layers],
        "groups": {short(name, 40): places for name, places in depth.groups.items()},
        "blocks": depth.blocks,
        "heat": {
            "metrics": heat.metrics,
            "scales": heat.scales,
            "shades": [[None if np.isnan(v) else round(255 * v) for v in row] for row in heat.shades.tolist()],
        },
    }


def _histogram(layer: LayerResult, histogram: WeightHistogram | None, normal: bool) -> dict[str, Any] | None:
    drawn = bars(histogram)
    if drawn is None or histogram is None:
        return None
    edges, counts = drawn
    step = math.ceil(counts.size / MAX_BARS)
    starts = np.arange(0, counts.size, step)
    edges, counts = np.append(edges[starts], edges[-1]), np.add.reduceat(counts, starts)
    curve = normal_curve(layer, edges, counts) if normal else None
    return {
        "edges": _numbers(edges),
        "counts": [int(count) for count in counts],
        "normal": None if curve is None else {"x": _numbers(curve[0]), "y": _numbers(curve[1], CURVE_DIGITS)},
        "outside": int(histogram.underflow + histogram.overflow),
    }


def _esd(layer: LayerResult) -> dict[str, Any] | None:
    edges, density = log_density(spectrum(layer), MAX_BINS)
    return {"edges": _numbers(edges), "density": _numbers(density)} if density.size else None


def _bulk(layer: LayerResult) -> dict[str, Any] | None:
    """The spectrum against noise: its linear histogram around the bulk, the law, the edge."""
    law, drawn = bulk_law(layer, CURVE_POINTS), bulk_histogram(layer, MAX_BINS)
    if law is None or drawn is None:
        return None
    return {
        "edges": _numbers(drawn.edges),
        "density": _numbers(drawn.density),
        "beyond": drawn.beyond,
        "edge": _number(law.edge),
        "spikes": law.spikes,
        "shuffled": _number(number(layer, "max_rand_eval")),
        "law": {"x": _numbers(law.x), "y": _numbers(law.density, CURVE_DIGITS)},
    }


def _ccdf(layer: LayerResult) -> dict[str, Any] | None:
    x, p = ccdf(spectrum(layer))
    if not x.size:
        return None
    ranks = np.arange(1, x.size + 1)
    if x.size > MAX_POINTS:
        below = np.geomspace(TOP_RANKS + 1, x.size, MAX_POINTS - TOP_RANKS)
        ranks = np.unique(np.concatenate([ranks[:TOP_RANKS], np.rint(below).astype(int)]))
    chosen = (x.size - ranks)[::-1]
    return {"x": _numbers(x[chosen]), "p": _numbers(p[chosen])}


def _fit(layer: LayerResult) -> dict[str, Any] | None:
    fit = power_law(layer)
    return None if fit is None else {key: _number(value) for key, value in fit._asdict().items()}


def _families(found: Families) -> dict[str, Any] | None:
    """Those other than the power law, whose curve the page knows from the fit."""
    others = {name: _numbers(curve, CURVE_DIGITS) for name, curve in found.p.items() if name != "power_law"}
    return {"x": _numbers(found.x), "p": others} if others else None


def _number(value: Metric, digits: int = 6) -> Metric:
    """So many significant digits; whole numbers exact; None for what is no finite number; text as it is."""
    if isinstance(value, str):
        return short(value)
    if value is None or not math.isfinite(value):
        return None
    return int(value) if isinstance(value, int | np.integer) else float(f"{value:.{digits}g}")


def _numbers(values: np.ndarray, digits: int = 6) -> list[Metric]:
    """The same for an array, all at once: a page holds a million of them."""
    x = np.asarray(values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        places = digits - 1 - np.floor(np.log10(np.abs(x)))
        power = 10.0 ** np.clip(np.abs(places), 0, EXACT)
        rounded = np.where(places < 0, np.round(x / power) * power, np.round(x * power) / power)
    plain = np.abs(places) <= EXACT
    return [
        v if easy else _number(full) for v, full, easy in zip(rounded.tolist(), x.tolist(), plain.tolist(), strict=True)
    ]


def short(value: object, length: int = MAX_TEXT) -> str:
    """Text short enough to show, without control characters or the lone surrogates that UTF-8 cannot encode."""
    return short_name(str(value), length)


def _meta_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return short(value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False))
