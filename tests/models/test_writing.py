"""Checkpoints written again: what is replaced is there, all else is as it was, bit for bit, in every format."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import flax.serialization
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from spectra.errors import CheckpointError, OutputError
from spectra.models.formats import open_source
from spectra.models.formats.rewriting import plan_rewriting, rewrite
from spectra.models.rounding import rounded

RNG = np.random.default_rng(0)
WEIGHTS = {
    "b.kernel": RNG.standard_normal((6, 5)).astype(np.float32),
    "a.kernel": RNG.standard_normal((4, 3, 2)).astype(np.float16),
    "bias": RNG.standard_normal(7),
    "steps": np.arange(4),
    "flag": np.array(True),
}
EXTENDED = {
    "c.kernel": RNG.standard_normal((8, 8)).astype(ml_dtypes.bfloat16),
    "d.kernel": RNG.standard_normal((5, 8)).astype(ml_dtypes.float8_e4m3fn),
}
TORCH = {"bfloat16": torch.bfloat16, "float8_e4m3fn": torch.float8_e4m3fn}


def to_torch(w: np.ndarray) -> torch.Tensor:
    if w.dtype.name in TORCH:
        return torch.from_numpy(w.view(f"u{w.itemsize}")).view(TORCH[w.dtype.name])
    return torch.from_numpy(w.copy())


def save_safetensors(path: Path, arrays: dict) -> None:
    import safetensors.torch

    safetensors.torch.save_file({k: to_torch(v) for k, v in arrays.items()}, path, {"format": "pt", "note": "λ"})


def save_shards(path: Path, arrays: dict) -> None:
    (path / "part").mkdir(parents=True)
    names, files = list(arrays), ("two.safetensors", "part/one.safetensors")
    for i, file in enumerate(files):
        save_safetensors(path / file, {name: arrays[name] for name in names[i::2]})
    where = {name: files[i % 2] for i, name in enumerate(names)}
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"x": 1}, "weight_map": where}))


def save_torch_shards(path: Path, arrays: dict) -> None:
    path.mkdir()
    names = list(arrays)
    for i in range(2):
        torch.save({name: to_torch(arrays[name]) for name in names[i::2]}, path / f"{i}.bin")
    where = {name: f"{i % 2}.bin" for i, name in enumerate(names)}
    (path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))


def save_torch(path: Path, arrays: dict, zipped: bool = True) -> None:
    content = {name: to_torch(w) for name, w in arrays.items()}
    torch.save({"state_dict": content, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)


def save_orbax(path: Path, arrays: dict, **how: bool) -> None:
    with ocp.PyTreeCheckpointer(**how) as checkpointer:
        checkpointer.save(path.absolute(), {name: w for name, w in arrays.items() if w.ndim})


def save_msgpack(path: Path, arrays: dict) -> None:
    flax.serialization.MAX_CHUNK_SIZE, usual = 64, flax.serialization.MAX_CHUNK_SIZE  # of arrays, in bytes
    try:
        path.write_bytes(flax.serialization.msgpack_serialize({**arrays, "step": 3, "text": "λ"}))
    finally:
        flax.serialization.MAX_CHUNK_SIZE = usual


def save_compressed(path: Path, arrays: dict) -> None:
    arrays = {name: np.asfortranarray(w) for name, w in arrays.items()}
    arrays["bias"] = arrays["bias"].astype(">f8")
    np.savez_compressed(path, **arrays)


WRITERS = {
    "safetensors": ("m.safetensors", save_safetensors, True),
    "shards": ("m", save_shards, True),
    "npz": ("m.npz", lambda path, arrays: np.savez(path, **arrays), False),
    "npz compressed, by columns": ("m.npz", save_compressed, False),
    "msgpack": ("m.msgpack", save_msgpack, True),
    "torch": ("m.pt", save_torch, True),
    "torch, old": ("m.pth", lambda path, arrays: save_torch(path, arrays, zipped=False), False),
    "torch shards": ("m", save_torch_shards, True),
    "orbax": ("m", save_orbax, True),
    "orbax zarr3": ("m", lambda path, arrays: save_orbax(path, arrays, use_zarr3=True), True),
    "orbax files": ("m", lambda path, arrays: save_orbax(path, arrays, use_ocdbt=False), True),
}


def content(path: Path) -> dict[str, tuple]:
    source = open_source(path)
    found = {info.name: (info, np.asarray(source.read(info.name)).tobytes()) for info in source.tensors}
    source.close()
    return found


def files(path: Path) -> dict[str, bytes]:
    """Every file of a checkpoint and its bytes."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def again(model: Path, out: Path, new: dict[str, np.ndarray]) -> list[str]:
    """Write a checkpoint again; the names that were asked for."""
    asked: list[str] = []
    rewrite(plan_rewriting(model, out), lambda name: (asked.append(name), new.get(name))[1])
    return asked


