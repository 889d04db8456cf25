"""Every format, written by its own library and read back bit for bit."""

import dataclasses
import json
import logging
import shutil
import subprocess
import sys
import tracemalloc
from collections import OrderedDict

import flax.serialization
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.torch
import torch
from flax import nnx
from flax.core import FrozenDict

from spectra.errors import CheckpointError, InputError
from spectra.models.formats import naming, open_source
from spectra.models.formats.naming import natural_key

EXTENDED = {"bfloat16": torch.bfloat16, "float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}
DTYPES = ["float32", "float16", "float64", *EXTENDED, "int32", "uint8", "bool"]


def bits(dtype, shape, seed=0):
    """An array of random bits, so that NaNs, infinities and denormals are among its values."""
    dtype = np.dtype(dtype)
    raw = np.random.default_rng(seed).bytes(int(np.prod(shape)) * dtype.itemsize)
    array = np.frombuffer(raw, np.uint8)
    return (array & 1).astype(bool).reshape(shape) if dtype.kind == "b" else array.view(dtype).reshape(shape)


def to_torch(array):
    if array.dtype.name in EXTENDED:
        carrier = array.view(np.uint8 if array.dtype.itemsize == 1 else np.int16)
        return torch.from_numpy(carrier.copy()).view(EXTENDED[array.dtype.name])
    return torch.from_numpy(array.copy())


def save_safetensors(path, arrays):
    safetensors.torch.save_file({name: to_torch(array) for name, array in arrays.items()}, path)


def save_torch(path, arrays):
    torch.save({name: to_torch(array) for name, array in arrays.items()}, path)


def save_legacy_torch(path, arrays):
    tensors = {name: to_torch(array) for name, array in arrays.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def save_npz(path, arrays):
    np.savez(path, **arrays)


def save_compressed_npz(path, arrays):
    np.savez_compressed(path, **arrays)


def save_msgpack(path, arrays):
    path.write_bytes(flax.serialization.msgpack_serialize(dict(arrays)))


def save_orbax(path, tree):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)


WRITERS = {
    "safetensors": (save_safetensors, "m.safetensors", None),
    "orbax": (save_orbax, "m", "flax"),
    "msgpack": (save_msgpack, "m.msgpack", "flax"),
    "npz": (save_npz, "m.npz", None),
    "npz-compressed": (save_compressed_npz, "m.npz", None),
    "torch": (save_torch, "m.pt", "torch"),
    "torch-legacy": (save_legacy_torch, "m.pth", "torch"),
}


def assert_holds(source, arrays):
    assert {info.name for info in source.tensors} == set(arrays)
    for info in source.tensors:
        expected, found = arrays[info.name], np.asarray(source.read(info.name))
        assert (info.shape, info.dtype) == (expected.shape, expected.dtype.name)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        assert found.tobytes() == expected.tobytes()


def names(source):
    return [info.name for info in source.tensors]


# numpy cannot name the extended types in a file: test_npz_of_bfloat16_is_refused
STORABLE = [(kind, dtype) for dtype in DTYPES for kind in WRITERS if not (kind.startswith("npz") and dtype in EXTENDED)]


@pytest.mark.parametrize(("kind", "dtype"), STORABLE)
def test_round_trip_is_bit_for_bit(tmp_path, kind, dtype):
    save, filename, layout = WRITERS[kind]
    shapes = {"w": (5, 3), "b": (7,), "scalar": (), "empty": (0, 4), "deep": (2, 3, 2, 2)}
    if kind == "orbax":
        del shapes["empty"]  # tensorstore refuses to write it
    arrays = {name: bits(dtype, shape, seed) for seed, (name, shape) in enumerate(shapes.items())}
    save(tmp_path / filename, arrays)
    if kind == "torch-legacy" and dtype.startswith("float8"):
        # torch itself writes but cannot load these: its old container predates the float8 types
        with pytest.raises(CheckpointError, match=r"m\.pth: cannot be read"):
            open_source(tmp_path / filename)
        return
    source = open_source(tmp_path / filename)
    assert source.label == str(tmp_path / filename)
    assert source.layout == layout
    assert_holds(source, arrays)
    source.close()
    source.close()
    with pytest.raises(InputError, match="is closed"):
        source.read("w")


@pytest.mark.parametrize("kind", WRITERS)
def test_content_decides_before_the_suffix(tmp_path, kind):
    save, filename, layout = WRITERS[kind]
    arrays = {"w": bits("float32", (4, 4))}
    save(tmp_path / filename, arrays)
    (tmp_path / filename).rename(tmp_path / "checkpoint")
    for other in ("checkpoint", "wrong.npz", "wrong.pt", "wrong.safetensors"):
        if other != "checkpoint":
            (tmp_path / "checkpoint").rename(tmp_path / other)
        source = open_source(str(tmp_path / other))
        assert source.layout == layout
        assert_holds(source, arrays)
        (tmp_path / other).rename(tmp_path / "checkpoint")


@pytest.mark.parametrize("kind", ["safetensors", "npz", "msgpack", "torch"])
def test_reading_one_tensor_does_not_load_the_others(tmp_path, kind):
    save, filename, _ = WRITERS[kind]
    arrays = {f"big{i}": np.zeros((1000, 1000), np.float32) for i in range(4)} | {"small": bits("float32", (10, 10))}
    save(tmp_path / filename, arrays)
    tracemalloc.start()
    source = open_source(tmp_path / filename)
    source.read("small")
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    source.read("big0")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000
    assert kind == "torch" or peak > 4_000_000  # torch's tensors are mapped, the others' allocations are seen


def test_torch_tensors_are_memory_mapped(tmp_path):
    save_torch(tmp_path / "m.pt", {"w": bits("float32", (100, 100))})
    array = open_source(tmp_path / "m.pt").read("w")
    address = array.__array_interface__["data"][0]
    with open("/proc/self/maps") as maps:
        spans = [line.split() for line in maps]
    inside = [s for s in spans if int(s[0].split("-")[0], 16) <= address < int(s[0].split("-")[1], 16)]
    assert inside[0][-1] == str(tmp_path / "m.pt")


def test_natural_order(tmp_path):
    arrays = {f"layer.{i}.w": bits("float32", (2, 2), i) for i in (10, 2, 1, 0)}
    expected = [f"layer.{i}.w" for i in (0, 1, 2, 10)]
    for kind in ("safetensors", "msgpack", "orbax"):
        save, filename, _ = WRITERS[kind]
        save(tmp_path / filename, arrays)
        assert names(open_source(tmp_path / filename)) == expected
    save_torch(tmp_path / "m.pt", arrays)
    assert names(open_source(tmp_path / "m.pt")) == list(arrays)
    assert names(open_source(arrays)) == list(arrays)
    assert sorted(["b10a", "b9z", "b", "10", "9", "b9a"], key=natural_key) == ["9", "10", "b", "b9a", "b9z", "b10a"]
    assert natural_key("9" * 100_000)  # would be refused as a number


# safetensors


def sharded(tmp_path):
    arrays = {f"layer.{i}.weight": bits("bfloat16", (3, 2), i) for i in range(12)}
    half = {name: ("a" if i % 2 else "b") + ".safetensors" for i, name in enumerate(arrays)}
    for file in ("a.safetensors", "b.safetensors"):
        save_safetensors(tmp_path / file, {name: arrays[name] for name in arrays if half[name] == file})
    return arrays, half


def test_sharded_safetensors_by_index_and_without(tmp_path):
    arrays, half = sharded(tmp_path)
    assert_holds(open_source(tmp_path), arrays)
    index = tmp_path / "model.safetensors.index.json"
    kept = {name: file for name, file in half.items() if name != "layer.3.weight"}
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": kept}))
    expected = {name: arrays[name] for name in kept}
    for target in (tmp_path, index):
        source = open_source(target)
        assert_holds(source, expected)
        assert names(source) == sorted(expected, key=natural_key)
    source.close()
    with pytest.raises(InputError, match="is closed"):
        source.read("layer.0.weight")


def test_index_naming_what_is_not_there(tmp_path):
    _, half = sharded(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": half | {"ghost": "a.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"index\.json: tensor 'ghost': is not in its shard a\.safetensors"):
        open_source(tmp_path)
    index.write_text(json.dumps({"weight_map": half | {"ghost": "c.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"index\.json: its shard .*c\.safetensors is missing"):
        open_source(tmp_path)
    index.write_text(json.dumps({"weight_map": {"ghost": "../a.safetensors"}}))
    with pytest.raises(CheckpointError, match="'ghost': is placed in"):
        open_source(tmp_path)


def test_same_name_in_two_files_of_a_directory(tmp_path):
    save_safetensors(tmp_path / "a.safetensors", {"w": bits("float32", (2, 2))})
    save_safetensors(tmp_path / "b.safetensors", {"w": bits("float32", (2, 2))})
    with pytest.raises(CheckpointError, match=r"'w': is in both a\.safetensors and b\.safetensors"):
        open_source(tmp_path)


def test_dtypes_that_cannot_be_read_are_listed(tmp_path):
    header = {
        "packed": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]},
        "scale": {"dtype": "F8_E8M0", "shape": [2], "data_offsets": [2, 4]},
    }
    text = json.dumps(header).encode()
    (tmp_path / "m.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"\x12\x34\x7f\x80")
    source = open_source(tmp_path / "m.safetensors")
    assert [info.dtype for info in source.tensors] == ["float4_e2m1fn", "float8_e8m0fnu"]
    assert source.read("scale").astype(np.float32).tolist() == [1.0, 2.0]
    with pytest.raises(CheckpointError, match=r"m\.safetensors: tensor 'packed': .*F4"):
        source.read("packed")


# Orbax

TREE = {
    "params": {"Dense_0": {"kernel": bits("bfloat16", (3, 4)), "bias": bits("float32", (4,))}},
    "opt_state": [{"mu": bits("float32", (3,))}],
    "step": 3,
}
WEIGHTS = {
    "params.Dense_0.kernel": TREE["params"]["Dense_0"]["kernel"],
    "params.Dense_0.bias": TREE["params"]["Dense_0"]["bias"],
}


def test_orbax_checkpointers(tmp_path, capfd, caplog):
    save_orbax(tmp_path / "standard", TREE)
    ocp.PyTreeCheckpointer().save(tmp_path / "pytree", TREE)
    ocp.PyTreeCheckpointer(use_ocdbt=False).save(tmp_path / "plain", TREE)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_zarr3=True)) as checkpointer:
        checkpointer.save(tmp_path / "zarr3", TREE)
    capfd.readouterr()
    for form in ("standard", "pytree", "plain", "zarr3"):
        source = open_source(tmp_path / form)
        assert source.layout == "flax"
        assert_holds(source, WEIGHTS)
    assert capfd.readouterr() == ("", "")


def test_orbax_manager_takes_the_latest_finished_step(tmp_path):
    older = jax.tree.map(np.zeros_like, TREE)
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        manager.save(9, args=ocp.args.StandardSave(older))
        manager.save(10, args=ocp.args.StandardSave(TREE))
    (tmp_path / "run" / "11").mkdir()
    shutil.copytree(tmp_path / "run" / "9", tmp_path / "run" / "12.orbax-checkpoint-tmp-0")
    for target in ("run", "run/10", "run/10/default"):
        assert_holds(open_source(tmp_path / target), WEIGHTS)
    assert not np.asarray(open_source(tmp_path / "run" / "9").read("params.Dense_0.bias")).any()


def test_orbax_items(tmp_path):
    with ocp.CheckpointManager(tmp_path / "run", item_names=("other", "state", "extra")) as manager:
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(TREE),
            other=ocp.args.StandardSave({"x": np.ones(2)}),
            extra=ocp.args.JsonSave({"a": 1}),
        )
        manager.save(0, args=args)
    assert_holds(open_source(tmp_path / "run"), WEIGHTS)
    (tmp_path / "run/0/state").rename(tmp_path / "run/0/mine")
    with pytest.raises(CheckpointError, match=r"several items \(mine, other\)"):
        open_source(tmp_path / "run")


def test_orbax_lists_and_names_with_dots(tmp_path):
    tree = {
        "layers": [{"kernel": bits("float32", (2, 3), i)} for i in range(11)],
        "a.b": np.ones(2),
        "t": (np.ones(1),),
    }
    save_orbax(tmp_path / "m", tree)
    expected = {f"layers.{i}.kernel": layer["kernel"] for i, layer in enumerate(tree["layers"])}
    assert_holds(open_source(tmp_path / "m"), expected | {"a.b": np.ones(2), "t.0": np.ones(1)})


class Net(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(2, 2, use_bias=False, rngs=rngs) for _ in range(11)])
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs)


