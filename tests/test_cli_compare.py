"""`spectra compare`: results on stdout and in files, mismatches and failures in a line on stderr."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from spectra.cli import run

RNG = np.random.default_rng(0)


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    """Three checkpoints of a run."""
    start = {f"layers.{i}.fc.weight": RNG.standard_t(3, (40, 30)).astype(np.float32) for i in range(2)}
    paths = []
    for t in range(3):
        paths.append(str(tmp_path / f"step{t}.safetensors"))
        save_file({name: w + np.float32(0.1 * t) for name, w in start.items()}, paths[-1])
    return paths


def changed(path: str, **weights: np.ndarray) -> None:
    save_file({**load_file(path), **{name.replace("__", "."): w for name, w in weights.items()}}, path)


def test_two_checkpoints(models, tmp_path: Path, capsys):
    out = tmp_path / "c.csv"
    assert run(["compare", *models[:2], "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert list(table["name"]) == ["layers.0.fc.weight", "layers.1.fc.weight"]
    assert set(table["against"]) == {models[0]} and set(table["model"]) == {models[1]}
    a, b = (load_file(path)["layers.0.fc.weight"] for path in models[:2])
    np.testing.assert_allclose(table["delta_norm"][0], np.linalg.norm(b - a), rtol=1e-5)
    captured = capsys.readouterr()
    assert "layers.1.fc.weight" in captured.out and "2 of 2 layers compared" in captured.out
    assert captured.err == ""


def test_a_run_with_its_trajectory_and_figure(models, tmp_path: Path, capsys):
    run_table, figure = tmp_path / "t.parquet", tmp_path / "t.pdf"
    arguments = ["--trajectory", str(run_table), "--figure", str(figure), "--steps", "0,500,1e3", "--against", "first"]
    assert run(["compare", *models, *arguments]) == 0
    table = pd.read_parquet(run_table)
    assert list(table["step"]) == [0, 0, 500, 500, 1000, 1000]
    assert figure.read_bytes().startswith(b"%PDF-")
    one = table[table["name"] == "layers.0.fc.weight"]["relative_change"].to_numpy()
    np.testing.assert_allclose(one[2], 2 * one[1], rtol=1e-5)  # both against the first


def test_layers_that_do_not_match_are_named_in_one_line(models, capsys):
    changed(models[1], layers__1__fc__weight=np.ones((7, 9), np.float32), head__weight=np.ones((12, 12), np.float32))
    assert run(["compare", *models[:2]]) == 0
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert line.startswith(f"spectra: {models[0]} → {models[1]}: ")
    assert f"1 missing in {models[0]}: head.weight" in line
    assert "layers.1.fc.weight (other shape, 40×30 and 7×9)" in line
    assert "1 of 3 layers compared, 2 unmatched" in captured.out


def test_many_layers_that_do_not_match_are_counted(models, capsys):
    changed(models[1], **{f"extra__{i}__weight": np.ones((12, 12), np.float32) for i in range(20)})
    assert run(["compare", *models[:2]]) == 0
    [line] = capsys.readouterr().err.splitlines()
    assert "20 missing in" in line and "extra.0.weight" in line and "and 17 more" in line


def test_nan_fails_its_layer_alone(models, tmp_path: Path, capsys):
    good, out = tmp_path / "good.csv", tmp_path / "c.csv"
    assert run(["compare", *models[:2], "--out", str(good)]) == 0
    capsys.readouterr()
    broken = load_file(models[1])["layers.1.fc.weight"]
    broken[3, 4] = np.nan
    changed(models[1], layers__1__fc__weight=broken)
    assert run(["compare", *models[:2], "--out", str(out)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert models[1] in line and "layers.1.fc.weight" in line and "NaN in 1 of 1200" in line
    before, after = (pd.read_csv(path).set_index("name") for path in (good, out))
    assert after.loc["layers.1.fc.weight", "status"] == "failed"
    columns = ["delta_norm", "overlap_u", "alpha_shift", "w1_distance"]
    pd.testing.assert_series_equal(before.loc["layers.0.fc.weight", columns], after.loc["layers.0.fc.weight", columns])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["MODEL", "two"]),
        (["{0}"], ["two"]),
        (["{0}", "no.npz"], ["no.npz"]),
        (["{0}", "{1}", "--layers", "none*"], ["none*"]),
        (["{0}", "{1}", "--out", "c.xlsx"], ["c.xlsx", ".csv"]),
        (["{0}", "{1}", "--figure", "f.gif"], ["f.gif", ".pdf"]),
        (["{0}", "{1}", "--trajectory", "no/dir/t.csv"], ["no/dir"]),
        (["{0}", "{1}", "--steps", "1,2,3"], ["steps", "2 increasing numbers"]),
        (["{0}", "{1}", "--steps", "a,b"], ["--steps", "'a,b'"]),
        (["{0}", "{1}", "--steps", "5,1"], ["increasing"]),
        (["{0}", "{1}", "--top", "-1"], ["--top"]),
        (["{0}", "{1}", "--against", "last"], ["--against"]),
    ],
)
def test_bad_usage_is_one_line(models, capsys, monkeypatch, arguments, words):
    monkeypatch.setattr("spectra.engine.compare.run", lambda *_: pytest.fail("started to work"))
    given = [argument.format(*models) for argument in arguments]
    assert run(["compare", *given]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("spectra: ")
    for word in words if arguments else ["A B"]:
        assert word in line


def test_checkpoints_of_different_models(models, tmp_path: Path, capsys):
    other, out = tmp_path / "other.npz", tmp_path / "c.csv"
    np.savez(other, kernel=np.ones((20, 20)))
    assert run(["compare", models[0], str(other), "--out", str(out)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "no layer in common" in line and "'layers.0.fc.weight'" in line and "'kernel'" in line
    assert not out.exists()


def test_a_truncated_checkpoint_leaves_no_file(models, tmp_path: Path, capsys):
    Path(models[1]).write_bytes(Path(models[1]).read_bytes()[:-64])
    out = tmp_path / "c.csv"
    assert run(["compare", *models[:2], "--out", str(out)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert models[1] in line and not out.exists()


def test_the_checkpoint_is_not_overwritten(models, tmp_path: Path, capsys):
    path = tmp_path / "weights.csv"
    path.write_bytes(Path(models[0]).read_bytes())
    assert run(["compare", str(path), models[1], "--out", str(path)]) == 2
    assert "is the model itself" in capsys.readouterr().err


def test_names_cannot_write_control_characters(tmp_path: Path, capsys):
    for name, extra in (("a", "evil\x1b[31m\nname.weight"), ("b", "good.weight")):
        save_file(
            {"x.weight": RNG.standard_normal((20, 16)).astype(np.float32), extra: np.ones((20, 20), np.float32)},
            tmp_path / f"{name}.safetensors",
        )
    assert run(["compare", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]) == 0
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert len(captured.err.splitlines()) == 1


def test_table_and_trajectory_need_two_files(models, tmp_path: Path, capsys):
    same = str(tmp_path / "same.csv")
    assert run(["compare", *models, "--out", same, "--trajectory", same]) == 2
    assert "give two files" in capsys.readouterr().err and not Path(same).exists()


def test_factors_of_adapters_are_not_compared(tmp_path: Path, capsys):
    """The same change BA by other factors: to compare these would show one where there is none."""
    a, b = RNG.standard_normal((16, 60)), RNG.standard_normal((70, 16))
    turn = np.linalg.qr(RNG.standard_normal((16, 16)))[0]
    head, paths = RNG.standard_normal((40, 30)).astype(np.float32), []
    for i, (one, other) in enumerate(((a, b), (turn.T @ a, b @ turn))):
        paths.append(str(tmp_path / f"{i}.safetensors"))
        factors = {"m.q.lora_A.weight": one, "m.q.lora_B.weight": other}
        factors = {name: np.ascontiguousarray(w, np.float32) for name, w in factors.items()}
        save_file({**factors, "head.weight": head * (1 + i)}, paths[-1])
    out = tmp_path / "c.csv"
    assert run(["compare", *paths, "--out", str(out)]) == 0
    table = pd.read_csv(out).set_index("name")
    assert table["status"].to_dict() == {
        "m.q.lora_A.weight": "unmatched",
        "m.q.lora_B.weight": "unmatched",
        "head.weight": "success",
    }
    assert "merge the adapters" in table["warning"]["m.q.lora_A.weight"]
    for path in paths:
        save_file({k: v for k, v in load_file(path).items() if "lora" in k}, path)
    capsys.readouterr()
    assert run(["compare", *paths]) == 2
    assert "no layer in common" in (err := capsys.readouterr().err) and "low-rank adapter" in err
