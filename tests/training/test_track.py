"""Tracking real training loops, NNX and Linen with Optax, into every sink."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from flax import linen, nnx
from flax.training.train_state import TrainState

import spectra
from spectra.errors import InputError, OutputError
from spectra.training import Row, TableFile, TensorBoard, Tracker, measure, track

RNG = np.random.default_rng(0)  # JAX's would compile while the tests are collected
X = RNG.standard_normal((32, 24), np.float32)
Y = X @ RNG.standard_normal((24, 24), np.float32)
METRICS = ["std", "zero_fraction"]


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(24, 24, rngs=rngs) for _ in range(2)])

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layers[1](jax.nn.relu(self.layers[0](x)))


def trained_nnx(tracker: Tracker | None, steps: int = 5) -> tuple[Net, list[Net]]:
    """An ordinary NNX loop; the model, and what it was at each step."""
    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def train_step(model: Net, optimizer: nnx.Optimizer) -> None:
        grads = nnx.grad(lambda m: jnp.mean(jnp.square(m(X) - Y)))(model)
        optimizer.update(model, grads)

    seen = []
    for step in range(steps):
        seen.append(nnx.clone(model))
        if tracker is not None:
            tracker(step, model)
        train_step(model, optimizer)
    return model, seen


def std_of(kernel: Any) -> float:
    return float(np.std(np.asarray(kernel, np.float64)))


def test_an_nnx_loop_into_memory_parquet_tensorboard_and_a_function(tmp_path: Path):
    steps: list[list[Row]] = []
    sinks = [tmp_path / "run.parquet", str(tmp_path / "run.csv"), TensorBoard(tmp_path / "board"), steps.append]
    with track(Net(nnx.Rngs(0)), metrics=METRICS, schedule=2, sinks=sinks, label="nnx") as tracker:
        model, seen = trained_nnx(tracker)
        tracker.record(5, model)
        tracker.record(5, model)  # once is enough

    frame = tracker.to_pandas()
    assert frame.step.tolist() == [0, 0, 2, 2, 4, 4, 5, 5]
    assert frame.name.tolist() == ["layers.0.kernel", "layers.1.kernel"] * 4
    expected = [std_of(layer.kernel[...]) for net in (*seen[::2], model) for layer in net.layers]
    np.testing.assert_allclose(frame["std"], expected, rtol=1e-6)
    assert set(frame.model) == {"nnx"} and set(frame.kind) == {"dense"} and set(frame.depth) == {0, 1}

    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "run.parquet"), frame)
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "run.csv")["std"], frame["std"])
    assert [rows[0]["step"] for rows in steps] == [0, 2, 4, 5]
    assert [row for rows in steps for row in rows] == frame.astype({"step": int}).to_dict("records")
    assert scalars(tmp_path / "board", "layers.0.kernel/std") == {
        int(row["step"]): pytest.approx(row["std"]) for rows in steps for row in rows[:1]
    }


def test_tensorboard_tells_networks_side_by_side_apart(tmp_path: Path):
    board = TensorBoard(tmp_path / "board")
    about = {"step": 3, "name": "dense", "kind": "dense", "role": "hidden", "depth": 0, "status": "success"}
    board.write([about | {"model": f"run[{i}]", "warning": "", "std": float(i)} for i in range(2)])
    board.close()
    assert [scalars(tmp_path / "board", f"run_{i}_/dense/std") for i in range(2)] == [{3: 0.0}, {3: 1.0}]


def scalars(directory: Path, tag: str) -> dict[int, float]:
    """Read back what a TensorBoard log holds: records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    [path] = directory.glob("events.*")
    data, found = path.read_bytes(), {}
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event, data = Event.FromString(data[12 : 12 + length]), data[16 + length :]
        for value in event.summary.value:
            if value.tag == tag:
                found[event.step] = value.simple_value
    return found


def test_a_linen_train_state_in_a_scan():
    network = linen.Sequential([linen.Dense(24), jax.nn.relu, linen.Dense(24)])
    params = network.init(jax.random.key(2), X)["params"]
    state = TrainState.create(apply_fn=network.apply, params=params, tx=optax.sgd(1e-2, momentum=0.9))
    tracker = track(state, metrics=METRICS, schedule=[0, 3, 6])

    @jax.jit
    def epoch(state: TrainState, records: Any) -> tuple[TrainState, Any]:
        def train_step(carry: Any, _: None) -> tuple[Any, None]:
            state, records = carry
            records = tracker.recorder.update(records, state, state.step)
            grads = jax.grad(lambda p: jnp.mean(jnp.square(state.apply_fn({"params": p}, X) - Y)))(state.params)
            return (state.apply_gradients(grads=grads), records), None

        return jax.lax.scan(train_step, (state, records), length=3)[0]

    records, expected = tracker.recorder.init(), []
    for _ in range(3):
        expected += [std_of(layer["kernel"]) for _, layer in sorted(state.params.items())]
        state, records = epoch(state, records)
        tracker.collect(records)
    frame = tracker.to_pandas()
    assert frame.step.tolist() == [0, 0, 3, 3, 6, 6]
    assert frame.name.tolist()[:2] == ["params.layers_0.kernel", "params.layers_2.kernel"]
    assert list(tracker.selection.names) == [layer.name for layer in spectra.analyze(state, layers=["*kernel"])]
    np.testing.assert_allclose(frame["std"], expected, rtol=1e-6)