def nnx_weights(net):
    flat = nnx.to_flat_state(nnx.state(net, nnx.Param))
    return {".".join(map(str, path)): np.asarray(variable.get_value()) for path, variable in flat}


def test_orbax_unboxes_saved_nnx_variables(tmp_path):
    net = Net(nnx.Rngs(0))
    save_orbax(tmp_path / "m", nnx.state(net, nnx.Param))
    expected = nnx_weights(net)
    assert "attention.value.kernel" in expected
    assert_holds(open_source(tmp_path / "m"), expected)


def test_a_value_with_siblings_is_a_name(tmp_path):
    tree = {"attention": {"query": np.ones(2), "value": np.zeros(2)}, "boxed": {"value": np.ones(3)}}
    save_orbax(tmp_path / "m", tree)
    expected = {"attention.query": np.ones(2), "attention.value": np.zeros(2), "boxed": np.ones(3)}
    assert_holds(open_source(tmp_path / "m"), expected)


def test_orbax_reads_each_leaf_alone(tmp_path):
    ocp.PyTreeCheckpointer(use_ocdbt=False).save(tmp_path / "m", TREE)
    (tmp_path / "m/params.Dense_0.bias/0").unlink()
    source = open_source(tmp_path / "m")
    assert source.read("params.Dense_0.kernel").tobytes() == WEIGHTS["params.Dense_0.kernel"].tobytes()
    with pytest.raises(CheckpointError, match=r"m: tensor 'params\.Dense_0\.bias'.* is missing"):
        source.read("params.Dense_0.bias")


