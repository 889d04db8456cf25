"""Carry out a plan: one thread reads tensors ahead, others measure their layers, results come as they are finished."""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection, Iterator
from typing import TypeAlias

from spectra.engine.backends import Backend
from spectra.engine.budget import Budget
from spectra.engine.layer import measure, not_measured
from spectra.engine.options import Options
from spectra.engine.plan import Job, Plan, Step, wide_jobs
from spectra.errors import CheckpointError
from spectra.models.source import Array, TensorSource
from spectra.report.result import LayerResult

AT_ONCE = 2.4
"""Bytes that tensors at work may take together, in units of the largest tensor in the computing type …"""

ALWAYS = 96 << 20
"""… or this many more, so that small models are worked on several layers at a time."""


Event: TypeAlias = tuple[Step, LayerResult | None]
"""A layer that was begun (None) or finished."""


def run(
    plan: Plan, source: TensorSource, options: Options, backend: Backend, wanted: Collection[int]
) -> Iterator[Event]:
    """Carry out the wanted steps (their indices), costliest first, and yield when each begins and when it is finished.

    A layer that fails has a result that says so. Closing the iterator ends the work after the layers in flight.
    """
    for step in plan.steps:
        if step.index in wanted and step.action in ("skip", "fail"):
            yield step, not_measured(step, step.note, "skipped" if step.action == "skip" else "failed")

    # What takes all cores is decided for the whole plan: sums are rounded differently by two threads than by one, and
    # a layer's numbers must not depend on which layers were left to do.
    alone = {job.tensor for job in wide_jobs(plan.jobs(range(len(plan.steps))), backend.workers)}
    jobs = plan.jobs(wanted)
    wide = [job for job in jobs if job.tensor in alone]
    narrow = [job for job in jobs if job.tensor not in alone]
    budget = int(AT_ONCE * plan.largest) + ALWAYS
    for batch, workers in ((wide, 1), (narrow, backend.workers)):
        with backend.using(workers):
            yield from _Crew(batch, source, options, backend, workers, Budget(budget)).events()


class _Crew:
    """A reader and several workers on a list of jobs; tensors go from the one to the others through a queue.

    The reader waits until the memory for the next job is free. Each step of a job is a piece of work of its own, so
    that the slices of one tensor are shared out too; when the last one is done the memory is free again.
    """

    def __init__(
        self,
        jobs: list[Job],
        source: TensorSource,
        options: Options,
        backend: Backend,
        workers: int,
        budget: Budget,
    ) -> None:
        self._jobs, self._source, self._options, self._backend = jobs, source, options, backend
        self._budget = budget
        self._work: queue.SimpleQueue[tuple[_Held, Step] | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._left = sum(len(job.steps) for job in jobs)
        self._workers = min(workers, self._left)
        # Daemons: an interrupted program does not wait for the decomposition of a large matrix.
        targets = [self._read, *[self._measure] * self._workers]
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]

    def events(self) -> Iterator[Event]:
        """What happens, until all jobs are done; an exception in a thread is raised here."""
        if not self._jobs:
            return
        for thread in self._threads:
            thread.start()
        try:
            while self._left:
                event = self._events.get()
                if isinstance(event, BaseException):
                    raise event
                self._left -= event[1] is not None
                yield event
        finally:
            self._stopped.set()
            self._budget.close()
            for _ in range(self._workers):
                self._work.put(None)

    def _read(self) -> None:
        try:
            for job in self._jobs:
                held = _Held(job, self._workers)
                if not self._budget.take(held.nbytes):
                    return
                held.read(self._source)
                for step in job.steps:
                    self._work.put((held, step))
        except BaseException as error:  # of whatever kind: the main thread must not wait for ever
            self._events.put(error)

    def _measure(self) -> None:
        try:
            while (piece := self._work.get()) is not None and not self._stopped.is_set():
                held, step = piece
                self._events.put((step, None))
                result = self._result(held, step)
                if held.let_go():
                    self._budget.give(held.nbytes)
                del piece, held  # the tensor, before the next one is waited for
                self._events.put((step, result))
        except BaseException as error:
            self._events.put(error)

    def _result(self, held: _Held, step: Step) -> LayerResult:
        if isinstance(held.tensor, CheckpointError):
            return not_measured(step, str(held.tensor))
        assert held.tensor is not None
        return measure(step, held.tensor, self._options, self._backend, alone=self._workers == 1)


class _Held:
    """A tensor while its layers are measured."""

    def __init__(self, job: Job, workers: int) -> None:
        self.job = job
        self.tensor: Array | CheckpointError | None = None
        at_once = sorted((step.nbytes for step in job.steps), reverse=True)[:workers]
        self.nbytes = job.nbytes + sum(at_once)
        self._left = len(job.steps)
        self._lock = threading.Lock()

    def read(self, source: TensorSource) -> None:
        try:
            self.tensor = source.read(self.job.tensor)
        except CheckpointError as error:
            self.tensor = error

    def let_go(self) -> bool:
        """Whether that was the last layer of the tensor, which is gone then."""
        with self._lock:
            self._left -= 1
            if not self._left:
                self.tensor = None
            return not self._left
