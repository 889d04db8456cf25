"""Whole processes: their time from start to exit, and the memory they took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from support.peers import peer_environ

POLL = 0.01


class Finished(NamedTuple):
    """What a process cost. Memory is None where the system does not tell."""

    seconds: float
    peak_gib: float | None
    """Highest resident memory, pages of mapped files included."""
    peak_own_gib: float | None
    """The same without mapped files, sampled every hundredth of a second."""
    stderr: str


def run_process(command: Sequence[str | Path], environ: dict[str, str] | None = None, memory: bool = False) -> Finished:
    """Run a command to its end, its output thrown away; raise if it fails.

    The time is that of the process alone. Where memory is asked for the process is looked at all the time, so its time
    should not be used: VmHWM of the process itself is the measure, because the maximum that `wait4` returns counts the
    memory of the parent too, at the moment of the fork.
    """
    environ = {**peer_environ(), **(environ or {})}
    with tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.DEVNULL, stderr=errors, stdin=subprocess.DEVNULL, env=environ
        )
        peak = own = None
        if memory:
            peak, own = _watch(process)
        status = process.wait()
        seconds = time.perf_counter() - start
        errors.seek(0)
        said = errors.read()
    if status:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with status {status}:\n{said[-2000:]}")
    return Finished(seconds, peak, own, said)


def _watch(process: subprocess.Popen) -> tuple[float | None, float | None]:
    peak = own = None
    while process.poll() is None:
        fields = _status(process.pid)
        if "VmHWM" in fields:
            peak = max(peak or 0.0, fields["VmHWM"])
            own = max(own or 0.0, fields.get("RssAnon", 0.0))
        time.sleep(POLL)
    return peak, own


def _status(pid: int) -> dict[str, float]:
    """Memory of a process in GiB by the kernel's names."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    parts = (line.split() for line in lines)
    return {part[0].rstrip(":"): int(part[1]) / 2**20 for part in parts if len(part) == 3 and part[2] == "kB"}


def spectra_program() -> list[str]:
    """The command `spectra` of the environment these scripts run in."""
    program = Path(sys.executable).with_name("spectra")
    return [str(program)] if os.access(program, os.X_OK) else [sys.executable, "-m", "spectra"]