# Flax msgpack


def test_msgpack_training_state_and_scalars(tmp_path):
    state = TREE | {"name": "run", "nothing": None, "rate": 0.5, "count": -7, "z": 1 + 2j, "flag": True}
    (tmp_path / "m.msgpack").write_bytes(flax.serialization.to_bytes(state))
    assert_holds(open_source(tmp_path / "m.msgpack"), WEIGHTS)


def test_msgpack_chunked_arrays(tmp_path, monkeypatch):
    arrays = {"w": bits("float32", (40, 30)), "b": bits("bfloat16", (2000,)), "s": bits("float32", (3,))}
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 1000)
    save_msgpack(tmp_path / "m.msgpack", arrays)
    assert b"__msgpack_chunked_array__" in (tmp_path / "m.msgpack").read_bytes()
    assert_holds(open_source(tmp_path / "m.msgpack"), arrays)


def test_msgpack_widths(tmp_path):
    """More than 15 and more than 65535 keys, keys of every length class, lists, and arrays of each length class."""
    many = {f"{i}": i for i in range(70_000)}
    arrays = {"k" * n: bits("uint8", (n,)) for n in (1, 2, 16, 31, 32, 255, 256, 70_000)}
    tree = {"many": many, **arrays, "list": [arrays["k"], {"x": arrays["kk"]}, 2**40, -(2**40), 300, -300, 1.5]}
    (tmp_path / "m.msgpack").write_bytes(flax.serialization.msgpack_serialize(tree))
    assert_holds(open_source(tmp_path / "m.msgpack"), arrays | {"list.0": arrays["k"], "list.1.x": arrays["kk"]})


