"""Where measurements go: tables on disk, TensorBoard, or any function."""

from __future__ import annotations

import io
import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from spectra.errors import InputError, OutputError
from spectra.report.result import Metric
from spectra.report.save import TABLE_SUFFIXES, Table, check_writable, save_columns

Row = dict[str, Metric]
"""One layer at one step: step, name, model, kind, role, depth, status, warning, and the metrics."""

ABOUT_LAYER = ("step", "name", "model", "kind", "role", "depth", "status", "warning")
"""Columns of a row that are no metrics."""

SECONDS = 30.0
"""A table is written anew when so much time has passed since the last time, and at the end."""


@runtime_checkable
class Sink(Protocol):
    """What takes measurements."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take the rows of one step, one a layer."""
        ...

    def close(self) -> None:
        """No more will come."""
        ...


class TableFile:
    """A Parquet, CSV or JSON file of all rows, which is always whole: a training run that dies leaves a table.

    Parameters
    ----------
    path
        An existing file is replaced.
    seconds
        The file is rewritten at most this often, and when closed.

    Raises
    ------
    OutputError
        If it cannot be written there.
    """

    def __init__(self, path: str | os.PathLike, seconds: float = SECONDS) -> None:
        self.path = check_writable(Path(path), TABLE_SUFFIXES)
        self._seconds = seconds
        self._table: Table = {}
        self._written = -math.inf

    def write(self, rows: Sequence[Row]) -> None:
        """Take rows; a disk that is full for a while does not end the training, only a warning tells of it."""
        add_rows(self._table, rows)
        if time.monotonic() - self._written < self._seconds:
            return
        try:
            self._save()
        except OutputError as error:
            warnings.warn(f"{error}; training goes on, and writing is tried again", stacklevel=2)

    def close(self) -> None:
        """Write what is left."""
        self._save()

    def _save(self) -> None:
        self._written = time.monotonic()
        save_columns(self._table, self.path)


class TensorBoard:
    """Scalars ``layer/metric`` in a TensorBoard log; values that do not exist are left out.

    Parameters
    ----------
    directory
        Where the event files go.

    Raises
    ------
    InputError
        If tensorboardX is not installed.
    OutputError
        If the directory cannot be written.
    """

    def __init__(self, directory: str | os.PathLike) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise InputError("TensorBoard needs tensorboardX: pip install 'spectra-jax[tensorboard]'") from error
        try:
            self._writer = SummaryWriter(os.fspath(directory))
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"{directory}: cannot be written ({reason}); choose another place") from error

    def write(self, rows: Sequence[Row]) -> None:
        """Add the scalars of one step."""
        for row in rows:
            # Networks side by side under vmap are label[0], label[1], …, and have the same layers.
            layer = f"{row['model']}/{row['name']}" if str(row["model"]).endswith("]") else row["name"]
            step = cast(int, row["step"])
            for metric, value in row.items():
                if metric not in ABOUT_LAYER and isinstance(value, float) and math.isfinite(value):
                    self._writer.add_scalar(f"{layer}/{metric}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class _Function:
    def __init__(self, function: Callable[[list[Row]], object]) -> None:
        self._function = function

    def write(self, rows: Sequence[Row]) -> None:
        self._function(list(rows))

    def close(self) -> None:
        pass


def as_sink(value: Any) -> Sink:
    """A sink from what callers give: one, the path of a table, or a function of the rows of a step.

    Raises
    ------
    InputError
        For anything else.
    OutputError
        For a path that cannot be written.
    """
    if isinstance(value, str | os.PathLike):
        return TableFile(value)
    if isinstance(value, Sink) and not isinstance(value, type | io.IOBase):
        return value
    if callable(value) and not isinstance(value, type):
        return _Function(value)
    known = f"a path ({', '.join(TABLE_SUFFIXES)}), spectra.training.TensorBoard(directory), or a function of rows"
    raise InputError(f"sink {value!r} is not understood: give {known}")


def add_rows(table: Table, rows: Sequence[Row]) -> None:
    """Append rows to a table of columns."""
    for row in rows:
        for name, value in row.items():
            table.setdefault(name, []).append(value)
