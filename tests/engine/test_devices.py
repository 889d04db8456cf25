"""Several devices, several processes: the same results, the work shared. Each runs in processes of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

import spectra
from spectra.cli import run
from spectra.engine.distributed import share
from spectra.engine.options import Options
from spectra.engine.plan import make_plan
from spectra.kernels.sharded import sharded_spectrum
from spectra.models.formats import open_source

ROOT = Path(__file__).parents[2]
CLOSE = ("alpha", "xmin", "D", "lambda_max", "log_norm", "stable_rank", "std", "kurtosis", "gini")


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    shapes = [(96, 64), (64, 96), (90, 60), (70, 64), (64, 64)]  # two programs for four devices, with the convolution
    found = {f"layer.{i}.weight": rng.standard_t(3, shapes[i % 5]).astype(np.float32) for i in range(15)}
    found["conv.weight"] = rng.standard_t(3, (32, 24, 3, 3)).astype(np.float32)
    found["bad.weight"] = np.full((40, 40), np.nan, np.float32)
    return found


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("devices") / "model.safetensors"
    save_file(weights(), path)
    return path


def python(code: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FOUR_DEVICES = """
import json, sys
import jax, numpy as np
import spectra
from spectra.engine.backends import JaxBackend, choose_backend
from spectra.engine.options import Options
from spectra.engine.plan import make_plan
from spectra.engine.run import run
from spectra.models.formats import open_source

assert jax.local_device_count() == 4
source, options = open_source(sys.argv[1]), Options()
plan = make_plan(source, options)
backend = choose_backend(options, plan)
assert isinstance(backend, JaxBackend)
results = [r for _, r in run(plan, source, options, backend, range(len(plan.steps))) if r is not None]
w = np.random.default_rng(1).standard_t(3, (1001, 60)).astype(np.float32)
sharding = JaxBackend({}, {60: 64}, largest=1000)
spread = [sharding.spectra(m[None], "gram") for m in (w, w.T.copy())]
single = JaxBackend({}, {60: 64}).spectra(w[None], "gram")
print(json.dumps({
    "used": backend.used,
    "rows": {r.name: {k: v for k, v in r.metrics.items()} | {"status": r.status} for r in results},
    "sharded": [[values.tolist(), floor.tolist()] for values, floor in spread],
    "single": [single[0].tolist(), single[1].tolist()],
    "auto": spectra.analyze(sys.argv[1]).meta["backend"],
}))
"""


@pytest.fixture(scope="module")
def four(checkpoint: Path) -> dict:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    return json.loads(python(FOUR_DEVICES, str(checkpoint), XLA_FLAGS=flags, JAX_PLATFORMS="cpu"))


def test_four_devices_share_the_layers(four: dict):
    assert four["auto"] == "jax"
    assert len(four["used"]) == 4 and min(four["used"]) >= 2
    assert sum(four["used"]) == 16


def test_four_devices_give_the_numbers_of_one(four: dict, checkpoint: Path):
    """The JAX route, padded and on four devices, against LAPACK's."""
    report = spectra.analyze(checkpoint, backend="lapack")
    assert len(report) == len(four["rows"]) == 17
    for layer in report:
        row = four["rows"][layer.name]
        assert row["status"] == layer.status
        assert row.get("num_pl_spikes") == layer.metrics.get("num_pl_spikes")
        for name in CLOSE:
            if layer.metrics.get(name) is not None:
                np.testing.assert_allclose(row[name], layer.metrics[name], rtol=2e-4, err_msg=f"{layer.name} {name}")


def test_a_matrix_spread_by_rows_has_the_same_spectrum(four: dict):
    w = np.random.default_rng(1).standard_t(3, (1001, 60)).astype(np.float32)
    want = np.linalg.svd(w.astype(np.float64), compute_uv=False)
    for values, floor in four["sharded"]:
        np.testing.assert_allclose(values[0], want, rtol=1e-5)
        np.testing.assert_allclose(values, four["single"][0], rtol=1e-5)
        np.testing.assert_allclose(floor, four["single"][1], rtol=0.1)