# numpy


def test_npy_fortran_and_big_endian(tmp_path):
    np.save(tmp_path / "w.npy", bits("float32", (3, 4)))
    assert_holds(open_source(tmp_path / "w.npy"), {"w": bits("float32", (3, 4))})
    values = np.arange(12.0).reshape(3, 4)
    np.savez(tmp_path / "m.npz", fortran=np.asfortranarray(values), big=values.astype(">f8"))
    source = open_source(tmp_path / "m.npz")
    for name in ("fortran", "big"):
        array = source.read(name)
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, values)


def test_npz_of_bfloat16_is_refused(tmp_path):
    np.savez(tmp_path / "m.npz", half=np.ones((2, 2), ml_dtypes.bfloat16), fine=np.ones(3))
    source = open_source(tmp_path / "m.npz")
    assert source.read("fine").tolist() == [1, 1, 1]
    with pytest.raises(CheckpointError, match=r"m\.npz: tensor 'half': .*bfloat16"):
        source.read("half")


# PyTorch


def test_torch_wrapping_keys_and_optimizer_state(tmp_path):
    weights = OrderedDict({"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)})
    moments = {"state": {0: {"exp_avg": torch.ones(2, 3)}}, "param_groups": [{"lr": 0.1}]}
    forms = {
        "plain": (weights, ["fc.weight", "fc.bias"]),
        "state_dict": ({"epoch": 3, "state_dict": weights, "optimizer": moments}, ["fc.weight", "fc.bias"]),
        "model_state_dict": ({"model_state_dict": weights, "optimizer_state_dict": moments}, ["fc.weight", "fc.bias"]),
        "model": ({"model": weights, "opt_state": moments}, ["model.fc.weight", "model.fc.bias"]),
        "two": (
            {"state_dict": weights, "ema": {"w": torch.ones(1)}},
            ["state_dict.fc.weight", "state_dict.fc.bias", "ema.w"],
        ),
        "list": ([torch.ones(1), {"x": torch.ones(2)}], ["0", "1.x"]),
    }
    for form, (content, expected) in forms.items():
        torch.save(content, tmp_path / f"{form}.pt")
        assert names(open_source(tmp_path / f"{form}.pt")) == expected, form


def test_torch_views_and_parameters(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    content = {
        "transposed": base.T,
        "slice": base[1:, ::2],
        "half": base.to(torch.bfloat16).T,
        "parameter": torch.nn.Parameter(base),
        "conjugate": torch.tensor([1 + 2j]).conj(),
    }
    torch.save(content, tmp_path / "m.pt")
    source = open_source(tmp_path / "m.pt")
    for name, tensor in content.items():
        expected = tensor.detach().resolve_conj()
        found = source.read(name)
        expected = expected.float().numpy() if name == "half" else expected.numpy()
        np.testing.assert_array_equal(found.astype(expected.dtype), expected)


def test_torch_tensors_without_dense_values(tmp_path):
    content = {
        "sparse": torch.eye(3).to_sparse(),
        "expanded": torch.zeros(1).expand(2**40),
        "fine": torch.ones(2),
    }
    torch.save(content, tmp_path / "m.pt")
    source = open_source(tmp_path / "m.pt")
    assert source.read("fine").tolist() == [1, 1]
    for name in ("sparse", "expanded"):
        with pytest.raises(CheckpointError, match=f"'{name}'"):
            source.read(name)


def test_sharded_torch(tmp_path):
    arrays = {f"w{i}": bits("bfloat16", (2, 2), i) for i in range(3)}
    for name, array in arrays.items():
        save_torch(tmp_path / f"{name}.bin", {name: array})
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {name: f"{name}.bin" for name in arrays}}))
    for target in (tmp_path, index):
        source = open_source(target)
        assert source.layout == "torch"
        assert_holds(source, arrays)