def test_a_tracker_inside_of_jit_says_what_to_do():
    model = Net(nnx.Rngs(0))
    tracker = track(model, metrics=METRICS)
    for call in (lambda step: tracker(step, model), lambda step: tracker(0, jax.tree.map(lambda w: w * step, model))):
        with pytest.raises(InputError, match=r"carry the state of tracker\.recorder"):
            jax.jit(call)(1)


def test_a_step_is_a_whole_number():
    params = {"a": np.eye(24, dtype=np.float32)}
    tracker = track(params, metrics=METRICS)
    for step in (0.5, -1, "1", None):
        with pytest.raises(InputError, match=r"step=.* must be a whole number from 0"):
            tracker(step, params)


def test_an_nnx_module_is_measured_inside_of_jit():
    model = Net(nnx.Rngs(0))
    tracker = track(model, metrics=METRICS)
    found = nnx.eval_shape(lambda m: measure(m, tracker.selection), model)
    assert found.values.shape == (2, 2)


def test_broken_weights_are_recorded_and_training_goes_on(tmp_path: Path):
    kernel = np.ones((24, 24), np.float32)
    with track({"a": kernel}, metrics=METRICS, schedule=1, sinks=[TensorBoard(tmp_path)]) as tracker:
        for step in range(3):
            tracker(step, {"a": np.where(step == 1, np.nan, kernel)})
    frame = tracker.to_pandas()
    assert frame.status.tolist() == ["success", "failed", "success"]
    assert frame["zero_fraction"].isna().tolist() == [False, True, False]
    assert scalars(tmp_path, "a/zero_fraction") == {0: 0.0, 2: 0.0}


def rows_of(step: int) -> list[Row]:
    return [{"step": step, "name": "a", "std": 1.0}]


def test_a_table_is_whole_at_every_moment(tmp_path: Path):
    sink = TableFile(tmp_path / "run.csv", seconds=0)
    for step in range(3):
        sink.write(rows_of(step))
        assert pd.read_csv(tmp_path / "run.csv").step.tolist() == list(range(step + 1))


def test_a_table_is_not_rewritten_at_every_step(tmp_path: Path):
    sink = TableFile(tmp_path / "run.csv")
    for step in range(3):
        sink.write(rows_of(step))
    assert len(pd.read_csv(tmp_path / "run.csv")) == 1
    sink.close()
    assert len(pd.read_csv(tmp_path / "run.csv")) == 3


def test_a_disk_that_fails_for_a_while_does_not_end_the_training(tmp_path: Path):
    directory = tmp_path / "run"
    directory.mkdir()
    sink = TableFile(directory / "run.csv", seconds=0)
    directory.rename(tmp_path / "away")
    with pytest.warns(UserWarning, match="training goes on"):
        sink.write(rows_of(0))
    with pytest.raises(OutputError):
        sink.close()
    (tmp_path / "away").rename(directory)
    sink.write(rows_of(1))
    assert len(pd.read_csv(directory / "run.csv")) == 2


def test_every_sink_is_closed_even_if_one_fails(tmp_path: Path):
    class Bad:
        def write(self, rows: list[Row]) -> None:
            pass

        def close(self) -> None:
            raise RuntimeError("cannot")

    params = {"a": np.eye(24, dtype=np.float32)}
    tracker = track(params, metrics=METRICS, sinks=[Bad(), tmp_path / "run.json"])
    tracker(0, params)
    with pytest.raises(RuntimeError, match="cannot"):
        tracker.close()
    assert len(pd.read_json(tmp_path / "run.json")) == 1
    tracker.save(tmp_path / "again.json")
    assert len(pd.read_json(tmp_path / "again.json")) == 1


def test_tensorboard_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        TensorBoard(tmp_path / "file")
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r"pip install 'spectra-jax\[tensorboard\]'"):
        TensorBoard(tmp_path)


def test_one_thread_of_blas_while_tracking():
    import scipy.linalg.blas  # noqa: F401 - loads the BLAS that JAX calls
    from threadpoolctl import threadpool_info

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = threads()
    with track({"a": np.eye(24)}, metrics=METRICS):
        assert threads() == {1}
    assert threads() == before
