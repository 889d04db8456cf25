"""Errors that say what was wrong, where, and what to do about it.

Everything that a caller can cause by bad input is an `InputError`: the command line prints its message as
one line and exits with status 2. The message names the file, tensor or option and ends with the remedy.
"""

from __future__ import annotations


class SpectraError(Exception):
    """Base of all errors that spectra raises on purpose."""


class InputError(SpectraError, ValueError):
    """The input or the usage is wrong: a file, a tensor, an option."""


class CheckpointError(InputError):
    """A checkpoint cannot be read: missing, empty, truncated, foreign, or holding what it should not."""


class OutputError(InputError):
    """A result cannot be written where it was asked for."""