def test_without_torch_the_error_names_the_extra(tmp_path, monkeypatch):
    save_torch(tmp_path / "m.pt", {"w": bits("float32", (2, 2))})
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"m\.pt: .*pip install 'spectra-jax\[torch\]'"):
        open_source(tmp_path / "m.pt")


# directories


def test_a_directory_with_one_file_is_that_file(tmp_path):
    arrays = {"w": bits("float32", (2, 2))}
    save_msgpack(tmp_path / "flax_model.msgpack", arrays)
    (tmp_path / "config.json").write_text("{}")
    assert_holds(open_source(tmp_path), arrays)
    save_torch(tmp_path / "pytorch_model.bin", arrays)
    with pytest.raises(CheckpointError, match=r"several checkpoints \(flax_model\.msgpack, pytorch_model\.bin\)"):
        open_source(tmp_path)
    save_safetensors(tmp_path / "model.safetensors", arrays)
    assert open_source(tmp_path).layout is None


# memory


@dataclasses.dataclass
class Block:
    kernel: object
    activation: object = np.tanh
    static: object = dataclasses.field(default="name", metadata={"static": True})


def test_pytrees_keep_names_and_order():
    w = bits("bfloat16", (2, 3))
    tree = FrozenDict({"params": {"b": {"kernel": jnp.asarray(w)}, "a": [w, (w, None, 3)]}})
    source = open_source(tree)
    assert (source.label, source.layout) == ("params", None)
    assert names(source) == ["params.b.kernel", "params.a.0", "params.a.1.0"]
    assert_holds(source, dict.fromkeys(names(source), w))
    flat = {"z.weight": w, "a.weight": w}
    assert_holds(open_source(flat), flat)
    assert names(open_source(flat)) == ["z.weight", "a.weight"]
    assert_holds(open_source({"blocks": [Block(w)]}), {"blocks.0.kernel": w})
    source.close()
    with pytest.raises(InputError, match="is closed"):
        source.read("params.a.0")


