"""One thread of BLAS for spectra beside a training loop on the CPU."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from spectra.engine.threads import blas_threads


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep BLAS to one thread inside of a `with` block, the whole process through.

    For the spectrum JAX calls SciPy's LAPACK on the CPU. Its threads meet some hundred times in each matrix of 200
    rows and more, and wait for each other whenever XLA's threads, or anything else, keep a core busy: we saw 480 ms
    for a 256×256 matrix that takes one thread 1 ms. XLA's own threads are not touched. A `Tracker` does this by
    itself where it measures, and as a context manager throughout; a `Recorder` or `temperature_balance` in a loop
    without one needs this, or ``OPENBLAS_NUM_THREADS=1`` in the environment. JAX returns before it has computed: wait
    for the results inside of the block.
    """
    return blas_threads(1)
