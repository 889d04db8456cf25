"""How long does the whole process take, from a file to a table: the first run ever, and later ones?

`spectra analyze FILE --out x.csv` with an empty compilation cache each time (the first run ever) and with the cache of
the run before (later runs), against a Python process that loads the same file, hands it to WeightWatcher's default
`analyze` and writes the CSV. Interpreter, imports, compiling, reading and writing all count, on both sides.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from safetensors.numpy import save_file
from support.analyzers import same_as_weightwatcher
from support.models import efficientnet_shapes, minilm_file, of_shapes
from support.peers import HERE, python_of
from support.process import run_process, spectra_program
from support.question import Question, answer
from support.timing import alternate

RUNS = 7
FIRST, LATER = 1.0, 1 / 0.4
"""Targets: at most WeightWatcher's time the first time, at most 0.4 of it later; here as peer over ours."""


def measure(question: Question) -> None:
    """Two rows, first and later runs, for each of the two files."""
    with tempfile.TemporaryDirectory() as folder:
        shapes = efficientnet_shapes()
        cnn = Path(folder) / "cnn.safetensors"
        save_file(of_shapes(shapes), cnn)
        about = f"EfficientNet-like CNN, {len(shapes)} tensors of {len(set(shapes.values()))} shapes"
        for work, model in (("MiniLM", minilm_file()), (about, cnn)):
            one_file(question, work, model, Path(folder))


def one_file(question: Question, work: str, model: Path, folder: Path) -> None:
    """Check that the tables agree, then measure in turn."""
    sides: dict[str, Callable[[], float]] = {
        "first": lambda: spectra_process(model, folder, fresh_cache=True),
        "later": lambda: spectra_process(model, folder, fresh_cache=False),
    }
    if question.has("weightwatcher"):
        sides["weightwatcher"] = lambda: weightwatcher_process(model, folder)
    runs = 2 if question.quick else RUNS
    measured = alternate(sides, dict.fromkeys(sides, runs))  # the warm-up fills the cache of the later runs
    peer, same = None, ""
    if "weightwatcher" in sides:
        peer = ("WeightWatcher process", measured["weightwatcher"])
        same = same_as_weightwatcher(*(pd.read_csv(folder / f"{side}.csv") for side in ("spectra", "weightwatcher")))
    program = "spectra analyze --out x.csv"
    question.compare(
        f"{work}: first run ever", (program, measured["first"]), peer, FIRST, same, "empty cache each time"
    )
    question.compare(f"{work}: later runs", (program, measured["later"]), peer, LATER, same, "kept compilation cache")


def spectra_process(model: Path, folder: Path, fresh_cache: bool) -> float:
    """Seconds of the program, with the cache kept in the folder or with an empty one."""
    with tempfile.TemporaryDirectory() as empty:
        cache = empty if fresh_cache else str(folder / f"cache-{model.stem}")
        environ = {"XDG_CACHE_HOME": cache, "JAX_COMPILATION_CACHE_DIR": ""}
        return run_process([*spectra_program(), "analyze", model, "--out", folder / "spectra.csv"], environ).seconds


def weightwatcher_process(model: Path, folder: Path) -> float:
    """Seconds of WeightWatcher's process."""
    worker = HERE / "workers" / "weightwatcher_worker.py"
    return run_process([python_of("weightwatcher"), worker, model, folder / "weightwatcher.csv"]).seconds


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