def test_nnx_modules_and_states():
    net = Net(nnx.Rngs(0))
    expected = nnx_weights(net)
    for target in (net, nnx.state(net), nnx.state(net, nnx.Param)):
        source = open_source(target)
        assert source.layout == "flax"
        assert_holds(source, expected)
    pure = nnx.to_pure_dict(nnx.state(net, nnx.Param))
    assert_holds(open_source(pure), expected)


def test_training_state_in_memory():
    import optax
    from flax.training.train_state import TrainState

    params = {"kernel": np.ones((2, 3), np.float32)}
    state = TrainState.create(apply_fn=len, params=params, tx=optax.adam(1e-3))
    assert names(open_source(state)) == ["params.kernel"]


def test_torch_tensors_in_memory():
    source = open_source({"w": torch.ones(2, 2, dtype=torch.bfloat16), "v": torch.nn.Parameter(torch.zeros(2))})
    assert source.layout == "torch"
    assert_holds(source, {"w": np.ones((2, 2), ml_dtypes.bfloat16), "v": np.zeros(2, np.float32)})


def deleted():
    array = jnp.ones(3)
    array.delete()
    return array


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({}, "no arrays"),
        (None, "no arrays"),
        ({"a": {"b": None, "c": [1, 2.0]}}, "no arrays"),
        (np.ones(3), "a single array"),
        (torch.nn.Linear(2, 2), "state_dict"),
        ({"a": np.ones(2), "b": {"c": "text"}}, r"'b\.c' is a str"),
        ({"a": object()}, "'a' is a object"),
        ({"a": np.array([None])}, "'a' is a numpy array of object"),
        ({"a": {"w": jax.ShapeDtypeStruct((2,), np.float32)}}, r"'a\.w' is abstract"),
        ({"w": deleted()}, "'w' was deleted"),
        ({"a.b": np.ones(1), "a": {"b": np.ones(1)}}, r"'a\.b': the name occurs twice"),
    ],
)
def test_objects_that_hold_no_weights(target, message):
    with pytest.raises(InputError, match=message) as caught:
        open_source(target)
    assert "\n" not in str(caught.value)


def test_trees_that_refer_to_themselves(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(naming, "MAX_NODES", 10_000)
    loop = {}
    loop["x"] = loop
    doubling = [np.ones(1)]
    for _ in range(60):
        doubling = [doubling, doubling]
    for tree in (loop, doubling):
        with pytest.raises(InputError, match="nests too deeply or holds too many"):
            open_source(tree)


def test_arrays_deleted_after_opening():
    array = jnp.ones(3)
    source = open_source({"w": array})
    array.delete()
    with pytest.raises(InputError, match="deleted"):
        source.read("w")


def test_unknown_names_and_logging_are_clean(tmp_path):
    save_npz(tmp_path / "m.npz", {"w": np.ones(2)})
    with pytest.raises(CheckpointError, match=r"m\.npz: tensor 'v': there is no such tensor"):
        open_source(tmp_path / "m.npz").read("v")
    assert logging.getLogger("absl").level != logging.CRITICAL


def test_importing_the_formats_stays_light():
    heavy = {"torch", "orbax", "flax", "tensorstore"}
    check = f"import sys, spectra.models.formats; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
