"""Why a fit has no number: codes that can travel through jitted code."""

from __future__ import annotations

from enum import IntEnum


class FitStatus(IntEnum):
    """What became of a fit. Every number of a fit whose status is not `OK` is NaN.

    Inside `jit` nothing can be raised; `FitStatus(int(fit.status)).name` tells what was wrong.
    """

    OK = 0
    TOO_FEW = 1
    """Fewer than two values in the tail."""
    NO_SPREAD = 2
    """All values of the tail are equal."""
    NOT_FINITE = 3
    """A NaN or an infinity among the values."""
    BAD_XMIN = 4
    """The given xmin is not a positive finite number."""
    NOT_CONVERGED = 5
    """The optimiser did not find a maximum of the likelihood; it may lie at infinity."""
