"""What a study leaves behind: tables, claims.json, the page, and the verdicts in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.report.save import write_whole
from spectra.study.claims import controls, judge
from spectra.study.experiments import experiment
from spectra.study.findings import Finding, Tables
from spectra.study.journal import write_json
from spectra.study.known import known_answers
from spectra.study.protocol import Protocol
from spectra.study.run import identity, without_nan

if TYPE_CHECKING:
    from rich.console import Console

Document = dict[str, Any]


def publish(records: Sequence[dict[str, Any]], protocol: Protocol, names: Sequence[str], out: Path) -> Document:
    """Write the three tables as Parquet, ``claims.json``, and ``claims.md`` with its figures.

    Parameters
    ----------
    records
        Of all networks of the experiments `names`.

    Returns
    -------
    dict
        What claims.json holds.
    """
    import pandas as pd

    from spectra.study.page import write_page

    document = judged(records, protocol, names)
    write_json(out / "claims.json", document)
    for name, rows in tables(records).items():
        write_whole(out / f"{name}.parquet", partial(pd.DataFrame(rows).to_parquet, index=False))
    write_page(document, protocol, records, out / "claims.md")
    return document


def judged(records: Sequence[dict[str, Any]], protocol: Protocol, names: Sequence[str]) -> Document:
    """Known answers, controls, and every claim with its verdict."""
    found = Tables(records)
    findings: list[Finding] = []
    for name in names:
        findings += experiment(name).findings(protocol, found)
    left_out = [
        {"name": record["name"], "status": record["status"], "reason": record["reason"]}
        for record in records
        if record["status"] != "learned"
    ]
    statuses = [record["status"] for record in records]
    document: Document = {
        **identity(protocol),
        "experiments": list(names),
        "networks": {status: statuses.count(status) for status in sorted(set(statuses))},
        "no_plateau": sum(record["status"] == "learned" and not record["result"]["converged"] for record in records),
        "seconds": round(sum(record["seconds"] for record in records), 1),
        "left_out": left_out,
        "known_answers": [{**known._asdict(), "holds": known.holds} for known in known_answers()],
        "controls": controls(findings),
        "claims": judge(findings),
    }
    finite: Document = without_nan(document)
    return finite


def tables(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows of the three tables: a network, a layer at a step, and what experiments measured besides."""
    networks = []
    for record in records:
        shown = {key: record[key] for key in ("name", "status", "reason", "seconds")}
        networks.append({**shown, **record["spec"], **record["result"]})
    layers, curves = (
        [{"network": record["name"], **row} for record in records for row in record[part]]
        for part in ("layers", "curves")
    )
    return {"networks": networks, "layers": layers, "curves": curves}


def print_verdicts(document: Document, console: Console) -> None:
    """A line a claim."""
    from rich import box
    from rich.table import Table

    from spectra.study.page import caveat, missed

    table = Table(
        "", "claim", "verdict", "cells for, against, all", box=box.HEAVY_HEAD if console.is_terminal else None
    )
    for claim in document["claims"]:
        counts = f"{claim['claimed_side']}, {claim['other_side']}, {claim['n']}"
        table.add_row(claim["id"], claim["statement"], claim["verdict"], counts)
    console.print(table)
    if why := caveat(document):
        console.print(why)
    if broken := missed(document):
        console.print(f"Known answers were missed, so trust no verdict: {'; '.join(broken)}")
