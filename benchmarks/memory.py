"""How much memory does an analysis take, and does it grow with the number of layers?

Peak resident memory of a fresh `spectra analyze FILE --out x.csv`: interpreter, JAX, mapped files, everything. The
limit is 3 times the largest tensor in float32 plus 0.6 GiB, whatever the number of layers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from support.models import heavy_tailed
from support.process import run_process, spectra_program
from support.question import Question, answer

MODELS = (
    # layers, shape
    (4, (1024, 1024)),
    (64, (1024, 1024)),
    (2, (4096, 4096)),
    (16, (4096, 4096)),
    (2, (14336, 4096)),
    (6, (14336, 4096)),
    (1, (128256, 2048)),
)
FACTOR, FIXED = 3, 0.6


def measure(question: Question) -> None:
    """A row for each model."""
    for layers, shape in MODELS[:2] if question.quick else MODELS:
        with tempfile.TemporaryDirectory() as folder:
            model = write(Path(folder) / "model.safetensors", layers, shape)
            command = [*spectra_program(), "analyze", model, "--out", Path(folder) / "table.csv"]
            peaks = [run_process(command, {"XDG_CACHE_HOME": folder}, memory=True) for _ in range(3)]
            size = model.stat().st_size / 2**30
        largest = 4 * shape[0] * shape[1] / 2**30
        peak = [run.peak_gib for run in peaks]
        if None in peak:
            raise RuntimeError("this system does not tell the peak memory of a process (no VmHWM in /proc)")
        question.figure(
            f"{layers} × {shape[0]}×{shape[1]}", max(peak), "GiB", memory_limit(largest),
            note="the highest of three runs, the first with an empty compilation cache", all_gib=peak,
            without_mapped_files_gib=max(run.peak_own_gib for run in peaks), largest_tensor_gib=largest, file_gib=size,
        )  # fmt: skip


def memory_limit(largest_gib: float) -> float:
    """What the issue allows for a model whose largest tensor takes so much in float32."""
    return FACTOR * largest_gib + FIXED


def write(path: Path, layers: int, shape: tuple[int, int]) -> Path:
    """A model of equal layers: one heavy-tailed matrix, its rows in another order and with other signs each time."""
    rng = np.random.default_rng(0)
    first = heavy_tailed(rng, shape)
    signs = (rng.choice(np.float32([-1, 1]), (shape[0], 1)) for _ in range(layers))
    save_file({f"layers.{i}.weight": np.roll(first, i, axis=0) * sign for i, sign in enumerate(signs)}, path)
    return path


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
