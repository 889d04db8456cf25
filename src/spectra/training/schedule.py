"""At which steps is measured."""

from __future__ import annotations

import itertools
import operator
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from spectra.errors import InputError

LAST = 2**31 - 1
"""Steps are 32-bit integers on the device."""

PER_DECADE = 4
"""Of the default: some 18 records up to step 10,000, of which each takes as long as a few steps."""


def whole(value: Any, name: str, least: int) -> int:
    """A step, or a number of them, as a Python number.

    Raises
    ------
    InputError
        If it is none from `least` to 2³¹ − 1.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if isinstance(value, bool) or not least <= number <= LAST:
        raise InputError(f"{name}={value!r} must be a whole number from {least} to 2³¹ − 1")
    return number


@dataclass(frozen=True)
class Schedule:
    """Steps at which is measured: listed ones, or every so many from 0 on. Hashable.

    Attributes
    ----------
    steps
        In ascending order; empty if `period` decides.
    period
        A step is due if it is a multiple of this; 0 if `steps` decides.
    """

    steps: tuple[int, ...] = ()
    period: int = 0

    @classmethod
    def log(cls, per_decade: int = PER_DECADE) -> Schedule:
        """Step 0, and from 1 on so many steps in each power of ten, evenly spaced on a logarithmic scale.

        The number of records grows with the logarithm of the number of steps, and so does the cost.
        """
        count = whole(per_decade, "per_decade", 1)
        powers = (round(10 ** (k / count)) for k in range(10 * count))
        return cls(tuple(sorted({0, *itertools.takewhile(lambda step: step <= LAST, powers)})))

    @classmethod
    def every(cls, period: int) -> Schedule:
        """Step 0 and each multiple of `period`; the cost is a fixed share of the training time."""
        return cls(period=whole(period, "every", 1))

    @classmethod
    def at(cls, steps: Iterable[int]) -> Schedule:
        """These steps."""
        found = tuple(sorted({whole(step, "step", 0) for step in steps}))
        if not found:
            raise InputError("schedule: no steps; give some, such as [0, 10, 100]")
        return cls(found)

    def due(self, step: Int[Array, ""] | int) -> Bool[Array, ""] | bool:
        """Whether a step is to be measured; for a Python number and for a traced one."""
        if isinstance(step, jax.Array):
            return step % self.period == 0 if self.period else jnp.any(jnp.asarray(self.steps, step.dtype) == step)
        return step % self.period == 0 if self.period else step in self.steps

    def count(self, last: int) -> int:
        """How many steps are due from 0 to `last`, both included: the capacity that a `Recorder` needs."""
        return last // self.period + 1 if self.period else bisect_right(self.steps, last)


LOGARITHMIC = Schedule.log()
"""The default."""


def as_schedule(value: Any) -> Schedule:
    """A schedule from what callers give: one, a period, or steps.

    Raises
    ------
    InputError
        For anything else, and for steps that are no whole numbers from 0 to 2³¹ − 1.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, Iterable) and not isinstance(value, str):
        return Schedule.at(value)
    return Schedule.every(value)  # pyrefly: ignore[bad-argument-type] - which refuses what is no number
