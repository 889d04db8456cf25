"""The command `spectra compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spectra.errors import InputError

if TYPE_CHECKING:
    from spectra.report.comparison import LayerComparison, ModelComparison

NAMED = 3
"""Layers of each kind of mismatch that the line on stderr names."""


def compare_command() -> click.Command:
    """The command, to be added to the program's group.

    A function, because it shares options with the other commands: `spectra.cli` imports this module and not the other
    way round, until all of it is there.
    """
    from spectra.cli import _shared

    @click.command("compare")
    @click.argument("models", nargs=-1, required=True, metavar="A B [C...]")
    @click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Table as .csv, .json or .parquet.")
    @click.option(
        "--trajectory",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Table of every layer at every step, .csv, .json or .parquet.",
    )
    @click.option(
        "--figure", type=click.Path(path_type=Path), metavar="FILE", help="The trajectory drawn, .pdf, .png or .svg."
    )
    @click.option(
        "--against",
        type=click.Choice(["previous", "first"]),
        default="previous",
        show_default=True,
        help="What each checkpoint after the first is compared with.",
    )
    @click.option(
        "--top",
        type=click.IntRange(min=0),
        default=10,
        show_default=True,
        metavar="K",
        help="Leading singular directions whose overlap is measured.",
    )
    @click.option("--steps", metavar="N,N,...", help="Training step of each checkpoint; by default 0,1,2,...")
    @_shared
    def compare(
        models: tuple[str, ...],
        out: Path | None,
        trajectory: Path | None,
        figure: Path | None,
        against: Any,
        top: int,
        steps: str | None,
        **choices: Any,
    ) -> int:
        """Compare checkpoints of one model, layer by layer: two of them, or a whole training run in its order."""
        from spectra.cli import _printing, _progress_bar, _refuse_overwrite, _use_compilation_cache
        from spectra.engine.compare import compare_models
        from spectra.engine.options import Options
        from spectra.report.comparison_table import print_comparison
        from spectra.report.figures.style import FIGURE_SUFFIXES, save_figure
        from spectra.report.save import TABLE_SUFFIXES, check_writable

        options = Options(**choices)
        places = None if steps is None else _numbers(steps)
        outputs = ((out, TABLE_SUFFIXES), (trajectory, TABLE_SUFFIXES), (figure, FIGURE_SUFFIXES))
        if out and trajectory and out.resolve() == trajectory.resolve():
            raise InputError(f"--out and --trajectory are both {out}: give two files")
        for path, suffixes in outputs:
            if path is not None:
                _refuse_overwrite(check_writable(path, suffixes), models)
        _use_compilation_cache()
        with _progress_bar(shown=True) as progress:
            found = compare_models(models, options, top=top, against=against, steps=places, progress=progress)
        if out:
            found.save(out)
        if trajectory:
            found.save_trajectory(trajectory)
        if figure:
            save_figure(found.plot(), figure)
        with _printing() as console:
            print_comparison(found, console)
        return _complain_of(found)

    return compare


def _numbers(steps: str) -> list[float]:
    try:
        return [float(step) for step in steps.split(",")]
    except ValueError:
        raise InputError(f"--steps {steps!r}: give a number for each checkpoint, such as 0,500,1000") from None


def _complain_of(comparison: ModelComparison, limit: int = 5) -> int:
    """Say on stderr which layers do not match, a line a pair of checkpoints, and which failed; the exit status."""
    from spectra.cli import _complain

    for label in comparison.labels[1:]:
        left = [layer for layer in comparison.unmatched if layer.model == label]
        if left:
            _complain(f"{left[0].against} → {label}: {_named(left)}; the other layers were compared")
    failed = [layer for layer in comparison if layer.status == "failed"]
    for layer in failed[:limit]:
        # Warnings that come from reading a tensor name it already.
        _complain(layer.warning if layer.name in layer.warning else f"{layer.name}: {layer.warning}")
    if len(failed) > limit:
        _complain(f"and {len(failed) - limit} more failed layers: see column `warning`")
    return 2 if failed else 0


def _named(layers: Sequence[LayerComparison]) -> str:
    """How many layers do not match, some of them by name, sorted by what is wrong."""
    reasons: dict[str, list[str]] = {}
    for layer in layers:
        told_once = layer.warning.startswith("missing")
        reasons.setdefault(layer.warning if told_once else "differ", []).append(
            _short(layer.name) if told_once else f"{_short(layer.name)} ({layer.warning})"
        )
    parts = []
    for reason, names in reasons.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        parts.append(f"{len(names)} {reason}: {', '.join(names[:NAMED])}{more}")
    return "; ".join(parts)


def _short(name: str) -> str:
    from spectra.report.curves import short_name

    return short_name(name, 80)