def test_spreading_over_one_device_changes_nothing_and_wide_matrices_are_refused():
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]), ("rows",))
    w = np.random.default_rng(2).standard_t(3, (70, 30)).astype(np.float32)
    on_mesh = jax.jit(partial(sharded_spectrum, mesh=mesh))
    spread, whole = on_mesh(w), jax.jit(lambda w: spectra.spectrum(w, "gram"))(w)
    np.testing.assert_allclose(spread.singular_values, whole.singular_values, rtol=1e-5)
    np.testing.assert_allclose(spread.floor, whole.floor, rtol=1e-4)
    assert int(spread.num_evals) == 30 and int(spread.num_unresolved) == int(whole.num_unresolved)
    w[3, 4] = np.nan
    assert np.isnan(on_mesh(w).singular_values).all()
    with pytest.raises(ValueError, match="at least as many rows as columns"):
        sharded_spectrum(jax.numpy.ones((30, 70)), mesh)


def test_backends_agree_in_this_process():
    """Convolution and NaN, and in float64 tall and wide matrices; the test of four devices has all in float32."""
    odd, dense = ("conv.weight", "bad.weight"), ("layer.0.weight", "layer.1.weight")
    for precision, rtol, names in (("float32", 2e-4, odd), ("float64", 1e-9, odd + dense)):
        some = {name: w for name, w in weights().items() if name in names}
        reports = [spectra.analyze(some, backend=name, precision=precision) for name in ("lapack", "jax")]
        assert [report.meta["backend"] for report in reports] == ["lapack", "jax"]
        for ours, theirs in zip(*reports, strict=True):
            assert ours.status == theirs.status
            for name in CLOSE if ours.status == "success" else ():
                np.testing.assert_allclose(ours.metrics[name], theirs.metrics[name], rtol=rtol, err_msg=name)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_processes_take_each_layer_once(count: int, checkpoint: Path):
    plan = make_plan(open_source(checkpoint), Options())
    shares = [share(plan, count, number) for number in range(count)]
    assert sorted(step.index for steps in shares for step in steps) == list(range(len(plan.steps)))
    if count <= 3:
        loads = [sum(step.flops for step in steps) for steps in shares]
        assert max(loads) <= 1.5 * sum(loads) / count


def test_slices_of_one_tensor_are_shared_out_too():
    stack = {"layers": {"Dense_0": {"kernel": np.ones((8, 30, 20), np.float32)}}}
    plan = make_plan(open_source(stack), Options())
    shares = [share(plan, 2, number) for number in range(2)]
    assert [len(steps) for steps in shares] == [4, 4]


def test_three_processes_give_one_result(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """By the launcher, with the table of this one process and no other word on standard output."""
    command = ["analyze", str(checkpoint)]
    assert run([*command, "--out", str(tmp_path / "one.csv")]) == 2  # one layer is NaN
    one = capsys.readouterr()
    together = [*command, "--distributed", "--run-dir", str(tmp_path / "run"), "--out", str(tmp_path / "three.csv")]
    program = [str(ROOT / "scripts/launch"), "3", sys.executable, "-m", "spectra", *together]
    three = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert three.returncode == 2
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "three.csv").read_bytes()
    untimed = re.compile(r" in \d+\.\d s")
    assert untimed.sub("", three.stdout) == untimed.sub("", one.out)
    assert three.stderr == one.err  # nothing of Gloo's, which tells on C's standard output who met
    # Each has journaled its own share; one process takes up all of it.
    assert len(list((tmp_path / "run").glob("layers-*.journal"))) == 3
    sizes = {path: path.stat().st_size for path in (tmp_path / "run").glob("layers-*.journal")}
    assert run([*command, "--run-dir", str(tmp_path / "run")]) == 2
    grown = sum(path.stat().st_size - size for path, size in sizes.items())
    assert 0 < grown < 1000  # the failed layer alone was tried once more


def test_joining_nobody_is_an_input_error(checkpoint: Path, tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "JAX_", "OMPI"))}
    done = subprocess.run(
        [sys.executable, "-m", "spectra", "analyze", str(checkpoint), "--distributed"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "scripts/launch" in done.stderr and not done.stdout


def test_a_table_does_not_depend_on_the_processes(checkpoint: Path):
    frame = spectra.analyze(checkpoint, backend="lapack").to_pandas()
    again = spectra.analyze(checkpoint, backend="lapack").to_pandas()
    pd.testing.assert_frame_equal(frame, again)
