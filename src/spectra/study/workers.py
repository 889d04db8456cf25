"""Networks in parallel: one process each, which may be killed without harm to the others."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from spectra.study.spec import Spec

ONE_THREAD = {"NPROC": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Environment of a worker beside others: networks side by side use the cores better than the threads of one."""


def run_all(specs: Sequence[Spec], directory: str | None, jobs: int) -> Iterator[dict[str, Any]]:
    """Records of all networks, in the order in which they are done.

    Parameters
    ----------
    specs
        A worker that is done takes the next one of the program that it has compiled, if there is one.
    directory
        Of the data set.
    jobs
        Processes; 0 runs all networks in this one, as on an accelerator, which processes cannot share.
    """
    if jobs == 0:
        for spec in specs:
            yield record_of(spec, directory)
        return
    pending = list(specs)
    workers = [_Worker(directory, alone=jobs == 1) for _ in range(min(jobs, len(pending)))]
    try:
        for worker in workers:
            worker.take(pending, workers)
        while busy := [worker for worker in workers if worker.spec is not None]:
            wait([worker.connection for worker in busy])
            for worker in busy:
                if worker.connection.poll():
                    yield worker.record()
                    worker.take(pending, workers)
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process, and the network that it is at."""

    def __init__(self, directory: str | None, alone: bool) -> None:
        self.directory, self.alone = directory, alone
        self.program = ""
        self.spec: Spec | None = None
        self.process, self.connection = _started(directory, alone)

    def take(self, pending: list[Spec], workers: Sequence[_Worker]) -> None:
        """Give it the next network that fits best, if any is left."""
        others = {worker.program for worker in workers if worker is not self}
        choice = (
            next((spec for spec in pending if spec.program == self.program), None)
            or next((spec for spec in pending if spec.program not in others), None)
            or next(iter(pending), None)
        )
        self.spec = choice
        if choice is not None:
            pending.remove(choice)
            self.program = choice.program
            try:
                self.connection.send(choice)
            except OSError:  # it was killed after its last record
                self.process.join()
                self.process, self.connection = _started(self.directory, self.alone)
                self.connection.send(choice)

    def record(self) -> dict[str, Any]:
        """The record of its network; if the process is dead, what is known, and a new process in its place."""
        assert self.spec is not None
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            why = f"its process ended with status {self.process.exitcode}"
            if self.process.exitcode == -9:
                why += ", killed, as the system does when memory runs out; give fewer --jobs"
            self.process, self.connection = _started(self.directory, self.alone)
            return failed(self.spec, why)

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()
        self.connection.close()


def _started(directory: str | None, alone: bool) -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, directory), daemon=True)
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    try:
        if not alone:
            os.environ.update(ONE_THREAD)  # read when the child's libraries load, before any of its own code runs
        process.start()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    theirs.close()
    return process, ours


def _work(connection: Connection, directory: str | None) -> None:
    """What a worker does: take a network, send its record, until nobody listens."""
    from spectra.cache import use_compilation_cache

    use_compilation_cache()
    while True:
        try:
            spec = connection.recv()
            connection.send(record_of(spec, directory))
        except (EOFError, OSError, KeyboardInterrupt):
            return


def record_of(spec: Spec, directory: str | None) -> dict[str, Any]:
    """The record of one network; what goes wrong in it goes into its record, and the rest of the study goes on."""
    from spectra.study.network import run_network

    try:
        return run_network(spec, directory)
    except Exception as error:
        return failed(spec, f"{type(error).__name__}: {error}")


def failed(spec: Spec, why: str) -> dict[str, Any]:
    """The record of a network that could not be run."""
    from dataclasses import asdict

    reason = " ".join(why.split())[:500]
    shown = {"name": spec.name, "spec": asdict(spec), "status": "failed", "reason": reason, "seconds": 0.0}
    return {**shown, "result": {}, "layers": [], "curves": []}
