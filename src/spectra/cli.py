"""The program `spectra`: analyze and describe checkpoints from the command line.

Results go to stdout, everything else to stderr. Exit status 0: done; 2: the input or the usage is wrong, with one
line that says what; 1: anything else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from spectra.cache import use_compilation_cache as _use_compilation_cache
from spectra.cli_clean import clean_command
from spectra.cli_compare import compare_command
from spectra.cli_plot import plot_command
from spectra.cli_study import study_command
from spectra.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from spectra.engine.progress import Progress
    from spectra.report.cleaning import Cleaning
    from spectra.report.result import Report
    from spectra.report.save import Table


def run(arguments: Sequence[str]) -> int:
    """Run the program with these arguments and return its exit status."""
    try:
        # Not `spectra.main`, which would print a line of its own when it is interrupted.
        with spectra.make_context("spectra", list(arguments)) as context:
            return spectra.invoke(context) or 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        _complain(error.format_message())
        return 2
    except InputError as error:
        _complain(str(error))
        return 2
    except _OutputLostError as error:
        return error.tell()
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        return 1
    except MemoryError:
        _complain("out of memory; free some, or do less at a time: fewer --layers to analyze, fewer --jobs to study")
        return 1
    except Exception as error:
        if os.environ.get("SPECTRA_DEBUG"):
            raise
        _complain(f"internal error, {type(error).__name__}: {error} (SPECTRA_DEBUG=1 shows where; please report it)")
        return 1


def _complain(message: str) -> None:
    line = "".join(c if c.isprintable() else "�" for c in " ".join(message.split()))
    print("spectra: " + line, file=sys.stderr)


class _OutputLostError(Exception):
    """Standard output took no more; files that were asked for are written by then."""

    def tell(self) -> int:
        """Say so, unless its reader has merely left (as `head` does), and keep Python from trying once more."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(self.__cause__, BrokenPipeError):
            _complain(f"standard output: {getattr(self.__cause__, 'strerror', None) or self.__cause__}")
        return 1


@contextmanager
def _printing() -> Iterator[Console]:
    """The console for results, which go nowhere if standard output is closed."""
    from rich.console import Console

    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
    # Into a file or a pipe the table goes in full, however wide.
    wide = {"width": 100_000, "color_system": None, "force_terminal": False}
    try:
        yield Console() if sys.stdout.isatty() else Console(**wide)
        sys.stdout.flush()
    except OSError as error:
        raise _OutputLostError from error


