"""Calling compiled programs from several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import jax

_cpu = threading.Lock()


def fetch(program: Callable[[], Any], device: jax.Device | None = None) -> Any:
    """Call a program and bring its results to the host as NumPy arrays.

    On the CPU one program runs at a time in the whole process: a batch in jaxlib's LAPACK waits for its parts inside
    the pool of threads that they need, so that two of them on two cores wait for ever ("Programs that never return" in
    docs/architecture.md), and each uses all cores by itself anyway.

    Parameters
    ----------
    device
        Where it runs; None: JAX's default device.
    """
    if (device or jax.local_devices()[0]).platform != "cpu":
        return jax.device_get(program())
    with _cpu:
        return jax.device_get(program())
