"""The report as one HTML page that works from a file, without a network: tables, charts, and one panel a layer.

Everything is inside the page: style, script, the chart library (uPlot, in `vendor/`) and the data as JSON. The
page's content security policy allows its own two scripts by hash and nothing else, so that no text of a checkpoint
can run or load anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from spectra.report.curves import (
    bars,
    ccdf,
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
from spectra.report.result import LayerResult, Metric, Report, WeightHistogram

MAX_BINS = 60  # of the ESD
MAX_BARS = 120  # of the weight histogram
TOP_RANKS = 100  # eigenvalues that are all shown in the CCDF: the tail is what one looks at
MAX_POINTS = 400  # of the CCDF
MAX_TEXT = 200  # characters of a name, a warning, a value of meta


class Column(NamedTuple):
    """One column of the table of layers; `key` is a field of the layer or a metric."""

    key: str
    label: str
    help: str
    type: str = "number"


COLUMNS = (
    Column("name", "layer", "The tensor's name in its file", "text"),
    Column("kind", "kind", "What the tensor is: dense, conv2d, bias, …", "text"),
    Column("shape", "shape", "Shape of the tensor", "text"),
    Column("N", "N", "Larger dimension of the weight matrix"),
    Column("M", "M", "Smaller dimension of the weight matrix"),
    Column("alpha", "α", "Exponent of the power law fitted to the tail of the eigenvalues"),
    Column("sigma", "σ", "Standard error of α"),
    Column("D", "D", "Kolmogorov–Smirnov distance of the fit; smaller is better"),
    Column("xmin", "xmin", "Eigenvalue from which the tail begins"),
    Column("num_pl_spikes", "tail", "Number of eigenvalues in the tail"),
    Column("verdict", "verdict", "Is the tail a power law? not tested without --gof", "text"),
    Column("stable_rank", "stable rank", "Sum of the eigenvalues over the largest"),
    Column("kurtosis", "kurtosis", "Excess kurtosis of the weights; 0 for a normal distribution"),
    Column("near_zero_std", "near zero", "Share of weights with |w| below a tenth of their standard deviation"),
    Column("status", "status", "Whether the layer was analyzed", "text"),
    Column("warning", "warning", "What to be careful about", "text"),
)


class Note(NamedTuple):
    """What a warning means; `severity` is 1 (be careful), 2 (look at it) or 3 (no result)."""

    severity: int
    text: str


NOTES = {
    "failed": Note(3, "The analysis of this layer failed; its numbers are missing or incomplete. The others are fine."),
    "over-trained": Note(
        2,
        "Over-trained (α < 2): the tail is heavier than in well-trained layers. The layer may have memorized its "
        "data, or a few very large eigenvalues (a trap, a scale left by the initialization) pull the fit.",
    ),
    "under-trained": Note(
        2,
        "Under-trained (α > 6): the spectrum is close to that of a random matrix, with hardly any heavy tail. The "
        "layer has learned little, or is larger than its task needs.",
    ),
    "not a power law": Note(
        2, "Not a power law: the goodness-of-fit test rejects the fit. α describes the tail's slope, not its shape."
    ),
    "better:": Note(
        2,
        "Better described by another family: the likelihood ratio prefers it to the power law on the same tail. α is "
        "the slope of a curve that bends, and says nothing of how well the layer is trained.",
    ),
    "too few": Note(
        1, "Too few: fewer than 50 eigenvalues lie in the tail, so α is uncertain and somewhat biased. Mind its σ."
    ),
    "no fit": Note(1, "No fit: there are too few distinct eigenvalues above 1e-5 for a power law."),
    "unresolved": Note(
        1,
        "Unresolved eigenvalues: some lie below what the precision of the computation can tell from zero. Repeat with "
        "--precision float64 if the small eigenvalues matter; the tail is not affected.",
    ),
    "other": Note(1, "See the warning above."),
}


def render_html(reports: Sequence[Report], title: str) -> str:
    """One self-contained page for one or more reports.

    Parameters
    ----------
    reports
        In the order in which the page offers them.
    title
        Heading of the page.

    Returns
    -------
    str
        The HTML document. It refers to nothing outside itself.
    """
    from jinja2 import Environment

    records = [_report(report) for report in reports]
    library, script = _asset("vendor/uplot/uPlot.iife.min.js"), _asset("templates/report.js")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        _asset("templates/report.html.j2")
    )
    return template.render(
        title=_text(title),
        reports=records,
        columns=COLUMNS,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src {_hash(library)} {_hash(script)}",
        style=_asset("vendor/uplot/uPlot.min.css") + _asset("templates/report.css"),
        license=_asset("vendor/uplot/LICENSE"),
        library=library,
        script=script,
        data=_json({"notes": {key: note.text for key, note in NOTES.items()}, "reports": records}),
    )


def _report(report: Report) -> dict[str, Any]:
    ordered = network_order(report.layers)
    layers = [_layer(layer) for layer in ordered]
    alphas = [alpha for layer in ordered if (alpha := number(layer, "alpha")) is not None]
    return {
        "label": _text(report.label, 80),
        "summary": {
            "layers": len(layers),
            "with a spectrum": sum(layer["spectral"] for layer in layers),
            "median α": f"{statistics.median(alphas):.3g}" if alphas else "–",
            "warnings": sum(0 < layer["severity"] < NOTES["failed"].severity for layer in layers),
            "failed": sum(layer["severity"] == NOTES["failed"].severity for layer in layers),
        },
        "meta": {_text(key): _meta_value(value) for key, value in report.meta.items()},
        "layers": layers,
    }


def _layer(layer: LayerResult) -> dict[str, Any]:
    """What the page knows of one layer: the table's fields, all metrics, and the reduced curves."""
    notes = _notes(layer)
    return {
        "name": _text(layer.name),
        "kind": _text(layer.kind),
        "role": _text(layer.role),
        "depth": layer.depth,
        "shape": "×".join(str(int(n)) for n in layer.shape) or "scalar",
        "dtype": _text(layer.dtype),
        "status": _text(layer.status),
        "warning": _text(layer.warning),
        "spectral": has_spectrum(layer),
        "notes": notes,
        "severity": max((NOTES[note].severity for note in notes), default=0),
        "metrics": {_text(key): _number(value) for key, value in layer.metrics.items()},
        "histogram": _histogram(layer, layer.histogram, normal=True),
        "logHistogram": _histogram(layer, layer.log_histogram, normal=False),
        "esd": _esd(layer),
        "ccdf": _ccdf(layer),
        "fit": _fit(layer),
        "empty": {what: _text(why_empty(layer, what)) for what in ("histogram", "esd")},
    }