@pytest.mark.parametrize("kind", WRITERS)
def test_only_what_is_replaced_changes(kind: str, tmp_path: Path):
    name, save, extended = WRITERS[kind]
    arrays = WEIGHTS | EXTENDED if extended else WEIGHTS
    save(tmp_path / name, arrays)
    before, bytes_before = content(tmp_path / name), files(tmp_path / name)
    wanted = ["b.kernel", "a.kernel", *(EXTENDED if extended else ())]
    new = {key: np.zeros_like(arrays[key]) for key in wanted}  # zeros: zarr would leave their chunks out
    new["b.kernel"] = (-arrays["b.kernel"]).T.copy().T  # not in C order
    asked = again(tmp_path / name, tmp_path / f"new{name}", new)
    out = tmp_path / f"new{name}"
    assert sorted(asked) == sorted(before) and len(asked) == len(set(asked))
    after = content(out)
    assert list(after) == list(before)
    for key, (info, data) in before.items():
        assert after[key][0] == info
        assert after[key][1] == (new[key].tobytes() if key in new else data), key
    assert files(tmp_path / name) == bytes_before  # the model itself
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((name, f"new{name}"))


@pytest.mark.parametrize("kind", ["safetensors", "shards", "msgpack"])
def test_an_unchanged_copy_has_the_same_bytes(kind: str, tmp_path: Path):
    name, save, _ = WRITERS[kind]
    save(tmp_path / name, WEIGHTS | EXTENDED)
    again(tmp_path / name, tmp_path / f"new{name}", {})
    assert files(tmp_path / f"new{name}") == files(tmp_path / name)


def test_safetensors_keep_their_metadata(tmp_path: Path):
    save_safetensors(tmp_path / "m.safetensors", WEIGHTS)
    again(tmp_path / "m.safetensors", tmp_path / "n.safetensors", {"bias": np.zeros(7)})
    with safe_open(tmp_path / "n.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt", "note": "λ"}
        np.testing.assert_array_equal(file.get_tensor("bias"), np.zeros(7))


def test_numpy_and_flax_read_what_was_written(tmp_path: Path):
    save_compressed(tmp_path / "m.npz", WEIGHTS)
    new = {"b.kernel": 2 * WEIGHTS["b.kernel"], "bias": np.arange(7.0)}
    again(tmp_path / "m.npz", tmp_path / "n.npz", new)
    with np.load(tmp_path / "n.npz") as found:
        assert found["bias"].dtype == np.dtype(">f8") and found["b.kernel"].flags.f_contiguous
        for name, w in (WEIGHTS | new).items():
            np.testing.assert_array_equal(found[name], w)
    save_msgpack(tmp_path / "m.msgpack", WEIGHTS)
    again(tmp_path / "m.msgpack", tmp_path / "n.msgpack", new)
    tree = flax.serialization.msgpack_restore((tmp_path / "n.msgpack").read_bytes())
    assert tree.pop("step") == 3 and tree.pop("text") == "λ"
    for name, w in tree.items():
        np.testing.assert_array_equal(w, (WEIGHTS | new)[name])


def test_a_single_npy(tmp_path: Path):
    np.save(tmp_path / "m.npy", np.asfortranarray(WEIGHTS["b.kernel"]))
    again(tmp_path / "m.npy", tmp_path / "n.npy", {"m": 2 * WEIGHTS["b.kernel"]})
    np.testing.assert_array_equal(np.load(tmp_path / "n.npy"), 2 * WEIGHTS["b.kernel"])


def test_torch_keeps_ties_parameters_and_all_else(tmp_path: Path):
    shared = torch.arange(24.0)
    state = OrderedDict(wte=shared.reshape(6, 4), head=shared.reshape(6, 4), turned=shared.reshape(6, 4).T)
    state["weight"] = torch.nn.Parameter(torch.ones(3, 2))
    state._metadata = {"": {"version": 2}}
    torch.save({"model": state, "optimizer": {"state": {0: torch.ones(2)}}, "epoch": 3}, tmp_path / "m.pt")
    new = {"model.wte": -np.arange(24.0, dtype=np.float32).reshape(6, 4), "model.weight": np.zeros((3, 2), np.float32)}
    asked = again(tmp_path / "m.pt", tmp_path / "n.pt", new)
    assert asked == ["model.wte", "model.head", "model.turned", "model.weight"]
    found = torch.load(tmp_path / "n.pt", weights_only=True)
    assert found["epoch"] == 3 and found["model"]._metadata == {"": {"version": 2}}
    assert isinstance(found["model"]["weight"], torch.nn.Parameter) and not found["model"]["weight"].any()
    assert found["model"]["head"].data_ptr() == found["model"]["wte"].data_ptr()
    np.testing.assert_array_equal(found["model"]["turned"].T, new["model.wte"])
    np.testing.assert_array_equal(found["optimizer"]["state"][0], [1, 1])


