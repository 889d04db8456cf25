"""`spectra study`: what is wrong is a line on stderr before any network is trained. Whole runs are in tests/study."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from spectra.cli import run
from spectra.study import idx, workers
from spectra.study.journal import Journal


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, Fashion-MNIST not installed, and no training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(idx, "PLACES", (tmp_path / "not-installed",))
    monkeypatch.setattr(workers, "record_of", lambda *_: pytest.fail("a network was trained"))
    monkeypatch.setattr("spectra.cache.use_compilation_cache", lambda: None)


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the program leaves on stderr."""
    assert run(["study", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1, captured
    return captured.err


def test_an_unknown_experiment_is_refused_with_the_names_of_all(capsys):
    line = told(["width", "--out", "run"], capsys)
    assert "'width'" in line and "depth, initialisation, rectifier, lottery, pruning, weightnorm, controls" in line
    assert not Path("run").exists()


def test_missing_data_name_the_package_and_nothing_is_downloaded(capsys):
    assert "dataset-fashion-mnist" in told(["depth", "--out", "run"], capsys)
    Path("empty").mkdir()
    assert "empty" in told(["depth", "--out", "run", "--data", "empty"], capsys)
    assert not Path("run").exists()


def test_damaged_data_name_the_file(capsys):
    Path("data").mkdir()
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            with gzip.open(f"data/{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(b"\x00\x00\x08\x03 no images")
    assert "train-images-idx3-ubyte.gz" in told(["depth", "--out", "run", "--data", "data"], capsys)


def test_numbers_out_of_range_are_refused_by_name(capsys):
    for option in ("--seeds", "--jobs"):
        assert run(["study", "--out", "run", option, "-1"]) == 2
        assert option in capsys.readouterr().err


def test_a_run_directory_of_another_study_or_none_at_all(capsys):
    Path("file").write_text("not a directory")
    assert "file" in told(["depth", "--quick", "--out", "file"], capsys)
    Journal(Path("other"), {"protocol": "another"})
    assert "another configuration" in told(["depth", "--quick", "--out", "other"], capsys)
