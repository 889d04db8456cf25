"""`spectra clean`: a checkpoint and a table as results, everything that is wrong in a line on stderr."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from spectra.cli import run

RNG = np.random.default_rng(0)


def noise() -> np.ndarray:
    return RNG.standard_normal((60, 40)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """The weights of m.safetensors in the working directory: a layer with a trap, and one without."""
    monkeypatch.chdir(tmp_path)
    weights = {"layers.0.fc.weight": noise(), "layers.1.fc.weight": noise(), "layers.1.fc.bias": noise()[0]}
    weights["layers.0.fc.weight"][7, 9] = 25
    save_file(weights, "m.safetensors")
    return weights


def test_a_trap_is_removed_and_told(model, capsys):
    assert run(["clean", "m.safetensors", "--out", "n.safetensors", "--table", "t.csv"]) == 0
    after = load_file("n.safetensors")
    assert {name: int((after[name] != w).sum()) for name, w in model.items() if (after[name] != w).any()} == {
        "layers.0.fc.weight": 1
    }
    captured = capsys.readouterr()
    assert captured.err == ""
    assert re.search(r"layers\.0\.fc\.weight +1 entry +0\.4\d+ .* 1 → 0 +60×40", captured.out)
    assert "layers.1" not in captured.out  # nothing happened there
    assert "n.safetensors: 1 of 2 layers with matrices changed, 1 entry removed, traps 1 → 0" in captured.out
    table = pd.read_csv("t.csv").set_index("name")
    assert table.loc["layers.0.fc.weight", "removed_entries"] == 1
    assert table.loc["layers.1.fc.weight", "relative_change"] == 0


def test_nothing_to_remove_is_a_copy(model, capsys):
    assert run(["clean", "m.safetensors", "--out", "n.safetensors", "--layers", "layers.1.*"]) == 0
    assert Path("n.safetensors").read_bytes() == Path("m.safetensors").read_bytes()
    assert "0 of 1 layers with matrices changed, nothing was removed" in capsys.readouterr().out


def test_bulk(model, capsys):
    assert run(["clean", "m.safetensors", "--out", "n.safetensors", "--remove", "bulk", "--table", "t.json"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"layers\.0\.fc\.weight +39 components, 1 kept", out)
    assert re.search(r"layers\.1\.fc\.weight +–.*left as it is: no eigenvalue is beyond the bulk", out)
    assert np.linalg.matrix_rank(load_file("n.safetensors")["layers.0.fc.weight"]) == 1
    assert list(pd.read_json("t.json")["kept_components"]) == [1, 40]


def test_broken_layers_are_named_and_the_rest_is_written(model, capsys):
    model["layers.1.fc.weight"][0, 0] = np.inf
    save_file(model, "m.safetensors")
    assert run(["clean", "m.safetensors", "--out", "n.safetensors"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("spectra: m.safetensors: layers.1.fc.weight: infinite in 1 of 2400 entries")
    after = load_file("n.safetensors")
    assert after["layers.1.fc.weight"].tobytes() == model["layers.1.fc.weight"].tobytes()
    assert after["layers.0.fc.weight"][7, 9] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m.safetensors"], ["--out"]),
        (["--out", "n.safetensors"], ["MODEL"]),
        (["no.npz", "--out", "n.npz"], ["no.npz", "no such file"]),
        (["m.safetensors", "--out", "m.safetensors"], ["m.safetensors: is the model itself"]),
        (["m.safetensors", "--out", "there.safetensors"], ["there.safetensors: exists already"]),
        (["m.safetensors", "--out", "no/dir/n.safetensors"], ["there is no directory no/dir"]),
        (["m.safetensors", "--out", "n.npz"], ["n.npz: the model is safetensors", ".safetensors"]),
        (["m.safetensors", "--out", "n.safetensors", "--table", "t.xlsx"], ["t.xlsx", ".csv"]),
        (["m.safetensors", "--out", "n.safetensors", "--table", "no/t.csv"], ["no/t.csv"]),
        (["m.safetensors", "--out", "n.safetensors", "--layers", "none*"], ["'none*'", "layers.0.fc.weight"]),
        (["m.safetensors", "--out", "n.safetensors", "--layers", "*bias"], ["no layer that could be cleaned"]),
        (["m.safetensors", "--out", "n.safetensors", "--remove", "noise"], ["--remove", "noise"]),
        (["m.safetensors", "--out", "n.safetensors", "--shrink"], ["remove='bulk'"]),
        (["m.safetensors", "--out", "n.safetensors", "--conv", "fft"], ["pool or flatten"]),
        (["m.safetensors", "--out", "n.safetensors", "--seed", "-1"], ["--seed"]),
        (["int.npz", "--out", "n.npz"], ["int.npz: no analyzable layer", "integer weights"]),
    ],
)
def test_bad_usage_is_one_line(model, capsys, monkeypatch, arguments, words):
    Path("there.safetensors").write_bytes(b"precious")
    np.savez("int.npz", kernel=np.ones((20, 20), np.int8))
    monkeypatch.setattr("spectra.engine.clean.rewrite", lambda *_: pytest.fail("started to work"))
    before = sorted(Path().iterdir())
    assert run(["clean", *arguments]) == 2
    captured = capsys.readouterr()
    [line] = captured.err.strip().splitlines()
    assert line.startswith("spectra: ") and captured.out == ""
    for word in words:
        assert word in line
    assert sorted(Path().iterdir()) == before and Path("there.safetensors").read_bytes() == b"precious"


def test_names_cannot_write_control_characters(model, capsys):
    model["evil\x1b[31m\nname.weight"] = model["layers.0.fc.weight"]
    save_file(model, "m.safetensors")
    assert run(["clean", "m.safetensors", "--out", "n.safetensors"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_an_interrupt_leaves_nothing_half_done(model):
    """What a signal does in the middle of the work, in a process of its own."""
    code = """
import os, signal, sys, threading, time
import spectra.engine.clean_run as running
from spectra.cli import run

first = threading.Lock()  # layers are cleaned side by side, and one interrupt is meant

def cleaned(*_):
    if first.acquire(blocking=False):
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)  # whoever called: the signal has to arrive before a result, which there is none of

running.clean_layer = cleaned
signal.signal(signal.SIGINT, signal.default_int_handler)  # not there in what a shell has started in the background
sys.exit(run(["clean", "m.safetensors", "--out", "n.safetensors"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "spectra: interrupted"
    assert [path.name for path in Path().iterdir()] == ["m.safetensors"]
