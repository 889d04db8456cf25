"""Seconds of calls, and two or more sides measured in turn so that a busy moment of the machine meets all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call and what it returned, its arrays awaited: JAX returns before it has computed."""
    import jax

    start = time.perf_counter()
    returned = jax.block_until_ready(call())
    return time.perf_counter() - start, returned


def alternate(
    sides: Mapping[str, Callable[[], float]], runs: Mapping[str, int], cold: Collection[str] = ()
) -> dict[str, list[float]]:
    """Seconds of each side by name: a warm-up of each but the `cold` ones, then A B A B …, as often as `runs` says."""
    for name, side in sides.items():
        if name not in cold:
            side()
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(max(runs[name] for name in sides)):
        for name, side in sides.items():
            if turn < runs[name]:
                measured[name].append(side())
    return measured


def spread(measured: list[float]) -> dict[str, Any]:
    """Median and extremes, with the single values behind them."""
    return {
        "median": statistics.median(measured),
        "min": min(measured),
        "max": max(measured),
        "runs": len(measured),
        "seconds": [round(value, 7) for value in measured],
    }
