"""Results on disk: the table as CSV, JSON or Parquet, the page as HTML, each whole or not at all."""

from __future__ import annotations

import csv
import json
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from spectra.errors import OutputError
from spectra.report.result import LayerResult, Metric, Report

if TYPE_CHECKING:
    import pandas as pd

    from spectra.report.cleaning import Cleaning, LayerCleaning

TABLE_SUFFIXES = (".csv", ".json", ".parquet")
HTML_SUFFIXES = (".html", ".htm")

INTEGERS = {
    *("depth", "M", "N", "rf", "num_evals", "num_pl_spikes"),
    *("matrix_rank", "rank_loss", "weak_rank_loss", "num_unresolved", "detX_num", "count"),
    *("matrices", "order", "right_n_tail", "left_n_tail", "num_spikes", "rand_num_spikes", "top"),
    *("removed_entries", "removed_means", "kept_components", "removed_components"),
    *(f"{name}_{side}" for name in ("num_pl_spikes", "num_spikes", "rand_num_spikes") for side in "ab"),
    *("num_fingers", "num_vectors"),
}
TEXTS = {"name", "model", "kind", "role", "shape", "dtype", "status", "warning", "method", "action", "note", "bucket"}
TEXTS |= {"verdict", "right_verdict", "left_verdict", "against"}


Table: TypeAlias = dict[str, list[Metric]]
"""Columns by name, all of one length; None where a value is missing."""


def to_table(reports: Sequence[Report | Cleaning]) -> Table:
    """One table of all layers of all reports; the column `model` tells them apart."""
    rows = [_row(report.label, layer) for report in reports for layer in report]
    columns = dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row)
    return {name: [row.get(name) for row in rows] for name in columns}


def to_frame(table: Table) -> pd.DataFrame:
    """The table as pandas has it; whole numbers have the type `Int64`, in which values can be missing."""
    import pandas as pd

    frame = pd.DataFrame(table)
    for name in table:
        if name in INTEGERS:
            frame[name] = frame[name].astype("Int64")
        elif name not in TEXTS:
            frame[name] = frame[name].astype("float64")
    return frame


def _row(label: str, layer: LayerResult | LayerCleaning) -> dict[str, Metric]:
    return {
        "name": layer.name,
        "model": label,
        "kind": layer.kind,
        "role": layer.role,
        "depth": layer.depth,
        "shape": "×".join(map(str, layer.shape)),
        "dtype": layer.dtype,
        "status": layer.status,
        "warning": layer.warning,
        **layer.metrics,
    }


def check_writable(path: str | Path, suffixes: Sequence[str]) -> Path:
    """Find out before the work that a result file can be written.

    Raises
    ------
    OutputError
        For an unknown suffix, a missing or read-only directory, or a path that is a directory.
    """
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        raise OutputError(f"{target}: unknown output format {target.suffix!r}; use {', '.join(suffixes)}")
    try:
        if target.is_dir():
            raise OutputError(f"{target}: is a directory; give the name of a file")
        if not target.parent.is_dir():
            raise OutputError(f"{target}: there is no directory {target.parent}; create it first")
        with tempfile.TemporaryFile(dir=target.parent):
            pass
        if target.exists():
            with target.open("ab"):
                pass
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror}); choose another place") from error
    return target


def save_table(reports: Sequence[Report], path: str | Path) -> None:
    """Write the table of all reports; `Report.save` describes the formats."""
    save_columns(to_table(reports), path)


def save_columns(table: Table, path: str | Path) -> None:
    """Write a table in the format of the suffix."""
    target = check_writable(path, TABLE_SUFFIXES)
    match target.suffix.lower():
        case ".csv":
            write_whole(target, lambda place: _write_csv(table, place))
        case ".json":
            write_whole(target, lambda place: _write_json(table, place))
        case ".parquet":
            write_whole(target, lambda place: to_frame(table).to_parquet(place, index=False))


# Without pandas, which takes longer to import than many a checkpoint takes to analyze.


def _write_csv(table: Table, place: Path) -> None:
    # Names of files that are no text are written with escapes.
    with place.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*map(_plain, table.values()), strict=True))


def _write_json(table: Table, place: Path) -> None:
    columns = [[None if _is_infinite(value) else value for value in _plain(column)] for column in table.values()]
    records = [dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True)]
    text = json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    place.write_text(text, encoding="utf-8", errors="backslashreplace")


def _is_infinite(value: Metric) -> bool:
    """JSON has no such number."""
    return isinstance(value, float) and math.isinf(value)


def _plain(column: list[Metric]) -> list[Metric]:
    """NaN is a missing value, in CSV an empty cell."""
    return [None if isinstance(value, float) and math.isnan(value) else value for value in column]


def save_html(reports: Sequence[Report], path: str | Path, title: str | None = None) -> None:
    """Write the page of all reports."""
    from spectra.report.page.html import render_html

    target = check_writable(path, HTML_SUFFIXES)
    page = render_html(reports, title or "spectra: " + ", ".join(report.label for report in reports))
    write_whole(target, lambda place: place.write_text(page, encoding="utf-8"))


def write_whole(target: Path, write: Callable[[Path], object]) -> None:
    """Write beside the target and rename, so that no reader ever sees half a file; links are followed."""
    target = target.resolve()
    place = target.with_name(f".{zlib.crc32(os.fsencode(target.name)):08x}.{os.getpid()}{target.suffix}")
    try:
        write(place)
        os.replace(place, target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        place.unlink(missing_ok=True)
