"""`--run-dir` at the command line: killed at any moment, the same command goes on where it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from spectra.cli import run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = {f"{i}.weight": rng.standard_t(3, (50, 40)).astype(np.float32) for i in range(3)}
    save_file(weights, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_killed_at_random_times_it_ends_with_the_undisturbed_table(tmp_path: Path):
    """Two SIGKILLs by the script whose result with a hundred is in benchmarks/results."""
    script, result = ROOT / "scripts/kill_and_resume.py", tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, str(script), "--kills", "2", "--seed", "5", "--out", str(result)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text())
    assert found["kills"] == 2 and found["tables_identical"] and found["finished_layers_computed_again"] == 0
    assert found["kills_with_some_layers_finished"] >= 1


def refused(capsys: pytest.CaptureFixture[str], model: Path, *options: str) -> str:
    """The one line on stderr of a run in this process that ends with status 2, and nothing else."""
    capsys.readouterr()
    assert run(["analyze", str(model), *options]) == 2
    found = capsys.readouterr()
    assert found.err.count("\n") == 1 and not found.out
    return found.err


def test_another_run_in_the_directory_is_refused_in_one_line(model: Path, tmp_path: Path, capsys):
    run_dir = str(tmp_path / "run")
    assert run(["analyze", str(model), "--run-dir", run_dir]) == 0
    for options in (["--precision", "float64"], ["--conv", "flatten"], ["--backend", "jax"]):
        line = refused(capsys, model, "--run-dir", run_dir, *options)
        assert "run" in line and options[1] in line
    weights = {f"{i}.weight": np.ones((50, 40), np.float32) for i in range(3)}
    save_file(weights, model)
    assert "other content" in refused(capsys, model, "--run-dir", run_dir)


def test_a_directory_that_cannot_be_used_is_found_out_before_the_work(model: Path, tmp_path: Path, capsys):
    (tmp_path / "file").write_text("")
    refused(capsys, model, "--run-dir", str(tmp_path / "file"), "--out", str(tmp_path / "x.csv"))
    assert not (tmp_path / "x.csv").exists()


def test_a_full_disk_ends_the_run_with_one_line_and_keeps_what_was_finished(model: Path, tmp_path: Path):
    """Files are limited so that the third record does not fit, and no compiled program either, which nobody misses."""
    run_dir = tmp_path / "run"
    assert run(["analyze", str(model), "--run-dir", str(run_dir), "--out", str(tmp_path / "whole.csv")]) == 0
    size = next(run_dir.glob("layers-*.journal")).stat().st_size
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({int(size * 0.8)},) * 2);"
        "sys.argv[0] = 'spectra'; from spectra.__main__ import main; main()"
    )
    small = tmp_path / "small"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code, "analyze", str(model), "--run-dir", str(small)]
    full = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert full.returncode == 2 and full.stderr.count("\n") == 1, full.stderr
    assert "layers-0000.journal" in full.stderr
    command = [sys.executable, "-m", "spectra", "analyze", str(model), "--run-dir", str(small)]
    again = subprocess.run(
        [*command, "--out", str(tmp_path / "again.csv")], capture_output=True, text=True, env=environment
    )
    assert (again.returncode, again.stderr) == (0, "")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
