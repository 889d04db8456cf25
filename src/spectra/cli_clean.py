"""The command `spectra clean`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click


def clean_command() -> click.Command:
    """The command, to be added to the program's group; a function for the reason that `compare_command` gives."""
    from spectra.cli import _shared
    from spectra.engine.clean_layer import Keep, Remove

    @click.command("clean")
    @click.argument("model")
    @click.option(
        "--out",
        type=click.Path(path_type=Path),
        required=True,
        metavar="NEW",
        help="Where to write the checkpoint: a file of the model's suffix, or a directory that is not there or empty.",
    )
    @click.option(
        "--remove",
        type=click.Choice(get_args(Remove)),
        default="traps",
        show_default=True,
        help="Single entries and means that make correlation traps, or the random bulk.",
    )
    @click.option(
        "--keep",
        type=click.Choice(get_args(Keep)),
        default="spikes",
        show_default=True,
        help="What stays where the bulk is removed: what lies beyond its edge, the power-law tail, or detX_num values.",
    )
    @click.option("--shrink", is_flag=True, help="Shrink the spikes that stay by what noise has added to them.")
    @click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the shuffled entries.")
    @click.option("--table", type=click.Path(path_type=Path), metavar="FILE", help="Table as .csv, .json or .parquet.")
    @_shared
    def clean(model: str, out: Path, remove: Any, keep: Any, shrink: bool, table: Path | None, **choices: Any) -> int:
        """Write MODEL again without its correlation traps, or without the random bulk of its spectra."""
        from spectra.cli import (
            _complain_of_failed,
            _printing,
            _progress_bar,
            _refuse_overwrite,
            _use_compilation_cache,
        )
        from spectra.engine.clean import clean_model
        from spectra.engine.clean_layer import Removal
        from spectra.engine.options import Options
        from spectra.report.cleaning_table import print_cleaning
        from spectra.report.save import TABLE_SUFFIXES, check_writable

        options, removal = Options(**choices), Removal(remove, keep, shrink)
        if table is not None:
            _refuse_overwrite(check_writable(table, TABLE_SUFFIXES), [model])
        _use_compilation_cache()
        with _progress_bar(shown=True) as progress:
            found = clean_model(model, out, options, removal, progress)
        if table:
            found.save(table)
        with _printing() as console:
            print_cleaning(found, console)
        return _complain_of_failed([found])

    return clean
