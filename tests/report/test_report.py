"""`Report` as a user handles it: index, summary, frames, files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import spectra
from spectra.report import save

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def report() -> spectra.Report:
    def layer(n: int) -> dict[str, np.ndarray]:
        return {"kernel": RNG.standard_t(3, (n, 24)), "bias": RNG.standard_normal(24)}

    weights = {"encoder": {"0": {"mlp": layer(30)}, "1": {"mlp": layer(40)}}, "head": layer(8)}
    return spectra.analyze(weights, label="net")


def test_indexing_by_full_or_module_name(report):
    full = report["encoder.0.mlp.kernel"]
    assert report["encoder.0.mlp"] is full
    assert report["encoder.0.mlp.bias"].kind == "bias"


def test_an_unknown_or_ambiguous_name_says_so(report):
    with pytest.raises(KeyError, match=r"did you mean 'encoder\.0\.mlp\.kernel'"):
        report["encoder.0.mlp.kernl"]
    with pytest.raises(KeyError, match="names 4 layers"):
        report["encoder"]


def test_frame_has_the_key_first_and_honest_integers(report):
    frame = report.to_pandas()
    assert frame.columns[0] == "name" and list(frame["model"].unique()) == ["net"]
    assert frame["num_evals"].dtype == "Int64" and frame["alpha"].dtype == "float64"
    assert frame.set_index("name").loc["head.bias", "num_evals"] is pd.NA
    assert len(frame) == len(report) == 6


def test_summary_counts(report):
    s = report.summary()
    fitted = report.to_pandas().dropna(subset=["alpha"])
    assert (s["layers"], s["fitted"], s["skipped"], s["failed"]) == (6, len(fitted), 1, 0)
    assert s["alpha"] == fitted["alpha"].median()
    assert s["weights"] == report.to_pandas()["count"].sum()
    assert "6 layers" in repr(report)


def test_plot_returns_a_figure(report):
    figure = report["encoder.1.mlp"].plot()
    assert isinstance(figure, Figure) and len(figure.axes) == 3


@pytest.mark.parametrize("name", ["r.csv", "r.json", "r.parquet"])
def test_saving_is_whole_or_nothing(report, tmp_path, monkeypatch, name):
    report.save(tmp_path / name)
    first = (tmp_path / name).read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(save.os, "replace", full)  # all is written by then, under another name
    with pytest.raises(spectra.OutputError, match="No space left"):
        report.save(tmp_path / name)
    assert (tmp_path / name).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_saving_refuses_what_it_cannot_do(report, tmp_path):
    for bad in ("r.xlsx", "no/dir/r.csv"):
        with pytest.raises(spectra.OutputError, match="r\\."):
            report.save(tmp_path / bad)
    with pytest.raises(spectra.OutputError, match="there is no directory"):
        report.save_html(tmp_path / "no" / "page.html")
    report.save_html(tmp_path / "page.html")
    assert "encoder.1.mlp.kernel" in (tmp_path / "page.html").read_text(encoding="utf-8")
