"""`spectra plot`: the figures that were asked for, where they were asked for, with the numbers of the analysis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from spectra import cli_plot
from spectra.cli import run
from spectra.report.figures import GRID_KINDS, MODEL_KINDS

RNG = np.random.default_rng(0)


@pytest.fixture
def model(tmp_path: Path) -> str:
    names = ("layers.0.fc/weight", "layers.1.fc:weight", "layers.1.fc?weight")  # awkward names for files
    weights = {name: RNG.standard_t(3, (40, 30)).astype(np.float32) for name in names}
    save_file(weights, tmp_path / "m.safetensors")
    return str(tmp_path / "m.safetensors")


def test_the_kinds_are_those_of_the_figures():
    assert set(cli_plot.KINDS) == {*MODEL_KINDS, *GRID_KINDS, "layers"} and set(cli_plot.USUAL) < set(cli_plot.KINDS)


def pages(path: Path) -> int:
    return path.read_bytes().count(b"/Type /Page ")


def test_a_directory_has_a_file_for_each_figure_and_format(model, tmp_path, capsys):
    out = tmp_path / "figures"
    assert run(["plot", model, "--out", str(out), "--format", "pdf", "--format", "png", "--layers", "layers.0*"]) == 0
    expected = [f"{kind}.{form}" for kind in cli_plot.USUAL for form in ("pdf", "png")]
    assert capsys.readouterr().out.splitlines() == [str(out / name) for name in expected]
    assert sorted(path.name for path in out.iterdir()) == sorted(expected)
    assert (out / "alpha.png").read_bytes().startswith(b"\x89PNG") and pages(out / "esds.pdf") == 1


def test_a_pdf_has_a_page_for_each_figure(model, tmp_path, monkeypatch, capsys):
    seen = []
    inner = cli_plot._figures
    monkeypatch.setattr(cli_plot, "_figures", lambda report, kinds: (seen.append(f) or f for f in inner(report, kinds)))
    out = tmp_path / "all.pdf"
    kinds = ["--kind", "layers", "--kind", "alpha", "--kind", "alpha"]
    assert run(["plot", model, "--out", str(out), *kinds, "--layers", "layers.1*"]) == 0
    assert pages(out) == 3 and capsys.readouterr().out == f"{out}\n"
    names = [name for name, _ in seen]
    assert names == ["layer-layers.1.fc_weight", "layer-layers.1.fc_weight-2", "alpha"]
    from spectra.engine.analyze import analyze

    report = analyze(model, layers=["layers.1*"])
    (line,) = [
        line for line in seen[-1][1].axes[0].get_lines() if line.get_marker() == "o" and len(line.get_xdata()) > 1
    ]
    np.testing.assert_allclose(sorted(line.get_ydata()), sorted(layer.metrics["alpha"] for layer in report))


def test_layers_and_run_dir_are_those_of_analyze(model, tmp_path, capsys):
    arguments = ["--layers", "layers.1*", "--run-dir", str(tmp_path / "run")]
    assert run(["analyze", model, *arguments]) == 0
    assert run(["plot", model, *arguments, "--kind", "layers", "--format", "svg", "--out", str(tmp_path / "f")]) == 0
    assert len(list((tmp_path / "f").iterdir())) == 2


def test_what_a_kind_needs_is_said_before_the_work(model, tmp_path, capsys):
    for kind, option in (("p-values", "add --gof 1000"), ("families", "add --gof 1000"), ("bulks", "add --null")):
        assert run(["plot", model, "--out", str(tmp_path / "f"), "--kind", kind]) == 2
        assert option in capsys.readouterr().err
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("out", "more", "said"),
    [
        ("no/where", [], "there is no directory"),
        ("no/where.pdf", [], "there is no directory"),
        ("f.gif", [], "unknown output format '.gif'"),
        ("f.png", [], "holds one figure"),
        ("f.svg", ["--kind", "layers"], "holds one figure"),
        ("taken", [], "cannot be made a directory"),
        ("f.pdf", ["--kind", "pie"], "pie"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_status_2(model, tmp_path, capsys, out, more, said):
    (tmp_path / "taken").write_text("a file")
    assert run(["plot", model, "--out", str(tmp_path / out), *more]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_a_failed_layer_is_named_and_the_others_drawn(tmp_path, capsys):
    bad = RNG.standard_normal((40, 30)).astype(np.float32)
    bad[3, 4] = np.nan
    save_file(
        {"good.weight": RNG.standard_normal((40, 30)).astype(np.float32), "bad.weight": bad}, tmp_path / "m.safetensors"
    )
    assert run(["plot", str(tmp_path / "m.safetensors"), "--kind", "alpha", "--out", str(tmp_path / "a.png")]) == 2
    captured = capsys.readouterr()
    assert "bad.weight" in captured.err and captured.out == f"{tmp_path / 'a.png'}\n"
    assert (tmp_path / "a.png").stat().st_size > 1000
