"""Convolutions as operators, heads and low-rank adapters through the whole analyzer, against NumPy in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

import spectra
from spectra.cli import run

RNG = np.random.default_rng(8)


def heavy(*shape: int) -> np.ndarray:
    return RNG.standard_t(3, shape).astype(np.float32)


def evals_of(*matrices: np.ndarray) -> np.ndarray:
    values = [np.linalg.svd(m.astype(np.result_type(m, np.float64)), compute_uv=False).ravel() for m in matrices]
    return np.sort(np.concatenate(values) ** 2)


@pytest.mark.parametrize("backend", ["lapack", "jax"])
def test_convolution_as_an_operator(backend: str):
    w = heavy(12, 10, 3, 3)
    report = spectra.analyze({"conv.weight": w}, conv="fft", fft_size=8, backend=backend)
    layer = report["conv"]
    want = evals_of(np.fft.fft2(w.astype(np.float64), s=(8, 8), axes=(2, 3)).transpose(2, 3, 0, 1))
    np.testing.assert_allclose(layer.eigenvalues, want, atol=2e-6 * want[-1])
    sizes = {name: layer.metrics[name] for name in ("N", "M", "Q", "rf", "num_evals")}
    assert sizes == {"N": 12, "M": 10, "Q": 1.2, "rf": 64, "num_evals": 640}
    np.testing.assert_allclose(layer.metrics["norm"], 64 * np.sum(w.astype(np.float64) ** 2), rtol=1e-5)
    np.testing.assert_allclose(layer.metrics["stable_rank"], want.sum() / want[-1], rtol=1e-5)
    tail = want[want >= 0.9999 * layer.metrics["xmin"]]
    alpha = 1 + tail.size / np.log(tail / layer.metrics["xmin"]).sum()
    assert layer.metrics["num_pl_spikes"] == tail.size
    np.testing.assert_allclose(layer.metrics["alpha"], alpha, rtol=1e-3)
    np.testing.assert_allclose(layer.metrics["std"], w.std(dtype=np.float64), rtol=1e-5)  # the entries are the kernel's


def test_null_models_are_for_plain_matrices_only():
    model = {"conv.weight": heavy(12, 10, 3, 3), "q.lora_A.weight": heavy(12, 20), "q.lora_B.weight": heavy(30, 12)}
    report = spectra.analyze(model, conv="fft", null=True)
    assert not [layer.name for layer in report if "num_spikes" in layer.metrics]
    assert {layer.status for layer in report} == {"success"}


def test_depthwise_and_what_names_do_not_tell():
    w = {"dwconv.weight": heavy(12, 1, 3, 3), "conv1.weight": heavy(12, 1, 3, 3), "pw.weight": heavy(12, 12, 1, 1)}
    report = spectra.analyze(w, conv="fft", fft_size=6)
    gains = np.abs(np.fft.fft2(w["dwconv.weight"][:, 0].astype(np.float64), s=(6, 6)))
    np.testing.assert_allclose(report["dwconv"].eigenvalues, np.sort(gains**2, axis=None), rtol=1e-4)
    gains = np.abs(np.fft.fft2(w["conv1.weight"][:, 0].astype(np.float64), s=(6, 6)))
    np.testing.assert_allclose(report["conv1"].eigenvalues, np.sort((gains**2).sum(axis=0), axis=None), rtol=1e-4)
    assert "taken as a convolution of one input channel" in report["conv1"].warning
    np.testing.assert_allclose(report["pw"].eigenvalues, evals_of(w["pw.weight"][:, :, 0, 0]), rtol=1e-4)


def test_a_row_for_each_head():
    w = heavy(32, 3, 16)
    params = {"attn": {"query": {"kernel": w, "bias": heavy(3, 16)}}}
    report = spectra.analyze(params, heads="split")
    for h in range(3):
        layer = report[f"attn.query.kernel[{h}]"]
        np.testing.assert_allclose(layer.eigenvalues, evals_of(w[:, h]), rtol=1e-3)
        assert layer.metrics["num_evals"] == 16
    assert spectra.analyze(params)["attn.query.kernel"].metrics["num_evals"] == 32
    plain = spectra.analyze({"attn.q_proj.weight": heavy(32, 32)}, heads="split")["attn.q_proj"]
    assert plain.status == "success" and "not split: nothing tells its number of heads" in plain.warning


@pytest.fixture
def adapter(tmp_path: Path) -> tuple[Path, Path, dict[str, np.ndarray]]:
    """An adapter of PEFT's with three modules, the last of rank 0, and its base."""
    a, b, w = heavy(12, 30), heavy(40, 12), heavy(40, 30)
    for folder in ("lora", "base"):
        (tmp_path / folder).mkdir()
    factors = {"q.lora_A.weight": a, "q.lora_B.weight": b, "v.lora_A.weight": a, "v.lora_B.weight": 0 * b}
    factors |= {"k.lora_A.weight": np.zeros((0, 30), np.float32), "k.lora_B.weight": np.zeros((40, 0), np.float32)}
    save_file({f"base_model.model.{name}": x for name, x in factors.items()}, tmp_path / "lora" / "adapter.safetensors")
    (tmp_path / "lora" / "adapter_config.json").write_text('{"lora_alpha": 6}')
    save_file({"q.weight": w, "v.weight": w, "k.weight": w}, tmp_path / "base" / "model.safetensors")
    return tmp_path / "lora", tmp_path / "base", {"a": a, "b": b, "w": w}


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_base_delta_and_merged(adapter: tuple[Path, Path, dict[str, np.ndarray]], precision: str):
    lora, base, x = adapter
    report = spectra.analyze(lora, base=base, precision=precision)
    delta = 0.5 * x["b"].astype(np.float64) @ x["a"].astype(np.float64)
    row = report["q"]
    assert (row.kind, row.status, row.shape, row.metrics["method"]) == ("lora", "success", (40, 30), "svd")
    assert {name: row.metrics[name] for name in ("N", "M", "rf", "num_evals", "matrix_rank")} == {
        **{"N": 40, "M": 30, "rf": 1},
        **{"num_evals": 12, "matrix_rank": 12},
    }
    np.testing.assert_allclose(row.eigenvalues, evals_of(delta)[-12:], rtol=1e-5)
    assert row.histogram is None and "count" not in row.metrics
    np.testing.assert_allclose(report["q[base]"].eigenvalues, evals_of(x["w"]), rtol=1e-3)
    np.testing.assert_allclose(report["q[merged]"].eigenvalues, evals_of(x["w"] + delta), rtol=2e-3)
    np.testing.assert_allclose(report["q[merged]"].metrics["std"], (x["w"] + delta).std(), rtol=1e-5)
    assert report["v"].metrics["lambda_max"] == 0 and report["v"].warning.startswith("no fit")
    np.testing.assert_allclose(report["v[merged]"].eigenvalues, report["v[base]"].eigenvalues)
    assert report["k"].status == "failed" and "rank 0" in report["k"].warning
    assert "trained" not in row.warning


