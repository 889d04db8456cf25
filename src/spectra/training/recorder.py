"""Measurements that stay on the device: state to be carried through a jitted loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from spectra.errors import InputError
from spectra.kernels.dtypes import AnyArray
from spectra.training.conditional import only_if
from spectra.training.measure import measure
from spectra.training.schedule import LOGARITHMIC, Schedule
from spectra.training.selection import Selection

CAPACITY = 128
"""More than the default schedule ever needs."""


class Records(NamedTuple):
    """The last measurements, in a ring: record k stands in row k modulo the capacity."""

    step: Int[Array, " capacity"]
    """−1 where no record is."""
    values: Float[Array, "capacity layers metrics"]
    finite: Bool[Array, "capacity layers"]
    written: Int[Array, ""]
    """Records so far, those that were overwritten included."""


@dataclass(frozen=True)
class Recorder:
    """Measures selected layers at the steps of a schedule, inside of jit, `lax.scan` and `vmap`.

    Attributes
    ----------
    selection, schedule
        What, and when.
    capacity
        Records that are kept; older ones are overwritten unless a `Tracker` collects them in time.

    Examples
    --------
    >>> import jax, spectra.training as training
    >>> params = {"dense": {"kernel": jax.random.normal(jax.random.key(0), (64, 32))}}
    >>> recorder = training.Recorder(training.select(params, metrics=["std"]), training.Schedule.every(2))
    >>> train_step = lambda records, step: (recorder.update(records, params, step), None)
    >>> records, _ = jax.lax.scan(train_step, recorder.init(), jax.numpy.arange(5))
    >>> records.step[:4].tolist()
    [0, 2, 4, -1]
    """

    selection: Selection
    schedule: Schedule = LOGARITHMIC
    capacity: int = CAPACITY

    def __post_init__(self) -> None:
        if not isinstance(self.capacity, int) or self.capacity < 1:
            raise InputError(f"capacity={self.capacity!r} must be a whole number of at least 1")

    def init(self) -> Records:
        """The state before the first step."""
        rows, columns = len(self.selection.layers), len(self.selection.metrics)
        return Records(
            jnp.full(self.capacity, -1, jnp.int32),
            jnp.full((self.capacity, rows, columns), jnp.nan, jnp.float32),
            jnp.zeros((self.capacity, rows), bool),
            jnp.int32(0),
        )

    def update(self, records: Records, params: Any, step: Int[AnyArray, ""] | int) -> Records:
        """Measure `params` if `step` is due; costs next to nothing where it is not.

        Parameters
        ----------
        records
            From `init` or the last `update`.
        params
            The parameters as they are at this step, of the form that was selected.
        step
            Number of training steps that were taken before.
        """

        def record(records: Records) -> Records:
            found = measure(params, self.selection)
            place = records.written % self.capacity
            return Records(
                records.step.at[place].set(step),
                records.values.at[place].set(found.values.astype(records.values.dtype)),
                records.finite.at[place].set(found.finite),
                records.written + 1,
            )

        return only_if(self.schedule.due(jnp.asarray(step)), record, records)
