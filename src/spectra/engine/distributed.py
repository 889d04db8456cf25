"""Several processes, on one machine or many: each takes its share of the layers, all end with all results."""

from __future__ import annotations

import os
from collections.abc import Sequence

import jax
import numpy as np

from spectra.engine.plan import Plan, Step
from spectra.engine.records import pack_result, unpack_result
from spectra.errors import InputError
from spectra.report.result import LayerResult


def join() -> None:
    """Become one of several processes; to be called before anything else is done with JAX.

    Under SLURM, Open MPI, Kubernetes and on TPU pods JAX finds the others by itself. Elsewhere the environment tells:
    ``JAX_COORDINATOR_ADDRESS`` (host:port of process 0), ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID``, as
    `scripts/launch` sets them.

    Raises
    ------
    InputError
        If neither does.
    """
    count, number = (_number(name) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
    try:
        jax.distributed.initialize(num_processes=count, process_id=number)
    except (ValueError, RuntimeError) as error:
        remedy = "run it by scripts/launch, srun or mpirun, or set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, "
        detail = str(error).partition("\n")[0].rstrip(".")
        raise InputError(f"no other processes to join ({detail}); {remedy}JAX_PROCESS_ID") from error


def _number(name: str) -> int | None:
    text = os.environ.get(name)
    if text is not None and not text.isdigit():
        raise InputError(f"{name}={text!r} is not a whole number")
    return None if text is None else int(text)


def share(plan: Plan, count: int, number: int) -> list[Step]:
    """The steps that process `number` of `count` takes; every process finds the same division.

    Costliest first, always to the process with the least to do. Slices of one tensor stay together, so that it is
    read once, unless they are more than a fair share.
    """
    if count == 1:
        return list(plan.steps)
    idle = [step for step in plan.steps if step.action in ("skip", "fail")]
    pieces = [[step] for step in idle]
    for job in plan.jobs(range(len(plan.steps))):
        whole = job.flops <= plan.flops / count
        pieces += [list(job.steps)] if whole else [[step] for step in job.steps]
    load = [0.0] * count
    mine: list[Step] = []
    for piece in sorted(pieces, key=lambda steps: -sum(step.flops for step in steps)):
        lightest = load.index(min(load))
        load[lightest] += sum(step.flops for step in piece) or 1.0
        if lightest == number:
            mine += piece
    return mine


def gather(results: Sequence[LayerResult]) -> list[LayerResult]:
    """The results of all processes, on all of them; each must call this once it is done with its own."""
    if jax.process_count() == 1:
        return list(results)
    from jax.experimental.multihost_utils import process_allgather

    records = [np.frombuffer(pack_result("", result), np.uint8) for result in results]
    sizes = np.asarray([len(records), *map(len, records)], np.int64)
    # Two rounds of numbers, since arrays must have one shape everywhere: how many bytes, then the bytes.
    longest = process_allgather(np.asarray([sizes.size, sizes[1:].sum()], np.int32)).reshape(-1, 2).max(axis=0)
    told = process_allgather(_padded(sizes.astype(np.int32), int(longest[0])))
    content = process_allgather(_padded(np.concatenate([*records, np.empty(0, np.uint8)]), int(longest[1])))
    everything: list[LayerResult] = []
    for lengths, data in zip(told, content, strict=True):
        ends = np.cumsum(lengths[1 : 1 + lengths[0]])
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            everything.append(unpack_result(data[start:end].tobytes())[1])
    return everything


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    return np.pad(values, (0, length - values.size))
