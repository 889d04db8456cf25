"""The command line: tables on stdout, files whole or absent, one line and status 2 for bad input."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from spectra.cli import run

RNG = np.random.default_rng(0)


def dense(rows: int = 48, cols: int = 32) -> np.ndarray:
    return RNG.standard_t(3, (rows, cols)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    weights = {f"layers.{i}.fc.weight": dense() for i in (0, 1, 10)}
    save_file({**weights, "layers.0.fc.bias": np.zeros(48, np.float32), "ids": np.arange(7)}, path)
    return path


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("spectra: ")
    assert "Traceback" not in captured.err
    return lines[0]


def assert_refused(arguments: list[str], capsys: pytest.CaptureFixture[str], *words: str) -> None:
    assert run(arguments) == 2
    line = complaint(capsys)
    for word in words:
        assert word in line


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_table_in_every_format_holds_the_same(model: Path, tmp_path: Path, suffix: str, capsys):
    out = tmp_path / f"r.{suffix}"
    assert run(["analyze", str(model), "--out", str(out)]) == 0
    reader = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet}[suffix]
    table = reader(out)
    assert table.columns[0] == "name"
    assert list(table["name"])[1:4] == ["layers.0.fc.bias", "layers.0.fc.weight", "layers.1.fc.weight"]
    assert list(table["name"])[-1] == "layers.10.fc.weight"  # natural order
    fitted = table.dropna(subset=["alpha"])
    assert len(fitted) == 3
    assert (fitted["M"] == 32).all() and (fitted["num_evals"] == 32).all()
    assert list(tmp_path.glob(".r.*")) == []
    captured = capsys.readouterr()
    assert "layers.10.fc.weight" in captured.out and "median alpha" in captured.out
    assert captured.err == ""


def test_files_agree_to_the_last_digit(model: Path, tmp_path: Path):
    for suffix in ("csv", "json", "parquet"):
        assert run(["analyze", str(model), "--out", str(tmp_path / f"r.{suffix}")]) == 0
    exact = pd.read_parquet(tmp_path / "r.parquet")
    for table in (pd.read_csv(tmp_path / "r.csv"), pd.read_json(tmp_path / "r.json", precise_float=True)):
        for column in ("alpha", "xmin", "log_norm", "kurtosis"):
            np.testing.assert_allclose(table[column].astype(float), exact[column], rtol=1e-13)
    records = json.loads((tmp_path / "r.json").read_text())
    assert records[0]["alpha"] is None  # missing values are null, never NaN


def test_globs_choose_layers(model: Path, tmp_path: Path):
    out = tmp_path / "r.csv"
    assert run(["analyze", str(model), "--layers", "layers.1.*", "--layers", "*.10.*", "--out", str(out)]) == 0
    assert list(pd.read_csv(out)["name"]) == ["layers.1.fc.weight", "layers.10.fc.weight"]


def test_several_models_in_one_table(model: Path, tmp_path: Path):
    other = tmp_path / "other.npz"
    np.savez(other, w=dense())
    out = tmp_path / "r.csv"
    assert run(["analyze", str(model), str(other), "--out", str(out)]) == 0
    assert set(pd.read_csv(out)["model"]) == {str(model), str(other)}


def test_report_is_one_page(model: Path, tmp_path: Path):
    page = tmp_path / "r.html"
    assert run(["analyze", str(model), "--report", str(page)]) == 0
    assert "layers.10.fc.weight" in page.read_text(encoding="utf-8")


def test_describe_reads_no_tensor(model: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr("spectra.models.formats.base.ListedSource.read", lambda *_: pytest.fail("read a tensor"))
    out = tmp_path / "d.csv"
    assert run(["describe", str(model), "--out", str(out)]) == 0
    table = pd.read_csv(out).set_index("name")
    assert table.loc["layers.0.fc.weight", "action"] == "analyze"
    assert table.loc["layers.0.fc.bias", "action"] == "entries"
    assert table.loc["ids", "action"] == "skip"
    assert "3 matrices" in capsys.readouterr().out


def test_as_a_process_with_a_cache_of_its_own(model: Path, tmp_path: Path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "COLUMNS": "100"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    program = Path(sys.executable).with_name("spectra")
    done = subprocess.run([program, "analyze", model], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "layers.10.fc.weight" in done.stdout
    assert any((tmp_path / "cache" / "spectra").rglob("*-cache"))


# --- bad input ---


def test_a_missing_file(tmp_path: Path, capsys):
    assert_refused(["analyze", str(tmp_path / "no.safetensors")], capsys, "no.safetensors")


@pytest.mark.parametrize("name", ["m.safetensors", "m.npz", "m.pt", "m.msgpack", "m"])
@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 not weights", b"hello\nworld\n" * 40])
def test_empty_and_foreign_files(tmp_path: Path, capsys, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    out = tmp_path / "r.csv"
    assert_refused(["analyze", str(path), "--out", str(out)], capsys, str(path))
    assert not out.exists()


def test_a_truncated_file_leaves_no_table(model: Path, tmp_path: Path, capsys):
    model.write_bytes(model.read_bytes()[:-100])
    out = tmp_path / "r.csv"
    assert_refused(["analyze", str(model), "--out", str(out)], capsys, str(model))
    assert not out.exists()


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**9])
def test_a_header_length_that_lies(tmp_path: Path, capsys, length: int):
    path = tmp_path / "m.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}" * 20)
    assert_refused(["analyze", str(path)], capsys, str(path))


@pytest.mark.parametrize("offsets", [[0, 2**40], [-8, 8], [16, 8], [4, 20]])
def test_offsets_that_lie(tmp_path: Path, capsys, offsets: list[int]):
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": offsets}}).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    assert_refused(["analyze", str(path)], capsys, str(path))


def test_a_pickle_that_would_run_code(tmp_path: Path, capsys):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    path = tmp_path / "m.pt"
    path.write_bytes(pickle.dumps({"w": Bomb()}))
    assert_refused(["analyze", str(path)], capsys, str(path))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_tensor_leaves_the_other_rows_intact(model: Path, tmp_path: Path, capsys, bad: float):
    good = tmp_path / "good.csv"
    assert run(["analyze", str(model), "--out", str(good)]) == 0
    capsys.readouterr()
    from safetensors.numpy import load_file

    weights = load_file(model)
    weights["layers.1.fc.weight"][3, 4] = bad
    save_file(weights, model)
    out = tmp_path / "r.csv"
    assert_refused(["analyze", str(model), "--out", str(out)], capsys, str(model), "layers.1.fc.weight", "1 of 1536")
    before, after = (pd.read_csv(path).set_index("name") for path in (good, out))
    assert after.loc["layers.1.fc.weight", "status"] == "failed"
    assert pd.isna(after.loc["layers.1.fc.weight", "alpha"])
    pd.testing.assert_frame_equal(before.drop("layers.1.fc.weight"), after.drop("layers.1.fc.weight"))


def test_quantized_weights_are_named(model: Path, tmp_path: Path, capsys):
    path = tmp_path / "q.safetensors"
    save_file({"a.weight": dense(), "b.weight": np.ones((32, 32), np.int8)}, path)
    assert_refused(["analyze", str(path)], capsys, "b.weight", "int8")


def test_nothing_to_analyze(tmp_path: Path, capsys):
    path = tmp_path / "m.safetensors"
    save_file({"steps": np.arange(3), "weight": np.ones((16, 16), np.int8)}, path)
    assert_refused(["analyze", str(path)], capsys, str(path), "no analyzable layer")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--precision", "float16"], ["--precision", "float16"]),
        (["--conv", "fold"], ["--conv", "fold"]),
        (["--layers", "nothing*"], ["nothing*", "layers.0.fc"]),
        (["--min-evals", "ten"], ["--min-evals", "ten"]),
        (["--min-evals", "1"], ["--min-evals"]),
        (["--out", "r.xlsx"], ["r.xlsx", ".csv"]),
        (["--out", "no/such/dir/r.csv"], ["no/such/dir"]),
        (["--report", "page.pdf"], ["page.pdf", ".html"]),
        (["--nul"], ["--nul"]),
        (["--gof", "5"], ["gof", "40"]),
        (["--gof", "-1"], ["--gof"]),
        (["--seed", "x"], ["--seed"]),
    ],
)
def test_bad_options_are_found_before_the_work(model: Path, capsys, monkeypatch, arguments, words):
    monkeypatch.setattr("spectra.engine.analyze.run", lambda *_: pytest.fail("started to work"))
    assert_refused(["analyze", str(model), *arguments], capsys, *words)


def test_output_that_cannot_be_written(model: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr("spectra.engine.analyze.run", lambda *_: pytest.fail("started to work"))
    assert_refused(["analyze", str(model), "--out", str(tmp_path)], capsys, str(tmp_path))
    assert_refused(["analyze", str(model), "--out", str(model / "r.csv")], capsys, "r.csv")
    assert_refused(["analyze", str(model), "--out", "/proc/r.csv"], capsys, "/proc/r.csv")


def test_the_model_is_not_overwritten(tmp_path: Path, capsys):
    path = tmp_path / "weights.csv"
    path.write_text("a,b\n1,2\n")
    assert run(["analyze", str(path), "--out", str(path)]) == 2
    assert path.read_text() == "a,b\n1,2\n"


def test_no_arguments_at_all(capsys):
    assert run(["analyze"]) == 2
    assert "MODEL" in complaint(capsys)
    assert run(["analyse", "x"]) == 2
    assert "analyse" in complaint(capsys)


def test_vectors_alone_are_nothing_to_analyze(tmp_path: Path, capsys):
    path = tmp_path / "m.safetensors"
    save_file({"norm.weight": np.ones(20, np.float32)}, path)
    assert_refused(["analyze", str(path)], capsys, str(path), "no analyzable layer")
    assert run(["analyze", str(path), "--layers", "norm.*"]) == 0  # asked for by name, they get their moments


def test_names_cannot_write_control_characters(tmp_path: Path, capsys):
    path = tmp_path / "m.safetensors"
    save_file({"evil\x1b[31m\nname.weight": dense()}, path)
    assert run(["analyze", str(path)]) == 0
    assert run(["describe", str(path)]) == 0
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_one_line(model: Path):
    program = Path(sys.executable).with_name("spectra")
    with open("/dev/full", "w") as full:
        done = subprocess.run([program, "describe", model], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["spectra: standard output: No space left on device"]


def test_a_link_is_followed(model: Path, tmp_path: Path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    assert run(["describe", str(model), "--out", str(tmp_path / "link.csv")]) == 0
    assert (tmp_path / "link.csv").is_symlink() and "layers.0" in (tmp_path / "real.csv").read_text()


def test_a_part_of_the_model_is_not_overwritten(model: Path, tmp_path: Path, capsys):
    shards = tmp_path / "sharded"
    shards.mkdir()
    weights = {"fc.weight": dense()}
    save_file(weights, shards / "model-00001-of-00001.safetensors")
    index = shards / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(weights, "model-00001-of-00001.safetensors")}))
    for command in ("analyze", "describe"):
        assert_refused([command, str(shards), "--out", str(index)], capsys, str(index), "part of the model")
    config = model.parent / "adapter_config.json"
    config.write_text("{}")
    assert_refused(["analyze", str(model), "--out", str(config)], capsys, "adapter_config.json", "part of the model")
    assert run(["analyze", str(shards), "--out", str(shards / "layers.csv")]) == 0


def test_a_file_name_that_is_no_text_loses_nothing(model: Path, tmp_path: Path, capsys):
    odd = tmp_path / os.fsdecode(b"m\xff.safetensors")
    model.rename(odd)
    for suffix in ("csv", "json"):
        assert run(["analyze", str(odd), "--out", str(tmp_path / f"t.{suffix}")]) == 0
    assert "\\udcff" in pd.read_csv(tmp_path / "t.csv")["model"][0]
    assert len(json.loads((tmp_path / "t.json").read_text())) == 5


def test_output_names_at_the_limit_of_the_file_system(model: Path, tmp_path: Path, capsys):
    assert_refused(["analyze", str(model), "--out", "x" * 300 + ".csv"], capsys, "cannot be written")
    longest = tmp_path / ("層" * 83 + ".csv")  # 253 bytes
    assert run(["analyze", str(model), "--out", str(longest)]) == 0 and longest.exists()


def test_a_very_long_name_leaves_the_other_columns(tmp_path: Path, capsys):
    save_file({"fc" * 100_000 + ".weight": dense(), "head.weight": dense()}, tmp_path / "m.safetensors")
    for command in ("analyze", "describe"):
        assert run([command, str(tmp_path / "m.safetensors")]) == 0
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines())) < 2000
        assert "48×32" in out
