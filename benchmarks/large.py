"""Does a checkpoint that is larger than comfortable go through, and at what speed?

A Llama-like model of width 2048 in bfloat16, sharded safetensors with an index, 12 GiB or more, is generated shard by
shard into a temporary folder, analyzed by the command line program, and deleted. Peak resident memory must stay within
3 times the largest tensor in float32 plus 0.6 GiB.

    benchmarks/run large --dir /somewhere/with/13/GiB      # --gib, --keep
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pandas as pd
from memory import memory_limit
from safetensors.numpy import save_file
from scipy.fft import dct
from support.models import ALPHAS
from support.process import run_process, spectra_program
from support.question import Question, answer, check

BLOCK = {
    "self_attn.q_proj": (2048, 2048),
    "self_attn.k_proj": (512, 2048),
    "self_attn.v_proj": (512, 2048),
    "self_attn.o_proj": (2048, 2048),
    "mlp.gate_proj": (5632, 2048),
    "mlp.up_proj": (5632, 2048),
    "mlp.down_proj": (2048, 5632),
}
ENDS = {"model.embed_tokens": (32000, 2048), "lm_head": (32000, 2048)}
GIB = 12.5
BLOCKS_A_SHARD = 10


def options(parser: argparse.ArgumentParser) -> None:
    """What this question adds to the command line."""
    parser.add_argument("--dir", type=Path, help="where to generate the checkpoint (default: the temporary folder)")
    parser.add_argument("--gib", type=float, help=f"size of the checkpoint (default: {GIB}; 0.5 with --quick)")
    parser.add_argument("--keep", action="store_true", help="leave the checkpoint there")


def measure(question: Question) -> None:
    """Generate, analyze, compare the peak with the limit."""
    gib = question.options.gib or (0.5 if question.quick else GIB)
    free = shutil.disk_usage(question.options.dir or tempfile.gettempdir()).free / 2**30
    check(free > gib + 1, f"{free:.1f} GiB free, {gib + 1:.1f} needed: choose another place with --dir")
    folder = Path(tempfile.mkdtemp(prefix="spectra-large-", dir=question.options.dir))
    try:
        shapes = generate(folder, gib)
        analyze(question, folder, shapes)
    finally:
        if question.options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)


def analyze(question: Question, folder: Path, shapes: dict[str, tuple[int, int]]) -> None:
    """One run of the program over the whole checkpoint."""
    table = folder / "table.csv"
    run = run_process([*spectra_program(), "analyze", folder, "--out", table], memory=True)
    found = pd.read_csv(table).set_index("name")
    check(set(found.index) == set(shapes), "the table has other layers than the checkpoint")
    check((found["status"] == "success").all(), f"failed: {found.index[found['status'] != 'success'].tolist()[:5]}")
    between = int(((found["alpha"] > 2) & (found["alpha"] < 5)).sum())
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 2**30
    largest = 4 * max(rows * columns for rows, columns in shapes.values()) / 2**30
    question.figure(
        f"{size:.1f} GiB of bfloat16 in {len(list(folder.glob('*.safetensors')))} shards, {len(shapes)} matrices",
        run.peak_gib, "GiB at the peak", memory_limit(largest),
        note=f"all layers succeeded; alpha of {between} of {len(shapes)} between 2 and 5; timed while it was watched",
        without_mapped_files_gib=run.peak_own_gib, largest_tensor_gib=largest, seconds=run.seconds,
        layers_per_second=len(shapes) / run.seconds, file_gb_per_second=size * 2**30 / 1e9 / run.seconds,
    )  # fmt: skip
    print(f"{run.seconds:.0f} s, {len(shapes) / run.seconds:.2f} layers/s, {size * 1.074 / run.seconds:.3f} GB/s")


def generate(folder: Path, gib: float) -> dict[str, tuple[int, int]]:
    """Write shards and index until there are `gib` of them; returns the shape of each tensor."""
    draw = Drawing()
    shapes: dict[str, tuple[int, int]] = {}
    places: dict[str, str] = {}
    number, written, block = 0, 0, 0
    pending = dict(ENDS)
    while written < gib * 2**30:
        for _ in range(BLOCKS_A_SHARD):
            pending |= {f"model.layers.{block}.{name}": shape for name, shape in BLOCK.items()}
            block += 1
            if written + sum(2 * rows * columns for rows, columns in pending.values()) > gib * 2**30:
                break
        number += 1
        shard = f"model-{number:05}.safetensors"
        tensors = {f"{name}.weight": draw(shape) for name, shape in pending.items()}
        save_file(tensors, folder / shard)
        shapes |= {name: tensor.shape for name, tensor in tensors.items()}
        places |= dict.fromkeys(tensors, shard)
        written += sum(tensor.nbytes for tensor in tensors.values())
        pending = {}
        print(f"{written / 2**30:.1f} of {gib} GiB written", flush=True)
    index = {"metadata": {"total_size": written}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return shapes


class Drawing:
    """Heavy-tailed bfloat16 matrices like those of support/models.py, but quickly.

    The Gaussian numbers are drawn once and read from another place for each matrix; exponents, columns and signs
    differ.
    """

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._numbers = self._rng.standard_normal(1 << 27, dtype=np.float32)

    def __call__(self, shape: tuple[int, int]) -> np.ndarray:
        """One matrix."""
        long, short = max(shape), min(shape)
        alpha = self._rng.uniform(*ALPHAS)
        variances = ((np.arange(short) + 0.5) / short) ** (-1 / (alpha - 1)) / long
        start = self._rng.integers(self._numbers.size - long * short)
        signed = np.sqrt(self._rng.permutation(variances)) * self._rng.choice((-1.0, 1.0), short)
        w = self._numbers[start : start + long * short].reshape(long, short) * signed.astype(np.float32)
        w = dct(w, axis=1, norm="ortho", overwrite_x=True, workers=-1)
        return np.ascontiguousarray(w if shape[0] >= shape[1] else w.T).astype(ml_dtypes.bfloat16)


if __name__ == "__main__":
    answer(__file__, __doc__, measure, options)