def test_torch_does_not_change_the_file_that_it_maps(tmp_path: Path):
    import mmap

    save_torch(tmp_path / "m.pt", WEIGHTS)
    before = (tmp_path / "m.pt").read_bytes()
    torch.serialization.set_default_mmap_options(mmap.MAP_SHARED)
    try:
        again(tmp_path / "m.pt", tmp_path / "n.pt", {"b.kernel": np.zeros((6, 5), np.float32)})
    finally:
        torch.serialization.set_default_mmap_options(mmap.MAP_PRIVATE)
    assert (tmp_path / "m.pt").read_bytes() == before
    assert not np.frombuffer(content(tmp_path / "n.pt")["b.kernel"][1], np.uint8).any()


@pytest.fixture(scope="module")
def run_of_orbax(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of a `CheckpointManager`, each with a second item and the optimizer's state."""
    place = tmp_path_factory.mktemp("orbax") / "run"
    with ocp.CheckpointManager(place, options=ocp.CheckpointManagerOptions(create=True)) as manager:
        for step in (5, 10):
            weights = {"params": {"kernel": np.full((4, 3), step, np.float32)}, "opt_state": {"mu": np.ones((4, 3))}}
            items = {"state": ocp.args.StandardSave(weights), "extra": ocp.args.JsonSave({"loss": 0.5})}
            manager.save(step, args=ocp.args.Composite(**items))
        manager.wait_until_finished()
    return place


@pytest.mark.parametrize("level", ["", "10", "10/state"])
def test_a_step_of_orbax(run_of_orbax: Path, level: str, tmp_path: Path):
    out = tmp_path / "new"
    [name] = again(run_of_orbax / level, out, {"params.kernel": np.zeros((4, 3), np.float32)})
    assert name == "params.kernel"
    place = out / Path("10/state").relative_to(level)
    with ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.restore(place.absolute())
    np.testing.assert_array_equal(tree["params"]["kernel"], np.zeros((4, 3)))
    np.testing.assert_array_equal(tree["opt_state"]["mu"], np.ones((4, 3)))
    if not level:  # the latest step, and what a manager needs to go on with it
        with ocp.CheckpointManager(out) as manager:
            assert manager.all_steps() == [10]
            assert manager.restore(10, args=ocp.args.Composite(extra=ocp.args.JsonRestore())).extra == {"loss": 0.5}


def test_what_lies_beside_the_weights_comes_along(tmp_path: Path):
    model, out = tmp_path / "model", tmp_path / "new"
    save_shards(model, WEIGHTS)
    for place in ("config.json", "spiece.model", "1_Pooling/config.json", ".git/x", "onnx/model.onnx", "onnx/note.txt"):
        (model / place).parent.mkdir(exist_ok=True)
        (model / place).write_text(place)
    for stale in ("pytorch_model.bin", "tf_model.h5", "pytorch_model.bin.index.json", "part/three.safetensors"):
        (model / stale).write_bytes(b"old weights")
    again(model, out, {})
    kept = {"config.json", "spiece.model", "1_Pooling/config.json", "model.safetensors.index.json"}
    assert set(files(out)) == {*kept, "two.safetensors", "part/one.safetensors"}
    again(model / "model.safetensors.index.json", tmp_path / "by index", {})
    assert files(tmp_path / "by index") == files(out)


def test_a_directory_with_one_file(tmp_path: Path):
    (tmp_path / "model").mkdir()
    np.savez(tmp_path / "model" / "weights.npz", w=WEIGHTS["b.kernel"])
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "new").mkdir()  # empty
    again(tmp_path / "model", tmp_path / "new", {"w": np.zeros((6, 5), np.float32)})
    assert set(files(tmp_path / "new")) == {"weights.npz", "config.json"}
    assert not np.load(tmp_path / "new" / "weights.npz")["w"].any()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_file({"w": WEIGHTS["b.kernel"]}, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("m.safetensors", "is the model itself"),
        ("link.safetensors", "is the model itself"),
        ("there.safetensors", "exists already; remove it"),
        ("folder.safetensors", "is a directory; give the name of a file"),
        ("n.npz", r"the model is safetensors; name the result like it, \.safetensors"),
        ("no/dir/n.safetensors", "there is no directory .*no/dir"),
        ("", "is no place to write to"),
    ],
)
def test_places_that_are_refused(model: Path, out: str, words: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(model.parent)
    Path("link.safetensors").symlink_to(model)
    Path("there.safetensors").write_bytes(b"precious")
    Path("folder.safetensors").mkdir()
    with pytest.raises(OutputError, match=words) as caught:
        plan_rewriting(model, out)
    assert "\n" not in str(caught.value) and out in str(caught.value)
    assert Path("there.safetensors").read_bytes() == b"precious"


def test_directories_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_shards(tmp_path / "model", WEIGHTS)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    monkeypatch.chdir(tmp_path / "model")
    for model, out, words in (
        ("../model", "../full", "not empty"),
        (".", "../model", "is the model itself"),
        ("model.safetensors.index.json", ".", "is the model itself"),
        (".", "inside", "lies inside the model"),
        ("model.safetensors.index.json", "part/new", "lies inside the model"),
    ):
        with pytest.raises(OutputError, match=words):
            plan_rewriting(model, out)


def test_a_full_disk_is_found_before_the_work(model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(OutputError, match="GB free"):
        plan_rewriting(model, model.with_name("n.safetensors"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no directory that even root cannot write to")
def test_a_directory_that_cannot_be_written(model: Path):
    with pytest.raises(OutputError, match=r"/proc/n\.safetensors: cannot be written"):
        plan_rewriting(model, "/proc/n.safetensors")


def test_a_failure_leaves_nothing_behind(model: Path):
    def fail(name: str) -> None:
        raise ZeroDivisionError(name)

    plan = plan_rewriting(model, model.with_name("n.safetensors"))
    with pytest.raises(ZeroDivisionError, match="w"):  # ours to repair, and not called the file's fault
        rewrite(plan, fail)
    assert [path.name for path in model.parent.iterdir()] == ["m.safetensors"]


def test_damage_elsewhere_is_not_copied(tmp_path: Path):
    np.savez(tmp_path / "m.npz", a=WEIGHTS["b.kernel"], b=WEIGHTS["bias"])
    data = (tmp_path / "m.npz").read_bytes()
    place = data.index(WEIGHTS["bias"].tobytes())
    (tmp_path / "m.npz").write_bytes(data[:place] + b"\0\1" + data[place + 2 :])
    plan = plan_rewriting(tmp_path / "m.npz", tmp_path / "n.npz")
    with pytest.raises(CheckpointError, match=r"m\.npz.*CRC"):
        rewrite(plan, lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]


def finite_values(dtype: str) -> np.ndarray:
    """All finite values of a type of one or two bytes, in float64, ascending; zero once."""
    kind = np.dtype(dtype)
    with np.errstate(invalid="ignore"):
        every = np.arange(256**kind.itemsize).astype(f"u{kind.itemsize}").view(kind).astype(np.float64)
    return np.unique(every[np.isfinite(every)])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz"])
def test_rounding_is_to_the_nearest(dtype: str):
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    values = finite_values(dtype)
    np.testing.assert_array_equal(rounded(values, kind).astype(np.float64), values)
    middle = (values[1:] + values[:-1]) / 2
    nudge = 2.0**-45 * np.maximum(np.abs(middle), np.diff(values))
    np.testing.assert_array_equal(rounded(middle + nudge, kind).astype(np.float64), values[1:])
    np.testing.assert_array_equal(rounded(middle - nudge, kind).astype(np.float64), values[:-1])
    even = rounded(middle, kind).view(f"u{kind.itemsize}") & 1
    assert not even[middle != 0].any()
    beyond = rounded(np.array([1e300, -1e300, values[-1] * (1 + 1e-9)]), kind).astype(np.float64)
    np.testing.assert_array_equal(beyond, [values[-1], values[0], values[-1]])


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_rounding_to_float32_is_numpys(numbers: list[float]):
    values = np.array(numbers)
    limit = float(np.finfo(np.float32).max)
    np.testing.assert_array_equal(rounded(values, np.dtype("float32")), np.clip(values, -limit, limit).astype("f4"))
    assert rounded(values, np.dtype("float64")).tobytes() == values.tobytes()
