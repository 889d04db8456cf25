"""`track`: follow a training loop, and hand what is measured to sinks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from spectra.errors import InputError
from spectra.kernels.spectrum import Route
from spectra.models.source import Layout
from spectra.report.result import Metric
from spectra.report.save import Table, save_columns, to_frame
from spectra.training.measure import Measurement, measure_tensors
from spectra.training.metrics import DEFAULT_METRICS
from spectra.training.recorder import CAPACITY, Recorder, Records
from spectra.training.schedule import LOGARITHMIC, Schedule, as_schedule, whole
from spectra.training.selection import Conv, Gates, Heads, Selection, select
from spectra.training.sinks import Row, Sink, add_rows, as_sink
from spectra.training.threads import one_blas_thread

if TYPE_CHECKING:
    import pandas as pd

BROKEN = "NaN or infinite entries"


def track(
    params: Any,
    layers: Sequence[str] = (),
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    schedule: Schedule | int | Iterable[int] = LOGARITHMIC,
    sinks: Sequence[Sink | str | Path | Callable[[list[Row]], object]] = (),
    label: str = "params",
    capacity: int = CAPACITY,
    method: Route = "gram",
    conv: Conv = "pool",
    gates: Gates = "split",
    heads: Heads = "fold",
    min_evals: int = 10,
    layout: Layout | None = None,
) -> Tracker:
    """Record metrics of layers during training.

    In a loop on the host, call the tracker with the step and the parameters; in a jitted loop, carry the state of
    ``tracker.recorder`` and hand it to ``tracker.collect`` now and then. Whatever is wrong with the arguments is found
    here, before training.

    Parameters
    ----------
    params
        What will be tracked: a params pytree, a Linen `TrainState`, an `nnx.Module` or state.
    layers, metrics
        Glob patterns on layer names, and names from `METRICS`; see `select`.
    schedule
        When: a `Schedule`, a number k for every k steps, or the steps themselves. By default four a decade.
    sinks
        Each a path (.parquet, .csv, .json), a `TensorBoard`, a function that is called with the rows of each step, or
        an object with `write` and `close`. Records are kept in memory in any case.
    label
        Name of the run in the column `model`.
    capacity
        Records that `recorder` keeps on the device until they are collected.
    method, conv, gates, heads, min_evals, layout
        As for `select`.

    Returns
    -------
    Tracker
        A callback ``tracker(step, params)``.

    Raises
    ------
    InputError
        As for `select`, and for a schedule or sink that is not understood.
    OutputError
        If a sink cannot write.

    Examples
    --------
    >>> import jax, spectra.training as training
    >>> params = {"dense": {"kernel": jax.random.normal(jax.random.key(0), (64, 32))}}
    >>> with training.track(params, metrics=["std"], schedule=10) as tracker:
    ...     for step in range(21):
    ...         tracker(step, params)  # params = train_step(params) would follow
    >>> tracker.to_pandas().step.tolist()
    [0.0, 10.0, 20.0]
    """
    if isinstance(sinks, str | Path) or callable(sinks):
        raise InputError(f"sinks={sinks!r} must be a list, such as ['run.parquet']")
    options = {"method": method, "conv": conv, "gates": gates, "heads": heads, "min_evals": min_evals}
    selection = select(params, layers, metrics, layout=layout, **options)
    recorder = Recorder(selection, as_schedule(schedule), capacity)
    return Tracker(recorder, [as_sink(sink) for sink in sinks], label)


_measure = partial(jax.jit, static_argnames="selection")(measure_tensors)


class Tracker:
    """Callback that measures parameters at scheduled steps; made by `track`.

    Also a context manager, which keeps BLAS to `one_blas_thread` and closes the sinks at the end.

    Attributes
    ----------
    recorder
        The same measurements as a pure function of a state, for jitted loops.
    """

    def __init__(self, recorder: Recorder, sinks: Sequence[Sink], label: str) -> None:
        self.recorder = recorder
        self._sinks, self._label = list(sinks), label
        self._table: Table = {}
        self._scope = ExitStack()
        self._collected: dict[str, tuple[int, Measurement]] = {}
        """By label how many records of a loop were taken, and the last of them."""
        self._last: int | None = None

    @property
    def selection(self) -> Selection:
        """Which metrics of which layers."""
        return self.recorder.selection

    def __call__(self, step: Any, params: Any) -> None:
        """Measure if the step is due.

        Parameters
        ----------
        step
            Number of training steps that were taken before.
        params
            The parameters at this step, of the form that `track` was given.
        """
        if isinstance(step, jax.core.Tracer) or self.recorder.schedule.due(whole(step, "step", 0)):
            self.record(step, params)

    def record(self, step: Any, params: Any) -> None:
        """Measure now, whatever the schedule says, but each step once; at the last step of a run, for instance."""
        tensors = self.selection.tensors(params)
        if any(isinstance(value, jax.core.Tracer) for value in (step, *tensors.values())):
            raise InputError("a tracker cannot be called inside jit: carry the state of tracker.recorder instead")
        number = whole(step, "step", 0)
        if number == self._last:
            return
        self._last = number
        with one_blas_thread():
            found = jax.device_get(_measure(tensors, selection=self.selection))
        self._hand_out(number, found, self._label)

    def collect(self, records: Records) -> None:
        """Take the records of a jitted loop that were not taken yet.

        Parameters
        ----------
        records
            State of `recorder`; of networks trained side by side under `vmap`, with a leading axis, from which the
            column `model` gets ``label[0]``, ``label[1]``, ….
        """
        found = jax.device_get(records)
        if found.written.ndim == 0:
            self._collect(found, self._label)
            return
        for number in range(found.written.shape[0]):
            self._collect(Records(*(field[number] for field in found)), f"{self._label}[{number}]")

    def _collect(self, records: Records, label: str) -> None:
        written, capacity = int(records.written), records.step.shape[0]
        known = self._taken(records, label)
        lost = written - known - capacity
        if lost > 0:
            remedy = "collect more often, or give track a larger capacity"
            warnings.warn(
                f"{label}: {lost} records were overwritten before they were collected; {remedy}", stacklevel=3
            )
        if written:
            self._collected[label] = written, _record(records, written - 1)
        for number in range(max(known, written - capacity), written):
            self._hand_out(int(records.step[number % capacity]), _record(records, number), label)

    def _taken(self, records: Records, label: str) -> int:
        """How many of these records were taken before; none, if they are those of another loop."""
        known, last = self._collected.get(label, (0, None))
        written, capacity = int(records.written), records.step.shape[0]
        if last is None or written < known:
            return 0
        if written - known < capacity and not np.array_equal(_record(records, known - 1).values, last.values, True):
            return 0
        return known

    def _hand_out(self, step: int, found: Measurement, label: str) -> None:
        rows = _rows(self.selection, step, found, label)
        add_rows(self._table, rows)
        for sink in self._sinks:
            sink.write(rows)

    def table(self) -> Table:
        """All records so far as columns by name, one row a step and layer."""
        return {name: list(column) for name, column in self._table.items()}

    def to_pandas(self) -> pd.DataFrame:
        """All records so far, one row a step and layer."""
        return to_frame(self.table())

    def save(self, path: str | Path) -> None:
        """Write all records so far as Parquet, CSV or JSON, by the suffix."""
        save_columns(self._table, path)

    def close(self) -> None:
        """Close all sinks, even if one of them fails."""
        sinks, self._sinks = self._sinks, []
        failed: Exception | None = None
        for sink in sinks:
            try:
                sink.close()
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def __enter__(self) -> Tracker:
        self._scope.enter_context(one_blas_thread())
        return self

    def __exit__(self, *_: object) -> None:
        with self._scope:
            self.close()


def _rows(selection: Selection, step: int, found: Measurement, label: str) -> list[Row]:
    rows = []
    for layer, values, finite in zip(selection.layers, found.values, found.finite, strict=True):
        about: dict[str, Metric] = {"step": step, "name": layer.name, "model": label, "kind": layer.kind}
        about |= {"role": layer.role, "depth": layer.depth, "status": "success" if finite else "failed"}
        about["warning"] = "" if finite else BROKEN
        rows.append(about | dict(zip(selection.metrics, map(float, values), strict=True)))
    return rows


def _record(records: Records, number: int) -> Measurement:
    """One of those that are still there, counted from the first that was ever written."""
    row = number % records.step.shape[0]
    return Measurement(records.values[row], records.finite[row])
