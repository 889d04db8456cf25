"""Make the table of README and the plot of time against size from benchmarks/results/*.json.

    .venv/bin/python benchmarks/summary.py          # --results DIR for another folder

The table goes to stdout, and between the markers `<!-- benchmarks:start -->` and `<!-- benchmarks:end -->` of README.md
where that has them; the plot to docs/images/benchmarks.png. Every row of a result is shown, met or missed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from support.machine import ROOT
from support.question import QUIET, RESULTS

Result = dict[str, Any]

TITLES = {
    "analyze_warm": "`analyze`, weights in memory, warm",
    "null": "every spectrum against noise, weights in memory, warm",
    "whole_process": "whole process, file to CSV",
    "import_time": "import",
    "histogram": "histogram with all moments",
    "power_law": "power-law fit, every value as xmin",
    "goodness": "goodness of fit, xmin searched anew in every replicate",
    "spectrum_limit": "spectrum of one matrix",
    "compilations": "programs and padding",
    "memory": "peak memory",
    "large": "large checkpoint",
}
"""What the table has, in this order; size_sweep is the plot, kernels_vs_jax belongs to docs/architecture.md."""

SELF_EVIDENT = ("spectra.analyze", "spectra analyze --out x.csv")
"""What was run on our side, where the title says so."""

START, END = "<!-- benchmarks:start -->", "<!-- benchmarks:end -->"
PICTURE = ROOT / "docs" / "images" / "benchmarks.png"

COLOURS = {"spectra": "#0072B2", "WeightWatcher": "#D55E00", "Diffract": "#009E73"}
"""Okabe & Ito (2008), as in the figures of the package."""


def main() -> None:
    """Print, insert, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    options = parser.parse_args()
    results = {path.stem: json.loads(path.read_text()) for path in sorted(options.results.glob("*.json"))}
    results = {name: result for name, result in results.items() if "rows" in result}
    table = markdown(results)
    print(table)
    insert(options.readme, table)
    if "size_sweep" in results:
        draw(results["size_sweep"], options.picture)


def markdown(results: dict[str, Result]) -> str:
    """The table and where its numbers come from."""
    shown = [results[name] for name in TITLES if name in results]
    lines = ["| work | spectra | peer | peer / spectra | target |", "|---|---:|---:|---:|---|"]
    for result in shown:
        lines.append(f"| **{TITLES[result['name']]}** | | | | |")
        lines += [line(row) for row in result["rows"]]
    return "\n".join([*lines, "", *provenance(shown)])


def line(row: dict[str, Any]) -> str:
    """One row of a result: a comparison, or a figure with its limit."""
    if "value" in row:
        limit = f"≤ {row['limit']:.3g}{verdict(row)}" if "limit" in row else ""
        return f"| {row['work']} | {row['value']:.3g} {row['unit']} | | | {limit} |"
    ours, peer = row["ours"], row["peer"]
    work = row["work"] if ours["what"] in (*SELF_EVIDENT, row["work"]) else f"{row['work']}: {ours['what']}"
    theirs = f"{peer['what']} {duration(peer)}" if peer else ""
    ratio = f"{row['ratio']:.3g}×" if peer else ""
    target = f"≥ {row['target']:.3g}×{verdict(row)}" if "target" in row else ""
    return f"| {work} | {duration(ours)} | {theirs} | {ratio} | {target} |"


def verdict(row: dict[str, Any]) -> str:
    """In words: a tick and a cross are told apart less easily."""
    return ", met" if row["met"] else ", **missed**"


def duration(side: dict[str, Any]) -> str:
    """The median with its unit."""
    seconds = side["median"]
    return f"{seconds:.3g} s" if seconds >= 0.1 else f"{seconds * 1000:.3g} ms"


def provenance(results: Iterable[Result]) -> list[str]:
    """Machine, versions and revisions of the rows above, each said once."""
    results = list(results)
    machines = {said(result["machine"]) for result in results}
    packages: dict[str, str] = {}
    absent: set[str] = set()
    for result in results:
        packages |= {name: result["versions"][name] for name in ("spectra", "jax")}
        for name, peer in result["peers"].items():
            if isinstance(peer, str):
                absent.add(f"{name} {peer}")
            else:
                packages |= {p: v for p, v in peer.items() if p not in ("python", "numpy", "scipy")}
    revisions = sorted({f"{result['revision']} ({result['date']})" for result in results})
    quick = any(result["quick"] for result in results)
    busy = [r["name"] for r in results if max(x or 0 for x in r["busy_cores"].values()) > QUIET]
    lines = [
        "Medians, each pair measured in turn in one run, where both sides gave the same answer. "
        f"On {' and '.join(machines)}; "
        f"{', '.join(f'{name} {version}' for name, version in packages.items())}; commit {', '.join(revisions)}."
    ]
    lines += [f"Not measured: {'; '.join(sorted(absent))}."] if absent else []
    lines += [f"**The machine was busy with something else, before or after: {', '.join(busy)}.**"] if busy else []
    lines += ["**From a `--quick` run: these figures mean nothing.**"] if quick else []
    return lines


def said(machine: dict[str, Any]) -> str:
    """A machine in words."""
    words = f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']:.0f} GiB"
    return f"{words}, {machine['accelerator']}" if machine["accelerator"] else words


def insert(readme: Path, table: str) -> None:
    """Replace what is between the markers, if they are there."""
    text = readme.read_text() if readme.exists() else ""
    if START in text and END in text:
        before, after = text.split(START)[0], text.split(END)[1]
        readme.write_text(f"{before}{START}\n{table}\n{END}{after}")


def draw(result: Result, target: Path) -> None:
    """Time of one square layer against its size, with the range of the runs."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    lines: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in COLOURS}
    for row in result["rows"]:
        n = int(row["work"].split("×")[0])
        lines["spectra"][n] = row["ours"]
        if row["peer"]:
            lines[row["peer"]["what"].split()[0]][n] = row["peer"]
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, sides in lines.items():
        sizes = sorted(sides)
        if not sizes:
            continue
        low, middle, high = ([sides[n][which] for n in sizes] for which in ("min", "median", "max"))
        axes.plot(sizes, middle, "o-", color=COLOURS[name], markersize=4, linewidth=1.6)
        axes.fill_between(sizes, low, high, color=COLOURS[name], alpha=0.2, linewidth=0)
        axes.annotate(
            name, (sizes[-1], middle[-1]), (7, 0), textcoords="offset points", color=COLOURS[name], va="center"
        )  # fmt: skip
    sizes = sorted(lines["spectra"])
    axes.set(xscale="log", yscale="log", xlabel="side n of one n×n layer", ylabel="seconds for one analysis")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    axes.set_xlim(sizes[0] / 1.1, sizes[-1] * 1.55)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"Warm, weights in memory, {said(result['machine'])}", fontsize=9, loc="left", color="#444444")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=130)


if __name__ == "__main__":
    main()
