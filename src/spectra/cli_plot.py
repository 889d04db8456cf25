"""The command `spectra plot`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spectra.errors import InputError, OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spectra.report.result import Report

KINDS = (
    "alpha",
    "sparsity",
    "heatmap",
    "p-values",
    "histograms",
    "esds",
    "ccdfs",
    "bulks",
    "families",
    "xmins",
    "layers",
)
USUAL = ("alpha", "sparsity", "heatmap", "esds")
NEEDED = {"p-values": "gof", "families": "gof", "bulks": "null"}
"""Kinds that show what an option measures."""


def plot_command() -> click.Command:
    """The command, to be added to the program's group; a function for the reason that `compare_command` gives."""
    from spectra.cli import _base, _measured, _shared

    @click.command("plot")
    @click.argument("model")
    @click.option(
        "--out",
        type=click.Path(path_type=Path),
        required=True,
        metavar="DIR|FILE",
        help="A directory, or one file: .pdf with a page for each figure; .png or .svg for a single one.",
    )
    @click.option(
        "--kind",
        "kinds",
        type=click.Choice(KINDS),
        multiple=True,
        default=USUAL,
        show_default=True,
        help="What is drawn (repeatable); in the plural one panel for each layer, `layers` one figure for each.",
    )
    @click.option(
        "--format",
        "formats",
        type=click.Choice(["pdf", "png", "svg"]),
        multiple=True,
        default=("pdf",),
        show_default=True,
        help="Of the files in a directory (repeatable).",
    )
    @_base
    @_measured
    @_shared
    def plot(
        model: str, out: Path, kinds: tuple[str, ...], formats: tuple[str, ...], base: str | None, run_dir: Path | None,
        **choices: Any,
    ) -> int:  # fmt: skip
        """Analyze MODEL and draw figures for a paper; the files that were written are printed."""
        from spectra.cli import (
            _complain,
            _complain_of_failed,
            _printing,
            _progress_bar,
            _refuse_overwrite,
            _use_compilation_cache,
        )
        from spectra.engine.analyze import analyze_models
        from spectra.engine.options import Options

        options = Options(**choices)
        kinds, formats = tuple(dict.fromkeys(kinds)), tuple(dict.fromkeys(formats))
        _check_needed(kinds, choices)
        single = _check_place(out, kinds, formats)
        if single:
            _refuse_overwrite(out, [model, *([base] if base else [])])
        _use_compilation_cache()
        with _progress_bar(shown=True) as progress:
            (report,) = analyze_models(
                [model], options, base=base, run_dir=run_dir, outputs=(out,), progress=progress, tell=_complain
            )
        written = _write_one(report, kinds, out) if single else _write_many(report, kinds, formats, out)
        with _printing() as console:
            for path in written:
                console.print(str(path), markup=False, highlight=False, soft_wrap=True)
        return _complain_of_failed([report])

    return plot


def _check_needed(kinds: Sequence[str], choices: dict[str, Any]) -> None:
    for kind in kinds:
        option = NEEDED.get(kind)
        if option and not choices[option]:
            wanted = "--gof 1000" if option == "gof" else f"--{option}"
            raise InputError(f"--kind {kind} shows what --{option} measures: add {wanted}")


def _check_place(out: Path, kinds: Sequence[str], formats: Sequence[str]) -> bool:
    """Whether `out` is one file; a directory is made if it is not there. Finds out before the work what cannot be."""
    from spectra.report.figures.style import FIGURE_SUFFIXES
    from spectra.report.save import check_writable

    suffix = out.suffix.lower()
    if suffix in FIGURE_SUFFIXES and not out.is_dir():
        if suffix != ".pdf" and (len(kinds) > 1 or kinds[0] == "layers"):
            raise InputError(f"--out {out}: a {suffix} file holds one figure; choose one --kind, a .pdf or a directory")
        check_writable(out, FIGURE_SUFFIXES)
        return True
    if suffix and not out.exists():
        raise OutputError(f"{out}: unknown output format {suffix!r}; use {', '.join(FIGURE_SUFFIXES)}, or a directory")
    try:
        out.mkdir(exist_ok=True)
    except FileNotFoundError:
        raise OutputError(f"{out}: there is no directory {out.parent}; create it first") from None
    except OSError as error:
        raise OutputError(f"{out}: cannot be made a directory ({error.strerror}); choose another place") from error
    for kind in kinds:
        for form in formats:
            check_writable(out / f"{kind}.{form}", FIGURE_SUFFIXES)
    return False


def _figures(report: Report, kinds: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    """The figures one by one, with names for their files; a model of 500 layers would fill the memory otherwise."""
    from spectra.report.depth import by_depth
    from spectra.report.figures import plot_layer, plot_report

    for kind in kinds:
        if kind != "layers":
            yield kind, plot_report(report, kind)
            continue
        taken: set[str] = set()
        for layer in by_depth(report).layers:
            plain = "layer-" + re.sub(r"[^\w.-]+", "_", layer.name)[:100]
            name = next(n for n in (plain, *(f"{plain}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)
            taken.add(name)
            yield name, plot_layer(layer)


def _write_one(report: Report, kinds: Sequence[str], out: Path) -> list[Path]:
    from spectra.report.figures import save_figure, save_pages

    figures = (figure for _, figure in _figures(report, kinds))
    if out.suffix.lower() == ".pdf":
        save_pages(figures, out)
    else:
        save_figure(next(figures), out)
    return [out]


def _write_many(report: Report, kinds: Sequence[str], formats: Sequence[str], out: Path) -> list[Path]:
    from spectra.report.figures import save_figure

    written = []
    for name, figure in _figures(report, kinds):
        for form in formats:
            written.append(out / f"{name}.{form}")
            save_figure(figure, written[-1])
    return written