def test_a_lora_at_the_command_line(adapter: tuple[Path, Path, dict[str, np.ndarray]], capsys: pytest.CaptureFixture):
    lora, base, _ = adapter
    out = lora.parent / "rows.csv"
    page = lora.parent / "page.html"
    assert run(["analyze", str(lora), "--out", str(out), "--report", str(page)]) == 2  # k has failed
    assert "rank 0" in capsys.readouterr().err
    table = pd.read_csv(out)
    assert list(table["name"]) == ["k", "q", "v"] and page.stat().st_size > 0
    assert table["warning"][1].endswith("delta only: no base given")
    assert run(["describe", str(lora), "--base", str(base)]) == 0
    assert "q[merged]" in capsys.readouterr().out
    assert run(["analyze", str(base), "--base", str(base)]) == 2
    assert "has no low-rank adapters" in capsys.readouterr().err
    assert run(["analyze", str(lora), "--base", str(lora / "none")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_journal_knows_the_base_and_the_scale(adapter: tuple[Path, Path, dict[str, np.ndarray]]):
    lora, base, x = adapter
    run_dir = lora.parent / "run"
    first = spectra.analyze(lora, base=base, run_dir=run_dir)
    again = spectra.analyze(lora, base=base, run_dir=run_dir)
    assert first["q[merged]"].metrics == again["q[merged]"].metrics
    (lora / "adapter_config.json").write_text('{"lora_alpha": 7}')
    with pytest.raises(spectra.InputError, match="before it changed"):
        spectra.analyze(lora, base=base, run_dir=run_dir)
    (lora / "adapter_config.json").write_text('{"lora_alpha": 6}')
    save_file({"q.weight": 2 * x["w"], "v.weight": x["w"], "k.weight": x["w"]}, base / "model.safetensors")
    with pytest.raises(spectra.InputError, match="before it changed"):
        spectra.analyze(lora, base=base, run_dir=run_dir)


@pytest.mark.parametrize("choice", [{"conv": "dct"}, {"heads": "some"}, {"fft_size": 0}, {"fft_size": 1.5}])
def test_unknown_choices(choice: dict[str, object]):
    with pytest.raises(spectra.InputError, match=next(iter(choice))):
        spectra.analyze({"w.kernel": heavy(20, 20)}, **choice)
