"""The program's command `study`: train the networks of the study and judge the claims."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from spectra.study.run import Progress


def study_command() -> click.Command:
    """The command, with the help of its options."""

    @click.command("study")
    @click.argument("names", nargs=-1, metavar="[NAME...]")
    @click.option(
        "--out",
        type=click.Path(path_type=Path),
        required=True,
        metavar="DIR",
        help="Run directory: every finished network is kept, and the same command goes on where it was.",
    )
    @click.option("--data", metavar="DIR", help="Fashion-MNIST's IDX files, where Debian's package is not installed.")
    @click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Networks a cell.  [default: 5, quick 2]")
    @click.option("--quick", is_flag=True, help="Small networks on digits, in minutes; not the published verdicts.")
    @click.option(
        "--jobs",
        type=click.IntRange(min=0),
        metavar="N",
        help="Processes; 0 is this one.  [default: one a core, 0 on accelerators]",
    )
    def study(
        names: tuple[str, ...], out: Path, data: str | None, seeds: int | None, quick: bool, jobs: int | None
    ) -> int:
        """Do deeper layers end up sparse and heavy-tailed? Train networks and give each claim its verdict.

        NAME is one or more of depth, initialisation, rectifier, lottery, pruning, weightnorm, controls; all when none
        is named. Tables, claims.json and claims.md are written into DIR.
        """  # fmt: skip
        from spectra.cache import use_compilation_cache
        from spectra.cli import _printing
        from spectra.study.experiments import NAMES
        from spectra.study.publish import print_verdicts, publish
        from spectra.study.run import choose_protocol, run_study

        use_compilation_cache()
        protocol = choose_protocol(quick, seeds)
        chosen = tuple(dict.fromkeys(names)) or NAMES
        with _progress() as show:
            records = run_study(chosen, protocol, out, data=data, jobs=jobs, progress=show)
        claims = publish(records, protocol, chosen, out)
        with _printing() as console:
            print_verdicts(claims, console)
        failed = [record for record in records if record["status"] == "failed"]
        for record in failed[:5]:
            print(f"spectra: {record['name']}: failed: {record['reason']}", file=sys.stderr)
        if len(failed) > 5:
            print(f"spectra: and {len(failed) - 5} more failed networks: see networks.parquet", file=sys.stderr)
        return 1 if failed else 0

    return study


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, weighted by cost, with the remaining time; lines on anything else."""
    if not sys.stderr.isatty():
        yield _tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    # Rich's own estimate knows the last half minute only, in which no network may end.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(progress: Progress) -> None:
            text = f"{progress.networks}/{progress.of} networks{_left(progress)} {progress.name[:40]}"
            bar.update(task, total=progress.total or 1, completed=progress.done, description=text)

        yield show


def _tell(progress: Progress) -> None:
    if progress.name:
        share = progress.done / (progress.total or 1)
        counts = f"{progress.networks}/{progress.of} networks, {share:.0%}{_left(progress)}"
        print(f"spectra: {counts}: {progress.name} {progress.status}", file=sys.stderr, flush=True)


def _left(progress: Progress) -> str:
    return "" if progress.left is None else f", {timedelta(seconds=round(progress.left))} left"
