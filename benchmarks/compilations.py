"""How many programs does a model of fifty shapes compile, and how much of the work goes into padding?

Two models: an EfficientNet-like CNN, and fifty dense layers that all differ. Each is analyzed in a fresh process
without a compilation cache, once as `spectra.analyze` does it on this machine by default, and once on the JAX backend,
which accelerators take. Padding is the share of flops (Gram product and reduction) beyond what the matrices need,
counted from the batches that the backend makes, empty places in a batch included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from support.models import Weights, efficientnet_shapes, of_shapes
from support.peers import HERE
from support.question import Question, answer

from spectra.engine.backends import JaxBackend, choose_backend
from spectra.engine.options import Options
from spectra.engine.plan import make_plan
from spectra.models.formats import open_source

PROGRAMS, WASTE = 8, 0.30
TIMEOUT = 120
"""Seconds after which a process is taken to hang, which ends the benchmark with an error."""

BACKENDS = {"by default": (), "JAX backend": ("jax",)}


def measure(question: Question) -> None:
    """Two rows for each model and backend."""
    models = {
        "EfficientNet-like CNN, 50 shapes": of_shapes(efficientnet_shapes()),
        "50 dense layers, 50 shapes": of_shapes(dense_shapes(50, 512 if question.quick else 1600)),
    }
    for name, weights in models.items():  # before this process opens a device: some serve one process at a time
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            save_file(weights, path)
            for about, backend in BACKENDS.items():
                found = counted(path, *backend)
                question.figure(
                    f"{name}, {about}", found["count"], "compilations", PROGRAMS,
                    seconds=found["seconds"], programs=found["programs"],
                )  # fmt: skip
    for name, weights in models.items():
        for about, backend in BACKENDS.items():
            question.figure(f"{name}, {about}", padding(weights, *backend), "of the flops are padding", WASTE)


def dense_shapes(count: int, largest: int) -> dict[str, tuple[int, int]]:
    """Shapes of layers that all differ, sides spread evenly in the logarithm."""
    rng = np.random.default_rng(0)
    sides = np.exp(rng.uniform(np.log(64), np.log(largest), (count, 2))).astype(int)
    return {f"layers.{i}.weight": (int(out), int(inputs)) for i, (out, inputs) in enumerate(sides)}


def counted(model: Path, *backend: str) -> dict[str, float]:
    """What XLA compiled in a fresh process."""
    command = [sys.executable, HERE / "support" / "count_compilations.py", model, *backend]
    environ = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=TIMEOUT)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


def padding(weights: Weights, *backend: str) -> float:
    """Share of the flops of Gram products and reductions that goes into padding."""
    options = Options(**({"backend": backend[0]} if backend else {}))
    plan = make_plan(open_source(weights), options)
    place = choose_backend(options, plan)
    needed = done = 0.0
    for step in plan.steps:
        view = step.layer.view
        if step.action != "analyze" or view is None:
            continue
        needed += view.rf * flops(view.N, view.M)
        if isinstance(place, JaxBackend):
            batches = place.batches(np.zeros((view.rf, view.N, view.M), np.float32))
            done += sum(batch.shape[0] * flops(*batch.shape[1:]) for batch in batches)
        else:
            done += view.rf * flops(view.N, view.M)
    return 1 - needed / done


def flops(n: int, m: int) -> float:
    """Of the Gram product of an n×m matrix, half of which is formed, and of its reduction."""
    return n * m**2 + 4 / 3 * m**3


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