def _notes(layer: LayerResult) -> list[str]:
    """Keys of NOTES that apply; none for a layer that was skipped, whose warning only says why."""
    if layer.status == "skipped":
        return []
    found = ["failed"] if layer.status == "failed" else []
    found += [key for key in NOTES if key in layer.warning.lower() and key not in found]
    if (number(layer, "num_unresolved") or 0) > 0 and "unresolved" not in found:
        found.append("unresolved")
    return found or (["other"] if layer.warning else [])


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
        "normal": None if curve is None else {"x": _numbers(curve[0]), "y": _numbers(curve[1])},
        "outside": int(histogram.underflow + histogram.overflow),
    }


def _esd(layer: LayerResult) -> dict[str, Any] | None:
    edges, density = log_density(spectrum(layer), MAX_BINS)
    return {"edges": _numbers(edges), "density": _numbers(density)} if density.size else None


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


def _number(value: Metric) -> Metric:
    """Six significant digits; whole numbers exact; None for what is no finite number; text as it is."""
    if isinstance(value, str):
        return _text(value)
    if value is None or not math.isfinite(value):
        return None
    return int(value) if isinstance(value, int | np.integer) else float(f"{value:.6g}")


def _numbers(values: Iterable[float]) -> list[Metric]:
    return [_number(value) for value in values]


def _text(value: object, length: int = MAX_TEXT) -> str:
    """Text short enough to show, without control characters or the lone surrogates that UTF-8 cannot encode."""
    return short_name(str(value), length)


def _meta_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return _text(value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False))


def _json(data: object) -> str:
    """JSON that may stand inside a script element: no character in it can end the element or start markup."""
    from markupsafe import Markup

    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII: U+2028 and its like are escaped
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _asset(path: str) -> str:
    """A file of this package as trusted text, which the template inserts as it is."""
    from markupsafe import Markup

    text = resources.files("spectra.report").joinpath(*path.split("/")).read_text(encoding="utf-8")
    return Markup(text)


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