def _choice(kind: Any) -> click.Choice:
    return click.Choice(get_args(kind))


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `analyze` and `describe` have in common."""
    from spectra.engine.options import Backend, Conv, Gates, Heads, Precision
    from spectra.models.source import Layout

    options = [
        click.option("--layers", multiple=True, metavar="GLOB", help="Only layers whose name matches (repeatable)."),
        click.option("--conv", type=_choice(Conv), default="pool", show_default=True, help="Convolutions as matrices."),
        click.option("--gates", type=_choice(Gates), default="split", show_default=True, help="Recurrent kernels."),
        click.option("--heads", type=_choice(Heads), default="fold", show_default=True,
                     help="Attention kernels with an axis of heads."),
        click.option("--fft-size", type=click.IntRange(1, 4096), default=16, show_default=True, metavar="N",
                     help="Pixels a side of the image for --conv fft."),
        click.option("--precision", type=_choice(Precision), default="float32", show_default=True),
        click.option("--min-evals", type=click.IntRange(min=2), default=10, show_default=True, metavar="N",
                     help="No spectrum for layers with fewer eigenvalues."),
        click.option("--layout", type=_choice(Layout), help="Axis order of weights, where names do not tell."),
        click.option("--backend", type=_choice(Backend), default="auto", show_default=True,
                     help="Spectra by LAPACK on the CPU, or by JAX on all its devices."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _measured(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what is measured, of `analyze` and `plot`."""
    options = [
        click.option("--method", type=click.Choice(["auto", "gram", "svd"]), default="auto", show_default=True),
        click.option("--run-dir", type=click.Path(path_type=Path), metavar="DIR",
                     help="Keep each finished layer there; the same command goes on where it was."),
        click.option("--gof", type=click.IntRange(min=0), default=0, metavar="N",
                     help="Goodness of fit, intervals of alpha and xmin, from N bootstrap replicates; 1000 is usual."),
        click.option("--tails", is_flag=True, help="Fit the tails of the weight entries too."),
        click.option("--null", is_flag=True, help="Hold each spectrum against noise: bulk, spikes, shuffled entries."),
        click.option("--fix-fingers", is_flag=True, help="Leave the few top eigenvalues that spoil a fit out of it."),
        click.option("--farms", is_flag=True,
                     help="Alpha over square windows too, which does not depend on the shape."),
        click.option("--vectors", type=click.IntRange(min=0), default=0, metavar="K",
                     help="Localisation of the K leading singular vectors."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything random."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


_base = click.option("--base", metavar="MODEL", help="The model that the low-rank adapters of MODEL change.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="spectra-jax", message="%(prog)s %(version)s")
def spectra() -> None:
    """Look inside trained neural networks: weight histograms, spectra and power-law tails, layer by layer."""


@spectra.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Table as .csv, .json or .parquet.")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE", help="Self-contained page, .html.")
@_measured
@click.option("--distributed", is_flag=True, help="Be one of several processes (scripts/launch, srun, mpirun).")
@_base
@_shared
def analyze(
    models: tuple[str, ...],
    out: Path | None,
    report: Path | None,
    run_dir: Path | None,
    distributed: bool,
    base: str | None,
    **choices: Any,
) -> int:
    """Analyze every layer of each MODEL, a file or a directory."""
    from spectra.engine.analyze import analyze_models
    from spectra.engine.options import Options
    from spectra.report.save import HTML_SUFFIXES, TABLE_SUFFIXES, check_writable, save_html, save_table

    options = Options(**choices)
    for path, suffixes in ((out, TABLE_SUFFIXES), (report, HTML_SUFFIXES)):
        if path is not None:
            _refuse_overwrite(check_writable(path, suffixes), [*models, *([base] if base else [])])
    _use_compilation_cache()
    with _processes(distributed) as leads, _progress_bar(shown=leads) as progress:
        reports = analyze_models(
            models, options, base=base, run_dir=run_dir, outputs=(out, report), progress=progress, tell=_complain
        )
    if not leads:
        return 2 if any(layer.status == "failed" for result in reports for layer in result) else 0
    if out:
        save_table(reports, out)
    if report:
        save_html(reports, report)
    from spectra.report.table import print_report

    with _printing() as console:
        for result in reports:
            print_report(result, console)
    return _complain_of_failed(reports)


@contextmanager
def _processes(several: bool) -> Iterator[bool]:
    """Whether this process writes and prints: the only one, or the first of several, which it joins."""
    if not several:
        yield True
        return
    import ctypes

    import jax

    from spectra.engine.distributed import join

    # Gloo, which connects processes that have CPUs only, tells of it on C's standard output, where results go; moved
    # to standard error, the words of several processes would run into each other and into ours.
    results = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        join()
        yield jax.process_index() == 0
    finally:
        jax.distributed.shutdown()
        ctypes.CDLL(None).fflush(None)
        os.dup2(results, 1)
        os.close(results)


def _complain_of_failed(reports: Sequence[Report | Cleaning], limit: int = 5) -> int:
    failed = [(report.label, layer) for report in reports for layer in report if layer.status == "failed"]
    for label, layer in failed[:limit]:
        _complain(layer.warning if label in layer.warning else f"{label}: {layer.name}: {layer.warning}")
    if len(failed) > limit:
        _complain(f"and {len(failed) - limit} more failed layers: see column `warning`")
    return 2 if failed else 0


@spectra.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Table as .csv, .json or .parquet.")
@_base
@_shared
def describe(models: tuple[str, ...], out: Path | None, base: str | None, **choices: Any) -> int:
    """Show what would be analyzed in each MODEL: layers, kinds, shapes, matrices, cost. Reads headers only."""
    from contextlib import closing

    from spectra.engine.describe import plan_table
    from spectra.engine.options import Options
    from spectra.engine.plan import make_plan
    from spectra.models.adapted import open_model
    from spectra.report.save import TABLE_SUFFIXES, check_writable, save_columns
    from spectra.report.table import print_plan

    options = Options(**choices)
    if out is not None:
        _refuse_overwrite(check_writable(out, TABLE_SUFFIXES), models)
    plans: list[Table] = []
    for model in models:
        with closing(open_model(model, base)) as source:
            plan = plan_table(make_plan(source, options), options)
            named: Table = {"name": plan.pop("name"), "model": [source.label] * len(plan["kind"])}
            plans.append(named | plan)
    if out is not None:
        save_columns({name: [value for plan in plans for value in plan[name]] for name in plans[0]}, out)
    with _printing() as console:
        for plan in plans:
            print_plan(plan, console)
    return 0


@contextmanager
def _progress_bar(shown: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A bar on stderr, weighted by cost, with the layer at work and the time left; nothing if stderr is no terminal."""
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.fields[layer]}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, layer="")

        def show(progress: Progress) -> None:
            name = progress.name if len(progress.name) <= 40 else "…" + progress.name[-39:]
            layer = f"{progress.layer}/{progress.layers} {name}"
            bar.update(task, total=progress.total or 1, completed=progress.done, layer=layer)

        yield show


def _refuse_overwrite(target: Path, models: Sequence[str]) -> None:
    """A result must not take the place of a model, nor of the index or configuration that lie with it."""
    for model in models:
        place = Path(model)
        if not place.exists() or not target.exists():
            continue
        if target.samefile(place):
            raise InputError(f"{target}: is the model itself; write the result to another file")
        with_it = target.name.endswith((".index.json", "config.json")) and target.parent.samefile(place.parent)
        if with_it or (place.is_dir() and place.resolve() in target.resolve().parents and target.suffix == ".json"):
            raise InputError(f"{target}: may be a part of the model {model}; write the result to another file")


# They share options with those above.
spectra.add_command(clean_command())
spectra.add_command(compare_command())
spectra.add_command(plot_command())
spectra.add_command(study_command())
