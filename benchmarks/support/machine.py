"""What a result was measured on: the machine, the revision, the versions."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def machine() -> dict[str, Any]:
    """CPU, cores, memory, accelerator."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "accelerator": accelerator(),
    }


def busy_cores(interval: float = 1.0) -> float | None:
    """How many cores are busy while this process sleeps: with what else runs here. None where /proc does not tell.

    It matters: threads of a BLAS that wait for each other on a busy core slow a peer down tenfold and more.
    """

    def ticks() -> int:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        return sum(fields) - fields[3] - fields[4]  # all but idle and waiting for a disk

    try:
        before = ticks()
        time.sleep(interval)
        return round((ticks() - before) / os.sysconf("SC_CLK_TCK") / interval, 2)
    except (OSError, ValueError, IndexError):
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = found.get("model name") or found.get("CPU part") or platform.processor()
    if "cpu family" in found:
        name += f" (family {found['cpu family']}, model {found['model']})"
    wide = [flag for flag in ("avx2", "avx512f", "amx_tile") if flag in found.get("flags", "").split()]
    return " ".join([name, *wide])


@cache
def accelerator() -> str | None:
    """Number and kind of JAX's devices where these are not CPUs.

    Asked in another process: one that has opened an accelerator keeps it, or its memory, from those it starts.
    """
    code = "import jax; d = jax.devices(); print('' if d[0].platform == 'cpu' else f'{len(d)} × {d[0].device_kind}')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip() or None


def versions() -> dict[str, str]:
    """Versions on our side."""
    packages = {"spectra": "spectra-jax", "jax": "jax", "jaxlib": "jaxlib", "numpy": "numpy", "scipy": "scipy"}
    return {"python": platform.python_version(), **{name: version(package) for name, package in packages.items()}}


def revision() -> str:
    """The commit that was measured; `+changes` where the source differs from it."""
    commit = _git("rev-parse", "--short", "HEAD")
    return commit + ("+changes" if _git("status", "--porcelain", "--", "src") else "") if commit else "unknown"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
