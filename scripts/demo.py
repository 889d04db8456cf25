"""Train three small networks on digits and look inside them, before and after.

Run it with `scripts/demo`, which also sets up the environment, or with a Python that has spectra-jax[study].
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
from flax import nnx
from rich import box
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

import spectra
from spectra.errors import OutputError, SpectraError
from spectra.report.save import save_html
from spectra.study.data import Dataset, load_digits
from spectra.study.models import MLP
from spectra.study.train import Epoch, TrainConfig, TrainResult, train

DEPTHS = (2, 4, 8)
WIDTH = 256
CONFIG = TrainConfig()
COLUMNS = {"alpha": "alpha", "stable_rank": "stable rank", "kurtosis": "kurtosis", "near_zero_std": "near zero"}

out = Console()
err = Console(stderr=True)


def main() -> None:
    """Train, analyze, and print each network in turn, then write one page about all of them."""
    options = parse_options()
    page = prepare_page(options.out)
    data = load_digits(options.seed)
    out.print(f"digits: {len(data.train_y)} images to train on, {len(data.test_y)} to test; width {WIDTH}, relu\n")

    reports = []
    for depth in DEPTHS:
        model = MLP(depth, WIDTH, "relu", rngs=nnx.Rngs(options.seed))
        result = train_with_progress(model, data, options.seed)
        initial = spectra.analyze(model, label=f"mlp depth {depth}, initial")
        trained = spectra.analyze(result.model, label=f"mlp depth {depth}, trained")
        print_network(depth, result, initial.to_pandas(), trained.to_pandas())
        reports += [initial, trained]

    save_html(reports, page, title="Three networks on digits, before and after training")
    out.print("Each cell reads: at initialisation → after training. An untrained Gaussian layer")
    out.print("has kurtosis 0 and 8.0% of its weights within 0.1 standard deviations of zero.\n")
    out.print(f"The full report, one page: {page.resolve()}", soft_wrap=True)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo-output"), metavar="DIR", help="where the page goes")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the batches (default: 0)")
    return parser.parse_args()


def prepare_page(folder: Path) -> Path:
    """Make the output folder now: better to fail before training than after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--out {folder}: cannot make this folder ({error.strerror}); give another") from error
    return folder / "report.html"


def train_with_progress(model: MLP, data: Dataset, seed: int) -> TrainResult:
    """Train to convergence; a terminal shows how it goes, anything else stays quiet."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(f"depth {model.depth}: compiling", total=None)

        def show(epoch: Epoch, params: nnx.State) -> None:
            text = f"epoch {epoch.epoch}, loss {epoch.train_loss:.4f}, accuracy {epoch.train_accuracy:.3f}"
            progress.update(task, description=f"depth {model.depth}: {text}")

        return train(model, data, CONFIG, seed=seed, callback=show)


def print_network(depth: int, result: TrainResult, initial: pd.DataFrame, trained: pd.DataFrame) -> None:
    """Print one table: a row for each hidden layer, first to last."""
    fate = "converged" if result.converged else "diverged" if result.diverged else "not converged"
    out.print(
        f"[bold]mlp depth {depth}[/bold]: {fate} after {result.steps} steps in {result.seconds:.1f} s, "
        f"accuracy {result.train_accuracy:.3f} in training, {result.test_accuracy:.3f} in test",
        soft_wrap=True,
    )
    table = Table("hidden layer", box=box.HEAVY_HEAD if out.is_terminal else None)
    for title in COLUMNS.values():
        table.add_column(title, justify="right", no_wrap=True)
    before, after = initial.set_index("name"), trained.set_index("name")
    for name in (f"layers.{i}.kernel" for i in range(depth)):
        table.add_row(name, *(f"{cell(before, name, c)} → {cell(after, name, c)}" for c in COLUMNS))
    out.print(table)
    out.print()


def cell(frame: pd.DataFrame, name: str, column: str) -> str:
    """One number of a layer, or a dash where the analysis gives none."""
    value = frame.at[name, column]
    if pd.isna(value):
        return "–"
    return f"{value:.1%}" if column == "near_zero_std" else f"{value:z.2f}"


if __name__ == "__main__":
    try:
        main()
    except SpectraError as error:
        err.print(f"demo: {error}", markup=False, soft_wrap=True)
        sys.exit(2)
