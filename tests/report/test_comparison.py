"""`ModelComparison` as a user handles it: frames, files, the trajectory and its figure, the table in a terminal."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from spectra.engine.compare import compare
from spectra.errors import InputError, OutputError
from spectra.report.comparison import ModelComparison
from spectra.report.comparison_table import print_comparison
from spectra.report.figures import save_figure

RNG = np.random.default_rng(5)


def run_of(layers: int, steps: int = 3) -> ModelComparison:
    start = {f"layers.{i}.kernel": RNG.standard_t(3, (30, 20)).astype(np.float32) for i in range(layers)}
    start["layers.0.bias"] = RNG.standard_normal(20).astype(np.float32)
    drift = {name: RNG.standard_normal(w.shape).astype(np.float32) for name, w in start.items()}
    models = [{name: w + np.float32(0.1 * t) * drift[name] for name, w in start.items()} for t in range(steps)]
    models[1]["extra.kernel"] = RNG.standard_normal((12, 12)).astype(np.float32)
    models[2]["layers.1.kernel"][0, 0] = np.inf
    return compare(*models, steps=[10 * t for t in range(steps)], labels=[f"step-{t}" for t in range(steps)])


@pytest.fixture(scope="module")
def found() -> ModelComparison:
    return run_of(4)


@pytest.fixture(scope="module")
def many() -> ModelComparison:
    return run_of(9)


def test_table(found: ModelComparison):
    frame = found.to_pandas()
    assert list(frame.columns[:4]) == ["name", "model", "against", "step"]
    assert len(frame) == len(found) == 12  # four kernels, a bias and the one that comes and goes, twice
    assert set(frame["status"]) == {"success", "unmatched", "failed"}
    row = frame[(frame["name"] == "layers.2.kernel") & (frame["model"] == "step-2")].iloc[0]
    assert (row["against"], row["step"], row["shape"], row["top"]) == ("step-1", 20, "30×20", 10)
    [_, layer] = found["layers.2.kernel"]
    assert row["overlap_u"] == layer.metrics["overlap_u"]
    assert frame["top"].dtype == "Int64" and frame["overlap_u"].dtype == np.float64


def test_files_hold_the_table(found: ModelComparison, tmp_path):
    for suffix, reader in (("csv", pd.read_csv), ("json", pd.read_json), ("parquet", pd.read_parquet)):
        found.save(tmp_path / f"c.{suffix}")
        found.save_trajectory(tmp_path / f"t.{suffix}")
        table, run = reader(tmp_path / f"c.{suffix}"), reader(tmp_path / f"t.{suffix}")
        np.testing.assert_allclose(table["relative_change"].astype(float), found.to_pandas()["relative_change"])
        np.testing.assert_allclose(run["alpha"].astype(float), found.trajectory()["alpha"])
    records = {record["name"]: record for record in json.loads((tmp_path / "c.json").read_text())}
    assert records["layers.0.bias"]["alpha_a"] is None  # null, not NaN
    with pytest.raises(OutputError, match="xlsx"):
        found.save(tmp_path / "c.xlsx")


def test_trajectory_follows_every_layer(found: ModelComparison):
    run = found.trajectory()
    assert list(run.columns[:3]) == ["step", "name", "model"]
    one = run[run["name"] == "layers.0.kernel"]
    assert list(one["step"]) == [0, 10, 20] and list(one["model"]) == list(found.labels)
    records = [report["layers.0.kernel"] for report in found.reports]
    for name in ("alpha", "stable_rank", "near_zero_std"):
        assert list(one[name]) == [record.metrics[name] for record in records]
    changes = [layer.metrics["relative_change"] for layer in found["layers.0.kernel"]]
    assert np.isnan(one["relative_change"].iloc[0]) and list(one["relative_change"].iloc[1:]) == changes
    assert "layers.0.bias" not in set(run["name"])
    broken = run[run["name"] == "layers.1.kernel"].iloc[-1]
    assert broken["status"] == "failed" and np.isnan(broken["alpha"])


def test_summary_is_of_the_last_pair(found: ModelComparison):
    s = found.summary()
    assert (s["layers"], s["unmatched"], s["failed"], s["unchanged"]) == (6, 1, 1, 0)
    last = [layer for layer in found if layer.model == "step-2" and layer.metrics.get("overlap_v") is not None]
    assert s["overlap_v"] == np.median([layer.metrics["overlap_v"] for layer in last])
    assert "step-0 → step-1 → step-2" in repr(found)
    with pytest.raises(KeyError, match="no layer 'none'"):
        found["none"]


def drawn(ax: Axes) -> list[np.ndarray]:
    """The curves with data."""
    return [line.get_ydata() for line in ax.lines if len(line.get_xdata())]


def test_figure_of_few_layers_names_them(found: ModelComparison):
    figure = found.plot()
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    axes = figure.axes
    assert [ax.get_ylabel() for ax in axes] == [
        "power-law exponent α",
        "stable rank Σλ / λmax",
        "share of |w| < 0.1 std",
        "‖ΔW‖ / ‖W‖ against previous",
    ]
    assert axes[-1].get_xlabel() == "training step"
    names = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert names == ["layers.0.kernel", "layers.1.kernel", "layers.2.kernel", "layers.3.kernel"]
    run = found.trajectory()
    want = run[run["name"] == "layers.2.kernel"]["stable_rank"]
    assert any(np.array_equal(y, want) for y in drawn(axes[1]))
    looks = {(line.get_color(), line.get_linestyle()) for line in axes[1].lines if line.get_linestyle() != "None"}
    assert len(looks) == len({colour for colour, _ in looks}) == 4


def test_figure_of_many_layers_has_their_median(many: ModelComparison):
    figure = many.plot(["stable_rank"])
    figure.canvas.draw()
    ax, bar = figure.axes
    assert bar.get_ylabel() == "layer, in network order"
    run = many.trajectory().dropna(subset=["stable_rank"])
    median = run.groupby("step")["stable_rank"].median()
    [line] = [line for line in ax.lines if line.get_label() == "median"]
    np.testing.assert_allclose(line.get_ydata(), median)
    assert len(ax.lines) == 9 + 1


def test_figure_on_given_axes_and_wrong_metrics(found: ModelComparison):
    ax = Figure().subplots()
    from spectra.report.trajectory import plot_trajectory

    assert plot_trajectory(found, ["overlap_v"], ax) is ax.figure
    assert ax.get_ylabel() == "overlap of V with previous"
    for wrong in (["nothing"], []):
        with pytest.raises(InputError, match="choose from alpha"):
            found.plot(wrong)
    with pytest.raises(InputError, match="2 metrics"):
        plot_trajectory(found, ["alpha", "kurtosis"], ax)


def test_names_with_mathematics_are_drawn_as_they_are():
    w = {"evil$_{x": RNG.standard_normal((20, 16)), "$\\frac$": RNG.standard_normal((20, 16))}
    compare(w, w, labels=["$a$", "b_$"]).plot().canvas.draw()


@pytest.mark.parametrize("suffix", ["pdf", "png", "svg"])
def test_figure_files(found: ModelComparison, tmp_path, suffix):
    path = tmp_path / f"run.{suffix}"
    save_figure(found.plot(["alpha"]), path)
    assert path.read_bytes()[:5] in (b"%PDF-", b"\x89PNG\r", b"<?xml")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(OutputError, match=r"\.gif"):
        save_figure(found.plot(["alpha"]), tmp_path / "run.gif")


def printed(found: ModelComparison, width: int | None) -> str:
    wide = {"width": width or 100_000, "force_terminal": width is not None, "color_system": None}
    console = Console(file=io.StringIO(), **wide)
    print_comparison(found, console)
    return console.file.getvalue()


def test_table_in_full_and_in_a_narrow_terminal(found: ModelComparison):
    text = printed(found, None)
    [line] = [line for line in text.splitlines() if line.strip().startswith("layers.2.kernel")]
    m = found["layers.2.kernel"][1].metrics
    assert f"{m['overlap_u']:.3f} ({m['chance_u']:.3f})" in line and f"{m['relative_change']:.3g}" in line
    assert "≠  extra.kernel" in text and "missing in step-2" in text
    assert any(line.startswith("✗") and "layers.1.kernel" in line for line in text.splitlines())
    assert "4 of 6 layers compared, 1 unmatched, 1 failed" in text
    medians = [line.split() for line in text.splitlines() if line.split()[:2] == ["20", "step-2"]]
    run = found.trajectory()
    assert medians[0][2] == f"{run[run['step'] == 20]['alpha'].median():.3g}"
    narrow = printed(found, 70)
    assert max(map(len, narrow.splitlines()[:-1])) <= 70
    assert "layers.2.kernel" in narrow and "‖ΔW‖/‖W‖" in narrow
