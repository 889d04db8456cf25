"""Tensors cleaned ahead of the writer that asks for them, several at a time, within bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spectra.engine.backends import Backend
from spectra.engine.clean_layer import Removal, clean_layer
from spectra.engine.options import Options
from spectra.engine.plan import Job
from spectra.engine.progress import Tally
from spectra.engine.run import AT_ONCE
from spectra.models.source import TensorSource
from spectra.report.cleaning import LayerCleaning

ROOM = 512 << 20
"""Bytes for tensors at work, beside what is taken in units of the largest: 2,048×2,048 is cleaned one a core."""


class Cleaned(NamedTuple):
    """A tensor that was cleaned, None if nothing in it has changed, and its layers in order."""

    tensor: np.ndarray | None
    layers: list[LayerCleaning]


@dataclass(frozen=True)
class Work:
    """What it takes to clean a tensor."""

    source: TensorSource
    options: Options
    removal: Removal
    backend: Backend


class Ahead:
    """Cleans tensors in the order in which they will be asked for, as many ahead as memory allows.

    Parameters
    ----------
    jobs
        In that order, as far as it is known; asking in another order only costs memory.
    largest
        Bytes of the largest tensor in the computing type, as in `Plan`.
    """

    def __init__(self, jobs: Sequence[Job], work: Work, largest: int, tally: Tally) -> None:
        self._work, self._tally = work, tally
        self._budget = int(AT_ONCE * largest) + ROOM
        self._left = deque(jobs)
        self._jobs = {job.tensor: job for job in jobs}
        self._started: dict[str, Future[Cleaned]] = {}
        self._used = 0
        largest_job = max(map(_nbytes, jobs), default=0)
        self.workers = work.backend.workers if 2 * largest_job <= self._budget else 1
        """How many tensors are worked on at a time; one with all cores where memory does not allow for two."""
        self._pool = ThreadPoolExecutor(self.workers)
        self._reading = threading.Lock()
        self.layers: dict[int, LayerCleaning] = {}
        """What was found, by the index of the step."""

    def __call__(self, tensor: str) -> np.ndarray | None:
        """The tensor cleaned; None if it is not among the jobs or nothing in it has changed."""
        job = self._jobs.get(tensor)
        if job is None:
            return None
        self._start(job)
        while self._left and self._used + _nbytes(self._left[0]) <= self._budget:
            self._start(self._left[0])
        self._tally.begun(job.steps[0])
        cleaned = self._started[tensor].result()
        self._used -= _nbytes(job)
        del self._started[tensor]
        self.layers |= {step.index: layer for step, layer in zip(job.steps, cleaned.layers, strict=True)}
        self._tally.finished(job.steps)
        return cleaned.tensor

    def close(self) -> None:
        """Begin nothing more; what is at work is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, job: Job) -> None:
        if job.tensor in self._started:
            return
        self._left.remove(job)
        self._used += _nbytes(job)
        self._started[job.tensor] = self._pool.submit(self._clean, job)

    def _clean(self, job: Job) -> Cleaned:
        work = self._work
        with self._reading:  # formats seek in a file that they share
            original = np.asarray(work.source.read(job.tensor))
        target = np.array(original, order="C")
        layers = [clean_layer(step, original, target, work.options, work.removal, work.backend) for step in job.steps]
        return Cleaned(target if any(layer.changed for layer in layers) else None, layers)


def _nbytes(job: Job) -> int:
    """Estimated memory: the tensor before and after, and twice what measuring its largest layer takes."""
    return 2 * job.nbytes + 2 * max(step.nbytes for step in job.steps)
