"""Where spectra are computed: by LAPACK on the CPU, or by the JAX kernels on all local devices."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Protocol

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from spectra.engine.farms import window_count
from spectra.engine.host import host_spectrum
from spectra.engine.options import Options
from spectra.engine.padding import Shape, choose_buckets, choose_groups, choose_lengths, pad_to
from spectra.engine.plan import Plan
from spectra.engine.programs import fetch
from spectra.engine.threads import blas_threads
from spectra.kernels import Spectrum, spectrum
from spectra.kernels.sharded import sharded_spectrum
from spectra.kernels.spectrum import Route


class Backend(Protocol):
    """What the engine needs to know of a place where spectra are computed.

    Attributes
    ----------
    name
        As in `Options.backend`.
    workers
        How many layers are worked on at the same time.
    lengths
        Length to which the sample of a power-law fit is padded, by its size.
    """

    name: str
    workers: int
    lengths: dict[int, int]

    def bucket(self, n: int, m: int) -> Shape:
        """The shape that an n×m matrix (n ≥ m) is computed in."""
        ...

    def spectra(self, matrices: np.ndarray, route: Route) -> tuple[np.ndarray, np.ndarray]:
        """Singular values of finite matrices of shape (matrices, rows, cols), and their floors.

        Returns
        -------
        tuple
            Values of shape (matrices, M), descending, 0 where unresolved, and floors of shape (matrices,), float64.
        """
        ...

    def using(self, workers: int) -> AbstractContextManager[None]:
        """Share out the machine for so many layers at a time."""
        ...


class LapackBackend:
    """LAPACK on the CPU, as many layers at a time as there are cores; matrices of any shape, nothing is compiled.

    Parameters
    ----------
    lengths
        As in `Backend`.
    """

    name = "lapack"

    def __init__(self, lengths: dict[int, int]) -> None:
        self.lengths = lengths
        self.workers = os.cpu_count() or 1
        if hasattr(os, "sched_getaffinity"):
            self.workers = len(os.sched_getaffinity(0))

    def bucket(self, n: int, m: int) -> Shape:
        return n, m

    def spectra(self, matrices: np.ndarray, route: Route) -> tuple[np.ndarray, np.ndarray]:
        found = [host_spectrum(matrix, route) for matrix in matrices]
        return np.stack([values for values, _ in found]), np.asarray([floor for _, floor in found])

    def using(self, workers: int) -> AbstractContextManager[None]:
        # One thread a matrix: LAPACK's own threads wait for each other more than they work on small matrices.
        return blas_threads(max(1, self.workers // workers))


class JaxBackend:
    """The JAX kernels on all local devices, padded to few shapes.

    Parameters
    ----------
    buckets
        The shape of the program for each shape of matrix, from `padding.choose_buckets`.
    lengths
        As in `Backend`.
    groups
        How many matrices of one layer (the positions of a convolution) are handed over together, by padded shape.
    devices
        The devices that share the layers.
    largest
        Bytes of the largest matrix that one device takes; larger ones are sharded by rows over all devices. None:
        a quarter of the memory that the device reports.
    """

    name = "jax"

    def __init__(
        self,
        buckets: dict[Shape, Shape],
        lengths: dict[int, int],
        groups: dict[Shape, int] | None = None,
        devices: Sequence[jax.Device] | None = None,
        largest: int | None = None,
    ) -> None:
        self.lengths = lengths
        self.devices = list(devices or jax.local_devices())
        # Two layers a device: one is cut, counted and transferred while the other is computed.
        self.workers = 2 * len(self.devices)
        self.used = [0] * len(self.devices)
        """How many layers each device has been given."""
        self._busy = [0] * len(self.devices)
        self._buckets, self._groups = buckets, groups or {}
        self._largest = largest if largest is not None else _memory(self.devices[0]) // 4
        self._lock = threading.Lock()

    def bucket(self, n: int, m: int) -> Shape:
        return self._buckets.get((n, m), (n, m))

    def spectra(self, matrices: np.ndarray, route: Route) -> tuple[np.ndarray, np.ndarray]:
        if matrices.shape[1] < matrices.shape[2]:
            matrices = matrices.transpose(0, 2, 1)
        count, n, m = matrices.shape
        if n * m * matrices.itemsize > self._largest and len(self.devices) > 1 and route == "gram":
            parts = [self._sharded(matrix) for matrix in matrices]
        else:
            with self._device() as device:
                batches = self.batches(matrices)

                def program() -> list[Spectrum]:
                    return [_spectrum(jax.device_put(batch, device), method=route) for batch in batches]

                parts = fetch(program, device)
        values = np.concatenate([np.atleast_2d(part.singular_values) for part in parts])[:count, :m]
        floors = np.concatenate([np.atleast_1d(part.floor) for part in parts])[:count]
        return values.astype(np.float64), floors.astype(np.float64)

    @contextmanager
    def _device(self) -> Iterator[jax.Device]:
        """The device with the least to do."""
        with self._lock:
            chosen = min(range(len(self.devices)), key=lambda i: (self._busy[i], self.used[i]))
            self._busy[chosen] += 1
            self.used[chosen] += 1
        try:
            yield self.devices[chosen]
        finally:
            with self._lock:
                self._busy[chosen] -= 1

    def _sharded(self, matrix: np.ndarray) -> Spectrum:
        """One matrix whose rows are spread over all devices."""
        with self._lock:  # collective operations of two matrices must not meet
            mesh = jax.sharding.Mesh(np.asarray(self.devices), ("rows",))
            n, m = matrix.shape
            even = pad_to(matrix, (-(-n // len(self.devices)) * len(self.devices), m))
            spread = NamedSharding(mesh, PartitionSpec("rows", None))
            return fetch(lambda: _across(jax.device_put(even, spread), mesh=mesh), self.devices[0])

    def batches(self, matrices: np.ndarray) -> Iterator[np.ndarray]:
        """Matrices in groups, zero-padded; zeros are appended to the spectrum, no more."""
        count, n, m = matrices.shape
        shape = self.bucket(n, m)
        group = self._groups.get(shape, 1)
        for start in range(0, count, group):
            yield pad_to(matrices[start : start + group], (group, *shape))

    def using(self, workers: int) -> AbstractContextManager[None]:
        return nullcontext()


def _memory(device: jax.Device) -> int:
    """Bytes that a device has; without a word from it, more than any matrix takes."""
    return int((device.memory_stats() or {}).get("bytes_limit", 1 << 62))


@partial(jax.jit, static_argnames="method")
def _spectrum(matrices: jax.Array, method: Route) -> Spectrum:
    return spectrum(matrices, method)


_across = jax.jit(sharded_spectrum, static_argnames="mesh")


def choose_backend(options: Options, plan: Plan) -> Backend:
    """The backend that the options ask for, or that suits this machine; programs are chosen for the whole plan.

    What a layer is padded to does not depend on which layers are left to do, so that its numbers do not either.
    """
    name = options.backend
    if name == "auto":
        only_cpu = jax.default_backend() == "cpu" and jax.local_device_count() == 1
        name = "lapack" if only_cpu else "jax"
    lengths = choose_lengths(view.num_evals for view in plan.views())
    if name == "lapack":
        return LapackBackend(lengths)
    computed = [((n, m), count) for count, n, m in (view.computed for view in plan.views()) if count]
    if options.farms:
        windows = (window_count(view) for view in plan.views() if view.formed)
        computed += [((side, side), number) for number, side in windows]
    buckets = choose_buckets(shape for shape, count in computed for _ in range(count))
    return JaxBackend(buckets, lengths, choose_groups(buckets, computed))
