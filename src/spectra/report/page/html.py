"""The report as one HTML page that works from a file, without a network: tables, charts, and one panel a layer.

Everything is inside the page: style, script, the chart library (uPlot, in `uplot/`) and the data as JSON. The
page's content security policy allows its own two scripts by hash and nothing else, so that no text of a checkpoint
can run or load anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from spectra.report.glossary import GROUPS, Term, term
from spectra.report.page.record import report_record, short
from spectra.report.result import Report
from spectra.report.words import NOTES

SCRIPTS = ("text", "charts", "depth", "heat", "weights", "spectrum", "layer", "filter", "table", "page")
"""Files of the page's script, which share one scope, in the order in which they run."""

FIELDS = {"name": "layer", "kind": "kind", "role": "role", "shape": "shape", "warning": "warnings"}
"""Columns of the table of layers that are no metrics."""

COLUMNS = (
    *("name", "alpha", "sigma", "D", "num_pl_spikes", "verdict", "gof_p", "num_spikes", "w1_rand_distance"),
    *("stable_rank", "kurtosis", "near_zero_std", "shape", "warning"),
)
"""What the table shows at first, as far as some layer has it; the reader may choose among all columns."""


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

    records = [report_record(report) for report in reports]
    library, script = _asset("uplot/uPlot.iife.min.js"), _script()
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        _asset("assets/report.html.j2")
    )
    return template.render(
        title=short(title),
        reports=records,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src {_hash(library)} {_hash(script)}",
        style=_asset("uplot/uPlot.min.css") + _asset("assets/report.css"),
        license=_asset("uplot/LICENSE"),
        library=library,
        script=script,
        data=_json(
            {
                "notes": {key: note._asdict() for key, note in NOTES.items()},
                "columns": _columns(records),
                "groups": GROUPS,
                "reports": records,
            }
        ),
    )


def _columns(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every column that some layer has a value in, with its name for the reader; those of `COLUMNS` are shown."""
    found: dict[str, bool] = {}
    for layer in (layer for record in records for layer in record["layers"]):
        for key, value in layer["metrics"].items():
            if value is not None:
                found[key] = found.get(key, True) and not isinstance(value, str)
    place = {key: i for i, key in enumerate(COLUMNS)}
    every = [_column(key, label, numeric=False) for key, label in FIELDS.items()]
    every += [_column(key, term(key).label, numeric, term(key)) for key, numeric in found.items()]
    every.sort(key=lambda column: place.get(str(column["key"]), len(place)))
    return [column | {"shown": column["key"] in place} for column in every]


def _column(key: str, label: str, numeric: bool, meaning: Term | None = None) -> dict[str, Any]:
    text, unit, group = (meaning.text, meaning.unit, meaning.group) if meaning else ("", "", "Layer")
    return {"key": key, "label": short(label), "text": short(text), "unit": unit, "group": group, "numeric": numeric}


def _json(data: object) -> str:
    """JSON that may stand inside a script element: no character in it can end the element or start markup."""
    from markupsafe import Markup

    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII: U+2028 and its like are escaped
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _script() -> str:
    from markupsafe import Markup

    parts = (_asset(f"assets/{name}.js") for name in SCRIPTS)
    return Markup('"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n")


def _asset(path: str) -> str:
    """A file of this package as trusted text, which the template inserts as it is."""
    from markupsafe import Markup

    text = resources.files("spectra.report.page").joinpath(*path.split("/")).read_text(encoding="utf-8")
    return Markup(text)


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
